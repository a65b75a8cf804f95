"""What a checkpoint holds: reports from headers alone, and statistics of the weights."""
