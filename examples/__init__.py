"""Experiments: `poptrain run examples/NAME.py`; `demo` and `rllib_ppo` are scripts: `python -m examples.NAME`."""
