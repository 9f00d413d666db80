"""Refuses to run on aiohttp's pure-Python HTTP parser, which it falls back to without a word.

The faults of that fallback alone (CVE-2023-47627, CVE-2025-53643 and later ones) were request smuggling; llhttp, the
compiled one, is what everything here is tested with.
"""

from __future__ import annotations

from aiohttp import http_parser

from gogeta.domain.errors import Fault, GogetaError


class ParserMissingError(GogetaError):
    """aiohttp runs without its compiled parser."""

    fault = Fault.OPERATOR


def require_compiled_parser() -> None:
    """Raise ParserMissingError where aiohttp parses HTTP in pure Python."""
    if http_parser.HttpRequestParser is http_parser.HttpRequestParserPy:
        raise ParserMissingError(
            "aiohttp runs on its pure-Python HTTP parser, which is not safe enough",
            hint="unset AIOHTTP_NO_EXTENSIONS, or install aiohttp as a wheel for this Python",
        )
