"""The first step of an orderly end: being not ready any more, while everything is still served."""

from __future__ import annotations

import asyncio
import logging

from gogeta.kit import notify
from gogeta.kit.admin_site import AdminSite

logger = logging.getLogger(__name__)


async def announce_end(site: AdminSite, delay: float) -> None:
    """Say that we are about to end, and leave load balancers ``delay`` seconds to notice while we serve on."""
    site.ready("draining", "this process is shutting down")
    notify.stopping()
    if delay:
        logger.info("not ready any more; listening on for %.0f s", delay)
        await asyncio.sleep(delay)
