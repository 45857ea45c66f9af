"""Training of one head on one split: snippets, trainer, metrics."""
