"""From a typed ONNX file to an engine, with a record of what was built from what beside it."""
