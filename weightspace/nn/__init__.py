"""Equivariant building blocks: they know tensors and indices, neither files nor graphs."""
