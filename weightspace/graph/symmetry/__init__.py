"""Relabelling, rescaling, canonical order and alignment of a checkpoint along its graph."""
