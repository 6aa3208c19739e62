"""The application that the verbs join, and what becomes of their errors: one line and an exit code."""

from __future__ import annotations

import os
import sys
import traceback
import warnings
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from poptrain.core.errors import PoptrainError, Suspended, UsageError, did_you_mean
from poptrain.views import clean

HELP = """Population-based training: hyperparameters tuned while the population trains.

Every reading verb takes --json and then prints one strict JSON object: what is missing is null, and numbers that JSON
cannot say are "nan", "inf" and "-inf".
"""
VERBS = ("run", "check", "resume", "status", "lineage", "schedule", "replay", "verify", "compare", "plot", "report", "export")
_SHOWN = [cls for cls in typer.BadParameter.__mro__ if cls.__name__ == "ClickException"][0]


class Verbs(TyperGroup):
    """The group of verbs. It never lets an exception through: the result is an exit code."""

    def main(self, args: Any = None, prog_name: Any = None, *_: Any, standalone_mode: bool = True, **extra: Any) -> Any:
        args = list(sys.argv[1:] if args is None else args)
        debug = bool(os.environ.get("POPTRAIN_DEBUG")) or "--debug" in _before_dashes(args)
        args = [word for index, word in enumerate(args) if word != "--debug" or index >= len(_before_dashes(args))]
        _harden_streams()
        with warnings.catch_warnings():
            warnings.showwarning = _warn
            try:
                code = super().main(args or ["--help"], prog_name, standalone_mode=False, **extra)
                if code == 130:  # typer's word for KeyboardInterrupt
                    raise KeyboardInterrupt
                code = code if args else 2  # help was not asked for
                sys.stdout.flush()
            except BaseException as error:
                code = explain(error, debug)
        code = code if isinstance(code, int) else 0
        if standalone_mode:
            sys.exit(code)
        return code

    def list_commands(self, ctx: Any) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: Any, name: str) -> Any:
        """Returns a verb. Its module is loaded only now: what the other verbs need takes longer than a look at a run."""
        if name not in VERBS:
            return None
        if name not in self.commands:
            alone = typer.Typer(add_completion=False, rich_markup_mode=None, context_settings=app.info.context_settings)
            alone.command(name)(getattr(import_module(f"poptrain.cli.{name}"), name))
            self.commands[name] = typer.main.get_command(alone)
        return self.commands[name]

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            verbs = self.list_commands(ctx)
            raise UsageError(f"no command {args[0]!r}: expected one of {', '.join(verbs)}.{did_you_mean(args[0], verbs)}")
        return super().resolve_command(ctx, args)


app = typer.Typer(
    cls=Verbs, help=HELP, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)  # fmt: skip


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=lambda given: _version(given), help="Print the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error; at any place.")] = False,
) -> None:
    """The options of all verbs."""


def explain(error: BaseException, debug: bool) -> int:
    """Prints what went wrong as one line on standard error and returns the exit code."""
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else 1
    if isinstance(error, KeyboardInterrupt) or type(error).__name__ == "Abort":
        _tell("interrupted")
        return 130
    if isinstance(error, BrokenPipeError):  # `poptrain … | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    if debug:
        traceback.print_exception(error)
    if isinstance(error, PoptrainError):
        _tell(str(error) if isinstance(error, Suspended) else f"error: {error}")
        return error.exit_code
    if isinstance(error, _SHOWN):
        context = getattr(error, "ctx", None)
        path = context.command_path if context is not None else "poptrain"
        message = error.format_message().rstrip()
        if (name := getattr(error, "option_name", None)) and context is not None:  # of a NoSuchOption
            options = [option for parameter in context.command.params for option in parameter.opts]
            message = f"no option {name}.{did_you_mean(name, options)}"
        _tell(f"error: {message}{'' if message.endswith(('.', '?')) else '.'} See `{path} --help`.")
        return 2
    if isinstance(error, ImportError) and "pip install" in str(error):
        _tell(f"error: {error}")
        return 2
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({os.path.basename(frames[-1].filename)}:{frames[-1].lineno})" if frames else ""
    hint = "" if debug else "; run again with --debug for the traceback"
    _tell(f"internal error: {type(error).__name__}: {error}{place}{hint}")
    return 1


def _tell(text: str) -> None:
    print(clean(text), file=sys.stderr, flush=True)


def _warn(message: Any, *_: Any, **__: Any) -> None:
    _tell(f"warning: {message}")


def _version(given: bool) -> None:
    if given:
        from poptrain import __version__

        print(f"poptrain {__version__}")
        raise typer.Exit()


def _before_dashes(args: list[str]) -> list[str]:
    return args[: args.index("--")] if "--" in args else args


def _harden_streams() -> None:
    """Lets a terminal that knows only ASCII show the rest escaped instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
