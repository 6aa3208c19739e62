"""The same task with each adapter, as a user would write it: `benchmarks.adapters` counts the lines and watches them run."""
