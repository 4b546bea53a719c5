"""ckptd: fetch pretrained checkpoints, prove them, and keep on proving them."""

__version__ = "0.1.0"
