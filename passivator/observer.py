"""What the runtime says by itself: its events, and all of it again after every gap and every so often.

It reads; what to do about it is the workers' business. Events are only hints: the periodic look finds what they missed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping
from typing import NoReturn

from gogeta.domain.tenant import TenantName
from gogeta.kit.backoff import Backoff
from gogeta.kit.tasks import first_of
from passivator.drivers.base import Driver, DriverError, Runtime, RuntimeUnavailableError

logger = logging.getLogger(__name__)


class Observer:
    """Follows one driver. ``run_events`` and ``run_resync`` are its two tasks."""

    def __init__(
        self,
        driver: Driver,
        *,
        interval: float,
        hinted: Callable[[TenantName], None],
        listed: Callable[[Mapping[TenantName, Runtime]], None],
        health: Callable[[str | None], None],
    ) -> None:
        """``hinted``: look at this one; ``listed``: all there is; ``health``: None, or why the runtime is not there."""
        self._driver = driver
        self._interval = interval
        self._hinted = hinted
        self._listed = listed
        self._health = health
        self._asked = asyncio.Event()
        self.listings = 0
        """How many times everything has been read."""

    def resync(self) -> None:
        """Read everything soon."""
        self._asked.set()

    async def run_events(self) -> NoReturn:
        """Pass events on, for ever; a gap is followed by a look at everything."""
        backoff = Backoff(first=0.2, limit=5.0)
        while True:
            try:
                async with contextlib.aclosing(self._driver.events()) as events:
                    async for event in events:
                        backoff.reset()
                        if event.name is None:
                            self.resync()
                        else:
                            self._hinted(event.name)
                # An end is a gap as well, and must not become a hot loop.
                logger.info("the runtime's event stream ended; following it anew")
            except DriverError as error:
                logger.debug("the runtime's events cannot be followed: %s", error)
                self.resync()
            await asyncio.sleep(backoff.next())

    async def run_resync(self) -> NoReturn:
        """Read everything now, when asked, and every ``interval`` seconds, for ever."""
        backoff = Backoff(first=0.2, limit=5.0)
        while True:
            self._asked.clear()
            try:
                listing = await self._driver.list()
            except DriverError as error:
                self._health(error.message)
                if not isinstance(error, RuntimeUnavailableError):
                    logger.warning("the runtime cannot be read: %s", error)
                await asyncio.sleep(backoff.next())
                continue
            backoff.reset()
            self._health(None)
            self.listings += 1
            self._listed(listing)
            await first_of(self._asked, timeout=self._interval)
