"""Frozen image and video networks: a table of them, their weights, and clips of frames turned into vectors."""
