"""What the access log is told of an exchange when it is over, or of what never became one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gogeta.core.access_record import Ending
from gogeta.core.response import SWITCHING

if TYPE_CHECKING:
    from gogeta.core.pages import Page
    from gogeta.core.refusal import Reason
    from gogeta.net.access_log import AccessLog
    from gogeta.net.exchange import Exchange


def note_exchange(log: AccessLog, exchange: Exchange, now: float) -> None:
    """An exchange is over; all times are on the proxy's exact clock."""
    head, entry, via = exchange.head, exchange.entry, exchange.via
    log.note(
        exchange.began,
        exchange.forwarded_at or (0.0 if via is None else exchange.began),
        exchange.first_byte_at or (now if exchange.status else 0.0),
        now,
        exchange.request_id,
        "" if entry is None else entry.name,
        exchange.downstream.peer,
        exchange.method,
        head.host,
        exchange.target,
        head.http11,
        [(name, value) for name, value, _, _ in head.fields],
        SWITCHING if exchange.ending is Ending.UPGRADE else exchange.status,
        exchange.refusal,
        exchange.ending,
        exchange.received,
        exchange.sent_bytes,
        "" if via is None else via.address,
        exchange.reused,
        exchange.attempts,
    )


def note_refusal(log: AccessLog, peer: str, request_id: bytes, page: Page, reason: Reason, now: float) -> None:
    """What could not become a request was refused."""
    none = b""
    # fmt: off
    log.note(
        now, 0.0, now, now, request_id, "", peer, none, none, none, False, (),  # noqa: FBT003 - positional
        page.status, reason.value, Ending.COMPLETE, 0, len(page.body), "", False, 0,  # noqa: FBT003 - ditto
    )
    # fmt: on
