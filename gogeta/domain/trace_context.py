"""Whose trace something belongs to: W3C Trace Context (``traceparent``, ``tracestate``), read strictly. Pure.

A ``traceparent`` that is not well formed counts as none, and its ``tracestate`` goes with it: a new trace is better
than one that two systems understand in two ways. Where spans go, and whether there are any, is not known here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

STATE_LIMIT: Final = 512
"""Most characters of a ``tracestate`` that are passed on: what everybody has to pass on at the least."""
_MEMBERS: Final = 32
_LONG_MEMBER: Final = 128
"""Longer members go first when there is not room for all (section 3.3.1.5)."""
_PARENT: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.DOTALL).fullmatch
_KEY: Final = re.compile(r"[a-z][a-z0-9_\-*/]{0,255}|[a-z0-9][a-z0-9_\-*/]{0,240}@[a-z][a-z0-9_\-*/]{0,13}").fullmatch
_VALUE: Final = re.compile(r"[ -+\--<>-~]{0,255}[!-+\--<>-~]").fullmatch
_SAMPLED: Final = 1
_RANDOM: Final = 2
_ZERO_TRACE: Final = "0" * 32
_ZERO_SPAN: Final = "0" * 16


@dataclass(frozen=True, slots=True)
class TraceContext:
    """One span of one trace, as the next in line hears of it."""

    trace_id: str
    """32 hexadecimal digits, in lower case."""
    span_id: str
    """16 of them."""
    sampled: bool
    """Whether the spans of this trace are kept."""
    state: str = ""
    """``tracestate``, for those who come after us."""
    random: bool = False
    """Whether the trace's id is known to be random (level 2)."""

    @property
    def traceparent(self) -> str:
        """The field's value, in the version that everybody reads."""
        flags = self.sampled * _SAMPLED | self.random * _RANDOM
        return f"00-{self.trace_id}-{self.span_id}-{flags:02x}"


def parse_traceparent(value: str) -> TraceContext | None:
    """The span that a ``traceparent`` names; None when it is not well formed.

    Of a later version the parts that this one has are read, as the recommendation asks for.
    """
    match = _PARENT(value)
    if match is None:
        return None
    version, trace_id, span_id, flags, more = match.groups()
    if version == "ff" or trace_id == _ZERO_TRACE or span_id == _ZERO_SPAN or (version == "00" and more is not None):
        return None
    bits = int(flags, 16)
    return TraceContext(trace_id, span_id, sampled=bool(bits & _SAMPLED), random=bool(bits & _RANDOM))


def parse_tracestate(values: Sequence[str]) -> str:
    """One ``tracestate`` of all that were given, in their order; empty when any of it is not well formed."""
    members: dict[str, str] = {}
    for member in ",".join(values).split(","):
        stripped = member.strip(" \t")
        if not stripped:
            continue
        key, equals, value = stripped.partition("=")
        if not equals or not _KEY(key) or not _VALUE(value) or key in members or len(members) >= _MEMBERS:
            return ""
        members[key] = stripped
    kept = list(members.values())
    if sum(map(len, kept)) + len(kept) - 1 > STATE_LIMIT:
        kept = [member for member in kept if len(member) <= _LONG_MEMBER]
    while sum(map(len, kept)) + len(kept) - 1 > STATE_LIMIT:
        kept.pop()
    return ",".join(kept)


def keeps(trace_id: str, share: float) -> bool:
    """Whether a trace that begins here is one of the ``share`` that is kept: the same answer wherever it is asked."""
    return int(trace_id[16:], 16) < share * (1 << 64)
