"""Named tensors and where they came from: reading and writing files, headers first, never executing a pickle."""
