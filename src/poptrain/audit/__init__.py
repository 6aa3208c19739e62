"""The audit: is a run what its log says? Every decision is recomputed."""
