"""Which trailers there are: the manifest, its splits, and synthetic trailers to try things on."""
