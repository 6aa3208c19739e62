"""FIRE PBT: one paper in one folder. Read `fire_pbt` first, then `evaluations`, `round` and `curves`."""
