"""The experiment of the golden run that the environment variable GOLDEN names: a file for the command line."""

import os

from golden_experiments import EXPERIMENTS

experiment = EXPERIMENTS[os.environ["GOLDEN"]]()
