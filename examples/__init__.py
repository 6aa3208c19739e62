"""Examples. Run an experiment with `poptrain run examples/NAME.py`, the scripts `demo` and `rllib_ppo` with `python -m examples.NAME`."""
