"""The table of latents and what looks at it alone."""
