"""Triton kernels, each with a plain-PyTorch twin; imported when a GPU needs them, since Triton may be missing."""
