"""Admission, queue, batches and the inference worker: no tensors, no HTTP."""
