"""A worker process of a study: what runs in it. It trains one run after another, and its parent alone interrupts it.

It tells its parent how far a run is, what the run reports, and how it ended. Like every worker it dies with its parent, and is in
a process group of its own.
"""

from __future__ import annotations

import os
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

from poptrain.core.errors import PoptrainError, RunFailed, Suspended
from poptrain.engine import signals, voice
from poptrain.engine.experiment import Experiment
from poptrain.engine.loop import execute
from poptrain.executors.worker import die_with_the_driver, unblock_signals

Message = tuple[object, ...]


def study_worker(connection: Connection, stops: Connection, threads: int) -> None:
    """Trains the runs that the parent sends, until it sends None, orders a stop, or dies.

    Args:
        connection: brings (experiment, directory) or None, and takes what becomes of it.
        stops: brings the number of a signal that shall suspend the run.
        threads: that numeric libraries may use.
    """
    die_with_the_driver()
    with suppress(OSError, AttributeError):
        os.setpgid(0, 0)
    signals.obey_only_orders()
    unblock_signals()
    threading.Thread(target=_listen, args=(stops,), name="poptrain-orders", daemon=True).start()
    from threadpoolctl import threadpool_limits

    threadpool_limits(threads)
    with suppress(EOFError, ConnectionError):
        while (job := connection.recv()) is not None and not signals.ordered():
            connection.send(("begun",))
            connection.send(_trained(connection, *job))


def _listen(stops: Connection) -> None:
    with suppress(EOFError, OSError):
        while True:
            signals.obey(stops.recv())


def _trained(connection: Connection, experiment: Experiment, directory: Path) -> Message:
    """Trains a run, and returns how it ended: ("finished",), ("failed", why), ("suspended",) or ("error", exception)."""
    lock = threading.Lock()

    def send(*message: object) -> None:
        with lock:
            connection.send(message)

    try:
        with voice.listened(send):
            execute(experiment, directory, progress=_Share(send), announce=False)
    except RunFailed as error:
        return "failed", str(error)
    except Suspended as error:
        return ("suspended",) if error.asked else ("error", error)
    except PoptrainError as error:
        return "error", error
    except BaseException as error:  # of any class, so the parent may be unable to receive it
        return "error", PoptrainError("".join(traceback.format_exception(error)).rstrip())
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(Exception):
                stream.flush()
    return ("finished",)


class _Share:
    """A screen that sends the share of the run that is done."""

    wait = 0.5

    def __init__(self, send: Callable[..., None]):
        self._send = send

    def show(self, line: Callable[[int | None], str], share: float | None) -> None:
        self._send("share", share)

    def end(self, line: str | None) -> None:
        pass
