"""Names in the graph: its inputs, its output, its free sizes, and the domain of our own operators."""

from runtime.contract.batch import INSTANCE as INSTANCE
from runtime.contract.batch import LABEL as LABEL
from runtime.contract.batch import SOURCE as SOURCE

IMAGE = "image"

BATCH, HEIGHT, WIDTH = "N", "H", "W"

DOMAIN = "lggan"
DOMAIN_VERSION = 1
