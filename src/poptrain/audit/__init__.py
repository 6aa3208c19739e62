"""The audit: verifies that a run is what its log says, and recomputes every decision."""
