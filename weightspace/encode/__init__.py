"""Checkpoints to latents."""

DEFAULT = "zoo-256"
"""The encoder that is meant where none is named: trained on populations of the zoo; see its card in `model_zoo`."""
