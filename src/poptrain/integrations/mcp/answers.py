"""A server whose refusals a program can act on: a stable code, and a sentence that says what to do, never a traceback.

The SDK checks arguments against the schema of a tool; what it reports becomes a sentence with the code ``usage``. It ignores an
argument that a tool does not have, so that ``why(task_id=3)`` would explain another task: here it is refused.
"""

from __future__ import annotations

from collections.abc import Mapping

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.tools import Tool
from mcp.types import CallToolResult, TextContent
from pydantic import ValidationError

from poptrain.core import Json
from poptrain.core.errors import PoptrainError, Suspended, Unreadable, UsageError, did_you_mean

KINDS = {"string": "a text", "integer": "a whole number", "array": "a list of texts"}


class Answering(MCPServer):
    """A server of the official SDK that explains why it refuses a call.

    Args:
        name: of the server.
        tools: what it can be asked.
        about: settings of the SDK's server.
    """

    def __init__(self, name: str, tools: list[Tool], **about: Json):
        for tool in tools:
            tool.parameters["additionalProperties"] = False
        super().__init__(name, tools=tools, **about)
        self._known = {tool.name: tool for tool in tools}

    async def call_tool(self, name: str, arguments: dict[str, Json], *more: Json, **named: Json) -> Json:
        """Returns what a tool answers; a refusal is an answer too, with a code."""
        try:
            self._check_names(name, arguments)
            return await super().call_tool(name, arguments, *more, **named)
        except UsageError as error:
            return _refusal(error)
        except ToolError as error:
            cause = error.__cause__
            if isinstance(cause, ValidationError):
                return _refusal(UsageError(_wrong(self._known[name], cause)))
            if isinstance(cause, (PoptrainError, OSError)):
                return _refusal(explained(cause))
            raise

    def _check_names(self, name: str, arguments: Mapping[str, Json]) -> None:
        """Raises a `UsageError` for an unknown tool, and for a parameter that the tool does not have."""
        if name not in self._known:
            raise UsageError(f"no tool {name!r}: expected one of {', '.join(self._known)}.{did_you_mean(name, self._known)}")
        expected = self._known[name].parameters["properties"]
        for each in arguments:
            if each not in expected:
                some = f"expected {' and '.join(expected)}" if expected else "it has none"
                raise UsageError(f"{name} has no parameter {each!r}: {some}.{did_you_mean(each, expected)}")


def explained(error: PoptrainError | OSError) -> PoptrainError:
    """Returns the error that a program is shown for what a tool raised.

    A log that is read on, as if to be continued, raises `Suspended` if it may not be read: here nothing was suspended.
    """
    if isinstance(error, Suspended) and isinstance(error.__cause__, OSError):
        error = error.__cause__
    return error if isinstance(error, PoptrainError) else Unreadable.of(error)


def _refusal(error: PoptrainError) -> CallToolResult:
    text = TextContent(type="text", text=f"{error.code}: {error}")
    return CallToolResult(content=[text], structured_content={"code": error.code, "message": str(error)}, is_error=True)


def _wrong(tool: Tool, error: ValidationError) -> str:
    """Returns what is wrong with the first bad argument."""
    wrong = error.errors()[0]
    name = str(wrong["loc"][0])
    about = tool.parameters["properties"][name]
    if wrong["type"] == "missing":
        return f"{tool.name}: {name} is missing. {about['description']}"
    kind = next(each for each in (about, *about.get("anyOf", ())) if each.get("type") in KINDS)
    least = f" from {kind['minimum']:,}" if "minimum" in kind else ""
    return f"{name}={wrong['input']!r}: expected {KINDS[kind['type']]}{least}. {about['description']}"
