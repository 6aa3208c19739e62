"""Bayesian Generational Population Based Training (arXiv:2207.09405)."""
