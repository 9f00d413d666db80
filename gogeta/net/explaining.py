"""What llhttp's complaints mean for a visitor: a parser's error becomes a named refusal."""

from __future__ import annotations

import re
from typing import Final

import httptools

from gogeta.core.refusal import Reason, RefusedError

_PLAUSIBLE_METHOD: Final = re.compile(rb"\s*[A-Z][A-Z_-]{0,31} ").match
_PREFACE: Final = b"PRI * HTTP/2.0"


def explain(error: Exception, data: bytes, *, in_fields: bool) -> RefusedError:
    """The refusal for what the parser said about a request; ``data`` is what it was fed last.

    ``in_fields``: it had read a field of this head already, so the start line was good.
    """
    text = str(error)
    if isinstance(error, httptools.HttpParserInvalidMethodError):
        plausible = not in_fields and _PLAUSIBLE_METHOD(data)
        return RefusedError(Reason.METHOD if plausible else Reason.MALFORMED, text)
    if "PRI" in text or data.startswith(_PREFACE):
        return RefusedError(Reason.VERSION, "the HTTP/2 preface")
    if "HTTP version" in text:
        return RefusedError(Reason.VERSION, text)
    if "Content-Length" in text or "Transfer-Encoding" in text:
        return RefusedError(Reason.FRAMING, text)
    return RefusedError(Reason.MALFORMED, text)
