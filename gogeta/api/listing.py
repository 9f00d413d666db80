"""Lists in pages: which tenants, in which order, and where the next page begins. Pure.

A cursor says which item was the last one, not how many came before: tenants that come and go meanwhile neither repeat
nor hide others.
"""

from __future__ import annotations

import base64
import binascii
import difflib
import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from gogeta.api.representations import STATES, state_of
from gogeta.domain.errors import InvalidInputError, Problem
from gogeta.domain.state import TenantRecord

T = TypeVar("T")

DEFAULT_LIMIT: Final = 100
MAX_LIMIT: Final = 1000
MAX_TEXT: Final = 253
RUNS: Final = ("docker", "process", "upstreams")

Key = tuple[str | int, str]
"""What a list is sorted by: a value, then the name, so that no two are equal."""

_TROUBLE_FIRST: Final = {word: place for place, word in enumerate(("failed", "stopping", "starting", "started"))}

ORDERS: Final[Mapping[str, Callable[[TenantRecord], Key]]] = {
    "name": lambda record: ("", record.name),
    "state": lambda record: (_TROUBLE_FIRST.get(state_of(record), len(_TROUBLE_FIRST)), record.name),
    "since": lambda record: (max(record.observed.since, record.desired.since), record.name),
    "runs": lambda record: (record.tenant.driver or "upstreams", record.name),
}
"""``state`` puts what is failing first, then what is under way, what is up, and the rest."""


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """A part of a list: ``total`` counts what matches in all; ``next`` is the cursor of the next page, if any."""

    items: tuple[T, ...]
    total: int
    next: str | None


@dataclass(frozen=True, slots=True)
class Query:
    """What was asked for."""

    states: frozenset[str] = frozenset()
    """Any of these; empty for all."""
    text: str = ""
    """Part of a name or of a host, in lower case."""
    runs: str = ""
    group: str = ""
    sort: str = "name"
    descending: bool = False
    limit: int = DEFAULT_LIMIT
    cursor: str = ""

    def matches(self, record: TenantRecord) -> bool:
        """Whether a tenant is asked for."""
        tenant = record.tenant
        return (
            (not self.states or state_of(record) in self.states)
            and (not self.runs or self.runs == (tenant.driver or "upstreams"))
            and (not self.group or self.group == tenant.group)
            and (not self.text or self.text in tenant.name or any(self.text in host for host in tenant.hosts))
        )


PARAMETERS: Final = ("state", "q", "runs", "group", "sort", "limit", "cursor")
PAGING: Final = ("q", "limit", "cursor")


def read_query(items: Iterable[tuple[str, str]], allowed: Collection[str] = PARAMETERS) -> Query:
    """A query from its parameters. Raises InvalidInputError naming each wrong one."""
    given, problems = _given(items, allowed)
    states = [word for value in given.get("state", ()) for word in value.split(",")]
    problems.extend(_one_of("state", word, STATES) for word in states if word not in STATES)
    runs, sort = given.get("runs", [""])[0], given.get("sort", ["name"])[0]
    if "runs" in given and runs not in RUNS:
        problems.append(_one_of("runs", runs, RUNS))
    order = sort.removeprefix("-")
    if order not in ORDERS:
        problems.append(_one_of("sort", order, tuple(ORDERS)))
    text, cursor = given.get("q", [""])[0], given.get("cursor", [""])[0]
    if len(text) > MAX_TEXT:
        problems.append(Problem(("q",), f"expected at most {MAX_TEXT} characters, not {len(text)}"))
    limit = given.get("limit", [str(DEFAULT_LIMIT)])[0]
    size = int(limit) if limit.isascii() and limit.isdigit() and len(limit) <= 4 else 0
    if not 1 <= size <= MAX_LIMIT:
        problems.append(Problem(("limit",), f"expected a whole number from 1 to {MAX_LIMIT}, not {limit[:80]!r}"))
    if cursor:
        try:
            _read_cursor(cursor, sort)
        except ValueError as error:
            problems.append(Problem(("cursor",), str(error)))
    elif "cursor" in given:
        problems.append(Problem(("cursor",), "expected the `next` of an earlier page, not nothing"))
    if problems:
        raise InvalidInputError("query", tuple(problems))
    return Query(
        states=frozenset(states),
        text=text.lower(),
        runs=runs,
        group=given.get("group", [""])[0],
        sort=order,
        descending=sort.startswith("-"),
        limit=size,
        cursor=cursor,
    )


def page_of(items: Sequence[T], key: Callable[[T], Key], query: Query) -> Page[T]:
    """The page of ``items`` that ``query`` is at. The cursor was checked by ``read_query``."""
    sort = ("-" if query.descending else "") + query.sort
    ordered = sorted(((key(item), place) for place, item in enumerate(items)), reverse=query.descending)
    total = len(ordered)
    if query.cursor:
        last = _read_cursor(query.cursor, sort)
        ordered = [pair for pair in ordered if (pair[0] < last if query.descending else pair[0] > last)]
    chosen = ordered[: query.limit]
    following = _cursor(sort, chosen[-1][0]) if len(ordered) > len(chosen) else None
    return Page(tuple(items[place] for _, place in chosen), total, following)


def tenants_page(records: Iterable[TenantRecord], query: Query) -> Page[TenantRecord]:
    """The tenants that ``query`` asks for."""
    return page_of([record for record in records if query.matches(record)], ORDERS[query.sort], query)


def _given(items: Iterable[tuple[str, str]], allowed: Collection[str]) -> tuple[dict[str, list[str]], list[Problem]]:
    problems: list[Problem] = []
    given: dict[str, list[str]] = {}
    for name, value in items:
        if name not in allowed:
            close = difflib.get_close_matches(name, allowed, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"valid: {', '.join(allowed)}"
            problems.append(Problem((name[:80],), f"is not a parameter here; {hint}"))
        else:
            given.setdefault(name, []).append(value)
    for name, values in given.items():
        if len(values) > 1 and name != "state":
            problems.append(Problem((name,), "is given twice"))
    return given, problems


def _one_of(name: str, value: str, valid: Sequence[str]) -> Problem:
    close = difflib.get_close_matches(value, valid, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return Problem((name,), f"expected one of {', '.join(valid)}, not {value[:80]!r}{hint}")


def _cursor(sort: str, key: Key) -> str:
    return base64.urlsafe_b64encode(json.dumps([sort, *key], separators=(",", ":")).encode()).decode().rstrip("=")


def _read_cursor(text: str, sort: str) -> Key:
    wrong = ValueError(f"expected the `next` of an earlier page with the same sort, not {text[:80]!r}")
    if len(text) > 1024 or not text.isascii():
        raise wrong
    try:
        data: Any = json.loads(base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True))
    except (ValueError, binascii.Error, RecursionError):
        raise wrong from None
    if not isinstance(data, list) or len(data) != 3 or data[0] != sort or not isinstance(data[2], str):
        raise wrong
    value, name = data[1], data[2]
    numbered = sort.removeprefix("-") in ("state", "since")
    if isinstance(value, str) and not numbered:
        return value, name
    if isinstance(value, int) and not isinstance(value, bool) and numbered:
        return value, name
    raise wrong
