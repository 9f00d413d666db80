"""Asking a tenant whether it is busy: its own word over HTTP, and the processor time that it uses.

It brings facts; what they mean is in ``core.veto``. Every question ends in a few seconds, whatever the tenant does, and
a little of what it says is kept for people.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Final

from gogeta.domain.hosts import DEFAULT_HOST
from gogeta.domain.tenant import Tenant
from gogeta.domain.upstreams import Endpoint
from gogeta.kit.clock import monotonic
from gogeta.kit.tasks import first_of
from passivator.core.veto import Said, read_status
from passivator.drivers.base import Driver, DriverError

ANSWER: Final = 3.0
"""Seconds that one endpoint gets to answer."""
WINDOW: Final = 1.0
"""Seconds over which processor time is measured."""
_MAX_HEAD: Final = 16384
_MAX_WORDS: Final = 120


async def busy_path(endpoints: Sequence[Endpoint], path: str, hosts: Sequence[str]) -> tuple[Said, str]:
    """What the endpoints say together: busy when one of them is; and the words of that answer, or what went wrong."""
    # Applications that check the Host field know their public name, not their address.
    host = next((host for host in hosts if host != DEFAULT_HOST and not host.startswith("*.")), None)
    answers = await asyncio.gather(*(_ask(endpoint, path, host or endpoint.authority) for endpoint in endpoints))
    for wanted in (Said.BUSY, Said.NOTHING):
        for said, words in answers:
            if said is wanted:
                return said, words
    return Said.FREE, ""


async def _ask(endpoint: Endpoint, path: str, host: str) -> tuple[Said, str]:
    try:
        async with asyncio.timeout(ANSWER):
            status, words = await _get(endpoint, path, host)
    except TimeoutError:
        return Said.NOTHING, f"{endpoint}{path} does not answer"
    except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
        return Said.NOTHING, f"{endpoint}{path}: {error}"
    said = read_status(status)
    if said is Said.NOTHING:
        words = f"{endpoint}{path} answers {status}" if status else f"{endpoint}{path} does not speak HTTP"
    return said, words


async def _get(endpoint: Endpoint, path: str, host: str) -> tuple[int | None, str]:
    """The status and the first words of the body; no status when it is no HTTP."""
    reader, writer = await asyncio.open_connection(endpoint.host, endpoint.port, limit=_MAX_HEAD)
    try:
        # HTTP/1.0, so that what follows the head is the body as it is.
        request = f"GET {path} HTTP/1.0\r\nHost: {host}\r\nUser-Agent: passivator\r\nConnection: close\r\n\r\n"
        writer.write(request.encode("ascii"))
        await writer.drain()
        head = await reader.readuntil(b"\r\n\r\n")
        line = head.split(b"\r\n", 1)[0].split(maxsplit=2)
        code = line[1] if len(line) > 1 and line[0].startswith(b"HTTP/1.") else b""
        if not (code.isdigit() and len(code) == 3):
            return None, ""
        return int(code), await _words(reader)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def _words(reader: asyncio.StreamReader) -> str:
    body = b""
    with contextlib.suppress(TimeoutError, OSError):
        async with asyncio.timeout(ANSWER / 6):
            while len(body) < _MAX_WORDS and (piece := await reader.read(_MAX_WORDS - len(body))):
                body += piece
    lines = body.decode(errors="replace").splitlines() or [""]
    return "".join(character if character.isprintable() else " " for character in lines[0]).strip()


async def processor_use(driver: Driver, tenant: Tenant, changed: asyncio.Event) -> float | None:
    """Percent of one processor that it uses over about a second; None where nobody can say, or ``changed`` is set."""
    try:
        first, began = await driver.cpu_seconds(tenant), monotonic()
        if first is None or await first_of(changed, timeout=WINDOW):
            return None
        second, took = await driver.cpu_seconds(tenant), monotonic() - began
    except DriverError:
        return None
    if second is None or second < first or took <= 0:
        return None
    return (second - first) / took * 100
