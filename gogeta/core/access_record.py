"""One exchange as a line of the access log: JSON, or the combined format of web servers. Pure.

Whatever a visitor sends, a record is one line of printable ASCII, no longer than ``LINE_LIMIT``: nobody forges a line,
and nobody acts upon a terminal that shows one. Of what was asked only the path stands in it unless the operator wants
the query too; of the referer never the query, a fragment or credentials; no other field of the request is known here.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from enum import StrEnum
from json.encoder import encode_basestring_ascii
from typing import Final, NamedTuple

LINE_LIMIT: Final = 4096
"""Longest line with its line feed, in bytes: what a pipe takes in one piece (PIPE_BUF on Linux)."""
TARGET_LIMIT: Final = 2048
FIELD_LIMIT: Final = 512
"""Most bytes that are kept of the target, and of each other part that the visitor has made."""

_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_SHORTER: Final = (TARGET_LIMIT, FIELD_LIMIT), (512, 96), (128, 48)
"""How much of the target and of the other parts is shown; the next ones where the line would be too long. With the last
it never is: an escaped byte takes six."""
_UNQUOTABLE: Final = re.compile(r"[^ !#-\[\]-~]")
_CREDENTIALS: Final = re.compile(rb"^([A-Za-z][A-Za-z0-9+.-]*:)?//[^/?#]*@")
_CLIENT_GONE: Final = 499
"""nginx's status for a visitor who left before there was an answer; what reads the combined format knows it."""


# Written out: the encoder of dictionaries takes three times as long, and there may be twenty thousand a second.
_JSON_LINE: Final = (
    '{"time":"%s.%03dZ","request_id":%s,"tenant":%s,"peer":%s,"method":%s,"host":%s,"target":%s,"http":%s,"status":%s,'
    '"refusal":%s,"ending":"%s","bytes_in":%d,"bytes_out":%d,"seconds":%s,"first_byte_seconds":%s,'
    '"upstream_seconds":%s,"upstream":%s,"reused":%s,"retries":%d,"user_agent":%s,"referer":%s}'
)


class Ending(StrEnum):
    """How an exchange ended."""

    COMPLETE = "complete"
    CLIENT = "client-abort"
    UPSTREAM = "upstream-broken"
    TIMEOUT = "timeout"
    LIMIT = "limit"
    DRAIN = "drain"
    UPGRADE = "upgrade"
    """It had become a tunnel, which is over."""


class AccessRecord(NamedTuple):
    """What is known of one exchange when it is over. Times are seconds of the loop's clock, 0.0 where it never was."""

    began: float
    """The head was read."""
    forwarded: float
    """A connection to the tenant took the request (the last one, when it was sent again)."""
    first_byte: float
    """The first byte of the final answer left."""
    ended: float
    request_id: bytes
    tenant: str
    peer: str
    """The visitor's address."""
    method: bytes
    host: bytes
    target: bytes
    http11: bool
    user_agent: bytes
    referer: bytes
    status: int
    """Of the final answer; 0 when there was none."""
    refusal: str
    """The name of the refusal when the answer was ours; empty else."""
    ending: Ending
    received: int
    """Bytes of the request's body."""
    sent: int
    """Bytes of the answer's body."""
    upstream: str
    """The address that answered, empty when there was none."""
    reused: bool
    """Whether that connection had served before."""
    attempts: int
    """Connections that took the request."""


class RecordFormat:
    """Records as lines of one format."""

    def __init__(self, name: str, *, query: bool) -> None:
        """``name``: ``json`` or ``combined``; ``query``: whether the target is shown with its query."""
        self._is_combined = name == "combined"
        self._line = self._combined if self._is_combined else self._json
        self._query = query
        self._second = -1
        self._shown = ""

    def line(self, record: AccessRecord, epoch: float) -> bytes:
        """The record as a line with its line feed; ``epoch`` added to the loop's clock is the time since 1970."""
        line = ""
        for limits in _SHORTER:
            line = self._line(record, epoch, *limits)
            if len(line) < LINE_LIMIT:
                break
        return line.encode("ascii") + b"\n"

    def _json(self, record: AccessRecord, epoch: float, target_limit: int, limit: int) -> str:
        second, thousandths = divmod(int((record.ended + epoch) * 1000), 1000)
        line = _JSON_LINE % (
            self._stamp(second),
            thousandths,
            _json(record.request_id, limit),
            _json(record.tenant.encode(), limit),
            _json(record.peer.encode(), limit),
            _json(record.method, limit),
            _json(record.host, limit),
            _json(self._target(record), target_limit),
            ('"1.1"' if record.http11 else '"1.0"') if record.method else "null",
            record.status or "null",
            _json(record.refusal.encode(), limit),
            record.ending.value,
            record.received,
            record.sent,
            _seconds(record.began, record.ended),
            _seconds(record.began, record.first_byte),
            _seconds(record.forwarded, record.first_byte),
            _json(record.upstream.encode(), limit),
            ("true" if record.reused else "false") if record.upstream else "null",
            max(record.attempts - 1, 0),
            _json(record.user_agent, limit),
            _json(_without_secrets(record.referer), limit),
        )
        # All but printable ASCII is escaped by now, save for one character.
        return line.replace("\x7f", "\\u007f")

    def _combined(self, record: AccessRecord, epoch: float, target_limit: int, limit: int) -> str:
        time = self._stamp(int(record.ended + epoch))
        line = "-"
        if record.method:
            target = _quoted(self._target(record), target_limit)
            line = f"{_quoted(record.method, limit)} {target} HTTP/1.{'1' if record.http11 else '0'}"
        referer = _quoted(_without_secrets(record.referer), limit)
        return (
            f'{record.peer or "-"} - - [{time}] "{line}" {record.status or _CLIENT_GONE} {record.sent} "{referer}" '
            f'"{_quoted(record.user_agent, limit)}"'
        )

    def _stamp(self, second: int) -> str:
        if second != self._second:
            # Thousands of records have the same.
            at = datetime.fromtimestamp(second, UTC)
            month = _MONTHS[at.month - 1]
            self._second = second
            self._shown = (
                f"{at.day:02d}/{month}/{at:%Y:%H:%M:%S} +0000" if self._is_combined else f"{at:%Y-%m-%dT%H:%M:%S}"
            )
        return self._shown

    def _target(self, record: AccessRecord) -> bytes:
        return record.target if self._query else record.target.partition(b"?")[0]


def _seconds(since: float, until: float) -> str:
    return f"{until - since:.6f}" if since and until else "null"


def _without_secrets(referer: bytes) -> bytes:
    return _CREDENTIALS.sub(rb"\1//", referer.partition(b"?")[0].partition(b"#")[0])


def _json(value: bytes, limit: int) -> str:
    if not value:
        return "null"
    text = value[:limit].decode("utf-8", "backslashreplace")
    return encode_basestring_ascii(text + "..." if len(value) > limit else text)


def _quoted(value: bytes, limit: int) -> str:
    if not value:
        return "-"
    text = _UNQUOTABLE.sub(lambda match: f"\\x{ord(match[0]):02X}", value[:limit].decode("latin-1"))
    return text + "..." if len(value) > limit else text
