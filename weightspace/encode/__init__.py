"""Checkpoints to latents."""
