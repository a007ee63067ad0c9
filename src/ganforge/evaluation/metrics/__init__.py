"""Metrics: pure functions, one kind per file; tensors in, numbers out."""
