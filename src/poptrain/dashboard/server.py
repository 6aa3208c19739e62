"""The server: routes to what is known of the runs, and a stream of events as their logs grow."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import secrets
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from poptrain.core.errors import MissingExtra, UsageError
from poptrain.dashboard.fleet import Fleet
from poptrain.dashboard.guard import Guard
from poptrain.dashboard.recipe import start_command
from poptrain.dashboard.watch import Loading

try:
    import uvicorn
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import JSONResponse, Response, StreamingResponse
    from starlette.routing import Mount, Route
    from starlette.staticfiles import StaticFiles
except ImportError as error:
    raise MissingExtra("the dashboard needs Starlette and uvicorn: pip install 'poptrain[dashboard]'") from error

STATIC = Path(__file__).parent / "static"
EVERY = 0.3  # seconds between two looks at the logs
HEARTBEAT = 15.0  # seconds after which a silent stream sends a comment, so that a lost connection is noticed


class Dashboard:
    """The application and its state."""

    def __init__(self, paths: Sequence[Path]):
        self.fleet = Fleet(paths)
        self._news = asyncio.Condition()
        self._count = 0  # of changes so far
        self._open = True
        # Pictures wait for each other here, in the order in which the page asks, and never keep a story waiting for a thread.
        self._drawing = ThreadPoolExecutor(1, "drawing")

    def app(self) -> Starlette:
        """Returns the application, without its guard."""
        each = {"panels/{name}": self._panel, "story": self._story, "schedule": self._schedule}
        tables: dict[str, Callable[..., Any]] = {"exploits": self._exploits, "failures": self._failures, "newest": self._newest}
        routes = [Route("/", _page), Route("/api/runs", self._runs), Route("/api/compare", self._compare)]
        routes += [Route("/api/start", self._start)]
        routes += [Route("/api/events", self._events)]
        routes += [Route(f"/api/runs/{{run:int}}/{path}", answer) for path, answer in {**each, **tables}.items()]
        routes += [Mount("/static", StaticFiles(directory=STATIC))]
        failures = {UsageError: _wrong, Loading: _loading}
        return Starlette(routes=routes, lifespan=self._lifespan, exception_handlers=failures)

    async def stop(self) -> None:
        """Ends the streams of events."""
        self._open = False
        async with self._news:
            self._news.notify_all()

    @contextlib.asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:
        watching = asyncio.create_task(self._watch())
        yield
        watching.cancel()
        self._drawing.shutdown(wait=False, cancel_futures=True)

    async def _watch(self) -> None:
        while self._open:
            runs = len(self.fleet.runs)
            changed = await asyncio.to_thread(self.fleet.look)
            if changed or len(self.fleet.runs) != runs:
                async with self._news:
                    self._count += 1
                    self._news.notify_all()
            await asyncio.sleep(EVERY)

    async def _events(self, request: Request) -> Response:
        run = request.query_params.get("run")
        number = int(run) if run is not None and run.isdigit() else None
        headers = {"cache-control": "no-store"}
        return StreamingResponse(self._stream(number), media_type="text/event-stream", headers=headers)

    async def _stream(self, number: int | None) -> AsyncIterator[str]:
        seen, beats = -1, -1
        while self._open:
            if seen != self._count:
                seen = self._count
                yield _event("runs", self.fleet.summaries())
                if number is not None and number < len(self.fleet.runs) and self.fleet.runs[number].beats != beats:
                    run = self.fleet.runs[number]
                    beats = run.beats
                    yield _event("status", await asyncio.to_thread(run.status))
            try:
                async with self._news:
                    if seen == self._count:
                        await asyncio.wait_for(self._news.wait(), HEARTBEAT)
            except TimeoutError:
                yield ": alive\n\n"

    # -- answers ------------------------------------------------------------------------------------------------------

    async def _runs(self, request: Request) -> Response:
        return JSONResponse(self.fleet.summaries())

    async def _start(self, request: Request) -> Response:
        return JSONResponse({"command": start_command(self.fleet.paths[0] / "first")})

    async def _compare(self, request: Request) -> Response:
        return JSONResponse(await asyncio.to_thread(self.fleet.comparison))

    async def _newest(self, request: Request) -> Response:
        member = _whole(request.query_params.get("member"), "member")
        return await self._of(request, lambda run: run.newest(member))

    async def _panel(self, request: Request) -> Response:
        run, name = self.fleet.run(request.path_params["run"]), request.path_params["name"]
        return JSONResponse(await asyncio.get_running_loop().run_in_executor(self._drawing, run.picture, name))

    async def _story(self, request: Request) -> Response:
        query = request.query_params
        task, step = _whole(query.get("task"), "task"), query.get("step")
        at = None if step is None else _whole(step, "step")
        return await self._of(request, lambda run: run.story(task, at, query.get("along", "ancestry")))

    async def _schedule(self, request: Request) -> Response:
        return await self._of(request, lambda run: run.schedule())

    async def _exploits(self, request: Request) -> Response:
        return await self._of(request, lambda run: run.exploits())

    async def _failures(self, request: Request) -> Response:
        return await self._of(request, lambda run: run.failures())

    async def _of(self, request: Request, answer: Callable[[Any], dict[str, Any]]) -> Response:
        run = self.fleet.run(request.path_params["run"])
        return JSONResponse(await asyncio.to_thread(answer, run))


def _page(request: Request) -> Response:
    return Response((STATIC / "index.html").read_bytes(), media_type="text/html")


def _wrong(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, status_code=404)


def _loading(request: Request, error: Exception) -> Response:
    return JSONResponse({"loading": getattr(error, "share", 0.0)}, status_code=202)


def _event(name: str, data: object) -> str:
    return f"event: {name}\ndata: {json.dumps(data, allow_nan=False)}\n\n"


def _whole(text: str | None, name: str) -> int:
    if text is None or not text.isdigit() or len(text) > 15:
        raise UsageError(f"{name}={text!r}: expected a whole number from 0.")
    return int(text)


# -- serving --------------------------------------------------------------------------------------------------------------


class _Server(uvicorn.Server):  # type: ignore[misc]  # mypy does not read optional packages
    """Ends the streams of events before it waits for the connections to end."""

    def __init__(self, config: uvicorn.Config, dashboard: Dashboard):
        super().__init__(config)
        self._dashboard = dashboard

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await self._dashboard.stop()
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # what is being drawn is given up, without a traceback
        await super().shutdown(sockets)


class Serving:
    """A server that is bound to a port of this machine, before it runs.

    Args:
        paths: run directories, or directories of them.
        port: 0 for any free one.

    Raises:
        UsageError: the port is in use.
    """

    def __init__(self, paths: Sequence[Path], port: int = 0):
        self.token = secrets.token_urlsafe(24)
        # With its protocol, because only then asyncio sends at once what is written: an answer would wait 40 ms for the page.
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self.socket.bind(("127.0.0.1", port))
        except OSError as error:
            raise UsageError(f"--port {port}: {error.strerror or error}; choose another one, or leave it out.") from error
        self.port: int = self.socket.getsockname()[1]
        self._paths = paths
        self._server: _Server | None = None

    @property
    def address(self) -> str:
        """The address of the page, with the token."""
        return f"http://127.0.0.1:{self.port}/?token={self.token}"

    def run(self, ready: Callable[[], None] = lambda: None) -> None:
        """Serves until it is stopped by a signal or `stop`; `ready` is called when connections are accepted."""
        asyncio.run(self._serve(ready))

    def stop(self) -> None:
        """Ends `run`; it may be called on another thread."""
        if self._server is not None:
            self._server.should_exit = True

    async def _serve(self, ready: Callable[[], None]) -> None:
        dashboard = Dashboard(self._paths)
        guarded = Guard(dashboard.app(), self.token, self.port)
        config = uvicorn.Config(guarded, log_level="warning", timeout_graceful_shutdown=1, server_header=False, access_log=False)
        self._server = _Server(config, dashboard)
        self.socket.listen(128)
        ready()
        await self._server.serve(sockets=[self.socket])
