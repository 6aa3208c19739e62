"""The application that the verbs join, and the handling of their errors: one line and an exit code."""

from __future__ import annotations

import io
import os
import sys
import traceback
import warnings
from collections.abc import Sequence
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from poptrain.cli.usage import is_usage_error, sentence
from poptrain.core import answering
from poptrain.core.errors import PoptrainError, Suspended, UsageError, did_you_mean

HELP = """Population-based training: hyperparameters tuned while the population trains.

Every reading verb takes --json and then prints one strict JSON object: what is missing is null, and the numbers that JSON
lacks are "nan", "inf" and "-inf".
"""
VERBS = {  # with their first sentences: the help of all verbs must not import them
    "run": "Start the experiment that a Python file describes.",
    "check": "Try an experiment before it is run: checkpoints, hyperparameters, metric, time and disk.",
    "resume": "Continue an interrupted run, or a finished one with more --steps.",
    "status": "Show members, scores, hyperparameters, speed, time left.",
    "lineage": "Show the ancestors of the best result, or of a task.",
    "schedule": "Show the hyperparameters that led to the best result.",
    "replay": "Train the best schedule of a run alone, as a new run.",
    "verify": "Recompute every decision from the log; check its lines and checkpoints.",
    "compare": "Compare methods over several runs each: means, intervals, curves.",
    "plot": "Draw score, hyperparameters, family tree, spread, time spent and what the algorithm adds as PNG.",
    "report": "Write one self-contained HTML page with charts and tables.",
    "dashboard": "Watch runs live in the browser: members, curves, family tree, failures.",
    "export": "Copy the best checkpoint, its schedule and tables out of a run, or log all of it to a tracker.",
    "mcp": "Answer programs about runs, over standard input and output (MCP).",
    "schema": "Print the JSON schema of what VERB prints with --json.",
}
SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 110}

TyperContext = Any  # typer's own, which comes from click or from a copy of it
TyperCommand = Any  # the same
HelpFormatter = Any  # the same


class Verbs(TyperGroup):
    """The group of verbs. No exception leaves it: the result is an exit code."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> int:
        """Runs a verb and returns its exit code, or ends the process with it in `standalone_mode`."""
        words = list(sys.argv[1:] if args is None else args)
        options = _before_dashes(words)
        answering.show_insides = debug = bool(os.environ.get("POPTRAIN_DEBUG")) or "--debug" in options
        words = [word for index, word in enumerate(words) if word != "--debug" or index >= len(options)]
        _escape_unprintable()
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            try:
                result = super().main(words or ["--help"], prog_name, standalone_mode=False, **extra)
                if result == 130:  # typer's answer to KeyboardInterrupt
                    raise KeyboardInterrupt
                if not words:
                    result = 2  # the help was not asked for
                sys.stdout.flush()
            except BaseException as error:
                result = explain(error, debug, words)
        code = result if isinstance(result, int) else 0
        if standalone_mode:
            sys.exit(code)
        return code

    def list_commands(self, ctx: TyperContext) -> list[str]:
        """Returns the verbs in the order of the help."""
        return list(VERBS)

    def format_commands(self, ctx: TyperContext, formatter: HelpFormatter) -> None:
        """Writes the list of the verbs, without loading them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))

    def get_command(self, ctx: TyperContext, cmd_name: str) -> TyperCommand:
        """Returns a verb. Its module is loaded only now, because importing all verbs takes longer than a look at a run."""
        if cmd_name not in VERBS:
            return None
        if cmd_name not in self.commands:
            alone = typer.Typer(add_completion=False, rich_markup_mode=None, context_settings=SETTINGS)
            alone.command(cmd_name)(getattr(import_module(f"poptrain.cli.{cmd_name}"), cmd_name))
            self.commands[cmd_name] = typer.main.get_command(alone)
        return self.commands[cmd_name]

    def resolve_command(self, ctx: TyperContext, args: list[str]) -> tuple[str | None, TyperCommand, list[str]]:
        """Returns the verb that the arguments name.

        Raises:
            UsageError: there is no such verb.
        """
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            raise UsageError(f"no command {args[0]!r}: expected one of {', '.join(VERBS)}.{did_you_mean(args[0], VERBS)}")
        return super().resolve_command(ctx, args)


app = typer.Typer(
    cls=Verbs,
    help=HELP,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings=SETTINGS,
)


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=lambda given: _version(given), help="Print the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error; at any position.")] = False,
) -> None:
    """The options of all verbs."""


def explain(error: BaseException, debug: bool, words: Sequence[str] = ()) -> int:
    """Prints what went wrong as one line on standard error and returns the exit code; `words` are the arguments."""
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else 1
    if isinstance(error, KeyboardInterrupt) or type(error).__name__ == "Abort":
        _print_error("interrupted")
        return 130
    if isinstance(error, BrokenPipeError):  # `poptrain … | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    if debug:
        traceback.print_exception(error)
    if isinstance(error, PoptrainError):
        _print_error(str(error) if isinstance(error, Suspended) else f"error: {error}")
        return error.exit_code
    if is_usage_error(error):
        _print_error(f"error: {sentence(error, words)}")
        return 2
    if isinstance(error, ImportError) and "pip install" in str(error):
        _print_error(f"error: {error}")
        return 2
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({os.path.basename(frames[-1].filename)}:{frames[-1].lineno})" if frames else ""
    hint = "" if debug else "; run again with --debug to see the traceback"
    _print_error(f"internal error: {type(error).__name__}: {error}{place}{hint}")
    return 1


def _print_error(text: str) -> None:
    from poptrain.views import clean  # here, because most commands end without an error, and the views are slow to import

    print(clean(text), file=sys.stderr, flush=True)


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    _print_error(f"warning: {message}")


def _version(given: bool) -> None:
    if given:
        from poptrain import __version__

        print(f"poptrain {__version__}")
        raise typer.Exit()


def _before_dashes(words: list[str]) -> list[str]:
    return words[: words.index("--")] if "--" in words else words


def _escape_unprintable() -> None:
    """Makes a terminal that knows only ASCII show other characters escaped, instead of raising an error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
