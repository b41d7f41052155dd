"""Training: one step body, placed anywhere; an engine that dispatches it; stages, checkpoints and run directories."""
