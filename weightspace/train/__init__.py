"""Losses and loops: the only place with an optimiser besides `zoo/`."""
