"""From files to examples, on the host: sources -> cleaning -> split -> examples. Nothing here imports JAX."""
