"""The benchmark that decides whether an algorithm pays, against others at equal cost; see `benchmarks.value.__main__`."""
