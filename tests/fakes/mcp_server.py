"""A real MCP server of the SDK, with tools that write down each run.

`python -m tests.fakes.mcp_server LOG [--http]`: over its standard streams, or over streamable HTTP
on a free port of loopback, whose URL is the first line of its output. It ends with its input.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mcp.server.mcpserver import Context, MCPServer
from mcp.shared.exceptions import MCPError
from mcp.types import INVALID_PARAMS

ROOT = Path(__file__).parents[2]
NAME = "fake-tools"
START_SECONDS = 30


def make_server(log: Path) -> MCPServer:
    """Return a server whose tools put a line of JSON into `log` when they run."""
    server = MCPServer(NAME)

    def note(tool: str, context: Context[Any, Any]) -> None:
        meta = dict(context.request_context.meta or {})
        line = json.dumps({"tool": tool, "traceparent": meta.get("traceparent")})
        with log.open("a") as handle:
            handle.write(line + "\n")

    @server.tool()
    async def add(a: int, b: int, context: Context[Any, Any]) -> int:
        """Add two numbers."""
        note("add", context)
        return a + b

    @server.tool()
    async def search(query: str, context: Context[Any, Any]) -> str:
        """Find something; the operator has a price for it."""
        note("search", context)
        return f"found {query}"

    @server.tool()
    async def fail(context: Context[Any, Any]) -> str:
        """Fail, in the tool's own way."""
        note("fail", context)
        raise ArithmeticError("secret text of the tool")

    @server.tool()
    async def reject(context: Context[Any, Any]) -> str:
        """Answer by the protocol that the arguments do not fit, and do nothing."""
        raise MCPError(code=INVALID_PARAMS, message="secret text of the server")

    @server.tool()
    async def sleep(seconds: float, context: Context[Any, Any]) -> str:
        """Take a while."""
        note("sleep", context)
        await asyncio.sleep(seconds)
        return "awake"

    return server


@contextlib.contextmanager
def http_server(log: Path) -> Iterator[str]:
    """Run one over HTTP in a process of its own; return its URL."""
    command = [sys.executable, "-m", "tests.fakes.mcp_server", str(log), "--http"]
    environ = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    with subprocess.Popen(
        command, cwd=ROOT, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        killer = threading.Timer(START_SECONDS, process.kill)
        killer.start()
        url = process.stdout.readline().strip()
        killer.cancel()
        try:
            assert url, "the server did not start"
            yield url
        finally:
            process.stdin.close()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()


async def serve_http(server: MCPServer) -> None:
    """Serve on a free port until standard input ends."""
    import uvicorn

    with socket.create_server(("127.0.0.1", 0)) as listener:
        app = server.streamable_http_app()
        serving = uvicorn.Server(uvicorn.Config(app, log_level="error"))
        threading.Thread(target=_stop_at_eof, args=(serving,), daemon=True).start()
        print(f"http://127.0.0.1:{listener.getsockname()[1]}/mcp", flush=True)
        await serving.serve(sockets=[listener])


def _stop_at_eof(serving: Any) -> None:
    sys.stdin.buffer.read()
    serving.force_exit = serving.should_exit = True


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("log", type=Path)
    parser.add_argument("--http", action="store_true")
    options = parser.parse_args()
    made = make_server(options.log)
    asyncio.run(serve_http(made) if options.http else made.run_stdio_async())
