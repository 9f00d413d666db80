"""Cases that the product does not keep yet, by section, each with the reason. The aim is an empty table."""

from typing import Final

_LEADING = "llhttp skips any mixture of CR and LF before a request line, where only CRLF may stand; net/parsing.py"
_PROTOCOL = "llhttp reads RTSP/1.0 and ICE/1.0 as versions, and tells nobody which protocol it was; net/parsing.py"
_OVERHEAD = (
    "bytes behind the head in the same read are not counted, and each piece of a body forgets what was counted: "
    "extensions and trailers are bounded by what one read holds, not by max_header_bytes; net/parsing.py"
)
_HEAD_SIZE = "a head that began within a read is counted from its next read on, so it may be twice too long"
_EMPTY_LINES = "empty lines are neither counted nor timed: each of them begins the head's deadline anew; net/parsing.py"

_HEAD_CONTENT = "refusals before there is an exchange do not look at the method; net/downstream.py, refuse"

SKIPS_LINE_ENDS: Final = True
ENDS_CHUNKS_TWICE: Final = True
"""As long as these are so, the fuzz does not call them findings again."""

PENDING: Final[dict[str, str]] = {
    "RFC 9110 9.3.2 HEAD without a Host": _HEAD_CONTENT,
    "RFC 9110 9.3.2 HEAD with an expectation": _HEAD_CONTENT,
    "RFC 9112 2.2 bare LF before the request line": _LEADING,
    "RFC 9112 2.2 bare CR before the request line": _LEADING,
    "RFC 9112 2.2 bare LF between requests": _LEADING,
    "RFC 9112 2.2 bare CR between requests": _LEADING,
    "RFC 9112 2.3 RTSP": _PROTOCOL,
    "RFC 9112 2.3 ICE": _PROTOCOL,
    "RFC 9112 7.1.1 an extension without end": _OVERHEAD,
    "RFC 9112 7.1.1 an extension too long": _OVERHEAD,
    "RFC 9112 7.1.1 extensions that add up": _OVERHEAD,
    "RFC 9112 7.1.2 trailers without end": _OVERHEAD,
    "RFC 9112 7.1.2 long trailers in all": _OVERHEAD,
    "RFC 9112 2.2 empty lines without end": _EMPTY_LINES,
    "RFC 6585 5 a second head too large": _HEAD_SIZE,
}

_VERSION = "only 1.1 or not is asked of the parser, and llhttp takes 0.9 and 2.0 for versions; net/upstream.py"
_EMPTY_BEFORE = (
    "llhttp skips CR and LF before a status line, where nothing may stand (RFC 9112 section 2.2 is about requests)"
)
_TWICE = (
    "a second response in the same read ends the visitor's chunks a second time; net/upstream.py, on_message_complete"
)
_EMPTY_BEHIND = "llhttp skips CR and LF behind a response in the same read, so nobody sees the surplus; net/upstream.py"

PENDING_ANSWERS: Final[dict[str, str]] = {
    "RFC 9112 2.3 HTTP/2.0": _VERSION,
    "RFC 9112 2.3 HTTP/0.9 by name": _VERSION,
    "RFC 9112 2.3 RTSP": _PROTOCOL,
    "RFC 9112 2.2 an empty line before": _EMPTY_BEFORE,
    "RFC 9112 2.2 bare LF before": _EMPTY_BEFORE,
    "RFC 9112 6.3 a second answer behind chunks": _TWICE,
    "RFC 9112 6.3 an empty line behind": _EMPTY_BEHIND,
    "RFC 9112 7.1.2 trailers without end": _OVERHEAD,
    "RFC 9112 7.1.1 an extension without end": _OVERHEAD,
}

PENDING_CORPUS: Final[dict[str, str]] = {
    "207 SOURCE request with ICE": _PROTOCOL,
    "208 OPTIONS request with RTSP": _PROTOCOL,
    "209 ANNOUNCE request with RTSP": _PROTOCOL,
}
