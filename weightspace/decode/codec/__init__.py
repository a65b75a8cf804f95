"""Weights as few bytes and back, for the same architecture."""
