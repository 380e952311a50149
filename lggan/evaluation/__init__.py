"""How good generated pictures are: a segmenter looks at them, its answer is compared with the label maps."""
