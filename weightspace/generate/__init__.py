"""Distributions over latents, conditioned on properties: draw, interpolate, vary."""
