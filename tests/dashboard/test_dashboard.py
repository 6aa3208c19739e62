"""The dashboard's server: who may ask, what it answers, and how it follows logs. The page itself is tested in a browser."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

import poptrain as pt
from poptrain import views
from poptrain.core import Result
from poptrain.testing import quadratic
from poptrain.views import panels
from poptrain.views.panels import LineSeries, Picture, PointSeries, Segments
from poptrain.views.panels.model import Texts
from poptrain.views.story import task_at

pytest.importorskip("uvicorn")

from poptrain.dashboard.fleet import Fleet  # noqa: E402
from poptrain.dashboard.guard import is_local  # noqa: E402
from poptrain.dashboard.server import STATIC, Serving  # noqa: E402
from poptrain.dashboard.thin import MOST_OF_LINE, drawable, thinned  # noqa: E402
from poptrain.dashboard.watch import DRAW, Watched  # noqa: E402

SPACE = pt.Space(lr=pt.LogUniform(1e-3, 1e-1), gamma=pt.Complement(0.9, 0.999))


def trained(directory, algorithm=None, steps=40, trainable=quadratic):
    return pt.run(algorithm or pt.pbt(SPACE, population=4, interval=5), trainable, stop=pt.steps(steps), directory=directory)


@contextmanager
def served(*paths):
    """Serves runs on a thread; yields the server."""
    serving, ready = Serving(list(paths)), threading.Event()
    thread = threading.Thread(target=serving.run, args=(ready.set,), daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield serving
    finally:
        serving.stop()
        thread.join(10)
        assert not thread.is_alive()


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


def get(serving, path, token=True, method="GET", **headers):
    """Returns status, headers and text of an answer."""
    if token:
        headers["Authorization"] = f"Bearer {serving.token}"
    request = urllib.request.Request(f"http://127.0.0.1:{serving.port}{path}", headers=headers, method=method)
    try:
        with urllib.request.build_opener(_Stay).open(request, timeout=20) as answer:
            return answer.status, answer.headers, answer.read().decode()
    except urllib.error.HTTPError as error:
        with closing(error):
            return error.code, error.headers, error.read().decode()


def looked_at(path):
    """Returns a watched run whose whole log was read."""
    watched = Watched(path)
    for _ in range(200):
        watched.look()
        if watched.whole() is not None:
            return watched
        threading.Event().wait(0.02)
    raise AssertionError("the log was not read")


def asked(serving, path):
    for _ in range(100):
        status, _, text = get(serving, path)
        if status != 202:
            assert status == 200, text
            return json.loads(text)
        threading.Event().wait(0.05)
    raise AssertionError(f"{path} is still loading")


def events(serving, path, stop):
    """Yields (name, data) from a stream of events until `stop(name, data)`."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{serving.port}{path}", headers={"Authorization": f"Bearer {serving.token}"}
    )
    with urllib.request.urlopen(request, timeout=20) as stream:
        name = ""
        for line in stream:
            if line.startswith(b"event: "):
                name = line[7:].decode().strip()
            elif line.startswith(b"data: "):
                data = json.loads(line[6:])
                yield name, data
                if stop(name, data):
                    return


# -- who may ask ----------------------------------------------------------------------------------------------------------


def test_nothing_is_answered_without_the_token_under_another_name_or_to_another_page(tmp_path):
    trained(tmp_path / "run", steps=5)
    with served(tmp_path / "run") as serving:
        for path in ("/", "/api/runs", "/api/events", "/static/app.js", "/api/runs/0/story?task=0"):
            status, headers, text = get(serving, path, token=False)
            assert status == 401 and "poptrain dashboard" in text and "default-src 'none'" in headers["content-security-policy"]
            assert get(serving, path, Host="evil.example")[0] == 421
            assert get(serving, path, method="POST")[0] == 405
        assert get(serving, "/api/runs", **{"Sec-Fetch-Site": "cross-site"})[0] == 403
        assert get(serving, "/api/runs", Host=f"localhost:{serving.port}")[0] == 200
        last = "y" if serving.token[-1] == "x" else "x"  # one token of 64 ends with the letter itself
        wrong = get(serving, f"/?token={serving.token[:-1]}{last}", token=False)
        assert wrong[0] == 401 and "set-cookie" not in wrong[1]


def test_the_token_moves_from_the_address_into_a_cookie_that_no_script_can_read(tmp_path):
    with served(tmp_path) as serving:
        assert serving.address == f"http://127.0.0.1:{serving.port}/?token={serving.token}"
        status, headers, _ = get(serving, f"//elsewhere.example/?token={serving.token}", token=False)
        assert status == 303 and headers["location"].startswith("/elsewhere")  # never to another host
        status, headers, _ = get(serving, f"/?token={serving.token}&x=1", token=False)
        assert status == 303 and headers["location"] == "/?x=1" and serving.token not in headers["location"]
        cookie = headers["set-cookie"]
        assert "HttpOnly" in cookie and "SameSite=Strict" in cookie
        status, headers, page = get(serving, "/", token=False, Cookie=cookie.partition(";")[0])
        assert status == 200 and "<script" in page and "unsafe" not in headers["content-security-policy"]
        assert "http://" not in page and "https://" not in page and headers["cache-control"] == "no-store"


def test_only_names_of_this_machine_are_local():
    assert all(map(is_local, ("localhost", "localhost:80", "127.0.0.1:8000", "[::1]:5", "LOCALHOST:9")))
    assert not any(map(is_local, ("", "evil.example", "127.0.0.1.evil.example", "localhost.evil.example:80", "[", "evil:1@x")))


def test_the_page_asks_for_all_its_modules_at_once():
    page = (STATIC / "index.html").read_text()
    for module in STATIC.glob("*.js"):
        assert f'"/static/{module.name}"' in page, module.name


def test_a_file_outside_the_page_cannot_be_read(tmp_path):
    with served(tmp_path) as serving:
        assert get(serving, "/static/../server.py")[0] == 404
        assert get(serving, "/static/%2e%2e/server.py")[0] == 404


# -- what it answers ------------------------------------------------------------------------------------------------------


def test_every_picture_story_and_table_of_a_run_is_strict_json(tmp_path):
    run = trained(tmp_path / "run", pt.pb2(SPACE, population=4, interval=5))
    with served(tmp_path / "run") as serving:
        *_, (_, (row,)) = events(serving, "/api/events", lambda name, data: data[0]["state"] != "opening")
        assert row["state"] == "finished" and row["run"] == 0 and row["best"] == run.best.score
        name, status = list(events(serving, "/api/events?run=0", lambda name, data: name == "status" and data["view"]))[-1]
        assert status["view"]["best"]["task"] == run.best.task.id and "model" in status["panels"]
        scores = [each["score"] for each in status["view"]["members"]]
        assert scores == sorted(scores, reverse=True)
        for name in status["panels"]:
            found = asked(serving, f"/api/runs/0/panels/{name}")
            assert found["panels"] and found["version"] >= 0 and found["name"] == name
        copy = run.history.copies()[-1]
        story = asked(serving, f"/api/runs/0/story?task={copy}")
        assert story["came"] == "cloned" and "was replaced" in " ".join(story["why"]) and story["suggestion"]
        assert asked(serving, "/api/runs/0/newest?member=2")["task"] == run.history.head(2)
        found = asked(serving, "/api/runs/0/schedule")
        assert found["task"] == run.best.task.id and f"--task {found['task']}" in found["recipe"][0]["text"]
        assert asked(serving, "/api/runs/0/exploits")["in_all"] == len(run.history.copies())
        assert asked(serving, "/api/runs/0/failures")["rows"] == []
        for path in ("panels/nothing", "story?task=99999", "story?task=x", "newest?member=77"):
            status, _, text = get(serving, f"/api/runs/0/{path}")
            assert status == 404 and json.loads(text)["error"]
        assert get(serving, "/api/runs/5/schedule")[0] == 404


def test_the_code_that_the_page_offers_trains_with_the_schedule(tmp_path):
    trained(tmp_path / "a run", steps=20)
    watched = looked_at(tmp_path / "a run")
    python = next(each["text"] for each in watched.schedule()["recipe"] if each["title"] == "Python")
    setting = "from poptrain.testing import quadratic as train\n"
    done = subprocess.run([sys.executable, "-c", setting + python], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert pt.open_run(tmp_path / "runs" / "replay").record.finished


def failing(carry, hp, steps, seed):
    if seed % 3 == 0:
        raise ValueError("the loss exploded")
    return 1.0, {"score": 1.0}


def test_failures_are_listed_with_their_errors(tmp_path):
    trained(tmp_path / "run", trainable=failing)
    watched = looked_at(tmp_path / "run")
    found = watched.failures()
    assert found["in_all"] == len(found["rows"]) > 0 and "the loss exploded" in found["rows"][0]["what"]
    story = watched.story(found["rows"][0]["task"])
    assert story["state"] == "failed" and "the loss exploded" in story["error"] and story["curve"] == []


# -- following ------------------------------------------------------------------------------------------------------------


def test_a_run_that_begins_later_is_followed_line_by_line_to_its_end(tmp_path):
    reached = threading.Event()
    gate = threading.Event()

    def train(carry, hp, steps, seed):
        if carry == 2:
            reached.set()
            assert gate.wait(20)
        return (carry or 0) + 1, {"score": hp["lr"]}

    with served(tmp_path) as serving:
        assert asked(serving, "/api/runs") == []
        run = threading.Thread(target=trained, args=(tmp_path / "late", None, 20, train), daemon=True)
        run.start()
        assert reached.wait(20)
        for _, data in events(serving, "/api/events", lambda name, data: bool(data) and data[0]["results"] == 8):
            assert all(row["state"] in ("running", "opening") for row in data)
        gate.set()
        seen = [data["view"]["results"] for name, data in events(
            serving, "/api/events?run=0", lambda name, data: name == "status" and data["state"] == "finished"
        ) if name == "status"]  # fmt: skip
        run.join()
        assert seen[-1] == 16 and seen == sorted(seen)


def test_a_long_log_shows_its_status_from_the_digest_before_all_is_read(tmp_path, monkeypatch):
    run = trained(tmp_path / "run")
    monkeypatch.setattr("poptrain.dashboard.watch.Watched._read_all", lambda self, record: None)  # it never gets there
    watched = Watched(tmp_path / "run")
    assert watched.look() and watched.whole() is None
    assert watched.status()["view"]["best"]["task"] == run.best.task.id
    with pytest.raises(Exception, match="0.0"):
        watched.picture("score")


def test_a_story_does_not_wait_for_pictures_which_are_drawn_one_after_another(tmp_path, monkeypatch):
    trained(tmp_path / "run")
    drawn, go_on = [], threading.Event()

    def slow(record):
        drawn.append(len(drawn))
        assert go_on.wait(20)
        return panels.EVERY["score"](record)

    monkeypatch.setitem(DRAW, "tree", slow)
    with served(tmp_path / "run") as serving:
        asked(serving, "/api/runs/0/story?task=0")
        asking = [threading.Thread(target=get, args=(serving, "/api/runs/0/panels/tree")) for _ in range(20)]
        for each in asking:
            each.start()
        assert asked(serving, "/api/runs/0/story?task=9")["task"] == 9
        assert len(drawn) <= 1
        go_on.set()
        for each in asking:
            each.join(20)


def test_a_damaged_log_is_a_state_and_not_an_error_of_the_server(tmp_path):
    trained(tmp_path / "run", steps=10)
    path = tmp_path / "run" / "log-000001.jsonl"
    lines = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join([*lines[:3], lines[3][:-9] + b"XXXXXXXX}", *lines[4:]]))
    (tmp_path / "run" / "digest.json").unlink()
    watched = Watched(tmp_path / "run")
    watched.look()
    assert watched.summary()["state"] == "damaged" and "Restore the file" in watched.summary()["error"]


def test_a_directory_that_vanishes_is_a_state_and_may_come_back(tmp_path):
    best = trained(tmp_path / "run", steps=10).best.score
    watched = looked_at(tmp_path / "run")
    (tmp_path / "run").rename(tmp_path / "away")
    assert watched.look() and not watched.look()
    assert watched.summary()["state"] == "gone" and watched.status()["view"]["best"]["score"] == best and watched.picture("score")
    (tmp_path / "away").rename(tmp_path / "run")
    assert watched.look() and watched.summary()["state"] == "finished"
    (tmp_path / "run").rename(tmp_path / "away")
    watched.look()
    other = trained(tmp_path / "run", steps=15).best.score
    watched.look()
    assert watched.summary()["state"] == "finished" and watched.summary()["best"] == other


def test_a_silent_run_keeps_its_times_up_to_date_and_draws_nothing_again(tmp_path, monkeypatch):
    monkeypatch.setattr("poptrain.dashboard.watch.BEAT", 0.0)
    reached, gate = threading.Event(), threading.Event()

    def train(carry, hp, steps, seed):
        if carry == 2:
            reached.set()
            assert gate.wait(60)
        return (carry or 0) + 1, {"score": hp["lr"] * hp["gamma"]}

    run = threading.Thread(target=trained, args=(tmp_path / "run", None, 20, train), daemon=True)
    run.start()
    assert reached.wait(20)
    watched = Watched(tmp_path / "run")
    assert watched.look()
    version, elapsed = watched.version, watched.view.elapsed
    assert watched.look() and watched.version == version and watched.view.elapsed > elapsed
    gate.set()
    run.join()
    watched.look()
    assert watched.summary()["state"] == "finished" and not watched.look(), "of a run that has ended, nothing changes"


def test_a_run_that_stopped_has_no_member_that_trains(tmp_path):
    def train(carry, hp, steps, seed):
        if carry == 2:
            raise KeyboardInterrupt
        return (carry or 0) + 1, {"score": hp["lr"] * hp["gamma"]}

    with pytest.raises(BaseException):  # noqa: B017  (the interrupt itself)
        trained(tmp_path / "run", trainable=train)
    members = looked_at(tmp_path / "run").status()["view"]["members"]
    assert "suspended" in {each["state"] for each in members} <= {"suspended", "waiting"}


def test_several_runs_are_compared_and_keep_their_numbers(tmp_path):
    for seed in (0, 1):
        pt.run(pt.pbt(SPACE, population=3, interval=5), quadratic, stop=pt.steps(15), directory=tmp_path / f"b{seed}", seed=seed)
    fleet = Fleet([tmp_path])
    fleet.look()
    pt.run(pt.random_search(SPACE, population=3, interval=5), quadratic, stop=pt.steps(15), directory=tmp_path / "a")
    assert fleet.scan() and [run.path.name for run in fleet.runs] == ["b0", "b1", "a"]
    while any(run.whole() is None for run in fleet.runs):
        fleet.look()
    found = fleet.comparison()
    assert len(found["picture"]["panels"]) == 2 and found["pairs"]
    with pytest.raises(pt.UsageError, match="no run 9"):
        fleet.run(9)


def test_a_run_opens_its_dashboard_which_ends_with_the_process(tmp_path):
    code = """if True:
        import urllib.request, poptrain as pt
        from poptrain.testing import quadratic
        algorithm = pt.random_search(pt.Space(lr=pt.Uniform(0.01, 0.1)), population=2, interval=5)
        again = lambda: pt.run(algorithm, quadratic, stop=pt.steps(10), directory="run", dashboard=True)
        assert again().record.finished and again().record.finished
        from poptrain.dashboard.beside import _open
        (process,) = _open.values()
        print(process.pid)
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("dashboard: http://127.0.0.1:") == 1
    for _ in range(100):
        if not (Path("/proc") / done.stdout.strip()).exists():
            break
        threading.Event().wait(0.1)
    else:
        raise AssertionError("the dashboard is still running")
    with pytest.raises(pt.UsageError, match="needs a directory"):
        pt.run(pt.pbt(SPACE, population=2, interval=5), quadratic, stop=pt.steps(5), dashboard=True)


# -- thinning -------------------------------------------------------------------------------------------------------------


def test_a_thinned_line_keeps_its_ends_its_extremes_and_its_gaps():
    y = [float(k % 7) for k in range(50_000)]
    y[12_345], y[40_000] = 99.0, -99.0
    line = LineSeries(name="a", x=list(range(50_000)), y=y)
    thin = thinned(line)
    assert len(thin.x) <= MOST_OF_LINE and (thin.x[0], thin.x[-1]) == (0, 49_999) and {99.0, -99.0} <= set(thin.y)
    broken = thinned(LineSeries(name="a", x=list(range(50_000)), y=[None if k % 1000 == 999 else v for k, v in enumerate(y)]))
    assert sum(value is None for value in broken.y) == 49 + 1 and 99.0 in broken.y
    assert thinned(thin) is thin


def test_thinned_pieces_cover_what_they_stand_for():
    n = 30_000
    rows = [k % 3 for k in range(n)]
    item = Segments(
        name="training", x=[k // 3 for k in range(n)], y=rows, x_end=[k // 3 + 1 for k in range(n)], y_end=rows,
        values=[float(k) for k in range(n)], texts=[str(k) for k in range(n)], tasks=list(range(n)),
    )  # fmt: skip
    thin = thinned(item)
    assert len(thin.x) < 3_000 and min(thin.x) == 0 and max(thin.x_end) == n // 3
    assert sum(end - begin for begin, end in zip(thin.x, thin.x_end, strict=True)) == n
    assert len(thin.tasks) == len(thin.texts) == len(thin.values) == len(thin.x) and "tasks, from step" in thin.texts[0]
    points = thinned(PointSeries(name="p", x=list(range(9_999)), y=[0.0] * 9_999, tasks=list(range(9_999))))
    assert points.tasks[-1] == 9_998 and points.x == points.tasks


def test_texts_of_pieces_that_are_not_shown_are_never_made():
    made = []

    def about(task):
        made.append(task)
        return f"task {task}"

    points = PointSeries(name="p", x=list(range(9_999)), y=[0.0] * 9_999, texts=Texts(about, range(9_999)))
    shown = views.as_json(thinned(points))
    assert len(made) == len(shown["x"]) == len(shown["texts"]) < 1_000
    assert shown["texts"] == [f"task {x}" for x in shown["x"]]
    assert Texts(about, [1, 2, 3])[1:] == ["task 2", "task 3"] and list(Texts(about, ())) == []


def test_a_small_picture_is_not_changed(tmp_path):
    record = trained(tmp_path / "run").record
    for picture in panels.pictures(record):
        assert drawable(picture)["of"] == 0 and isinstance(picture, Picture)
    assert set(DRAW) >= {"score", "tree", "model", "subpopulations"}


# -- stories --------------------------------------------------------------------------------------------------------------


def test_a_story_says_why_a_member_was_replaced_by_ranks_at_that_moment():
    run = trained(None)
    for id in run.history.copies():
        story = views.story(run.record, id)
        text = " ".join(story.why)
        assert (
            f"Member {story.member} was replaced" in text and f"It copied member {story.donor}" in text and "truncation" in text
        )
        before = run.history.at(run.history.issued(id))
        own = before.score(run.history.previous(id))
        rank = 1 + sum(before.score(int(each)) > own for each in before.standing())
        assert f"rank {rank} of 4" in text
        assert story.before == run.history.task(story.parent).hparams and story.ancestors[-1].task == id
    fresh = views.story(run.record, 0)
    assert fresh.came == "fresh" and fresh.before is None and fresh.changes == {} and fresh.gain is None
    assert set(fresh.children) == {id for id in range(run.history.n) if run.history.task(id).parent == 0}


def test_the_task_at_a_step_is_found_along_the_ancestry_and_on_the_seat():
    run = trained(None)
    best = run.best.task.id
    for step in range(1, 41):
        found = task_at(run.record, best, step)
        assert found in run.history.descent(best) and run.history.begin(found) < step <= run.history.end(found)
        seat = task_at(run.record, best, step, "seat")
        assert run.history.task(seat).member == run.best.task.member
        assert run.history.begin(seat) < step <= run.history.end(seat)


def test_a_story_of_a_pending_task_and_of_a_minimised_run():
    def loss(carry, hp, steps, seed):
        return 0, {"loss": hp["lr"]}

    run = pt.run(pt.pbt(SPACE, population=4, interval=5), loss, metric="loss", mode="min", stop=pt.steps(20))
    story = views.story(run.record, run.history.copies()[-1])
    assert story.score == story.hparams["lr"] and "rank 4 of 4" in story.why[0]
    lines = run.record.lines
    cut = next(number for number in range(len(lines) - 1, 0, -1) if isinstance(lines[number][0], Result))
    run.record.lines = lines[:cut]
    del run.record.times[cut:]
    pending = run.history.n - 1
    assert views.story(run.record, pending).state == "pending"
