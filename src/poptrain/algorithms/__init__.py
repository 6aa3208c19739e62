"""The algorithms: one paper, one file, each a pure function from the history to the next tasks."""

from poptrain.algorithms.fire.fire_pbt import fire_pbt
from poptrain.algorithms.grid_search import grid_search
from poptrain.algorithms.optuna_search import optuna_search
from poptrain.algorithms.pb2 import pb2
from poptrain.algorithms.pb2_mix import pb2_mix, pb2_mult
from poptrain.algorithms.pbt import pbt
from poptrain.algorithms.random_search import random_search
from poptrain.algorithms.schedule_replay import schedule_replay

__all__ = ["fire_pbt", "grid_search", "optuna_search", "pb2", "pb2_mix", "pb2_mult", "pbt", "random_search", "schedule_replay"]
