"""The state of an optimiser in a copy: moments of the parent, options of the copy, and the same objects as before.

An option that training did not change is a matter of the hyperparameters: the copy keeps what its own ``__init__`` made of them.
Parameter groups that training added are found again by the paths of their parameters.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch.optim import Optimizer

from poptrain.core.errors import UsageError
from poptrain.engine.notices import warn
from poptrain.integrations.torch.merge import same, taken
from poptrain.integrations.torch.tree import Reader, Tree, put_tensor

Group = dict[str, Any]  # a parameter group of PyTorch: its options by name
Options = dict[str, Any]  # the same without the parameters


def read_optimizer(optimizer: Optimizer, path: str, reader: Reader) -> dict[str, Tree]:
    """Returns the state of an optimiser; parameters that nothing else leads to are stored with it."""
    own: dict[str, torch.Tensor] = {}
    names: list[list[str]] = []
    for at, group in enumerate(optimizer.param_groups):
        names.append([])
        for index, weight in enumerate(group["params"]):
            if id(weight) not in reader.paths:
                name = f"{path}.param_groups.{at}.{index}"
                own[name] = reader.read(weight, name)
            names[-1].append(reader.paths[id(weight)])
    return {"kind": type(optimizer).__name__, "groups": names, "own": own, "state": optimizer.state_dict()}


def options_of(optimizer: Optimizer) -> list[Options]:
    """Returns copies of the options of every group."""
    return [
        {k: v.detach().clone() if isinstance(v, torch.Tensor) else v for k, v in group.items() if k != "params"}
        for group in optimizer.param_groups
    ]


def put_optimizer(
    optimizer: Optimizer,
    saved: Mapping[str, Tree],
    built: list[Options] | None,
    path: str,
    weights: Mapping[str, torch.Tensor],
) -> bool:
    """Puts the state of a parent's optimiser into one that ``__init__`` has just made; False if it is of another kind.

    Args:
        built: the options of the parent's groups when its ``__init__`` had made them; None: take over its options as they are.
        weights: of the copy, by path.

    Raises:
        UsageError: a parameter cannot be found, or has another shape.
    """
    _put_own(optimizer, saved["own"], path)
    if type(optimizer).__name__ != saved["kind"]:
        text = f"{path} of a copy is {type(optimizer).__name__}, and {saved['kind']} in its parent: its moments begin at zero."
        warn(text)
        return False
    groups, held = optimizer.param_groups, list(optimizer.param_groups)
    state = optimizer.state
    options = [{k: v for k, v in group.items() if k != "params"} for group in saved["state"]["param_groups"]]
    if built is not None:
        options = _merged(built, options_of(optimizer), options)
    _regroup(optimizer, _found(saved["groups"], path, weights, _own_weights(optimizer, path)), options)
    held += optimizer.param_groups[len(held) :]
    packed = [{**new, "params": group["params"]} for new, group in zip(options, saved["state"]["param_groups"], strict=True)]
    optimizer.load_state_dict({**saved["state"], "param_groups": packed})
    loaded, moments = optimizer.param_groups, optimizer.state
    for group, new in zip(held, loaded, strict=False):  # the same dictionaries and lists as before, with new contents
        parameters = group["params"]
        for option in [option for option in group if option not in new]:
            del group[option]
        for option, value in new.items():
            if option != "params":
                put_option(group, option, value)
        parameters[:] = new["params"]
    groups[:] = held[: len(loaded)]
    optimizer.param_groups = groups
    if state is not moments:
        state.clear()
        state.update(moments)
        optimizer.state = state
    return True


def put_option(group: Group, option: str, value: Any) -> None:
    """Sets an option of a group; a tensor stays the same tensor, because a captured graph may refer to it."""
    held = group.get(option)
    if isinstance(held, torch.Tensor):
        held.fill_(float(value))
    else:
        group[option] = value


def _merged(built: list[Options], fresh: list[Options], now: list[Options]) -> list[Options]:
    """Returns the options of a copy; a group that training added follows the rate of the first one."""
    first = min(len(built), len(fresh))
    merged = [{k: taken(built[at].get(k), fresh[at].get(k), v) for k, v in now[at].items()} for at in range(min(first, len(now)))]
    for options in now[first:]:
        factor = _ratio(fresh[0].get("lr"), built[0].get("lr"))
        merged.append({k: v * factor if k in ("lr", "initial_lr") and not same(factor, 1.0) else v for k, v in options.items()})
    return merged


def _ratio(value: Any, other: Any) -> float:
    return float(value) / float(other) if value is not None and other else 1.0


def _regroup(optimizer: Optimizer, weights: list[list[torch.Tensor]], options: list[Options]) -> None:
    """Gives the groups these parameters, as the parent's groups have them."""
    for at, (parameters, chosen) in enumerate(zip(weights, options, strict=True)):
        if at >= len(optimizer.param_groups):
            for group in optimizer.param_groups:  # a parameter may have moved from one group to another
                group["params"][:] = [each for each in group["params"] if not any(each is other for other in parameters)]
            optimizer.add_param_group({**chosen, "params": parameters})
        optimizer.param_groups[at]["params"][:] = parameters
    del optimizer.param_groups[len(weights) :]


def _own_weights(optimizer: Optimizer, path: str) -> dict[str, torch.Tensor]:
    return {
        f"{path}.param_groups.{at}.{index}": weight
        for at, group in enumerate(optimizer.param_groups)
        for index, weight in enumerate(group["params"])
    }


def _put_own(optimizer: Optimizer, own: Mapping[str, torch.Tensor], path: str) -> None:
    mine = _own_weights(optimizer, path)
    for name, tensor in own.items():
        if name in mine:
            put_tensor(mine[name], tensor)


def _found(
    names: list[list[str]], path: str, weights: Mapping[str, torch.Tensor], own: Mapping[str, torch.Tensor]
) -> list[list[torch.Tensor]]:
    known = {**own, **weights}
    if missing := [name for group in names for name in group if name not in known]:
        raise UsageError(f"{path} of the checkpoint trains {missing[0]}, which __init__ of this copy did not make.")
    return [[known[name] for name in group] for group in names]
