"""Makes the pictures of the README and of the documentation from one real run, into `docs/pictures/`.

    python docs/make_pictures.py [RUN]        (default: runs/pictures)

The run is `examples/bipedal_pb2.py`: 4 PPO agents learn BipedalWalker-v3 for 1,000,000 steps each while PB2 tunes them. If RUN
does not contain it yet, it is made first (3 to 6 minutes on 2 cores). The pictures:

    walker.webp     one episode of the best agent: of `TRIED` seeds that were never trained on, the one of median length
    schedule.png    the hyperparameters that trained this agent
    lineage.png     the family tree of the run
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib

import poptrain as pt

ROOT = Path(__file__).parent.parent
PICTURES = ROOT / "docs" / "pictures"
EXAMPLES = ROOT / "examples"
SEED = 3
TRIED = 20  # episodes, of which the median is shown


def main(directory: Path) -> None:
    sys.path.insert(0, str(EXAMPLES))
    from bipedal_pb2 import experiment

    agent = experiment.trainable
    run = pt.run(experiment.algorithm, agent, stop=experiment.stop, executor=experiment.executor, seed=SEED, directory=directory)
    PICTURES.mkdir(exist_ok=True)
    walker(agent, run.best)
    schedule(run)
    pt.plots.lineage(run.record).savefig(PICTURES / "lineage.png", dpi=110)
    for path in sorted(PICTURES.iterdir()):
        print(f"{path.relative_to(ROOT)}  {path.stat().st_size / 1e6:.2f} MB")


def walker(agent: pt.rl.PPO, best) -> None:
    """Draws the episode of median length among `TRIED` ones."""
    carry = best.load()
    returns = agent.evaluate(carry, episodes=100)
    print(f"return {returns.mean():.1f} ± {returns.std():.1f} (100 episodes never trained on, deterministic policy)")
    film = pt.rl.film(agent, carry, PICTURES / "walker.webp", tried=TRIED)
    print(f"{film.pictures} pictures of the episode with seed {film.seed}; lengths of all {list(film.lengths)}")


def schedule(run: pt.Run) -> None:
    """Draws the score and the hyperparameters along the ancestry of the best result."""
    from matplotlib.figure import Figure

    matplotlib.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False})
    pieces = run.schedule()
    names = pieces.names
    figure = Figure(figsize=(6.3, 4.2), layout="constrained")
    for axes, name in zip(figure.subplots(len(names), 1, sharex=True), names, strict=True):
        values = [piece.hparams[name] for piece in pieces.segments]
        starts = [piece.start for piece in pieces.segments]
        axes.step([*starts, pieces.step], [*values, values[-1]], where="post", color="#0b6e99", linewidth=2)
        if min(values) > 0 and max(values) > 20 * min(values):
            axes.set_yscale("log")
        axes.set_title(name, loc="left", fontsize=9, pad=2)
        axes.grid(alpha=0.25)
    axes.set_xlabel("environment steps of one agent")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.set_xlim(0, pieces.step)
    figure.suptitle(f"The schedule that PB2 learned (best score {run.best.score:.0f})", fontsize=10)
    figure.savefig(PICTURES / "schedule.png", dpi=130)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "runs" / "pictures")
