"""One room per agent; each agent implements `poptrain.trainable.PopulationTrainable`."""
