"""The disk: faults become sentences, names cannot leave the directory, links are never followed, time can be faked."""

from __future__ import annotations

import errno
import os
import pickle
from pathlib import Path

import pytest
from faulty_fs import BAD_NAMES, FaultyFS

from poptrain.core import clock
from poptrain.core.errors import Suspended, UsageError
from poptrain.core.file_name import safe_name
from poptrain.log.disk import FS, default, inside


def write_once(fs: FS, directory: Path) -> None:
    fs.make_dir(directory / "d")
    fs.write_new(directory / "d" / "f", b"abc")
    fs.fsync(directory / "d" / "f")
    fd = fs.open_append(directory / "d" / "f")
    fs.append(fd, b"def", directory / "d" / "f")
    fs.sync(fd, directory / "d" / "f")
    fs.truncate(fd, 2, directory / "d" / "f")
    fs.close(fd)
    fs.rename(directory / "d" / "f", directory / "d" / "g")
    fs.fsync_dir(directory / "d")
    os.close(fs.lock(directory / "lock"))
    fs.remove(directory / "d" / "g")
    fs.remove_tree(directory / "d")


def test_every_changing_operation_passes_the_plan_and_becomes_suspended(tmp_path):
    plan = FaultyFS()
    (tmp_path / "sound").mkdir()
    write_once(plan, tmp_path / "sound")
    names = {name for name, _ in plan.operations}
    assert names == {
        "make_dir", "write_new", "fsync", "open_append", "append", "sync", "truncate", "rename", "fsync_dir", "lock",
        "remove", "remove_tree",
    }  # fmt: skip
    for code in (errno.ENOSPC, errno.EIO, errno.EROFS):
        for at in range(len(plan.operations)):
            directory = tmp_path / f"{code}-{at}"
            directory.mkdir()
            with pytest.raises(Suspended, match=r"cannot write .*bytes free.*poptrain resume ") as caught:
                write_once(FaultyFS(at, code), directory)
            assert str(directory) in str(caught.value)
            assert caught.value.exit_code == 3
            assert isinstance(pickle.loads(pickle.dumps(caught.value)), Suspended)  # it may come from a worker


def test_the_resume_hint_names_the_run_directory(tmp_path):
    (tmp_path / "log-000001.jsonl").touch()
    path = tmp_path / "checkpoints" / "a" / "MANIFEST.json"
    message = str(default.suspended(OSError(errno.ENOSPC, ""), path))
    assert message.startswith("disk full") and message.endswith(f"`poptrain resume {tmp_path}`")


def test_files_are_private_and_written_once(tmp_path):
    default.make_dir(tmp_path / "d")
    default.write_new(tmp_path / "d" / "f", b"x")
    assert (tmp_path / "d").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "d" / "f").stat().st_mode & 0o777 == 0o600
    with pytest.raises(FileExistsError):
        default.write_new(tmp_path / "d" / "f", b"y")


def test_links_and_pipes_are_not_followed(tmp_path):
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "precious").write_text("precious")
    run = tmp_path / "run"
    run.mkdir()
    (run / "file").symlink_to(victim / "precious")
    (run / "dir").symlink_to(victim)
    os.mkfifo(run / "pipe")
    for path in (run / "file", run / "pipe"):
        with pytest.raises(UsageError, match="does not follow"):
            default.read(path)
        with pytest.raises((UsageError, OSError)):
            default.open_append(path)
        with pytest.raises((UsageError, OSError)):
            default.lock(path)
        with pytest.raises(FileExistsError):
            default.write_new(path, b"mine")
    with pytest.raises(UsageError, match="does not follow"):
        default.make_dir(run / "dir")
    with pytest.raises(UsageError, match="does not follow"):
        inside(run, "dir")
    assert default.walk(run) == {"file": -1, "dir": -1, "pipe": -1}
    default.remove_tree(run / "dir")
    default.remove_tree(run)
    assert (victim / "precious").read_text() == "precious" and not run.exists()


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_name_that_could_be_more_than_a_name_is_refused(tmp_path, name):
    with pytest.raises(UsageError):
        safe_name(name)
    with pytest.raises(UsageError):
        inside(tmp_path.resolve(), name)


def test_good_names_stay_inside(tmp_path):
    for name in ("a", "m003-t000012-1.1", "A_b.c-d", "0", "x" * 128, "a..b"):
        assert inside(tmp_path.resolve(), name) == tmp_path.resolve() / name


def test_a_directory_of_somebody_else_or_everybody_is_refused(tmp_path, monkeypatch):
    default.check_owner(tmp_path)
    tmp_path.chmod(0o777)
    with pytest.raises(UsageError, match="every user"):
        default.check_owner(tmp_path)
    tmp_path.chmod(0o700)
    monkeypatch.setattr(os, "geteuid", lambda: tmp_path.stat().st_uid + 1)
    with pytest.raises(UsageError, match="belongs to user"):
        default.check_owner(tmp_path)


def test_what_callers_handle_by_name_keeps_its_type_and_a_vanished_directory_suspends(tmp_path):
    default.write_new(tmp_path / "f", b"")
    with pytest.raises(FileExistsError):
        default.write_new(tmp_path / "f", b"")
    with pytest.raises(FileNotFoundError):
        default.read(tmp_path / "g")
    with pytest.raises(Suspended, match="nowhere was removed, renamed or replaced during the run.*put it back"):
        default.write_new(tmp_path / "nowhere" / "f", b"")


def test_a_lock_is_held_by_one_and_ends_with_its_descriptor(tmp_path):
    first = default.lock(tmp_path / "lock")
    assert default.lock(tmp_path / "lock") is None
    default.close(first)
    os.close(default.lock(tmp_path / "lock"))


def test_time_can_be_faked():
    with clock.use(clock.FakeClock(wall=0.25)) as fake:
        assert clock.utc() == "1970-01-01T00:00:00.250Z" and clock.parse_utc(clock.utc()) == 0.25
        clock.sleep(3600)
        fake.jump(-86400)
        assert clock.monotonic() == 3600 and clock.now() == 3600.25 - 86400
    assert clock.monotonic() != 3600
