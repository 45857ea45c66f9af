"""Heads: what is trained on top of frozen clip vectors."""
