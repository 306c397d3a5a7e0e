"""The least that can be an ingest API: takes every event, and says so; a process of its own."""

from __future__ import annotations

import gzip
import socketserver
import sys
import threading

import msgspec

from tollspan.usage import EventVerdict, EventVerdicts, encode_verdicts, split_batch


class _Named(msgspec.Struct):
    id: str


_named = msgspec.json.Decoder(_Named)
_KEY = b'{"tenant": "acme", "scopes": ["ingest"]}'


class _Handler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        """Answer one request after the other, until the client goes."""
        while line := self.rfile.readline():
            size = 0
            while (header := self.rfile.readline().strip().lower()) != b"":
                if header.startswith(b"content-length:"):
                    size = int(header.partition(b":")[2])
            body = self.rfile.read(size)
            answer = _KEY if line.startswith(b"GET") else _verdicts(body)
            self.wfile.write(
                b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(answer) + answer
            )


def _verdicts(body: bytes) -> bytes:
    ids = [_named.decode(one).id for one in split_batch(gzip.decompress(body))]
    return encode_verdicts(
        EventVerdicts(results=tuple([EventVerdict(id=one, status="accepted") for one in ids]))
    )


def main() -> None:
    """Serve on loopback until the input ends; print the port."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        print(server.server_address[1], flush=True)
        sys.stdin.read()
        server.shutdown()


if __name__ == "__main__":
    main()
