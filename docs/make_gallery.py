"""Makes the gallery: runs the examples that it shows, draws one picture of each, and writes `docs/gallery.md`.

    python docs/make_gallery.py [NAME …]        # all, or some; a run that exists in runs/gallery is not made again

Each run is made by the command that stands under its picture, in a few minutes on one core. The page keeps the sections of runs
that are not on this machine.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

import poptrain as pt
from poptrain import plots
from poptrain.views import short, span, status

ROOT = Path(__file__).parent.parent
RUNS, PICTURES, PAGE = ROOT / "runs" / "gallery", ROOT / "docs" / "gallery", ROOT / "docs" / "gallery.md"
HEAD = """# Gallery

Every picture is of a real run, made by the command below it. `python docs/make_gallery.py` makes the runs, their pictures and
this page.

## A walker

Four PPO agents learn BipedalWalker-v3 while PB2 tunes them. One episode of the best agent, the hyperparameters that trained it,
and the family tree of the run.

![The best agent walks](pictures/walker.webp)

![The hyperparameters that trained it](pictures/schedule.png)

![The family tree](pictures/lineage.png)

```bash
poptrain run examples/bipedal_pb2.py --dir runs/walker --seed 3    # python docs/make_pictures.py draws the pictures
```

## The dashboard

![The dashboard of a run](pictures/dashboard.png)

```bash
python docs/make_dashboard_pictures.py    # a small run of PB2, in Chromium; poptrain dashboard DIR shows yours
```
"""


@dataclass(frozen=True)
class Shown:
    """One run of the gallery."""

    name: str
    title: str
    says: str
    example: str
    picture: str  # the function of `poptrain.plots`
    options: tuple[str, ...] = ()

    @property
    def directory(self) -> Path:
        """Where the run is."""
        return RUNS / self.name

    def command(self, directory: str) -> list[str]:
        """Returns the command that makes the run."""
        return ["poptrain", "run", f"examples/{self.example}.py", "--dir", directory, *self.options]

    def draw(self, run: pt.Run) -> Figure:
        """Returns the picture."""
        found: Figure = getattr(plots, self.picture)(run)
        return found


GALLERY = (
    Shown(
        "classifier",
        "A PyTorch classifier",
        "PBT tunes learning rate and momentum of a small network: the schedules of all members, that of the best one on top.",
        "pytorch_classifier",
        "hparams",
    ),
    Shown(
        "text",
        "A language model, fine-tuned",
        "Hugging Face's `Trainer` fine-tunes a small BERT; PBT tunes rate, weight decay, batch size and dropout.",
        "huggingface_trainer",
        "hparams",
        ("--steps", "180"),
    ),
    Shown(
        "digits",
        "Images, tuned by FIRE PBT",
        "A residual network on handwritten digits with wrong labels. One sub-population is greedy; the members of the other are "
        "selected by how fast evaluators improve on their weights.",
        "image_classification",
        "subpopulations",
        ("--steps", "240"),
    ),
    Shown(
        "team",
        "Teams: SVPG",
        "Six policies share their gradients through a kernel, and repel each other. A whole team is one member; PBT tunes four.",
        "cartpole_team",
        "team",
    ),
    Shown(
        "students",
        "Architectures: BG-PBT",
        "Students with other widths learn digits from the best members; the better ones (large) become the next generation.",
        "torch_students",
        "architectures",
    ),
)


def main(names: list[str]) -> None:
    PICTURES.mkdir(exist_ok=True)
    for shown in GALLERY:
        if names and shown.name not in names:
            continue
        if not shown.directory.exists():
            subprocess.run([sys.executable, "-m", *shown.command(str(shown.directory))], cwd=ROOT, check=True)
        shown.draw(pt.open_run(shown.directory)).savefig(PICTURES / f"{shown.name}.png", dpi=100)
        print(f"{shown.name}: {shown.directory}")
    before = PAGE.read_text() if PAGE.exists() else ""
    PAGE.write_text(HEAD + "".join(part(shown) if shown.directory.exists() else kept(shown, before) for shown in GALLERY))


def kept(shown: Shown, page: str) -> str:
    """Returns the section that the page has of a run which is not on this machine."""
    _, title, rest = page.partition(f"\n## {shown.title}\n")
    return title + rest.partition("\n## ")[0] if title else ""


def part(shown: Shown) -> str:
    """Returns the section of one run."""
    now = status(pt.open_run(shown.directory).record)
    best = "" if now.best is None else f" The best {now.metric} is {short(now.best.score, 4)}."
    size = f"{len(now.members)} members" if len(now.members) > 1 else "1 member"
    facts = f"{size}, {now.steps:,} steps in all, {now.exploits} copies, {span(now.elapsed)}.{best}"
    command = " ".join(shown.command(f"runs/{shown.name}"))
    return f"""
## {shown.title}

{shown.says}

![{shown.title}](gallery/{shown.name}.png)

{facts}

```bash
{command}
```
"""


if __name__ == "__main__":
    main(sys.argv[1:])
