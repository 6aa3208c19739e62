"""Benchmarks. `python -m benchmarks.NAME [--quick] --json` measures the figures of one of them."""
