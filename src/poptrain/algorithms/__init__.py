"""The algorithms: one paper, one file, each a pure function from the history to the next tasks."""

from poptrain.algorithms.grid_search import grid_search
from poptrain.algorithms.pbt import pbt
from poptrain.algorithms.random_search import random_search

__all__ = ["grid_search", "pbt", "random_search"]
