"""What TensorBoard itself reads, its curves and its HParams table, after kills and resumes: everything, and nothing twice."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest
from sinks import killed

import poptrain as pt
from poptrain.log.reader import read
from poptrain.sinks.points import PointReader
from poptrain.testing import quadratic

pytestmark = pytest.mark.heavy
pytest.importorskip("tensorboardX")
pytest.importorskip("tensorboard")

from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider  # noqa: E402
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer  # noqa: E402
from tensorboard.context import RequestContext  # noqa: E402
from tensorboard.plugins.base_plugin import TBContext  # noqa: E402
from tensorboard.plugins.hparams import api_pb2  # noqa: E402
from tensorboard.plugins.hparams.backend_context import Context  # noqa: E402
from tensorboard.plugins.hparams.get_experiment import Handler as Columns  # noqa: E402
from tensorboard.plugins.hparams.list_session_groups import Handler as Rows  # noqa: E402


def opened(logdir):
    """Returns what TensorBoard has read from a directory."""
    everything = EventMultiplexer(size_guidance={"scalars": 0, "tensors": 0})
    return everything.AddRunsFromDirectory(str(logdir)).Reload()


def curves(found):
    """Returns (step, value) by run and series."""
    series = {run: about["tensors"] for run, about in found.Runs().items()}
    held = {
        run: {
            tag: [(each.step, float(np.ravel(each.tensor_proto.float_val)[0])) for each in found.Tensors(run, tag)]
            for tag in tags
            if not tag.startswith("_hparams_")
        }
        for run, tags in series.items()
    }
    return {run: tags for run, tags in held.items() if tags}


def table(found):
    """Returns the columns of the HParams table with their types, the metrics, and the rows by session."""
    context = Context(TBContext(data_provider=MultiplexerDataProvider(found, "")))
    metadata = context.hparams_metadata(RequestContext(), "")
    about = context.experiment_from_metadata(RequestContext(), "", True, metadata, [])
    columns = {info.name: api_pb2.DataType.Name(info.type)[10:] for info in about.hparam_infos}
    request = api_pb2.ListSessionGroupsRequest(slice_size=1000, allowed_statuses=[0, 1, 2, 3])
    request.col_params.extend(api_pb2.ColParams(hparam=name, include_in_result=True) for name in columns)
    rows = {}
    for group in Rows(RequestContext(), context, "", request).run().session_groups:
        cells = {name: getattr(value, value.WhichOneof("kind")) for name, value in group.hparams.items()}
        for one in group.sessions:
            rows[one.name] = cells, {value.name.tag: (value.training_step, value.value) for value in one.metric_values}
    assert Columns(RequestContext(), context, "", api_pb2.GetExperimentRequest()).run().hparam_infos
    return columns, {info.name.tag for info in about.metric_infos}, rows


def test_after_kills_and_resumes_every_point_and_every_row_is_there_once(tmp_path):
    """For a TensorBoard that opens the directory at the end, and for one that has read it after each session."""
    watching = opened(tmp_path / "tb")
    for _ in killed.sessions("tensorboard", tmp_path):
        watching.AddRunsFromDirectory(str(tmp_path / "tb")).Reload()
        assert curves(watching), "the killed sessions have written something"
    record = read(tmp_path / "run")
    says = defaultdict(lambda: defaultdict(list))
    for point in PointReader(record).read_on(record):
        run = "population" if point.member is None else f"member-{point.member:02d}"
        says[run][point.name].append((point.step, float(np.float32(point.value))))
    for held in curves(opened(tmp_path / "tb")), curves(watching):
        assert {run: held[run] for run in says} == {run: dict(tags) for run, tags in says.items()}

    columns, metrics, rows = table(opened(tmp_path / "tb"))
    assert columns == {"lr": "FLOAT64", "act": "STRING", "clip": "STRING"} and metrics == {"score"}
    done = pt.open_run(tmp_path / "run")
    ends = {f"hparams/member-{seat:02d}": done.member(seat) for seat in range(3)} | {"hparams/best": done.best}
    assert set(rows) == set(ends)
    for name, (cells, values) in rows.items():
        assert cells == {**ends[name].hparams, "clip": str(ends[name].hparams["clip"])}, name
        step, score = values["score"]
        assert step == ends[name].step and score == pytest.approx(ends[name].score, rel=1e-6), name


def test_runs_in_one_directory_have_every_column_also_those_of_other_spaces(tmp_path):
    """Also a hyperparameter that only one run has, one that is a number here and a text there, and other metrics."""
    spaces = {
        "sgd": pt.Space(lr=pt.LogUniform(1e-4, 1e-1), momentum=pt.Uniform(0.5, 0.9), betas=pt.Uniform(0.5, 0.9)),
        "adam": pt.Space(lr=pt.LogUniform(1e-4, 1e-1), betas=pt.Choice("low", "high"), amsgrad=pt.Choice(True, False)),
    }
    first = {"sgd": {"lr": 1e-3, "momentum": 0.6, "betas": 0.7}, "adam": {"lr": 1e-3, "betas": "low", "amsgrad": False}}

    def train(carry, hp, steps, seed):
        carry, metrics = quadratic(carry, {"lr": dict(hp)["lr"]}, steps, seed)
        return carry, metrics | {"loss": -metrics["score"]}

    scores = {"sgd": ("score", "max"), "adam": ("loss", "min")}
    watching, done = opened(tmp_path), {}
    for name, space in spaces.items():
        algorithm = pt.pbt(space, population=2, interval=5, initial=[first[name]] * 2, explore=pt.resample())
        metric, mode = scores[name]
        sink = pt.sinks.TensorBoard(tmp_path / name)
        done[name] = pt.run(algorithm, train, metric=metric, mode=mode, stop=pt.steps(30), sinks=[sink], progress=False)
        watching.AddRunsFromDirectory(str(tmp_path)).Reload()
    for reader in watching, opened(tmp_path):
        columns, metrics, rows = table(reader)
        assert columns == {"lr": "FLOAT64", "momentum": "FLOAT64", "betas": "STRING", "amsgrad": "BOOL"}
        assert len(rows) == 6 and metrics == {"score", "loss"}
        for name, (cells, values) in rows.items():
            run = name.split("/")[0]
            assert set(cells) == set(spaces[run]) and set(values) == {scores[run][0]}, name
        for name, run in done.items():
            cells, values = rows[f"{name}/hparams/best"]
            assert cells == run.best.hparams and values[scores[name][0]][1] == pytest.approx(run.best.score, rel=1e-6)
