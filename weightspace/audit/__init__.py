"""Is what was generated good and new? Baselines, novelty, conditioning, reports."""
