"""Figures: every module here is `python -m benchmarks.NAME [--quick] --json`."""
