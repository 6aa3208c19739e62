"""`command`: a trainable that is a command line. It is split into words once, and no shell ever sees it.

Each interval is one call of the program. A word may have placeholders in braces: the name of a hyperparameter, or one of

==============  ======================================================================================================
`{checkpoint}`  a directory that holds what the last call left there; the program reads it and writes into it
`{steps}`       steps that this call trains
`{step}`        steps that the member has trained before this call
`{until}`       ``{step}`` + ``{steps}``: for programs that count from the beginning
`{budget}`      steps of the whole training, for schedules that span it
`{seed}`        a seed below 2³¹, another one for each call
`{hparams}`     a JSON file with all hyperparameters, instead of one option for each
==============  ======================================================================================================

``{{`` and ``}}`` are braces. Numbers are written so that they can be read back exactly.
"""

from __future__ import annotations

import json
import math
import re
import shlex
import shutil
import string
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from poptrain.core.answering import answering
from poptrain.core.arguments import check_place
from poptrain.core.counting import counted
from poptrain.core.errors import UsageError, did_you_mean
from poptrain.core.fingerprint import short_hash
from poptrain.core.secrets import secret_in
from poptrain.core.warned import warn_user
from poptrain.trainable.options import check_options
from poptrain.trainable.pattern import Pattern
from poptrain.trainable.script import check_script, files_of_module, hashed_files
from poptrain.trainable.shell import check_no_shell, check_pipe, not_a_program, without_line_ends

RESERVED = ("checkpoint", "steps", "step", "until", "budget", "seed", "hparams")

LONGEST_LINE = 100_000  # characters: the system takes some 130,000 in one argument


@dataclass(frozen=True)
class Word:
    """One word of a command line: texts, each followed by the value of a placeholder; the last placeholder is None."""

    parts: tuple[tuple[str, str | None], ...]

    def names(self) -> Iterator[str]:
        """Yields the placeholders of the word."""
        return (name for _, name in self.parts if name is not None)

    @property
    def text(self) -> str:
        """The word with its placeholders."""
        return "".join(text + (f"{{{name}}}" if name else "") for text, name in self.parts)

    def shown(self) -> str:
        """Returns the word as the user wrote it, in quotes if it needs them."""
        text = self.text
        return text if shlex.quote(bare := re.sub(r"[{}]", "", text)) == bare else shlex.quote(text)

    def filled(self, values: Mapping[str, object]) -> str:
        """Returns the word with the values in their places.

        Raises:
            UsageError: a placeholder has no value.
        """
        for name in self.names():
            if name not in values:
                raise UsageError(
                    f"command: {{{name}}} is neither a hyperparameter nor one of {_listed(RESERVED)}.{did_you_mean(name, values)}"
                )
        return "".join(text if name is None else text + _written(values[name]) for text, name in self.parts)


@dataclass(frozen=True, repr=False)
class Command:
    """A trainable that is a command line; `command` makes it."""

    words: tuple[Word, ...]
    resume: tuple[Word, ...] = ()  # words that follow when there is a checkpoint
    metrics: Word | None = None  # the file with the metrics; None: they are lines of JSON on the standard output
    env: tuple[tuple[str, Word], ...] = ()
    cwd: str | None = None
    timeout: float | None = None
    patterns: tuple[Pattern, ...] = ()  # of lines with metrics, for programs that print no JSON

    def __repr__(self) -> str:
        return f"command({self.line!r})"

    @property
    def line(self) -> str:
        """The command line as a log records it."""
        return " ".join(word.shown() for word in (*self.words, *self.resume))

    @property
    def shared_file(self) -> str | None:
        """The file of metrics, if all members write the same one; None if each has its own."""
        word = self.metrics
        return None if word is None or {"checkpoint", "hparams", "seed"} & set(word.names()) else word.shown()

    def placeholders(self) -> set[str]:
        """Returns the names in braces, wherever they are."""
        metrics = () if self.metrics is None else (self.metrics,)
        words = (*self.words, *self.resume, *metrics, *(word for _, word in self.env))
        return {name for word in words for name in word.names()}

    def check_space(self, space: Iterable[str], budget: int | None) -> None:
        """Raises a `UsageError` if the placeholders do not fit the space, or the program or its script does not exist.

        Args:
            space: the hyperparameters that are tuned.
            budget: steps of the whole training; None: unknown.
        """
        names, used = set(space), self.placeholders()
        if taken := sorted(names & set(RESERVED)):
            raise UsageError(
                f"command: the space has a hyperparameter {taken[0]!r}, but {{{taken[0]}}} is poptrain's own: rename it."
            )
        for name in sorted(used - names - set(RESERVED)):
            near = did_you_mean(name, [*names, *RESERVED])
            known = f"the hyperparameters {_listed(sorted(names))} and {_listed(RESERVED)}"
            raise UsageError(f"command: {{{name}}} is unknown; the placeholders are {known}.{near}")
        if "hparams" not in used and (unused := sorted(names - used)):
            raise UsageError(
                f"command: the space tunes {unused[0]!r}, but the command has no {{{unused[0]}}}, so it would have no effect: "
                f"add an option such as --{unused[0]} {{{unused[0]}}}, or remove it from the space."
            )
        if "budget" in used and budget is None:
            raise UsageError("command: {budget} needs a run that ends after a number of steps: stop=pt.steps(n).")
        fixed = [None if any(word.names()) else word.filled({}) for word in self.words[1:]]
        if (program := self.program()) is not None:
            check_script(program, fixed, Path(self.cwd or "."))
        check_options([word.parts for word in self.words], space, self._scripts())

    def program(self) -> str | None:
        """Returns the path of the program; None if its name is itself a placeholder.

        ``python`` is the Python that runs poptrain, also where its environment is not activated.

        Raises:
            UsageError: there is no such program.
        """
        first = self.words[0]
        if any(first.names()):
            return None
        name = first.filled({})
        if name in ("python", "python3") and sys.executable:
            return sys.executable
        where = Path(self.cwd or ".")
        place = where / name
        found = shutil.which(str(place.absolute()) if "/" in name else name)
        if found is None and "/" not in name and sys.executable:
            found = shutil.which(name, path=str(Path(sys.executable).parent))  # such as torchrun
        if found is None:
            raise UsageError(f"command: there is no program {name!r} to run: {not_a_program(name, place)}.")
        return str(Path(found).absolute())

    def code(self) -> str:
        """Returns the command line and a hash of the files that it names, by which a changed script is recognised."""
        return f"command:{self.line}#{short_hash(b''.join(file.read_bytes() for file in self._files()))}"

    def uses(self) -> dict[str, str]:
        """Returns a hash of each file that the command line names, and of what its scripts import from next to them."""
        return hashed_files(self._scripts(), Path(self.cwd or "."))

    def _scripts(self) -> list[Path]:
        """Returns the files that the command line names, also a module after ``-m``."""
        words = [None if any(word.names()) else word.filled({}) for word in self.words]
        return [*self._files(), *files_of_module(words, Path(self.cwd or "."))]

    def _files(self) -> Iterator[Path]:
        """Yields the files that the command line names."""
        for word in self.words:
            name = "" if any(word.names()) else word.filled({})
            file = Path(self.cwd or ".") / name
            if name and file.is_file() and not file.samefile(sys.executable):
                yield file


@answering
def command(
    line: str | Sequence[str],
    *,
    resume: str | Sequence[str] = (),
    metrics: str | None = None,
    pattern: str | Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    cwd: str | Path | None = None,
    timeout: float | None = None,
) -> Command:
    """Returns a trainable that runs a command line: one process for each interval of a member.

    The program prints its metrics as JSON, such as ``{"score": 0.93}``, on a line of its own; a later line replaces the
    values of an earlier one. An exit code that is not 0 is a failure of the member, never of the run.

    Args:
        line: the command, as in a shell, or its words; the module lists the placeholders. No shell runs it, so there are no
            pipes, wildcards or variables.
        resume: options that are added only if ``{checkpoint}`` holds something: at the first call of a member it is empty.
        metrics: a file that the program writes or appends to instead, such as ``{checkpoint}/metrics.json``: a JSON object, or
            several, of which later ones replace values. Only what a call has added counts.
        pattern: a part of a line that the program prints, such as ``acc {acc}``, or several: for programs that print no JSON.
            A name in braces is a number, and the last line that fits counts, on the standard output or error.
        env: environment variables; placeholders are filled in.
        cwd: the directory in which the program runs; None: the current one.
        timeout: seconds after which a call, with everything that it started, is ended and has failed.

    Raises:
        UsageError: a placeholder is malformed, or an argument is wrong.

    >>> command("python train.py --lr {lr} --out {checkpoint}", resume="--resume {checkpoint}/last.pt").line
    'python train.py --lr {lr} --out {checkpoint} --resume {checkpoint}/last.pt'
    """
    _check_types(line, resume, env, cwd)
    if len(line) > LONGEST_LINE:
        raise UsageError(
            f"command: line has {counted(len(line), 'character')} or words, but at most {LONGEST_LINE:,} are allowed."
        )
    words = _words(line, "line")
    if not words:
        raise UsageError("command: the command line is empty, expected one such as 'python train.py --lr {lr}'.")
    check_pipe([word.text for word in words])
    if timeout is not None and (type(timeout) not in (int, float) or not 0 < timeout < math.inf):
        raise UsageError(f"command: timeout={timeout!r}, expected more than 0 seconds, or None for no limit.")
    if cwd is not None and not Path(cwd).is_dir():
        raise UsageError(f"command: cwd={str(cwd)!r} is not a directory.")
    if metrics is not None and pattern:
        raise UsageError("command: got metrics= and pattern=; pass the one that has the score.")
    patterns = tuple(map(Pattern, (pattern,) if isinstance(pattern, str) else pattern))
    for each in patterns:
        each.check()
    made = Command(
        words,
        _words(resume, "resume"),
        None if metrics is None else _word(metrics, "metrics"),
        tuple((str(name), _word(str(value), f"env[{name!r}]")) for name, value in sorted((env or {}).items())),
        None if cwd is None else str(cwd),
        timeout,
        patterns,
    )
    if "checkpoint" not in made.placeholders():
        raise UsageError(
            "command: {checkpoint} is missing, so the program could not continue what it has trained. "
            "Add it, for example --resume {checkpoint}: a directory that the program reads and writes."
        )
    if (name := secret_in([word.text for word in (*made.words, *made.resume)])) is not None:
        warn_user(
            f"command: {name} holds a secret, and the log of a run keeps the command line: pass it in env=…, which is not kept."
        )
    return made


def _words(line: str | Sequence[str], argument: str) -> tuple[Word, ...]:
    if not isinstance(line, str):
        return tuple(_word(word, argument) for word in line)
    check_no_shell(line, argument)
    try:
        return tuple(_word(word, argument) for word in shlex.split(without_line_ends(line)))
    except ValueError as error:
        raise UsageError(f"command: {argument}={line!r} cannot be split into words: {error}.") from None


def _word(text: str, argument: str) -> Word:
    """Returns a word with its placeholders found."""
    if not isinstance(text, str):
        raise UsageError(f"command: {argument} contains {text!r}, expected text.")
    parts: list[tuple[str, str | None]] = []
    try:
        for before, name, form, conversion in string.Formatter().parse(text):
            if name == "":
                raise ValueError("a placeholder has no name")
            if form or conversion:
                raise ValueError(f"{{{name}}} has a format, which would change the value")
            parts.append((before, name))
    except ValueError as error:
        why = "braces do not match" if "brace" in str(error) or "'}'" in str(error) or "'{'" in str(error) else str(error)
        raise UsageError(
            f"command: {argument}: in {text!r}, {why}: write a placeholder as {{lr}}, and a brace itself as {{{{ or }}}}."
        ) from None
    return Word(tuple(parts))


def _written(value: object) -> str:
    """Returns a value as text. Floats are exact, and always have a point, without which YAML reads ``1e-05`` as a text.

    >>> _written(1e-05), _written(0.25), _written(True)
    ('1.0e-05', '0.25', 'True')
    """
    if not isinstance(value, float):
        return str(value)
    text = repr(value)
    return text.replace("e", ".0e", 1) if "e" in text and "." not in text else text


def as_json(hparams: Mapping[str, object]) -> str:
    """Returns hyperparameters as JSON that YAML reads alike.

    >>> as_json({"lr": 1e-05, "net": "big", "fast": True})
    '{"lr": 1.0e-05, "net": "big", "fast": true}'
    """

    def text(value: object) -> str:
        finite = isinstance(value, float) and math.isfinite(value)
        return _written(value) if finite else json.dumps(value, ensure_ascii=False)

    return f"{{{', '.join(f'{json.dumps(name, ensure_ascii=False)}: {text(value)}' for name, value in hparams.items())}}}"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"{{{name}}}" for name in names) or "none"


def _check_types(line: object, resume: object, env: object, cwd: object) -> None:
    """Raises a `UsageError` for an argument of another type."""
    for name, words in (("line", line), ("resume", resume)):
        if not isinstance(words, (str, list, tuple)):
            raise UsageError(f"command: {name}={words!r:.80}, expected a text or a list of words.")
    if env is not None and not isinstance(env, Mapping):
        raise UsageError(f"command: env={env!r:.80}, expected values by name, or None.")
    if unset := [name for name, value in (env or {}).items() if value is None]:
        raise UsageError(f"command: env[{unset[0]!r}]=None, expected a text: a variable can be emptied (''), but not removed.")
    if cwd is not None:
        check_place("command: cwd", cwd)
