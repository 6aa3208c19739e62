"""F1, F2, F4, F6, F8: a run from a stranger is data. Reading it executes nothing, and a crafted log is refused in a sentence."""

from __future__ import annotations

import copy
import json
import os
import stat
import time
from pathlib import Path
from zlib import crc32

import pytest

import poptrain as pt
from poptrain import views
from poptrain.audit.verify import verify
from poptrain.checkpoints.store import DiskStore
from poptrain.cli import main
from poptrain.engine.started import remember
from poptrain.log.reader import read
from poptrain.sinks.best import table_as_csv
from poptrain.views.digest import Following

FILE = """
from pathlib import Path
import poptrain as pt
from poptrain.testing import quadratic
Path("canary").write_text("executed")
space = pt.Space(lr=pt.LogUniform(1e-3, 1e-1), aug=pt.Choice("a", "\\x1b[31mred\\u202e"))
experiment = pt.Experiment(pt.pbt(space, population=3, interval=5), quadratic, stop=pt.steps(15))
"""
PLOT = pytest.param(["plot", "--out", "plots"], marks=pytest.mark.heavy)  # importing Matplotlib takes seconds
VERBS = [
    *(["status"], ["lineage"], ["schedule"], ["verify"], ["verify", "--log-only"], ["report", "--out", "r.html"]),
    *(["export", "--table", "t.csv"], ["export", "--best", "best"]),
]
EXECUTING = [["verify"], ["resume", "--steps", "20", "-q"], ["replay", "-q"], ["export", "--video", "v.gif"]]
WRONG = [None, True, -1, 2**53, 10**400, 1e308, "", "x" * 100_000, "\x1b[31m\u202e", [], {}, [[[]]], {"$f": "nan"}, {"$f": 5}]


def named(verb):
    return [verb[0], "received", *verb[1:]]


@pytest.fixture
def received(folder, monkeypatch):
    """A run that was started by another user, who has another home, with its experiment file next to it."""
    Path("experiment.py").write_text(FILE)
    with monkeypatch.context() as other:
        other.setenv("XDG_STATE_HOME", str(folder / "another home"))
        assert main(["run", "experiment.py", "--dir", "received", "-q"]) == 0
    Path("canary").unlink()
    return folder / "received"


@pytest.mark.parametrize("verb", [*VERBS, PLOT], ids=" ".join)
def test_f1_no_verb_that_reads_executes_anything(received, verb, capsys):
    assert main(named(verb)) == 0
    assert not Path("canary").exists()
    if verb == ["verify"]:
        assert "the log names" in capsys.readouterr().out


@pytest.mark.parametrize("how", ["a stranger's", "changed", "other arguments", "a link"])
def test_f1_a_file_that_only_the_log_names_is_not_executed(received, how, capsys):
    record = read(received)
    if how == "changed":
        remember(received, record.file)
        Path("experiment.py").write_text(FILE + "# more")
    elif how == "other arguments":
        remember(received, {**record.file, "argv": ["--delete", "all"]})
    elif how == "a link":
        Path("experiment.py").rename("other.py")
        Path("experiment.py").symlink_to("other.py")
    for verb in EXECUTING:
        code = main(named(verb))
        said = capsys.readouterr()
        assert code == (0 if verb == ["verify"] else 2) and not Path("canary").exists(), verb
        assert "executing" not in said.err and ("changed" if how == "changed" else "have not started") in said.out + said.err


def test_f1_what_this_user_started_is_executed_again_and_printed_first(received, capsys):
    remember(received, read(received).file)
    for verb in EXECUTING[:2]:
        assert main(named(verb)) == 0 and Path("canary").exists()
        assert capsys.readouterr().err.startswith(f"executing {Path('experiment.py').resolve()}\n")
        Path("canary").unlink()


def test_f1_a_file_that_is_named_is_executed(received):
    assert main(["verify", "received", "--experiment", "experiment.py"]) == 0 and Path("canary").exists()


def test_a_home_that_cannot_be_written_stops_no_run(received, monkeypatch):
    Path("no home").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(Path("no home").resolve()))
    assert main(["resume", "received", "--experiment", "experiment.py", "--steps", "20", "-q"]) == 0


# -- what is written about a run ------------------------------------------------------------------------------------------


def test_f4_control_and_bidi_characters_are_escaped_in_every_table(received, capsys):
    assert main(["export", "received", "--table", "t.csv"]) == 0
    assert main(["schedule", "received", "--csv"]) == 0
    for text in (Path("t.csv").read_text(), capsys.readouterr().out):
        assert "\x1b" not in text and "\u202e" not in text
    assert "\\x1b[31mred\\u202e" in Path("t.csv").read_text()


@pytest.mark.parametrize("mode", [0o700, 0o755])
def test_f8_what_is_written_about_a_private_run_is_private(received, mode):
    received.chmod(mode)
    before = os.umask(0o022)
    try:
        for verb in VERBS[5:]:
            assert main(named(verb)) == 0
        assert os.umask(0o022) == 0o022
    finally:
        os.umask(before)
    for path in ("r.html", "t.csv", "best/best.json", "best/table.csv"):
        assert stat.S_IMODE(Path(path).stat().st_mode) == (0o600 if mode == 0o700 else 0o644), path


# -- crafted logs ---------------------------------------------------------------------------------------------------------


def crafted(entries, directory):
    """Writes lines of a log, with right checksums."""
    crc, lines = 0, []
    for number, entry in enumerate(entries):
        body = json.dumps({key: entry[key] for key in "vqewtd"} | {"q": number}, separators=(",", ":")).encode()
        crc = crc32(body, crc)
        lines.append(b'%s,"c":"%08x"}\n' % (body[:-1], crc))
    directory.mkdir(exist_ok=True)
    (directory / "log-000001.jsonl").write_bytes(b"".join(lines))


def places(value, at=()):
    """Yields the path of every value in a line; of a list, the first."""
    yield at
    inner = value.items() if isinstance(value, dict) else enumerate(value[:1]) if isinstance(value, list) else ()
    for key, item in inner:
        yield from places(item, (*at, key))


def looks(directory):
    """Opens a run, and looks at it in every way."""
    record = read(directory)
    views.dumps([views.status(record), views.story(record), views.lineage(record), views.compare([record, record])])
    views.schedule(record).to_csv()
    table_as_csv(record, record.history())
    return verify(directory)


@pytest.fixture(scope="module")
def entries(tmp_path_factory):
    directory = tmp_path_factory.mktemp("crafted") / "r"
    space = pt.Space(lr=pt.LogUniform(1e-3, 1e-1), aug=pt.Choice("a", "b"))
    pt.run(pt.pbt(space, population=3, interval=5), pt.testing.quadratic, stop=pt.steps(10), directory=directory, progress=False)
    return [json.loads(line) for line in (directory / "log-000001.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("wrong", WRONG, ids=lambda value: repr(value)[:20])
def test_f6_a_crafted_log_is_read_or_refused_in_a_sentence(entries, wrong, tmp_path):
    slowest, number = 0.0, WRONG.index(wrong)
    for at, entry in enumerate(entries):
        for k, path in enumerate(places(entry["d"])):
            if (at + k) % len(WRONG) != number % 7:
                continue  # a part of all pairs: together some hundred logs
            changed = copy.deepcopy(entries)
            inner = changed[at]
            for key in ("d", *path)[:-1]:
                inner = inner[key]
            inner[("d", *path)[-1]] = wrong
            crafted(changed, tmp_path / "r")
            began = time.process_time()
            try:
                looks(tmp_path / "r")
            except pt.PoptrainError as error:
                assert "\n" not in str(error) and len(str(error)) < 1000
            slowest = max(slowest, time.process_time() - began)
    assert slowest < 2


def test_f6_numbers_far_outside_the_ranges_are_shown(entries, tmp_path, folder, capsys):
    changed = copy.deepcopy(entries)
    for entry in changed:
        if entry["t"] == "tasks":
            entry["d"][0]["hparams"]["lr"] = 1e308
        elif entry["t"] == "results":
            entry["d"][0]["score"] = 10**300
    crafted(changed, tmp_path / "r")
    for words in (["status", "r"], ["compare", "r", "r2"], ["report", "r", "--out", "r.html"], ["schedule", "r"]):
        crafted(entries, tmp_path / "r2")
        words = [str(tmp_path / word) if word.startswith("r") and len(word) < 3 else word for word in words]
        main(words)
        assert "internal error" not in capsys.readouterr().err, words


def test_f6_a_digest_or_manifest_of_any_size_is_read_in_part(entries, tmp_path):
    crafted(entries, tmp_path / "r")
    for name in ("digest.json", "checkpoints/m000-t000000-1.1/MANIFEST.json"):
        (tmp_path / "r" / name).parent.mkdir(parents=True, exist_ok=True)
        with open(tmp_path / "r" / name, "wb") as file:
            file.truncate(1 << 42)  # it takes no space
    assert views.status(read(tmp_path / "r")).tasks and Following(tmp_path / "r").look().tasks
    assert "differs from the hash" in (DiskStore(tmp_path / "r").damage("m000-t000000-1.1:0123456789abcdef") or "")


@pytest.mark.parametrize("member", [10**6, 10**9])
def test_f6_a_huge_member_costs_no_memory_and_no_time(entries, member, tmp_path):
    changed = copy.deepcopy(entries)
    next(each for each in changed if each["t"] == "tasks")["d"][2]["member"] = member
    crafted(changed, tmp_path / "r")
    began = time.process_time()
    if member < 2**20:
        looks(tmp_path / "r")
    else:
        with pytest.raises(pt.errors.LogDamaged, match="member=1000000000, expected a whole number"):
            looks(tmp_path / "r")
    assert time.process_time() - began < 3
