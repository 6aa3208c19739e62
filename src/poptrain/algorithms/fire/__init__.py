"""FIRE PBT: one paper, one folder. Begin with `fire_pbt`."""
