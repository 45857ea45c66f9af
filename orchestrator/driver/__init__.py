"""The driver of a sweep: holds its lock, extracts and trains what is missing; starts Ray only if it must."""
