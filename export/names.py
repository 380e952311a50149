"""Names of the graph's inputs, output and free sizes."""

from runtime.contract.batch import INSTANCE as INSTANCE
from runtime.contract.batch import LABEL as LABEL
from runtime.contract.batch import SOURCE as SOURCE

IMAGE = "image"

BATCH, HEIGHT, WIDTH = "N", "H", "W"
