"""Public model zoos read into populations: one file a published layout."""
