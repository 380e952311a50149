"""From a PyTorch checkpoint to one ONNX file that ONNX Runtime and TensorRT read alike."""
