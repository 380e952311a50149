"""Running exported generators: sessions, backends, label maps in, pictures out, and the profiler.

This room is all that a device needs. It imports numpy and Pillow; ONNX Runtime and TensorRT only when a
session asks for them; torch and onnx never.
"""
