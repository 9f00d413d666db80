"""An application that reads with h11: a second parser, and no friend of ours, says what was forwarded."""

from __future__ import annotations

import asyncio
import contextlib

import h11


class Strict:
    """Answers 200 to everything, and keeps what h11 read: (method, target, body). ``error``: what it could not read."""

    def __init__(self) -> None:
        self.read: list[tuple[str, str, bytes]] = []
        self.error: str | None = None

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server = h11.Connection(h11.SERVER)
        body = b""
        request: h11.Request | None = None
        try:
            while server.our_state not in (h11.MUST_CLOSE, h11.CLOSED, h11.ERROR):
                data = await reader.read(65536)
                server.receive_data(data)
                before = len(self.read)
                request, body, answers = self._read(server, request, body)
                writer.write(answers)
                await writer.drain()
                if len(self.read) - before > 1 or (len(self.read) > before and (request or server.trailing_data[0])):
                    # One request at a time on a connection: bytes behind one would be a second one, smuggled in.
                    self.error = "bytes behind a request"
                if not data:
                    return
        except h11.RemoteProtocolError as error:
            # Broken off within a request: that is how a refused one ends, visibly.
            if "closed" not in str(error):
                self.error = str(error)

    def take(self, data: bytes) -> None:
        """Read a whole stream, pipelined, as far as it can be understood."""
        server = h11.Connection(h11.SERVER)
        server.receive_data(data)
        with contextlib.suppress(h11.RemoteProtocolError):
            self._read(server, None, b"")

    def _read(
        self, server: h11.Connection, request: h11.Request | None, body: bytes
    ) -> tuple[h11.Request | None, bytes, bytes]:
        """Read what there is; the request under way, its body so far, and the bytes of the answers."""
        answers = b""
        while True:
            event = server.next_event()
            if isinstance(event, h11.Request):
                request, body = event, b""
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage) and request is not None:
                self.read.append((request.method.decode(), request.target.decode(), body))
                answers += self._answer(server, bodiless=request.method == b"HEAD")
                request = None
                if server.our_state is not h11.DONE:
                    return request, body, answers
                server.start_next_cycle()
            else:
                return request, body, answers

    def _answer(self, server: h11.Connection, *, bodiless: bool) -> bytes:
        response = h11.Response(status_code=200, headers=[(b"Content-Length", b"2")], reason=b"OK")
        parts = [response, *([] if bodiless else [h11.Data(data=b"ok")]), h11.EndOfMessage()]
        return b"".join(server.send(part) or b"" for part in parts)
