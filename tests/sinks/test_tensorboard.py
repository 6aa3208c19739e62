"""Event files hold what the log says, once: parsed back record by record, checksums included."""

from __future__ import annotations

import struct
from collections import defaultdict

import pytest

import poptrain as pt
from poptrain.log.reader import read
from poptrain.sinks.points import PointReader
from poptrain.testing import quadratic

pytestmark = pytest.mark.heavy
pytest.importorskip("tensorboardX")

from tensorboardX.proto.event_pb2 import Event  # noqa: E402
from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData  # noqa: E402
from tensorboardX.record_writer import masked_crc32c  # noqa: E402

SPACE = pt.Space(lr=pt.LogUniform(1e-4, 1e-1), act=pt.Choice("relu", "tanh"), bias=pt.Choice(True, False))
PBT = pt.pbt(SPACE, population=4, interval=5, sync=False, exploit=pt.truncation(0.25))


def train(carry, hp, steps, seed):
    if seed % 9 == 0:
        raise ValueError("a planted fault")
    return quadratic(carry, {"lr": hp["lr"]}, steps, seed)


def run(directory, *sinks, stop=40):
    return pt.run(PBT, train, stop=pt.steps(stop), directory=directory, seed=3, sinks=sinks)


def events(path):
    """Yields the events of one file; a wrong length or checksum is an error."""
    data, at = path.read_bytes(), 0
    while at < len(data):
        (size,), (check,) = struct.unpack_from("<Q", data, at), struct.unpack_from("<I", data, at + 8)
        assert check == masked_crc32c(data[at : at + 8])
        body = data[at + 12 : at + 12 + size]
        assert struct.unpack_from("<I", data, at + 12 + size)[0] == masked_crc32c(body)
        yield Event.FromString(body)
        at += 16 + size


def files(logdir):
    """Returns the one event file of every folder that is not empty."""
    found = defaultdict(list)
    for path in sorted(logdir.glob("**/events.out.tfevents.*")):
        if path.stat().st_size > 0:  # else it was a file of an earlier session
            found[str(path.parent.relative_to(logdir))].append(path)
    assert all(len(paths) == 1 for paths in found.values()), "a folder is written twice"
    return {folder: paths[0] for folder, paths in found.items()}


def scalars(path):
    """Returns (step, value) by tag, in the order of the file."""
    series = defaultdict(list)
    for event in events(path):
        for value in event.summary.value:
            if value.WhichOneof("value") == "simple_value":
                series[value.tag].append((event.step, value.simple_value))
    return dict(series)


def all_of(logdir):
    return {folder: scalars(path) for folder, path in files(logdir).items()}


def check(logdir, directory):
    """Members and population hold every point of the log in order, with steps that only grow."""
    says = defaultdict(lambda: defaultdict(list))
    for point in PointReader(read(directory)).read_on(read(directory)):
        folder = "population" if point.member is None else f"member-{point.member:02d}"
        says[folder][point.name].append((point.step, struct.unpack("<f", struct.pack("<f", point.value))[0]))
    held = {folder: series for folder, series in all_of(logdir).items() if not folder.startswith(("ancestry", "hparams"))}
    assert repr(held) == repr({folder: dict(says[folder]) for folder in held}) and set(held) == set(says)
    for series in held.values():
        assert all([step for step, _ in points] == sorted(step for step, _ in points) for points in series.values())


def export(directory, logdir):
    from poptrain.cli import app

    assert app(["export", str(directory), "--to", "tensorboard", "--out", str(logdir)], standalone_mode=False) in (0, None)


def test_a_live_run_is_in_the_files_and_an_export_adds_nothing(tmp_path):
    run(tmp_path / "r", pt.sinks.TensorBoard(tmp_path / "tb"))
    check(tmp_path / "tb", tmp_path / "r")
    before = all_of(tmp_path / "tb")
    export(tmp_path / "r", tmp_path / "tb")
    export(tmp_path / "r", tmp_path / "other")
    assert repr(all_of(tmp_path / "tb")) == repr(before) == repr(all_of(tmp_path / "other"))


def test_ancestral_curves_are_those_of_the_views(tmp_path):
    done = run(tmp_path / "r", pt.sinks.TensorBoard(tmp_path / "tb"))
    view = pt.views.curves(done.record)
    for curve in view.members:
        series = scalars(files(tmp_path / "tb")[f"ancestry/member-{curve.member:02d}"])
        assert [step for step, _ in series["score"]] == [step for step, _ in curve.points]
        assert [value for _, value in series["score"]] == pytest.approx([score for _, score in curve.points], rel=1e-6)
    best = scalars(files(tmp_path / "tb")["ancestry/best"])
    assert best["score"][-1][1] == pytest.approx(done.best.score, rel=1e-6)
    assert best["hparams/lr"][-1][1] == pytest.approx(done.best.hparams["lr"], rel=1e-6)


def test_hparams_are_those_that_each_member_ended_with(tmp_path):
    done = run(tmp_path / "r", pt.sinks.TensorBoard(tmp_path / "tb"))
    for seat in range(4):
        found = {}
        for event in events(files(tmp_path / "tb")[f"hparams/member-{seat:02d}"]):
            for value in event.summary.value:
                if value.metadata.plugin_data.plugin_name == "hparams":
                    data = HParamsPluginData.FromString(value.metadata.plugin_data.content)
                    for name, item in data.session_start_info.hparams.items():
                        found[name] = getattr(item, item.WhichOneof("kind"))
        assert found == done.member(seat).hparams


def test_after_a_crash_nothing_is_there_twice(tmp_path, monkeypatch):
    class Dies(BaseException):
        pass

    class Dying(pt.sinks.TensorBoard):
        every = 0.0

        def close(self):
            pass  # the process is gone

    from poptrain.log.writer import Log

    append, count = Log.append, 0

    def dying(self, line, **how):
        nonlocal count
        count += 1
        if count > 15:
            raise Dies
        append(self, line, **how)

    with monkeypatch.context() as patch:
        patch.setattr(Log, "append", dying)
        with pytest.raises(Dies):
            run(tmp_path / "r", Dying(tmp_path / "tb"))
    left = files(tmp_path / "tb")["member-00"]
    left.write_bytes(left.read_bytes()[:-7])  # torn
    run(tmp_path / "r", pt.sinks.TensorBoard(tmp_path / "tb"))
    check(tmp_path / "tb", tmp_path / "r")


def test_two_runs_do_not_share_a_directory(tmp_path):
    run(tmp_path / "a", pt.sinks.TensorBoard(tmp_path / "tb"), stop=10)
    (tmp_path / "tb" / "member-00" / "events.out.tfevents.1.mine").write_bytes(b"of somebody else")
    with pytest.warns(UserWarning, match="another run: give each run a directory"):
        run(tmp_path / "b", pt.sinks.TensorBoard(tmp_path / "tb"), stop=10)
    run(tmp_path / "a", pt.sinks.TensorBoard(tmp_path / "tb"), stop=20)
    assert (tmp_path / "tb" / "member-00" / "events.out.tfevents.1.mine").read_bytes() == b"of somebody else"


def test_every_hyperparameter_is_a_column_also_one_whose_value_is_none(tmp_path):
    def clipped(carry, hp, steps, seed):
        x = (carry or 0.0) + (2.0 if hp["clip"] is None else hp["clip"])
        return x, {"score": x}

    space = pt.Space(clip=pt.Choice(None, 0.5), bias=pt.Choice(True, False), lr=pt.LogUniform(1e-4, 1e-1))
    initial = [{"clip": None}, {"clip": 0.5}, {"clip": 0.5}]
    algorithm = pt.pbt(space, population=3, interval=1, explore=None, initial=initial)
    pt.run(algorithm, clipped, stop=pt.steps(2), sinks=[pt.sinks.TensorBoard(tmp_path)])
    for folder in ("ancestry", "hparams"):  # for programs that read one file, and for TensorBoard's table
        cells, columns = {}, set()
        for path in sorted(tmp_path.glob(f"{folder}/*/*")):
            for event in events(path):
                for value in event.summary.value:
                    data = HParamsPluginData.FromString(value.metadata.plugin_data.content)
                    if value.tag == "_hparams_/experiment":
                        columns.add(path.parent.name)
                        assert {info.name for info in data.experiment.hparam_infos} == {"clip", "bias", "lr"}
                    if value.tag == "_hparams_/session_start_info":
                        assert set(data.session_start_info.hparams) == {"clip", "bias", "lr"}
                        cells[path.parent.name] = data.session_start_info.hparams["clip"].string_value
        assert cells["best"] == cells["member-00"] == "None" and set(cells.values()) <= {"None", "0.5"}
        assert columns == (set(cells) if folder == "ancestry" else set())
