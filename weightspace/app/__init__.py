"""The explorer: a latent table in a browser on this machine, with networks decoded live."""
