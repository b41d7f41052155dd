"""Data beyond memory (host): a folder of memory-mapped columns, prepared in parts, from which batches are read."""
