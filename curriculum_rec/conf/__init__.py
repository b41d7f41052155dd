"""The packaged Hydra configuration groups."""
