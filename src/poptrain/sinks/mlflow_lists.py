"""What MLflow lists besides runs: the best checkpoint as a logged model, and the data set that all members train on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from poptrain.core.errors import UsageError

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

KIND = "poptrain checkpoint"  # the type of the model in MLflow
TASK, RUN = "poptrain.task", "poptrain.id"  # tags of a model


@runtime_checkable
class Describes(Protocol):
    """A data set of MLflow, such as ``mlflow.data.from_numpy(x, targets=y, name="digits")``."""

    def to_dict(self) -> dict[str, str]: ...


def checked_dataset(dataset: object) -> Describes | None:
    """Returns the data set; raises a `UsageError` if MLflow has no such thing."""
    if dataset is None or isinstance(dataset, Describes):
        return dataset
    kind = type(dataset).__name__
    raise UsageError(f"pt.sinks.MLflow(dataset=…) got {kind}: pass a data set of MLflow, such as mlflow.data.from_numpy(x, y).")


def log_dataset(client: MlflowClient, run: str, dataset: Describes) -> None:
    """Names the data set of a run, unless the run names it already."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    described = Dataset.from_dictionary(dataset.to_dict())
    held = {each.dataset.digest for each in client.get_run(run).inputs.dataset_inputs}
    if described.digest not in held:
        client.log_inputs(run, [DatasetInput(described, [InputTag("mlflow.data.context", "training")])])


def log_model(
    client: MlflowClient, experiment: str, run: str, folder: Path, *, id: str, task: int, step: int, hparams: Mapping[str, object]
) -> None:
    """Makes the checkpoint of a task a logged model of the parent run, unless it is one already.

    Args:
        experiment, run: their ids in MLflow.
        folder: of the checkpoint, as `write_best` has written it.
        id: of the poptrain run.
        task, step, hparams: of the checkpoint.
    """
    from mlflow.entities import LoggedModelOutput, LoggedModelStatus

    query = f"tags.`{RUN}` = '{id}' AND tags.`{TASK}` = '{task}'"
    found = list(client.search_logged_models([experiment], filter_string=query))
    if any(model.status == LoggedModelStatus.READY for model in found):
        return
    params = {name: str(value) for name, value in hparams.items()}
    tags = {RUN: id, TASK: str(task)}
    model = (
        found[0]
        if found
        else client.create_logged_model(
            experiment, name=f"task-{task:06d}", source_run_id=run, tags=tags, params=params, model_type=KIND
        )
    )
    client.log_model_artifacts(model.model_id, str(folder))
    client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
    client.log_outputs(run, [LoggedModelOutput(model.model_id, step)])
