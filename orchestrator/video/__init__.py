"""Video files in, arrays out: decoding on the 24 fps grid, shots, clips. No Ray."""
