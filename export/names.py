"""Names of the graph's inputs, output and free sizes."""

LABEL = "label"
INSTANCE = "instance"
IMAGE = "image"

BATCH, HEIGHT, WIDTH = "N", "H", "W"
