"""Status: what a run is doing now, member by member."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil

from poptrain.core import Hparams, Task, clock
from poptrain.core.brief import in_lines
from poptrain.core.causes import cause
from poptrain.core.evidence import HIGHEST, extreme
from poptrain.log.notes import COMPLETE
from poptrain.log.reader import Record
from poptrain.views.decisions import no_decision
from poptrain.views.ending import ending
from poptrain.views.exploits import Exploit
from poptrain.views.format import clean, short
from poptrain.views.gauges import Gauges, gauges_of
from poptrain.views.index import about, algorithm_name, chosen_at_end
from poptrain.views.lock_holder import Writer, writer_of
from poptrain.views.pace import limits, overdue, speed_of
from poptrain.views.phases import RegionMoment, Rung, sentences_of
from poptrain.views.sources import of_run
from poptrain.views.state import RunState, state_of
from poptrain.views.suggestions import Suggestion, suggestion_of
from poptrain.views.teams import team_sentence

_PHASES = {"open": "interrupted", "suspend": "suspended", "end": "finished", "failed": "failed"}


@dataclass(frozen=True)
class Member:
    """One seat. Score and step are those of the weights it holds: right after an exploit, its donor's."""

    member: int
    state: str  # training (or queued), waiting, finished, failed
    step: int
    score: float | None  # None: it holds no weights yet
    hparams: Hparams  # of its newest task, which may be pending, or have failed
    score_hparams: Hparams | None  # those that made the score; None: it has none
    tasks: int  # results so far
    failures: int  # of them failed or diverged, and checkpoints lost
    error: str | None  # the newest failure, one line
    cloned_from: int | None  # the member that it last copied
    cloned_at: int | None  # the lineage step of that

    __repr__ = in_lines


@dataclass(frozen=True)
class Trouble:
    """The cause of failures, and the members whose newest failure has it."""

    error: str  # the text of the first of them: the others may differ in a number or a path
    members: tuple[int, ...]

    __repr__ = in_lines


@dataclass(frozen=True)
class Best:
    """The best result of the run so far."""

    task: int
    member: int
    step: int
    score: float
    hparams: Hparams
    evidence: str = HIGHEST  # why it is the best
    team: tuple[float | None, ...] = ()  # the scores of its actors, if it is a team; None: an actor without a score

    __repr__ = in_lines


@dataclass(frozen=True)
class Status:
    """The whole run. Scores have the user's sign, and times are in seconds. A rate or time that is not known is None."""

    directory: str | None
    state: str  # running, finished, suspended, failed, interrupted (it did not end, and no process writes it)
    reason: str | None  # why it ended, was suspended or failed
    writer: Writer | None  # the process that writes it now
    algorithm: str
    trainable: str
    metric: str
    mode: str
    seed: int
    budget: int | None  # steps per member
    generation: int  # results that every member still in the run has
    generations: int | None
    best: Best | None
    members: tuple[Member, ...]
    evaluators: int  # seats that only measure members (FIRE PBT)
    architectures: int  # generations of architectures before this one (BG-PBT)
    distilling: int  # candidates that are being distilled for the next one
    rung: Rung | None  # of the halving of these candidates
    region: RegionMoment | None  # the trust region at the newest decision in this generation (BG-PBT)
    tasks: int
    results: int
    failed: int
    diverged: int
    lost: int
    exploits: int
    no_decision: str | None  # why no member has copied another one; None if one did, or may still do so
    last_exploits: tuple[Exploit, ...]  # newest last
    gauges: Gauges  # selection, greediness, diversity
    last_suggestions: tuple[Suggestion, ...]  # of the newest round with a model's proposals (PB2)
    steps: int  # trained by all members together
    steps_per_second: float | None  # recently
    steps_per_second_overall: float | None
    elapsed: float  # over all sessions
    left: float | None
    warnings: tuple[str, ...]

    __repr__ = in_lines

    @property
    def rounds(self) -> str:
        """The generation in words: ``7 of 20``. Members that share their budgets may train more intervals than the budget has."""
        known = self.generations is not None and self.reached <= self.generations
        return f"{self.reached:,}" + (f" of {self.generations:,}" if known else "")

    @property
    def reached(self) -> int:
        """The generation that all members have reached: the last one of a complete run, though a member may have begun late."""
        complete = self.state == "finished" and self.reason == _ending(COMPLETE, self.members, self.budget)
        return max(self.generation, self.generations or 0) if complete else self.generation

    def sentences(self) -> tuple[str, ...]:
        """Returns the phase of BG-PBT, what the gauges mean, and how the actors of the best team compare; () for nothing."""
        team = None if self.best is None else team_sentence(self.metric, self.best.team)
        return (*sentences_of(self.rung, self.region), *self.gauges.sentences(), *([team] if team else []))

    def doing(self, member: Member) -> str:
        """Returns the state of a member for people: no one goes on when the run does not."""
        if self.state == "finished" and member.state in ("training", "waiting"):
            return "finished"
        stopped = self.state not in ("running", "finished")
        return "suspended" if stopped and member.state == "training" else member.state

    def values(self, member: Member) -> Hparams:
        """Returns what a table shows next to the score of a member: the values that made it, unless it trains others now."""
        training = self.doing(member) in ("training", "suspended")
        return member.hparams if training or member.score_hparams is None else member.score_hparams

    @property
    def troubles(self) -> tuple[Trouble, ...]:
        """The newest failures of the members by cause, the most frequent one first."""
        by_cause: dict[str, list[Member]] = {}
        for member in self.members:
            if member.error is not None:
                by_cause.setdefault(cause(member.error), []).append(member)
        ordered = sorted(by_cause.values(), key=len, reverse=True)
        return tuple(Trouble(str(found[0].error), tuple(each.member for each in found)) for found in ordered)


@of_run
def status(record: Record) -> Status:
    """Returns the status of a run as its record was read."""
    return status_of(record, state_of(record))


def status_of(record: Record, state: RunState) -> Status:
    """Returns the status from a state of one's own, for a reader on a thread of its own."""
    phase, reason = _phase(record)
    writer = writer_of(record) if phase == "interrupted" else None
    if writer is not None or (phase == "interrupted" and record.directory is None):
        phase = "running"
    elapsed, budget, (metric, mode) = record.elapsed, record.budget, about(record)
    if writer is not None:
        elapsed += max(0.0, clock.now() - _last(record, state))
    shared = _shares_budget(record)
    members = tuple(_member(state, seat, budget, shared) for seat in state.members())
    if phase == "finished":
        reason = _ending(reason, members, budget)
    recent, overall = speed_of(record, state), state.steps / elapsed if elapsed > 0 and state.steps else None
    pace = (speed_of(record, state, silent=True) if writer is not None else recent) or overall
    left = None if phase in ("finished", "failed") else _left(record, state, members, elapsed, pace)
    return Status(
        directory=None if record.directory is None else str(record.directory),
        state=phase,
        reason=reason,
        writer=writer,
        algorithm=algorithm_name(record),
        trainable=str(record.run.get("trainable", "")),
        metric=metric,
        mode=mode,
        seed=record.run.get("seed", 0),
        budget=budget,
        generation=_generation(state),
        generations=_generations(budget, record.run.get("interval")),
        best=_best(record, state),
        members=members,
        evaluators=sum(state.known[seat.head].role == "evaluator" for seat in state.seats.values()),
        architectures=state.changes,
        distilling=state.distilling,
        rung=state.rung,
        region=state.region,
        tasks=state.tasks,
        results=state.reported,
        failed=state.failed,
        diverged=state.diverged,
        lost=len(state.lost),
        exploits=state.exploits,
        no_decision=no_decision(record, state.exploits, phase == "finished", state.reported > 0 and not state.returned),
        last_exploits=tuple(state.last_exploits),
        gauges=gauges_of(state),
        last_suggestions=tuple(_suggestion(state, task) for task in state.suggested),
        steps=state.steps,
        steps_per_second=recent,
        steps_per_second_overall=overall,
        elapsed=elapsed,
        left=left,
        warnings=(*_warnings(record, state), *(overdue(record, state) if writer is not None else ())),
    )


def _phase(record: Record) -> tuple[str, str | None]:
    """Returns the state that the newest administration left the run in, and the reason."""
    for type, fields, _ in reversed(record.events):
        if type in _PHASES:
            return _PHASES[type], fields.get("reason")
    return "interrupted", None


def _ending(reason: str | None, members: tuple[Member, ...], budget: int | None) -> str | None:
    """Returns why a run ended, by the states of its members."""
    others = [member.step for member in members if member.state != "failed"]
    together = budget is not None and min(others, default=0) >= budget
    return ending(reason, len(members) - len(others), len(members), budget if together else None)


def _last(record: Record, state: RunState) -> float:
    """Returns when the newest line was written."""
    return max([state.time] + [time for _, _, time in record.events[-1:]])


def _shares_budget(record: Record) -> bool:
    """Returns True if members share their budgets, so that one may train more than the budget and then still go on."""
    algorithm = record.run.get("algorithm")
    return isinstance(algorithm, Mapping) and algorithm.get("shared_budget") is True


def _member(state: RunState, number: int, budget: int | None, shared: bool) -> Member:
    seat = state.seats[number]
    head, held = state.known[seat.head], None if seat.holds is None else state.known[seat.holds]
    step = head.begin if held is None else held.end
    if seat.pending:
        phase = "training"
    elif not head.ok and not head.ended:
        phase = "failed"
    else:
        phase = (
            "finished"
            if head.ended or (budget is not None and (step if shared else max(step, seat.spent)) >= budget)
            else "waiting"
        )
    return Member(
        member=number,
        state=phase,
        step=step,
        score=None if held is None else held.score,
        hparams=dict(head.hparams),
        score_hparams=None if held is None else dict(held.hparams),
        tasks=seat.done,
        failures=seat.failures,
        error=seat.error,
        cloned_from=seat.cloned_from,
        cloned_at=seat.cloned_at,
    )


def _best(record: Record, state: RunState) -> Best | None:
    """Returns what `index.best_of` returns, from a state."""
    if state.best is None:
        return None
    id, evidence = state.best, extreme(state.sign)
    known = chosen_at_end(record)
    if known is not None and known[0] in state.known and state.known[known[0]].ok:
        id, evidence = known
    best = state.known[id]
    return Best(id, best.member, best.end, best.score, dict(best.hparams), evidence, best.team)


def _suggestion(state: RunState, task: Task) -> Suggestion:
    own, parent = state.known[task.id], None if task.parent is None else state.known[task.parent]
    gain = state.sign * (own.score - parent.score) if parent is not None and own.ok and parent.ok else None
    return suggestion_of(task, own.begin, gain)


def _generation(state: RunState) -> int:
    seats = [state.seats[seat] for seat in state.members()]  # evaluators may be idle
    alive = [seat.done for seat in seats if seat.pending or state.known[seat.head].ok]
    return min(alive or [seat.done for seat in seats], default=0)


def _generations(budget: int | None, interval: object) -> int | None:
    if budget is None or not isinstance(interval, int) or isinstance(interval, bool) or interval <= 0:
        return None
    return ceil(budget / interval)


def _left(record: Record, state: RunState, members: tuple[Member, ...], elapsed: float, speed: float | None) -> float | None:
    """Returns the seconds until the first of the time limits, or until all members have trained their budget."""
    times = [max(limit - elapsed, 0.0) for limit in limits(record.run.get("stop"))]
    if record.budget is not None and speed:
        going = [member for member in members if member.state in ("training", "waiting")]
        if _shares_budget(record):
            left = sum(record.budget - state.seats[member.member].spent for member in members)
            left = min(left, sum(record.budget - member.step for member in going))
        else:
            trained = [max(member.step, state.seats[member.member].spent) for member in going]
            left = sum(max(record.budget - steps, 0) for steps in trained)
        times.append(max(left, 0) / speed)
    return min(times, default=None)


def _warnings(record: Record, state: RunState) -> tuple[str, ...]:
    found = []
    for type, fields, _ in record.events:
        if type == "warning":
            found.append(str(fields.get("text", "")))
        elif type == "recovered":
            found.append(f"a torn last line of {fields.get('bytes')} B was cut off and kept in {fields.get('file')}")
        elif type == "rollback":
            member, step, again = (fields.get(name) for name in ("member", "step", "again"))
            found.append(
                f"member {member} went back to its checkpoint of step {step} (task {fields.get('to')}), because that of task "
                f"{fields.get('lost')} was damaged, and trains the steps since then again ({again})"
            )
    for id, member, step in sorted(state.lost):
        found.append(f"the checkpoint of task {id} (member {member}, step {step}) was damaged: the task counts as failed")
    bad = state.failed + state.diverged
    if state.best is None and state.reported:
        why = next((seat.error for seat in state.seats.values() if seat.error), "no score was finite")
        found.append(f"no result has been healthy yet: {why}")
    elif bad >= 4 and bad * 4 > state.reported:
        found.append(f"{short(100 * bad / state.reported)} % of the results failed or diverged")
    return tuple(clean(text, 400) for text in found)
