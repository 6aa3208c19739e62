"""Checkpoints: carries as bytes, and the stores that keep them: in memory, on disk, at a URL."""
