"""Where our count of multiply-adds and the published one differ, and why. Imports no torch."""

from __future__ import annotations

COUNTING_NOTES: dict[str, str] = {
    "swin_2d": (
        "published: 3.80 G an image; no rule we know of gives it: convolutions and layers with weights take 4.35 G, "
        "attention's products 0.14 G, together 4.49 G as torchvision documents."
    ),
    "swin_3d": (
        "published: 53.0 G a clip of 24 frames, which is, within 1.3%, three quarters of a clip of 32 without "
        "attention's products (69.8 G); counted here is what 24 frames take: 12 moments are padded to two windows of 8 "
        "(57.9 G), and attention's products (17.9 G) are added."
    ),
}
"""By backbone, why our multiply-adds differ by more than 5% from the published ones (FIDELITY, Backbones)."""
