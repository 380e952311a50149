"""The authors' released checkpoints: what they are, how their entries are named, and how ours follow from them."""
