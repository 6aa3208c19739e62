"""The curves of the pages of agents and teams, and the table of all of them at equal frames, from the runs of `rl_agents`.

    python -m benchmarks.rl_curves [--table]    # trains nothing; draws docs/algorithms/rl/curves, or prints the table

A curve is the mean over seeds of the training score, as the agent reports it, and the lines of its seeds are faint. The returns
of the table are another thing: those of 100 episodes without noise after training, on seeds that were never trained on.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from benchmarks.rl_agents import CELLS, RESULTS
from poptrain.plots import style

FOLDER = Path(__file__).parent.parent / "docs" / "algorithms" / "rl" / "curves"
CHEETAH, DELAYED = "HalfCheetah-v5 80k", "delayed HalfCheetah-v5 80k"
ALL = {"TD3": "td3", "DDPG": "ddpg", "SAC": "sac", "P3S": "p3s as in code", "ERL": "erl", "CEM-RL": "cem-rl", "SVPG": "svpg"}
NAMES = ALL | {"P3S, one update a step": "p3s"}


def delayed(name: str) -> str:
    """Returns the cell of an agent, by its name there, on the delayed task."""
    return f"p3s delayed as in code {CHEETAH}" if name == "p3s as in code" else f"{name} {DELAYED}"


Panels = dict[str, dict[str, str]]  # title -> label of a curve -> cell
BOTH: Panels = {
    "HalfCheetah-v5": {label: f"{name} {CHEETAH}" for label, name in ALL.items()},
    "HalfCheetah-v5, rewards every 20 steps": {label: delayed(name) for label, name in ALL.items()},
}
SWIMMER = {
    "CEM-RL, gradients=0": "cem Swimmer-v5 300k",
    "CEM-RL": "cem-rl Swimmer-v5 300k",
    "ERL": "erl Swimmer-v5 300k",
    "TD3, discount .9999": "td3 far-sighted Swimmer-v5 300k",
    "TD3, discount .99": "td3 Swimmer-v5 300k",
}
WALKER = {"V-MPO": "vmpo BipedalWalker-v3 1M", "PPO": "ppo BipedalWalker-v3 1M"}
CARTPOLE = {"V-MPO": "vmpo CartPole-v1 200k", "PPO": "ppo CartPole-v1 200k", "SVPG": "svpg CartPole-v1 200k"}


def only(panels: Panels, *labels: str) -> Panels:
    """Returns the same panels with some of their curves, in this order."""
    return {title: {label: curves[label] for label in labels} for title, curves in panels.items()}


PAGES: dict[str, Panels] = {
    "index": BOTH,
    "td3": {env: {"TD3": f"td3 {env} 300k"} for env in ("HalfCheetah-v5", "Hopper-v5", "Walker2d-v5")},
    "ddpg": {"Pendulum-v1": {"DDPG": "ddpg Pendulum-v1 10k", "TD3": "td3 Pendulum-v1 10k"}} | only(BOTH, "DDPG", "TD3"),
    "sac": {"HalfCheetah-v5": {"SAC": "sac HalfCheetah-v5 100k", "TD3": "td3 HalfCheetah-v5 100k"}},
    "p3s": {
        title: {"P3S, as in the code": curves["P3S"], "P3S, as in the text": f"p3s {task}", "TD3": curves["TD3"]}
        for (title, curves), task in zip(BOTH.items(), (CHEETAH, DELAYED), strict=True)
    },
    "erl": {"Swimmer-v5": SWIMMER} | only(BOTH, "ERL", "DDPG"),
    "cem_rl": {
        "Swimmer-v5, 1M": {"CEM-RL, gradients=0": "cem Swimmer-v5 1M"},
        "Swimmer-v5": SWIMMER,
        **only(BOTH, "CEM-RL", "TD3"),
    },
    "svpg": {"CartPole-v1": {label: CARTPOLE[label] for label in ("SVPG", "PPO")}},
    "vmpo": {"BipedalWalker-v3": WALKER, "CartPole-v1": {label: CARTPOLE[label] for label in ("V-MPO", "PPO")}},
    "ppo": {"BipedalWalker-v3": {"PPO": WALKER["PPO"]}, "CartPole-v1": {"PPO": CARTPOLE["PPO"]}},
}


def draw_curves(axes: Axes, cells: dict[str, str], found: dict[str, Any], colors: dict[str, str]) -> None:
    """Draws the mean of each cell, and its seeds."""
    for label, cell in cells.items():
        runs = list(found[cell].values())
        length = min(len(run["curve"]) for run in runs)
        frames = CELLS[cell].frames * np.arange(1, length + 1) / length / 1000
        curves = np.asarray([run["curve"][:length] for run in runs])
        for curve in curves:
            axes.plot(frames, curve, color=colors[label], linewidth=0.7, alpha=0.35)
        mean = dict(color=colors[label], linewidth=2, marker="o", markersize=2.5, label=f"{label} ({len(runs)})")
        axes.plot(frames, curves.mean(0), **mean)
    axes.set_xlabel("frames of all actors, thousands", fontsize=9, color=style.INK)
    axes.legend(fontsize=8, frameon=False)


def draw(page: str, found: dict[str, Any]) -> None:
    """Draws the picture of one page."""
    panels = {title: kept for title, cells in PAGES[page].items() if (kept := {k: v for k, v in cells.items() if v in found})}
    labels = [label for cells in panels.values() for label in cells]
    colors = {label: style.MEMBERS[i % len(style.MEMBERS)] for i, label in enumerate(dict.fromkeys(labels))}
    columns = 2 if len(panels) in (2, 4) else min(len(panels), 3)
    rows = -(-len(panels) // columns)
    figure = style.figure(4.6 * columns + (1.4 if columns == 1 else 0), 3.4 * rows)
    for axes, (title, cells) in zip(figure.subplots(rows, columns, squeeze=False).flat, panels.items(), strict=True):
        style.title(style.tidy(axes), title)
        draw_curves(axes, cells, found, colors)
        axes.set_ylabel("training score", fontsize=9, color=style.INK)
    FOLDER.mkdir(exist_ok=True)
    figure.savefig(FOLDER / f"{page}.png", dpi=80)


def table(found: dict[str, Any]) -> str:
    """Returns the table of all agents at equal frames, in Markdown."""

    def said(cell: str) -> tuple[str, str]:
        runs = list(found.get(cell, {}).values())
        if not runs:
            return "not run", ""
        returns, cpu = [run["return"] for run in runs], np.mean([run["cpu"] for run in runs])
        spread = f" ± {np.std(returns, ddof=1):,.0f}" if len(runs) > 1 else ""
        return f"{np.mean(returns):,.0f}{spread} ({min(returns):,.0f} … {max(returns):,.0f}; {len(runs)})", f"{cpu:,.0f} s"

    lines = ["| | HalfCheetah-v5 | rewards every 20 steps | CPU time of a seed |", "|---|---|---|---|"]
    for label, name in NAMES.items():
        (usual, cpu), (late, _) = said(f"{name} {CHEETAH}"), said(delayed(name))
        lines.append(f"| {label} | {usual} | {late} | {cpu} |")
    return "\n".join(lines).replace("| -", "| −").replace("(-", "(−").replace("… -", "… −")


def main() -> None:
    """Draws the curves of every page, or prints the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rl_curves", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--table", action="store_true", help="print the table at equal frames, and draw nothing")
    options = parser.parse_args()
    found = json.loads(RESULTS.read_text())
    if options.table:
        print(table(found))
        return
    for page in PAGES:
        draw(page, found)


if __name__ == "__main__":
    main()
