"""Exchanges that last too long, and bodies that come too slowly: looked at by the sweep, not per read.

Only what has such a limit is kept here, so that nothing is paid where there is none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gogeta.core.limits import Bounds, Mark, pace
from gogeta.core.refusal import Reason

if TYPE_CHECKING:
    from gogeta.net.exchange import Exchange
    from gogeta.settings import ServeSettings


class Overdue:
    """Exchanges under way that have a limit of time."""

    def __init__(self, settings: ServeSettings) -> None:
        """The least rate of bodies and its window are the settings'; the longest exchange is each tenant's."""
        self._minimum = settings.min_body_rate
        self._window = settings.body_rate_window
        self._limited: dict[Exchange, float] = {}
        """To the time at which it is over, on the loop's clock."""
        self._uploading: dict[Exchange, Mark] = {}

    def __len__(self) -> int:
        """How many exchanges are watched."""
        return len(self._limited.keys() | self._uploading.keys())

    def begin(self, exchange: Exchange, bounds: Bounds, now: float, *, waited: float) -> None:
        """An exchange begins: its turn has come, ``waited`` seconds after its head was read."""
        if bounds.exchange:
            self._limited[exchange] = now - waited + bounds.exchange
        if self._minimum and not exchange.request_done:
            self._uploading[exchange] = Mark(now, exchange.received)

    def end(self, exchange: Exchange) -> None:
        """An exchange is over, in whatever way."""
        self._limited.pop(exchange, None)
        self._uploading.pop(exchange, None)

    def sweep(self, now: float) -> None:
        """End what is past its limit: with an answer where none has begun, with a visible break else."""
        late = [exchange for exchange, limit in self._limited.items() if limit < now]
        for exchange in late:
            if exchange.downstream.tunnel is not None:
                # A tunnel means that the tenant is in use: it has no limit of time, as it has no idle limit.
                del self._limited[exchange]
            else:
                exchange.cut(Reason.EXCHANGE_TIMEOUT)
        for exchange, mark in tuple(self._uploading.items()):
            if exchange.request_done or exchange.ended:
                self._uploading.pop(exchange, None)
                continue
            if _is_kept_waiting(exchange):
                self._uploading[exchange] = Mark(now, exchange.received)
                continue
            marked = pace(mark, exchange.received, now, minimum=self._minimum, window=self._window)
            if marked is None:
                exchange.cut(Reason.BODY_TOO_SLOW)
            else:
                self._uploading[exchange] = marked


def _is_kept_waiting(exchange: Exchange) -> bool:
    """Whether it is not the visitor's turn: it is not read, or it waits for 100 Continue (RFC 9110 section 10.1.1)."""
    return bool(exchange.downstream.reading.holds) or (exchange.head.expects_continue and not exchange.received)
