"""What the tools may be asked: the type of each parameter, with the description and the limits that its JSON schema publishes."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field  # the official SDK needs it too

Run = Annotated[str, Field(description="Name of a run as the tool `runs` lists it, or the path of its directory.")]
Runs = Annotated[
    list[str], Field(description="Names of at least two runs, as the tool `runs` lists them. Runs of one algorithm are grouped.")
]
Member = Annotated[int | None, Field(ge=0, description="Number of a member. Omit it for all members.")]
Task = Annotated[
    int | None,
    Field(ge=0, description="Number of a task, as `decisions` and `lineage` list it. Omit it for the task with the best score."),
]
Limit = Annotated[int, Field(ge=1, description="Largest number of rows in the answer. `in_all` is the number that there are.")]
Steps = Annotated[int, Field(ge=1, description="New budget of each member in steps, larger than the present `budget`.")]
