"""What h11 reads in a visitor's own stream: the reference that nothing forwarded may differ from.

h11 is stricter than RFC 9112 allows a server to be in four places, and there the stream is told as our rules read it
before h11 sees it: empty lines (CRLF) before a request line are skipped (section 2.2), blanks around the target
count as one (section 3), an HTTP/1.0 visitor who says so stays (section 9.3), and framing
fields behind a chunked body are dropped (RFC 9110 section 6.5.1).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import h11

_TOO_LARGE = 1 << 20
_FRAMING_BEHIND = re.compile(
    rb"(\r\n0+(?:;[^\r\n]*)?\r\n(?:[^\r\n:]+:[^\r\n]*\r\n)*?)(?i:transfer-encoding|content-length):[^\r\n]*\r\n"
)
_LINE = re.compile(rb"([^ \r\n]+) +([^ \r\n]+) +(HTTP/[^ \r\n]*)\r\n").match


@dataclass
class Heard:
    """One request as h11 reads it."""

    method: str
    target: str
    body: bytes
    fields: list[tuple[bytes, bytes]]
    version: bytes

    @property
    def host(self) -> bytes:
        """Who it is for."""
        authority = re.match(r"(?i:https?)://([^/?]*)", self.target)
        hosts = [value for name, value in self.fields if name.lower() == b"host"]
        return hosts[0] if hosts else authority[1].encode() if authority else b""

    @property
    def brief(self) -> tuple[str, str, bytes]:
        """Method, target and body, the target without its authority, as it is forwarded."""
        authority = re.match(r"(?i:https?)://[^/?]*", self.target)
        if authority is None:
            return (self.method, self.target, self.body)
        rest = self.target[authority.end() :]
        if not rest.startswith("/"):
            rest = "*" if self.method == "OPTIONS" and not rest else "/" + rest
        return (self.method, rest, self.body)


def requests(data: bytes) -> list[Heard]:
    """All complete requests, up to the first thing that h11 does not understand or the end of the connection."""
    heard: list[Heard] = []
    at = 0
    while True:
        while data[at : at + 2] == b"\r\n":
            at += 2
        if (line := _LINE(data, at)) is not None:
            data = b"%b %b %b\r\n%b" % (*line.groups(), data[line.end() :])
            at = 0
        server = h11.Connection(h11.SERVER, max_incomplete_event_size=_TOO_LARGE)
        request: h11.Request | None = None
        body = b""
        try:
            server.receive_data(data[at:])
            while not isinstance(event := server.next_event(), h11.EndOfMessage):
                if isinstance(event, h11.Request):
                    request = event
                elif isinstance(event, h11.Data):
                    body += bytes(event.data)
                else:
                    return heard
        except h11.RemoteProtocolError:
            if request is None or (less := _without_framing_behind(data[at:])) == data[at:]:
                return heard
            data, at = less, 0
            continue
        assert request is not None
        fields = [(bytes(name), bytes(value)) for name, value in request.headers.raw_items()]
        heard.append(Heard(request.method.decode(), request.target.decode(), body, fields, request.http_version))
        if server.their_state is h11.MUST_CLOSE and not _stays(request):
            return heard
        data, at = server.trailing_data[0], 0


def _without_framing_behind(data: bytes) -> bytes:
    """Without the first framing field among trailers: dropped by a proxy, refused by h11."""
    return _FRAMING_BEHIND.sub(rb"\1", data, count=1)


def _stays(request: h11.Request) -> bool:
    """An HTTP/1.0 visitor who asks to stay (RFC 9112 section 9.3), which h11 leaves out."""
    lists = [value.lower() for name, value in request.headers if name == b"connection"]
    options = [token.strip(b" \t") for value in lists for token in value.split(b",")]
    return request.http_version == b"1.0" and b"keep-alive" in options and b"close" not in options


def response(data: bytes, method: bytes, *, ended: bool) -> tuple[int, bytes, bytes] | None:
    """The final response to one request as h11 reads it: status, body, surplus; None when there is no complete one."""
    client = h11.Connection(h11.CLIENT, max_incomplete_event_size=_TOO_LARGE)
    client.send(h11.Request(method=method, target=b"/", headers=[(b"Host", b"a")]))
    client.send(h11.EndOfMessage())
    body = b""
    final: h11.Response | None = None
    try:
        client.receive_data(data)
        if ended:
            client.receive_data(b"")
        while not isinstance(event := client.next_event(), h11.EndOfMessage):
            if isinstance(event, h11.Response):
                final = event
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif not isinstance(event, h11.InformationalResponse):
                return None
    except h11.RemoteProtocolError:
        if final is None or (less := _without_framing_behind(data)) == data:
            return None
        return response(less, method, ended=ended)
    assert final is not None
    return final.status_code, body, client.trailing_data[0]
