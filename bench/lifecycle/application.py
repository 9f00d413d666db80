"""A tenant of the life cycle's scenarios: every answer says whose it is, and a ledger says what was done.

It starts in a few milliseconds, serves each connection in a thread, and dies of SIGTERM at once: whoever is cut off by
that has been stopped while in use. The standard library is all it needs, so that it runs in a container too.

NAME   the tenant
PORT   where it listens, on HOST (loopback by default)
LEDGER a file that gets a line for each of: ``born``, ``listening`` (with the time in milliseconds), ``post ID HASH``
DELAY  seconds until it listens; GATE: a file that has to be there before it does

An answer carries X-Tenant, X-Instance (one start) and X-Listening-At (milliseconds), and the request's own id. /echo/ID
is small, /bulk/ID is ten megabytes, POST /take/ID tells the hash of the body, /socket/ID is a WebSocket that sends back
what it gets.
"""

from __future__ import annotations

import _thread
import binascii
import contextlib
import os
import socket
import time

# typing takes as long to import as all the rest.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import BufferedReader

BULK = 10_000_000
_PIECE = 1 << 16
_STACK = 1 << 18
_WEBSOCKET = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def bulk(line: bytes, size: int = BULK) -> bytes:
    """What /bulk answers: a line of its own, over and over."""
    return (line * (size // len(line) + 1))[:size]


class Application:
    """One start of one tenant."""

    def __init__(self) -> None:
        self.name = os.environ["NAME"].encode()
        self.instance = binascii.hexlify(os.urandom(8))
        self._ledger = os.open(os.environ["LEDGER"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        self._fields = b""

    def note(self, *words: bytes) -> None:
        """One line of the ledger, in one write."""
        os.write(self._ledger, b" ".join((self.name, self.instance, *words)) + b"\n")

    def run(self) -> None:
        """Serve until the process is ended."""
        self.note(b"born", _now())
        gate = os.environ.get("GATE")
        while gate and not os.path.exists(gate):  # noqa: PTH110 - pathlib takes as long to import as all the rest
            time.sleep(0.002)
        time.sleep(float(os.environ.get("DELAY", "0")))
        address = (os.environ.get("HOST", "127.0.0.1"), int(os.environ["PORT"]))
        with socket.create_server(address, backlog=4096) as listener:
            listening = _now()
            fields = (b"X-Tenant: ", self.name, b"\r\nX-Instance: ", self.instance, b"\r\nX-Listening-At: ", listening)
            self._fields = b"".join((*fields, b"\r\n"))
            self.note(b"listening", listening)
            _thread.stack_size(_STACK)
            while True:
                connection, _ = listener.accept()
                _thread.start_new_thread(self._serve, (connection,))

    def _serve(self, connection: socket.socket) -> None:
        # Who asked may be gone at any time.
        with connection, contextlib.suppress(ConnectionError), connection.makefile("rb") as stream:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while head := _head(stream):
                method, path, fields = head
                what, identity = path.split(b"/")[1:3]
                if what == b"socket":
                    self._echo(connection, stream, identity, fields)
                    return
                if method == b"POST":
                    self._answer(connection, self._take(stream, identity, fields))
                elif what == b"bulk":
                    self._answer(connection, bulk(self._line(identity)))
                else:
                    self._answer(connection, self._line(identity))

    def _line(self, *words: bytes) -> bytes:
        return b" ".join((self.name, self.instance, *words)) + b"\n"

    def _answer(self, connection: socket.socket, body: bytes) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n%b\r\n" % (len(body), self._fields)
        connection.sendall(head + body if len(body) < _PIECE else head)
        if len(body) >= _PIECE:
            connection.sendall(body)

    def _take(self, stream: BufferedReader, identity: bytes, fields: dict[bytes, bytes]) -> bytes:
        """Take a body whole, note that it was taken, and say what it was."""
        from hashlib import sha256  # noqa: PLC0415 - only where it is needed: it takes as long as the start

        seen, length = sha256(), 0
        for piece in _body(stream, fields):
            seen.update(piece)
            length += len(piece)
        digest = seen.hexdigest().encode()
        self.note(b"post", identity, digest)
        return self._line(identity, digest, b"%d" % length)

    def _echo(
        self, connection: socket.socket, stream: BufferedReader, identity: bytes, fields: dict[bytes, bytes]
    ) -> None:
        from hashlib import sha1  # noqa: PLC0415 - the same

        accept = binascii.b2a_base64(sha1(fields[b"sec-websocket-key"] + _WEBSOCKET, usedforsecurity=False).digest())
        connection.sendall(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Accept: %b\r\n%b\r\n" % (accept.strip(), self._fields)
        )
        while True:
            first = stream.read(2)
            if len(first) < 2:
                return
            mask = stream.read(4)
            payload = bytes(byte ^ mask[at % 4] for at, byte in enumerate(stream.read(first[1] & 0x7F)))
            if first[0] & 0x0F == 8:
                connection.sendall(b"\x88" + bytes((len(payload),)) + payload)
                return
            said = self._line(identity, payload)
            connection.sendall(b"\x82" + bytes((len(said),)) + said)


def _head(stream: BufferedReader) -> tuple[bytes, bytes, dict[bytes, bytes]] | None:
    """Method, path and fields of the next request; None at the end of the connection."""
    start = stream.readline().split()
    if len(start) < 3:
        return None
    fields = {}
    while (line := stream.readline()).strip():
        name, _, value = line.partition(b":")
        fields[name.lower()] = value.strip()
    return start[0], start[1], fields


def _body(stream: BufferedReader, fields: dict[bytes, bytes]) -> Iterator[bytes]:
    """The pieces of a body. ConnectionError when it is cut."""
    if fields.get(b"transfer-encoding") == b"chunked":
        while size := int(stream.readline() or b"x", 16):
            yield _exactly(stream, size)
            stream.readline()
        stream.readline()
        return
    left = int(fields.get(b"content-length", b"0"))
    while left:
        piece = _exactly(stream, min(left, _PIECE))
        left -= len(piece)
        yield piece


def _exactly(stream: BufferedReader, size: int) -> bytes:
    data = stream.read(size)
    if len(data) < size:
        raise ConnectionError("the body is cut")
    return data


def _now() -> bytes:
    return b"%.3f" % (time.time() * 1000)


if __name__ == "__main__":
    Application().run()
