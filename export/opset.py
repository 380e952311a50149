"""The one version of the ONNX standard that exported files use."""

# 18 is what PyTorch's exporter writes without conversion, and inside what TensorRT 10.3 (up to 20), TensorRT 11 and
# ONNX Runtime's quantised kernels (up to 20) all read.
OPSET = 18

# The file format that opset 18 came with; model-local functions need 8 at least. Newer formats would only add
# metadata that is stripped anyway.
IR_VERSION = 8
