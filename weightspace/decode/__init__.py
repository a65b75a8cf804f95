"""Latents back into networks of any architecture; knows no files and no training."""

DEFAULT = "digits"
"""The decoder that is meant where none is named; see its card in `model_zoo`."""
