"""Models in the formats of other programs: folders of transformers, and graphs of ONNX and OpenVINO."""
