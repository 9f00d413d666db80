"""What a tenant's record looks like: as JSON for programs, and as words for people.

The JSON shape is public (docs/cli.md): members are added, never renamed or removed. Everything printed for people has
its control characters escaped: values come from a registry that others write to.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import click

from gogeta.api.representations import state_of, tenant_data
from gogeta.domain.lifecycle import Observed
from gogeta.domain.quantities import format_age, format_duration
from gogeta.domain.state import DesiredState, LastAccess, TenantRecord
from gogeta.kit.clock import rfc3339
from gogeta.kit.exits import printable, say

Clock = Callable[[int], str]
"""A moment, in epoch milliseconds, in words."""

_COLOURS: Final = {
    "started": "green",
    "routed": "green",
    "failed": "red",
    "passivated": "blue",
    "stopped": "bright_black",
}


def to_data(record: TenantRecord, access: LastAccess | None) -> dict[str, Any]:
    """The whole record as the API has it, and its last access."""
    last = None
    if access is not None:
        last = {"at": rfc3339(access.at), "by": access.by, "in_flight": access.in_flight, "tunnels": access.tunnels}
    return {**tenant_data(record), "idle_timeout": record.tenant.idle_timeout, "last_access": last}


def print_json(data: object) -> None:
    """JSON on standard output, indented; ASCII, so that no terminal acts upon it."""
    click.echo(json.dumps(data, indent=2))


def age(now: int, then: int) -> str:
    """How long ago; ``-`` for never."""
    return format_age((now - then) / 1000) if then else "-"


def took(milliseconds: float) -> str:
    """A length of time as people read it: ``85 ms``, ``1.24 s``."""
    return f"{milliseconds:.0f} ms" if milliseconds < 1000 else f"{milliseconds / 1000:.2f} s"


def row(record: TenantRecord, access: LastAccess | None, now: int) -> tuple[str, ...]:
    """A tenant's line in the list; see ``COLUMNS``."""
    observed, desired = record.observed, record.desired
    since = 0 if record.tenant.routed_only else max(observed.since, desired.since)
    reason = observed.reason if observed.state is Observed.FAILED else None
    return (
        record.name,
        state_of(record),
        age(now, since),
        "-" if access is None else age(now, access.at),
        "-" if record.tenant.routed_only else format_duration(record.tenant.idle_timeout),
        printable(",".join(record.tenant.hosts)),
        printable(f"{reason.code.value}: {reason.message}") if reason else "",
    )


COLUMNS: Final = ("NAME", "STATE", "FOR", "LAST ACCESS", "IDLE AFTER", "HOSTS", "REASON")


def print_table(rows: list[tuple[str, ...]]) -> None:
    """The list: coloured and fitted on a terminal; plain columns, nothing cut off, anywhere else."""
    used = [index for index, title in enumerate(COLUMNS) if title != "REASON" or any(line[index] for line in rows)]
    titles, lines = [COLUMNS[index] for index in used], [[line[index] for index in used] for line in rows]
    if on_terminal():
        _print_rich(titles, lines)
        return
    _print_plain(titles, lines)


def _print_plain(titles: Sequence[str], lines: Sequence[Sequence[str]], indent: str = "") -> None:
    widths = [max(len(line[column]) for line in [titles, *lines]) for column in range(len(titles))]
    for line in (titles, *lines):
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        click.echo(indent + "  ".join(cells).rstrip())


def print_columns(titles: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
    """A small table inside a text: on a terminal the last column is folded, anywhere else nothing is cut off."""
    lines = [[printable(cell) for cell in line] for line in lines]
    if not on_terminal():
        _print_plain(titles, lines, "  ")
        return
    from rich.console import Console  # noqa: PLC0415 - only a terminal needs it
    from rich.padding import Padding  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(*titles, box=None, pad_edge=False, header_style="dim")
    for column in table.columns:
        column.overflow = "fold"
    for line in lines:
        table.add_row(*(Text(cell) for cell in line))
    Console(highlight=False).print(Padding(table, (0, 0, 0, 2)))


def on_terminal() -> bool:
    """Whether a person looks at standard output (which a caller may have closed)."""
    return sys.stdout is not None and sys.stdout.isatty()


def _print_rich(titles: list[str], lines: list[list[str]]) -> None:
    from rich.console import Console  # noqa: PLC0415 - only a terminal needs it
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(*titles, box=None, pad_edge=False, header_style="bold")
    for title, column in zip(titles, table.columns, strict=True):
        column.overflow = "fold"
        column.no_wrap = title not in ("HOSTS", "REASON")
    for line in lines:
        state = Text(line[1], style=_COLOURS.get(line[1], "yellow"))
        table.add_row(Text(line[0], style="bold"), state, *(Text(cell) for cell in line[2:]))
    Console().print(table)


def details(record: TenantRecord, access: LastAccess | None, now: int) -> Iterable[tuple[str, str]]:
    """One tenant in full, as titles and values."""
    observed, desired, tenant = record.observed, record.desired, record.tenant
    yield "name", record.name
    yield "state", state_of(record)
    yield "hosts", ", ".join(tenant.hosts)
    if tenant.routed_only:
        yield "runs", "elsewhere: routed only, never woken and never put to sleep"
    else:
        yield "runs", tenant.driver or ""
        yield "desired", desired.state.value + _since(now, desired.since) + _because(desired)
        yield "observed", observed.state.value + _since(now, observed.since)
        yield "idle after", format_duration(tenant.idle_timeout)
    if observed.reason is not None:
        retry = f"; tried again at {rfc3339(observed.reason.retry_at)}" if observed.reason.retry_at else ""
        yield "reason", f"{observed.reason.code.value}: {observed.reason.message}{retry}"
    yield "endpoints", ", ".join(str(endpoint) for endpoint in record.endpoints) or "none now"
    if access is None:
        yield "last access", "never"
    else:
        flying = f", {access.in_flight} open" if access.in_flight else ""
        yield "last access", f"{age(now, access.at)} ago ({rfc3339(access.at)}) through {access.by or '?'}{flying}"
    if observed.phase and observed.state is Observed.STARTING:
        yield "under way", observed.phase
    if observed.phases:
        total = sum(phase.ms for phase in observed.phases)
        steps = ", ".join(f"{phase.name} {took(phase.ms)}" for phase in observed.phases)
        yield "last start", f"{took(total)}: {steps}"
    if desired.wakes:
        yield "wakes", str(desired.wakes)


def _since(now: int, then: int) -> str:
    return f", for {age(now, then)} ({rfc3339(then)})" if then else ""


def _because(desired: DesiredState) -> str:
    cause = f", {desired.cause.value}" if desired.cause else ""
    return cause + (f", by {desired.by}" if desired.by else "")


def print_details(pairs: Iterable[tuple[str, str]]) -> None:
    """Titles and values, one pair a line."""
    lines = list(pairs)
    width = max(len(title) for title, _ in lines)
    for title, value in lines:
        colour = _COLOURS.get(value) if title == "state" else None
        echo(f"{title.ljust(width)}  ", (printable(value), colour))


def echo(*parts: str | tuple[str, str | None]) -> None:
    """A line on standard output; (text, colour) parts are coloured on a terminal, unless NO_COLOR is set."""
    line = "".join(part if isinstance(part, str) else click.style(part[0], fg=part[1]) for part in parts)
    click.echo(line, color=False if os.environ.get("NO_COLOR") else None)


def warn(text: str) -> None:
    """A warning on stderr."""
    say("warning", text, colour="yellow")
