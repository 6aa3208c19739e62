"""The server and its tools. Each tool is a view of a run, as strict JSON; the reading ones change nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from poptrain import __version__, views
from poptrain.audit.verify import verify as verification_of
from poptrain.core.errors import MissingExtra, PoptrainError, Unreadable, UsageError
from poptrain.integrations.mcp.runs import Runs
from poptrain.views import as_json
from poptrain.views.exploits import exploits_of
from poptrain.views.index import history_of

try:
    from mcp.server.mcpserver.tools import Tool
    from mcp.types import ToolAnnotations

    from poptrain.integrations.mcp import changes, parameters
    from poptrain.integrations.mcp.answers import Answering, explained
except ImportError as error:
    raise MissingExtra("the MCP server needs the official SDK: pip install 'poptrain[mcp]'") from error

Answer = dict[str, Any]  # JSON
MOST = 100  # rows of an answer, unless `limit` says otherwise
ABOUT = (
    "Runs of population-based training (poptrain). Call `runs` first; every other tool takes the name of a run. `status` says "
    "how it stands, `decisions` which members were replaced, `why` what led to a task, `schedule` the hyperparameters over the "
    "steps that led to the best result. Scores have the user's sign; `mode` says whether more is better. Steps are the user's "
    "unit of progress."
)


def server(roots: Sequence[Path], allow_changes: bool = False) -> Answering:
    """Returns the server for the runs below some directories.

    Args:
        roots: run directories, or directories that contain some.
        allow_changes: offer the tools that suspend, resume and extend runs too.
    """
    runs = Runs(roots)
    reads = ToolAnnotations(read_only_hint=True, open_world_hint=False)
    tools = [Tool.from_function(tool, annotations=reads) for tool in _reading_tools(runs)]
    if allow_changes:
        writes = ToolAnnotations(read_only_hint=False, destructive_hint=False)
        tools += [Tool.from_function(tool, annotations=writes) for tool in changes.tools(runs)]
    return Answering("poptrain", tools, instructions=ABOUT, version=__version__, log_level="WARNING")


def _reading_tools(known: Runs) -> list[Callable[..., Answer]]:
    def runs() -> Answer:
        """List all runs with their state, algorithm, best score and progress."""
        rows = []
        for name in known.paths():
            try:
                view = views.status(known.record(name))
            except (PoptrainError, OSError) as error:
                reason = explained(error)
                state = "unreadable" if isinstance(reason, Unreadable) else "damaged"
                rows.append({"run": name, "state": state, "code": reason.code, "error": str(reason)})
                continue
            best = None if view.best is None else view.best.score
            row = {"run": name, "best": best, "members": len(view.members)}
            keep = "state reason algorithm metric mode generation generations results exploits failed elapsed left"
            rows.append(row | {key: getattr(view, key) for key in keep.split()})
        return {"runs": as_json(rows)}

    def status(run: parameters.Run) -> Answer:
        """Say how a run stands: state, best result with its evidence, progress, time left, warnings, and gauges in sentences."""
        view = views.status(known.record(run))
        found: Answer = as_json(view)
        del found["members"], found["last_suggestions"]
        return found | {"gauges_in_words": list(view.sentences()), "members_in_all": len(view.members)}

    def members(run: parameters.Run, limit: parameters.Limit = MOST) -> Answer:
        """List the members of a run as they are now, best first: score, step, hyperparameters, failures, last copy."""
        view = views.status(known.record(run))
        sign = -1 if view.mode == "min" else 1
        ranked = sorted(view.members, key=lambda each: (each.score is not None, sign * (each.score or 0.0)), reverse=True)
        return {"members": as_json(ranked[:limit]), "in_all": len(ranked), "metric": view.metric, "mode": view.mode}

    def lineage(run: parameters.Run, task: parameters.Task = None, limit: parameters.Limit = MOST) -> Answer:
        """List the ancestors of a task (default: of the best result), oldest first: where its weights come from."""
        found = views.lineage(known.record(run), task)
        rows = found.ancestors[-limit:]
        about = {"task": found.task, "member": found.member, "founders": found.founders, "in_all": len(found.ancestors)}
        return {**as_json(about), "ancestors": as_json(rows)}

    def schedule(run: parameters.Run, task: parameters.Task = None) -> Answer:
        """Return the hyperparameters over the steps that led to a task (default: to the best result)."""
        found: Answer = as_json(views.schedule(known.record(run), task))
        return found

    def decisions(run: parameters.Run, member: parameters.Member = None, limit: parameters.Limit = MOST) -> Answer:
        """List the exploits of a run, newest first: which member was replaced by a copy of which one, and what changed."""
        record = known.record(run)
        history = history_of(record)
        if member is not None and history.head(member) < 0:
            raise UsageError(f"no member {member} in this run: `members` lists those that there are.")
        ids = [id for id in history.copies() if member is None or history.task(id).member == member]
        rows = exploits_of(history, record.times, ids[-limit:])
        found = [{**as_json(each), "changes": as_json(each.changes)} for each in reversed(rows)]
        return {"decisions": found, "in_all": len(ids), "no_decision": views.status(record).no_decision}

    def why(run: parameters.Run, task: parameters.Task = None) -> Answer:
        """Explain one task (default: the best): why it was decided, what it copied and changed, what came of it, its error."""
        found = views.story(known.record(run), task)
        return {**as_json(found), "changes": as_json(found.changes)}

    def compare(runs: parameters.Runs) -> Answer:
        """Compare runs of one task by method: scores with intervals, and the sentences that the evidence supports."""
        found: Answer = as_json(views.compare([known.record(run) for run in runs]))
        return found

    def verify(run: parameters.Run) -> Answer:
        """Check the lines of a log and the hashes of its checkpoints. Decisions are not recomputed: that would execute a file."""
        found = verification_of(known.path(run), None)
        return {"ok": found.ok, **as_json(found)}

    return [runs, status, members, lineage, schedule, decisions, why, compare, verify]
