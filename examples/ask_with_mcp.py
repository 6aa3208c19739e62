"""A program that knows nothing of poptrain's files finds out, over MCP alone, why a member was replaced and which schedule won.

    python -m examples.ask_with_mcp runs

It needs the extra `mcp`. The same server can be added to any MCP client: its command is ``poptrain mcp runs``.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Any

from mcp import Client, StdioServerParameters


async def answer(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    """Returns what a tool answers."""
    found = await client.call_tool(tool, arguments)
    text = "".join(part.text for part in found.content if part.type == "text")
    if found.is_error:
        raise RuntimeError(text)
    return json.loads(text)


async def investigate(directory: str) -> list[str]:
    """Returns what is known about the first run below a directory, in sentences."""
    server = StdioServerParameters(command=sys.executable, args=["-m", "poptrain", "mcp", directory], env=dict(os.environ))
    async with Client(server) as client:
        (first, *_) = (await answer(client, "runs"))["runs"]
        run = first["run"]
        said = [f"{run}: {first['algorithm']}, {first['state']}, best {first['metric']} {first['best']:.6g}"]
        decided = await answer(client, "decisions", run=run, limit=1)
        for each in decided["decisions"]:
            story = await answer(client, "why", run=run, task=each["task"])
            said += story["why"]
        schedule = await answer(client, "schedule", run=run)
        for each in schedule["segments"]:
            said.append(f"steps {each['start']} to {each['end']}: {each['hparams']}")
        return said


if __name__ == "__main__":
    print(*asyncio.run(investigate(sys.argv[1] if len(sys.argv) > 1 else "runs")), sep="\n")
