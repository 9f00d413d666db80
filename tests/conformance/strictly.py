"""HTTP/1.1 read without any tolerance: the one form in which a proxy of ours may write it.

Every other reader forgives something. This one does not, so whatever it accepts is read alike by all of them: CRLF and
nothing else, one blank, one framing, lower-case hexadecimal sizes, no extensions (RFC 9112 sections 2 to 7).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

Fields = list[tuple[bytes, bytes]]

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_REQUEST_LINE = re.compile(rb"(" + _TOKEN + rb") ([!-\"$-~]+) HTTP/1\.1").fullmatch
_STATUS_LINE = re.compile(rb"HTTP/1\.1 ([1-9][0-9][0-9]) ([\t -~\x80-\xff]*)").fullmatch
_FIELD = re.compile(rb"(" + _TOKEN + rb"): ?([\t -~\x80-\xff]*)").fullmatch
_SIZE = re.compile(rb"([0-9a-f]+)\r\n").match
_BODILESS = (204, 304)


class Malformed(Exception):
    """What was written is not in the one form."""


@dataclass
class Message:
    """A request or a response. ``complete``: its end has been read."""

    start: tuple[bytes, ...]
    fields: Fields
    body: bytes = b""
    trailers: Fields = field(default_factory=list)
    complete: bool = True
    chunked: bool = False

    @property
    def status(self) -> int:
        """The status code of a response."""
        return int(self.start[0])

    def values(self, name: bytes) -> list[bytes]:
        """All values of a field, by its lower-case name."""
        return [value for key, value in self.fields if key.lower() == name]


def _fields(lines: Sequence[bytes]) -> Fields:
    fields = []
    for line in lines:
        if (match := _FIELD(line)) is None:
            raise Malformed(f"field {line!r}")
        fields.append((match[1], match[2].rstrip(b" \t")))
    return fields


def _head(data: bytes, at: int) -> tuple[list[bytes], int] | None:
    end = data.find(b"\r\n\r\n", at)
    return None if end < 0 else (data[at:end].split(b"\r\n"), end + 4)


def _framing(message: Message) -> tuple[bool, int | None]:
    """Whether it is chunked, and its length if it tells one."""
    codings, lengths = message.values(b"transfer-encoding"), message.values(b"content-length")
    if codings and (codings != [b"chunked"] or lengths):
        raise Malformed(f"framing {codings} {lengths}")
    if len(lengths) > 1 or (lengths and not re.fullmatch(rb"0|[1-9][0-9]{0,18}", lengths[0])):
        raise Malformed(f"lengths {lengths}")
    return bool(codings), int(lengths[0]) if lengths else None


def _chunks(data: bytes, at: int, message: Message) -> int | None:
    """Where the chunked body ends; None when it has not ended yet."""
    while True:
        size = _SIZE(data, at)
        if size is None:
            if b"\r\n" in data[at : at + 20] or len(data) > at + 20:
                raise Malformed(f"chunk {data[at : at + 20]!r}")
            return None
        at, length = size.end(), int(size[1], 16)
        if not length:
            break
        message.body += data[at : at + length]
        if len(data) < at + length + 2:
            return None
        at += length + 2
        if data[at - 2 : at] != b"\r\n":
            raise Malformed("the end of a chunk")
    if data[at : at + 2] == b"\r\n":
        return at + 2
    end = data.find(b"\r\n\r\n", at)
    if end < 0:
        return None
    message.trailers = _fields(data[at:end].split(b"\r\n"))
    return end + 4


def request(data: bytes, at: int = 0) -> tuple[Message, int] | None:
    """The request at this place and where it ends; None when its head is not complete.

    Raises Malformed.
    """
    if (found := _head(data, at)) is None:
        return None
    lines, at = found
    if (match := _REQUEST_LINE(lines[0])) is None:
        raise Malformed(f"request line {lines[0]!r}")
    message = Message(match.groups(), _fields(lines[1:]))
    if len(message.values(b"host")) != 1:
        raise Malformed("Host")
    message.chunked, length = _framing(message)
    end = _body(data, at, message, length or 0)
    return message, end


def _body(data: bytes, at: int, message: Message, length: int) -> int:
    if message.chunked:
        end = _chunks(data, at, message)
        message.complete = end is not None
        return len(data) if end is None else end
    message.body = data[at : at + length]
    message.complete = len(message.body) == length
    return at + len(message.body)


def response(data: bytes, at: int = 0, *, method: bytes = b"GET", over: bool = False) -> tuple[Message, int] | None:
    """The response at this place and where it ends; None when its head is not complete. Raises Malformed.

    ``over``: the connection has ended in good order behind the data, which is the end of a body without framing.
    """
    if (found := _head(data, at)) is None:
        return None
    lines, at = found
    if (match := _STATUS_LINE(lines[0])) is None:
        raise Malformed(f"status line {lines[0]!r}")
    message = Message(match.groups(), _fields(lines[1:]))
    message.chunked, length = _framing(message)
    status = message.status
    if status < 200 or status == 204:
        if message.chunked or length is not None:
            raise Malformed(f"framing of {status}")
        return message, at
    if method == b"HEAD" or status in _BODILESS:
        message.chunked = False
        return message, at
    if not message.chunked and length is None:
        message.body = data[at:]
        message.complete = over
        return message, len(data)
    return message, _body(data, at, message, length or 0)


def responses(data: bytes, *, methods: Sequence[bytes] = (), over: bool = False) -> list[Message]:
    """A visitor's whole reading; ``methods`` of its requests, in order. Raises Malformed."""
    read: list[Message] = []
    left, at = list(methods), 0
    while at < len(data):
        found = response(data, at, method=left[0] if left else b"GET", over=over)
        if found is None:
            read.append(Message((b"0",), [], data[at:], complete=False))
            return read
        message, at = found
        read.append(message)
        if message.status == 101:
            message.body = data[at:]
            return read
        if message.status >= 200 and left:
            left.pop(0)
    return read
