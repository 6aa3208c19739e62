"""The Gaussian process of the Bayesian algorithms: kernels, posterior, the rows it learns from, and the acquisition."""
