"""Precision written into the graph: FP16 types here, INT8 ranges and Q/DQ nodes later.

Works on ONNX files alone and measures accuracy with ONNX Runtime on the CPU; needs neither PyTorch nor TensorRT.
"""
