"""Checkpoints as parameter graphs: axes of units and the blocks that sit on them."""
