"""Data sets of photos and label maps."""
