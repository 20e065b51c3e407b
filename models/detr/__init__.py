"""DETR as published (Carion et al., arXiv 2005.12872), with parameter names of the published checkpoints."""
