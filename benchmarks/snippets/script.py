"""What a user of the command line has already: a script with options, that continues from its directory."""

import argparse
import json
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float, default=0.01)
parser.add_argument("--steps", type=int, default=10)
parser.add_argument("--directory", type=Path, default=Path("."))
given = parser.parse_args()
file = given.directory / "x.json"
x = json.loads(file.read_text()) if file.exists() else 1.0
for _ in range(given.steps):
    x -= given.lr * 2 * x
file.write_text(json.dumps(x))
print(json.dumps({"score": 1 - x * x}))
