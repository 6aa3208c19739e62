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
from poptrain.core.errors import PoptrainError, UsageError, did_you_mean

Schema = Mapping[str, Json]  # of one parameter, as JSON
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
        self._known = {tool.name: tool.parameters for tool in tools}

    async def call_tool(self, name: str, arguments: dict[str, Json], *more: Json, **named: Json) -> Json:
        """Returns what a tool answers; a refusal is an answer too, with a code."""
        try:
            self._refuse(name, arguments)
            return await super().call_tool(name, arguments, *more, **named)
        except UsageError as error:
            return _refusal(error)
        except ToolError as error:
            cause = error.__cause__
            if isinstance(cause, ValidationError):
                wrong = cause.errors()[0]
                return _refusal(UsageError(_wrong(str(wrong["loc"][0]), wrong["input"], self._known[name])))
            if isinstance(cause, PoptrainError):
                return _refusal(cause)
            if isinstance(cause, OSError):
                where = f"{cause.filename}: " if cause.filename else ""
                return _refusal(
                    PoptrainError(f"{where}{cause.strerror or cause}. Check that the server may read the run directory.")
                )
            raise

    def _refuse(self, name: str, arguments: Mapping[str, Json]) -> None:
        """Raises `UsageError` if there is no such tool, or if it has no such parameter."""
        if name not in self._known:
            raise UsageError(f"no tool {name!r}: expected one of {', '.join(self._known)}.{did_you_mean(name, self._known)}")
        expected = self._known[name]["properties"]
        for each in arguments:
            if each not in expected:
                some = f"expected {' and '.join(expected)}" if expected else "it has none"
                raise UsageError(f"{name} has no parameter {each!r}: {some}.{did_you_mean(each, expected)}")
        for each in self._known[name].get("required", ()):
            if each not in arguments:
                raise UsageError(f"{name}: {each} is missing. {expected[each]['description']}")


def _refusal(error: PoptrainError) -> CallToolResult:
    said = {"code": error.code, "message": str(error)}
    text = TextContent(type="text", text=f"{error.code}: {error}")
    return CallToolResult(content=[text], structured_content=said, is_error=True)


def _wrong(name: str, got: object, schema: Schema) -> str:
    about = schema["properties"][name]
    kind = next(each for each in (about, *about.get("anyOf", ())) if each.get("type") in KINDS)
    least = f" from {kind['minimum']:,}" if "minimum" in kind else ""
    return f"{name}={got!r}: expected {KINDS[kind['type']]}{least}. {about['description']}"
