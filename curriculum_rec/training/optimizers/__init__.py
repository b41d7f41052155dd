"""Optimizers (device): options around optax, all of whose states grow with the model."""
