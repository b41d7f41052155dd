"""Tuning (host): a search over an experiment's options, shared by processes, each trial an ordinary run."""
