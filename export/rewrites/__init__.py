"""Exact rewrites: the same function with fewer operations, one per file."""
