"""The experiment file that tests of the command line write down: four members learn a quadratic."""

FILE = """
import poptrain as pt
from poptrain.testing import quadratic

space = pt.Space(lr=pt.LogUniform(1e-4, 1e-1))
experiment = pt.Experiment(pt.pbt(space, population=4, interval=5), quadratic, stop=pt.steps(20))
"""
