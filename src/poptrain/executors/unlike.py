"""Where two carries of JAX have different structures, in words: the first place, and what to do about it.

A registered node, such as a train state of Flax, has *static* fields besides its arrays. They are part of the structure and are
compared with ``==``, and a function that is made anew never equals the one before: an optimiser of optax consists of functions.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from poptrain._jax import jax
from poptrain.core.user_objects import answer_of

Tree = Any  # JAX's PyTreeDef
Node = Any  # anything that it is made of
LONGEST = 60  # characters of a value that is shown


def unlike(expected: Tree, found: Tree) -> str:
    """Returns the first place where two structures differ, and what to do, in one or two sentences."""
    fallback = f"it was {str(expected)[:200]}, is {str(found)[:200]}."  # a node may refuse to be made of numbers

    def compared() -> str:
        made = [jax.tree.unflatten(tree, range(tree.num_leaves)) for tree in (expected, found)]
        return next(_differences("carry", *made), fallback)

    return answer_of(compared, fallback)


def _differences(path: str, then: Node, now: Node) -> Iterator[str]:
    """Yields the places where two carries that hold numbers instead of arrays have different structures."""
    if type(then) is not type(now):
        yield f"{path} was {_kind(then)}, and is {_kind(now)}."
        return
    ours, theirs = _inside(then), _inside(now)
    changes = [f"{path}{key} is gone" for key in ours if key not in theirs] + [
        f"{path}{key} is new" for key in theirs if key not in ours
    ]
    if changes:
        yield f"{', '.join(changes[:3])}."
        return
    for key, child in ours.items():
        if jax.tree.structure(child) != jax.tree.structure(theirs[key]):
            yield from _differences(f"{path}{key}", child, theirs[key])
    if dataclasses.is_dataclass(then):
        for name in (field.name for field in dataclasses.fields(then) if f".{field.name}" not in ours):
            before, after = getattr(then, name), getattr(now, name)
            if before is not after and before != after:
                yield _static(path, name, type(then).__name__, before, after)
    yield f"what {path}, a {type(then).__name__}, holds besides arrays differs. It must be equal in every call."


def _static(path: str, name: str, kind: str, before: Node, after: Node) -> str:
    """Returns what to do about a static field with another value."""
    what = f"{path}.{name}, a static field of {kind},"
    if not _has_functions(before) and not _has_functions(after):
        return f"{what} was {_shown(before)}, and is {_shown(after)}. Static fields must be equal in every call."
    text = f"{what} holds functions that were made anew. Create it once, outside of init and train."
    if hasattr(before, "update"):  # an optimiser
        text += (
            " Values that are tuned belong in the state of the optimiser: optax.inject_hyperparams(optax.adam)(1e-3) keeps them "
            f"in {path}.opt_state.hyperparams, where train sets them."
        )
    return text


def _inside(node: Node) -> dict[str, Node]:
    """Returns the children of a node by their keys, as they are written after it."""
    children = jax.tree_util.tree_flatten_with_path(node, is_leaf=lambda each: each is not node)[0]
    return {jax.tree_util.keystr(path): child for path, child in children if path}


def _has_functions(value: Node) -> bool:
    return callable(value) or (isinstance(value, tuple) and any(map(callable, value)))


def _kind(node: Node) -> str:
    return "an array" if type(node) is int else "None" if node is None else f"a {type(node).__name__}"


def _shown(value: Node) -> str:
    text = repr(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
