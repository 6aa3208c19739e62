"""The MCP server, asked with the official client: every tool, over standard input and output and in the process."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import poptrain as pt
from poptrain import views
from poptrain.log.reader import read
from poptrain.testing import quadratic

pytest.importorskip("mcp")

from mcp import Client, StdioServerParameters  # noqa: E402

from poptrain.integrations.mcp.server import server  # noqa: E402

pytestmark = pytest.mark.heavy
SOURCE = Path(pt.__file__).parents[1]
SPACE = pt.Space(lr=pt.LogUniform(1e-3, 1e-1), gamma=pt.Complement(0.9, 0.999))
READING = {"runs", "status", "members", "lineage", "schedule", "decisions", "why", "compare", "verify"}
SLOW = """
import time
import poptrain as pt
def train(carry, hp, steps, seed):
    time.sleep(0.05)
    return (carry or 0) + 1, {"score": hp["lr"]}
experiment = pt.Experiment(pt.pbt(pt.Space(lr=pt.Uniform(0, 1)), population=2, interval=1), train, stop=pt.steps(STEPS))
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    for name, algorithm in (("pb2", pt.pb2(SPACE, population=4, interval=5)), ("random", pt.random_search(SPACE, 4, interval=5))):
        pt.run(algorithm, quadratic, stop=pt.steps(30), directory=folder / name)
    return folder


def environment():
    return {**os.environ, "PYTHONPATH": str(SOURCE)}


def talk(target, conversation):
    """Runs `conversation(call, client)` with a client; ``call(tool, **arguments)`` returns (object, error text)."""

    async def go():
        async with Client(target) as client:

            async def call(tool, **arguments):
                found = await client.call_tool(tool, arguments)
                text = "".join(part.text for part in found.content if part.type == "text")
                if found.is_error:
                    return None, text
                data = json.loads(text, parse_constant=lambda name: pytest.fail(f"not strict JSON: {name}"))
                assert found.structured_content in (None, data)
                return data, None

            return await conversation(call, client)

    return asyncio.run(asyncio.wait_for(go(), 90))


def test_every_reading_tool_answers_what_the_views_say(runs):
    async def conversation(call, client):
        tools = (await client.list_tools()).tools
        assert {tool.name for tool in tools} == READING
        assert all(
            tool.description and tool.annotations.read_only_hint and tool.input_schema["type"] == "object" for tool in tools
        )
        listed, _ = await call("runs")
        assert [row["run"] for row in listed["runs"]] == ["pb2", "random"]
        record = read(runs / "pb2")
        history = record.history()
        status, _ = await call("status", run="pb2")
        assert status["best"]["task"] == views.status(record).best.task and status["gauges_in_words"]
        members, _ = await call("members", run="pb2", limit=2)
        assert len(members["members"]) == 2 and members["in_all"] == 4
        lineage, _ = await call("lineage", run="pb2")
        assert [each["task"] for each in lineage["ancestors"]] == history.descent(status["best"]["task"])
        schedule, _ = await call("schedule", run="pb2")
        assert schedule["segments"][-1]["end"] == schedule["step"] == 30
        decisions, _ = await call("decisions", run="pb2")
        assert [each["task"] for each in decisions["decisions"]] == history.copies()[::-1]
        only, _ = await call("decisions", run="pb2", member=decisions["decisions"][0]["member"], limit=1)
        assert only["decisions"] == decisions["decisions"][:1]
        why, _ = await call("why", run="pb2", task=decisions["decisions"][0]["task"])
        assert "was replaced" in why["why"][0] and why["donor"] == decisions["decisions"][0]["donor"]
        compared, _ = await call("compare", runs=["pb2", "random"])
        assert len(compared["methods"]) == 2 and compared["said"]
        verified, _ = await call("verify", run="pb2")
        assert verified["ok"] is True
        return None

    talk(server([runs]), conversation)


def test_every_parameter_of_every_tool_is_described_and_no_other_one_is_accepted(runs):
    async def conversation(call, client):
        for tool in (await client.list_tools()).tools:
            schema = tool.input_schema
            assert schema["additionalProperties"] is False
            for name, about in schema["properties"].items():
                assert about["description"].endswith("."), (tool.name, name)
            right = {name: {"run": "pb2", "runs": ["pb2", "random"], "steps": 99}[name] for name in schema.get("required", ())}
            for wrong in ({"nonsense": 1}, *({name: {"a": 1}} for name in schema["properties"])):
                _, error = await call(tool.name, **{**right, **wrong})
                assert error.startswith("usage: ") and next(iter(wrong)) in error and "pydantic" not in error, error
            for name in right:
                _, error = await call(tool.name, **{key: value for key, value in right.items() if key != name})
                assert error.startswith(f"usage: {tool.name}: {name} is missing. "), error
        _, error = await call("statu")
        assert error.startswith("usage: ") and "Did you mean 'status'?" in error

    talk(server([runs], allow_changes=True), conversation)


def test_a_refusal_has_its_code_as_data_too(runs):
    async def go():
        async with Client(server([runs])) as client:
            return await client.call_tool("why", {"run": "pb2", "task": -1})

    found = asyncio.run(go())
    assert found.is_error and found.structured_content["code"] == "usage"
    assert found.content[0].text == f"usage: {found.structured_content['message']}"


def test_what_may_not_be_read_is_refused_with_its_path_and_hides_nothing_else(runs, monkeypatch):
    def forbidden(path):
        if path.name == "random":
            raise PermissionError(13, "Permission denied", str(path))
        return read(path)

    async def conversation(call, client):
        _, error = await call("status", run="random")
        assert error.startswith("error: ") and "Permission denied" in error and str(runs / "random") in error
        listed, _ = await call("runs")
        assert [row["state"] for row in listed["runs"]] == ["finished", "unreadable"]

    monkeypatch.setattr("poptrain.integrations.mcp.runs.read", forbidden)
    talk(server([runs]), conversation)


def test_a_log_that_the_system_does_not_let_us_read_is_listed_and_hides_nothing_else(runs, monkeypatch):
    log, opened = str(runs / "random" / "log-000001.jsonl"), os.open

    def forbidding(path, *args, **named):
        if str(path) == log:
            raise PermissionError(13, "Permission denied", log)
        return opened(path, *args, **named)

    async def conversation(call, client):
        for tool in ("status", "verify", "why"):
            _, error = await call(tool, run="random")
            assert error.startswith(f"error: {log}: Permission denied. ") and "resume" not in error
        listed, _ = await call("runs")
        assert [row["state"] for row in listed["runs"]] == ["finished", "unreadable"]
        assert "Permission denied" in listed["runs"][1]["error"]

    monkeypatch.setattr(os, "open", forbidding)
    talk(server([runs]), conversation)


def test_errors_are_sentences_with_a_code_and_no_path_leads_outside(runs, tmp_path):
    async def conversation(call, client):
        for tool, arguments in (
            ("status", {"run": "pb3"}),
            ("why", {"run": "pb2", "task": 10**6}),
            ("compare", {"runs": ["pb2"]}),
        ):
            _, error = await call(tool, **arguments)
            assert error.startswith("usage: ") and "Traceback" not in error
        _, error = await call("status", run="pb3")
        assert "Did you mean 'pb2'?" in error
        for path in ("../outside", str(tmp_path / "outside"), "/etc"):
            _, error = await call("status", run=path)
            assert "no run" in error
        _, error = await call("suspend", run="pb2")
        assert error

    pt.run(pt.random_search(SPACE, 2, interval=5), quadratic, stop=pt.steps(5), directory=tmp_path / "outside")
    (runs / "link").symlink_to(tmp_path / "outside")
    talk(server([runs]), conversation)
    (runs / "link").unlink()


def test_a_program_finds_out_why_and_what_over_mcp_alone(runs):
    done = subprocess.run(
        [sys.executable, "-m", "examples.ask_with_mcp", str(runs)],
        capture_output=True, text=True, env=environment(), cwd=Path(__file__).parents[2], timeout=90,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    record = read(runs / "pb2")
    story = views.story(record, record.history().copies()[-1])
    assert all(sentence in done.stdout for sentence in story.why)
    for segment in views.schedule(record).segments:
        assert f"steps {segment.start} to {segment.end}" in done.stdout


def test_runs_are_suspended_resumed_and_extended_only_with_the_flag(tmp_path):
    (tmp_path / "slow_experiment.py").write_text(SLOW.replace("STEPS", "400"))
    words = [sys.executable, "-m", "poptrain", "run", str(tmp_path / "slow_experiment.py"), "--dir", str(tmp_path / "run"), "-q"]
    with subprocess.Popen(words, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        for _ in range(200):
            if (tmp_path / "run" / "log-000001.jsonl").exists() and read(tmp_path / "run").has_results:
                break
            time.sleep(0.1)

        async def conversation(call, client):
            async def until(state):
                for _ in range(150):
                    found, _ = await call("status", run="run")
                    if found["state"] == state:
                        return found
                    await asyncio.sleep(0.2)
                raise AssertionError(f"never {state}: {found['state']}")

            tools = (await client.list_tools()).tools
            assert {tool.name for tool in tools} == READING | {"suspend", "resume", "extend"}
            _, error = await call("extend", run="run", steps=10)
            assert "usage: " in error and "400" in error
            asked, _ = await call("suspend", run="run")
            assert asked["asked"] == process.pid
            before = (await until("suspended"))["results"]
            _, error = await call("suspend", run="run")
            assert "no process trains" in error
            started, _ = await call("resume", run="run")
            assert started["started"] != process.pid
            await until("running")
            for _ in range(100):
                if (await call("status", run="run"))[0]["results"] > before:
                    break
                await asyncio.sleep(0.1)
            else:
                raise AssertionError("the resumed run does not train")
            await call("suspend", run="run")
            await until("suspended")

        stdio = StdioServerParameters(
            command=sys.executable, args=["-m", "poptrain", "mcp", str(tmp_path), "--allow-changes"], env=environment()
        )
        talk(stdio, conversation)
        assert process.wait(30) == 143


def test_a_finished_run_is_extended(tmp_path):
    (tmp_path / "slow_experiment.py").write_text(SLOW.replace("STEPS", "2"))
    done = subprocess.run(
        [sys.executable, "-m", "poptrain", "run", "slow_experiment.py", "--dir", "run", "-q"], cwd=tmp_path, env=environment()
    )
    assert done.returncode == 0

    async def conversation(call, client):
        await call("extend", run="run", steps=4)
        for _ in range(100):
            found, _ = await call("status", run="run")
            if found["state"] == "finished" and found["budget"] == 4:
                return
            await asyncio.sleep(0.1)
        raise AssertionError(found)

    os.environ["PYTHONPATH"], before = str(SOURCE), os.environ.get("PYTHONPATH")
    try:
        talk(server([tmp_path], allow_changes=True), conversation)
    finally:
        os.environ.pop("PYTHONPATH") if before is None else os.environ.update(PYTHONPATH=before)
