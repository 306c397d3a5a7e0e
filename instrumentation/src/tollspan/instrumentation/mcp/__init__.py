"""The MCP SDK (`mcp` 2.x): a client's `tools/call` is gated, priced by the tool's name, and traced.

The gate stands at `ClientSession.send_request`: `Client.call_tool`, `ClientSession.call_tool` and
`ClientSessionGroup.call_tool` all end there, and it sees the request's own parameters, over every
transport. What is above it does not see a request that a program makes itself; what is below sees
bytes. Other requests of the protocol cost nothing, and pass.
"""

from ._hooks import PACKAGE, McpHooks

__all__ = ["PACKAGE", "McpHooks"]
