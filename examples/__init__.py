"""Examples: run an experiment with `poptrain run examples/NAME.py`; run `demo` and `rllib_ppo` with `python -m examples.NAME`."""
