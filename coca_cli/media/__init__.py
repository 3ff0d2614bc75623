"""Bytes -> tensors: pictures, clips, batches."""
