"""Heads: what is trained, on frozen clip vectors or, for TimeSformer, on frames."""
