"""Latents back into networks of any architecture; knows no files and no training."""
