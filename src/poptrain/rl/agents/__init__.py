"""One agent, one file; each implements `poptrain.trainable.PopulationTrainable`."""
