"""Installs the built wheel into an empty environment with each interpreter, and runs the first example of the README there.

Before that, it checks that every link of the README in the metadata of the wheel is absolute, as a package index needs it.

    python tests/house/smoke_wheel.py dist python3.11 python3.12 python3.13

Interpreters that are not installed are named and left out; at least one must be there.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]


def works(interpreter: str) -> bool:
    """True if the interpreter can be started; a version manager may have a command for each version, also for missing ones."""
    try:
        return subprocess.run([interpreter, "-c", ""], capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


def relative_links(wheel: Path) -> list[str]:
    """Returns the links of the wheel's description that are not absolute."""
    with zipfile.ZipFile(wheel) as files:
        (name,) = [name for name in files.namelist() if name.endswith(".dist-info/METADATA")]
        description = files.read(name).decode().partition("\n\n")[2]
    targets = re.findall(r"\]\(([^)\s]+)", description) + re.findall(r'(?:src|href)="([^"]+)"', description)
    if len(targets) < 20:
        raise ValueError(f"{wheel.name}: expected the README as its description, got {len(targets)} links.")
    return [target for target in targets if not target.startswith("https://")]


def main(dist: Path, interpreters: list[str]) -> int:
    (wheel,) = dist.glob("*.whl")
    if found := relative_links(wheel):
        print(f"{wheel.name}: its description has relative links: {', '.join(found)}")
        return 1
    example = re.search(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)[1]
    tried = 0
    for interpreter in interpreters:
        if not works(interpreter):
            print(f"{interpreter}: not installed, left out")
            continue
        with tempfile.TemporaryDirectory() as place:
            python = Path(place) / "venv" / "bin" / "python"
            run = lambda *command: subprocess.run([*map(str, command)], cwd=place, check=True)
            run(interpreter, "-m", "venv", Path(place) / "venv")
            run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", wheel.resolve())
            (Path(place) / "example.py").write_text(example)
            run(python, "example.py")
            run(python.with_name("poptrain"), "status", "runs/first")
            run(python.with_name("poptrain"), "verify", "runs/first", "--log-only")
        tried += 1
        print(f"{interpreter}: the wheel works")
    return 0 if tried else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:] or ["python3"]))
