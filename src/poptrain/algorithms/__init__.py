"""The algorithms: one paper, one file or folder. Each is a pure function from the history to the next tasks.

A name that is listed here is public as ``pt.NAME``.
"""

from poptrain.algorithms.bg_pbt.bg_pbt import bg_pbt as bg_pbt
from poptrain.algorithms.fire.fire_pbt import fire_pbt as fire_pbt
from poptrain.algorithms.grid_search import grid_search as grid_search
from poptrain.algorithms.optuna_search import optuna_search as optuna_search
from poptrain.algorithms.pb2_family import pb2 as pb2
from poptrain.algorithms.pb2_family import pb2_mix as pb2_mix
from poptrain.algorithms.pb2_family import pb2_mult as pb2_mult
from poptrain.algorithms.pbt import pbt as pbt
from poptrain.algorithms.random_search import random_search as random_search
from poptrain.algorithms.schedule_replay import schedule_replay as schedule_replay

__all__ = sorted(name for name, value in globals().items() if callable(value) and not name.startswith("_"))  # the imports above
