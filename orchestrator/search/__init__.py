"""Searches: what may be drawn, what is drawn next, what is pruned. Optuna's only importer besides reporting."""
