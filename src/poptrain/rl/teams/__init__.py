"""Teams: several actors that share gradients, critics or memories, and are one member of a population.

Selection inside a team is seeded computation: no line of the log lies between its decisions. PBT and PB2 may tune a team's
hyperparameters as those of any member, and the metric ``team`` has the scores of its actors.
"""
