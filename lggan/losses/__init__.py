"""Training losses of the semantic-synthesis task (specification C.1)."""
