"""Executors that end a run at a chosen moment: as an interrupt does, or by killing the driver."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from poptrain.core import Result, Task
from poptrain.core.protocols import Executor
from poptrain.executors.context import Context, ExecutorConfig

KILLED = 9  # exit code of a driver that kills itself


class Cutting(BaseException):
    """Ends a run from outside, as an interrupt does."""


@dataclass(frozen=True)
class CutAtCall:
    """Ends the run, or kills its driver, instead of the n-th call of `submit` or `wait`: the line before it is logged."""

    config: ExecutorConfig
    calls: int
    kill: bool = False

    def open(self, context: Context) -> Executor:
        count = 0

        def before_call() -> None:
            nonlocal count
            count += 1
            if count >= self.calls:
                if self.kill:
                    os._exit(KILLED)
                raise Cutting

        return _Hooked(self.config.open(context), before_call=before_call)


@dataclass(frozen=True)
class KilledAfterWait:
    """Kills the driver after its n-th results have come: their checkpoints are durable, but the log has no line."""

    config: ExecutorConfig
    waits: int

    def open(self, context: Context) -> Executor:
        count = 0

        def after_wait() -> None:
            nonlocal count
            count += 1
            if count >= self.waits:
                os._exit(KILLED)

        return _Hooked(self.config.open(context), after_wait=after_wait)


class _Hooked:
    """An executor, with something that happens around its calls."""

    def __init__(
        self, executor: Executor, before_call: Callable[[], None] = lambda: None, after_wait: Callable[[], None] = lambda: None
    ):
        self._executor, self._before_call, self._after_wait = executor, before_call, after_wait

    def submit(self, tasks: Sequence[Task]) -> None:
        self._before_call()
        self._executor.submit(tasks)

    def wait(self) -> list[Result]:
        self._before_call()
        results = self._executor.wait()
        self._after_wait()
        return results

    def drain(self, seconds: float) -> Iterator[list[Result]]:
        return self._executor.drain(seconds)

    def close(self) -> None:
        self._executor.close()
