"""Laws of messages, over the whole source: who is warned, and how things are counted."""

from __future__ import annotations

import ast
import re
import warnings
from contextlib import suppress
from pathlib import Path

import pytest

import poptrain as pt
from poptrain.core.counting import plural

SOURCE = Path(pt.__file__).parent
COUNTED = """
member task run row step result seed copy line check configuration segment training interval evaluator candidate clone
proposal entry byte value character checkpoint failure argument method slot node trial seat worker process environment
student network actor hyperparameter parameter point batch pair control error
"""
NEVER_ONE = {  # file: why its number is written as it is
    "core/history.py": "a repr of a log and errors about prefixes of it",
    "sinks/mlflow_runs.py": "a tag that earlier versions wrote is compared",
}


def files():
    return {str(path.relative_to(SOURCE)): path.read_text() for path in SOURCE.rglob("*.py")}


def test_no_number_is_followed_by_a_plural_that_does_not_depend_on_it():
    """`counted(n, "member")` writes "1 member"."""
    words = re.compile(
        rf" (?:(?:other|more|first|whole|newest|different) )?({'|'.join(map(plural, COUNTED.split()))})\b(?!/| on\b)"
    )
    found = []
    for name, text in files().items():
        for node in ast.walk(ast.parse(text)):
            parts = node.values if isinstance(node, ast.JoinedStr) and name not in NEVER_ONE else []
            for value, after in zip(parts, parts[1:], strict=False):
                if not isinstance(value, ast.FormattedValue) or not isinstance(after, ast.Constant):
                    continue
                if (word := words.match(str(after.value))) is None:
                    continue
                shown = ast.unparse(value.value)
                number = value.conversion < 0 and not re.fullmatch(r"([\w.]+\.)?[A-Z_]+", shown) and "per_second" not in shown
                precise = value.format_spec is not None and ast.unparse(value.format_spec) not in ("f','", "','")
                if number and not precise:
                    found.append(f"{name}:{value.lineno}: {{{shown}}}{word[0]}")
    assert not found, "\n".join(found)


def test_only_one_place_decides_where_a_warning_points():
    """`warn_user` points at the first line outside the package, however many wrappers stand between."""
    users = {name for name, text in files().items() if re.search(r"\bwarnings\.warn\(|import warn\b.*warnings", text)}
    assert users == {"core/warned.py", "_renamed.py"}  # the other one must import nothing


SPACE = pt.Space(lr=pt.LogUniform(1e-4, 1e-1))


def failing(carry, hp, steps, seed):
    raise ValueError("a planted fault")


@pytest.mark.parametrize(
    "call",
    [
        lambda: pt.pb2(SPACE, population=1, interval=5),
        lambda: pt.pb2_mult(pt.Space(SPACE, c=pt.Choice("a", "b")), population=2, interval=5),
        lambda: pt.run(
            pt.pbt(SPACE, population=2, interval=5), pt.testing.Faulty("raise", 1e-3), stop=pt.steps(10), progress=False
        ),
    ],
)
def test_the_warning_of_a_public_call_points_at_the_file_of_the_caller(call):
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        with suppress(pt.PoptrainError):
            call()
    assert found and {each.filename for each in found} == {__file__}
    assert not re.search(r"\b1 rows", str(found[0].message))


def test_commands_that_a_message_prints_work_when_they_are_pasted():
    """`core.commands.poptrain` writes the path of the interpreter where `poptrain` is not on PATH."""
    prose = {"views/gauges.py", "views/schedule.py", "dashboard/guard.py"}  # they name a command, and no one types it
    found = []
    for name, text in files().items():
        nodes = list(ast.walk(ast.parse(text))) if "`poptrain " in text else []
        documents = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
        for node in nodes:
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documents:
                found += [f"{name}:{node.lineno}"] * bool(re.search(r"`poptrain [a-z]", node.value) and name not in prose)
    scripts = (SOURCE / "dashboard" / "static").glob("*.js")
    found += [path.name for path in scripts if re.search("poptrain (resume|run)", path.read_text())]
    assert not found, found
