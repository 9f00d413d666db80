"""Tells others what became of tenants: signed messages over HTTP, tried again with growing pauses, a tenant's in order.

Nothing waits for it: what is to be told goes into a bounded queue, and what does not fit is dropped and counted. Only
who leads tells. How far everything has been told stands in the registry, so that whoever leads next tells what is
missing of each tenant: its last state. A message may come twice, then with the same id.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, NoReturn
from urllib.parse import urlsplit

import aiohttp

from gogeta import __version__
from gogeta.domain.errors import Fault, GogetaError
from gogeta.domain.state import TenantRecord
from gogeta.kit.backoff import Backoff
from gogeta.kit.clock import wall_ms
from gogeta.kit.tasks import Tasks
from gogeta.registry.registry import Registry
from gogeta.registry.store import RegistryError
from passivator.core.transition import Transition, missed
from passivator.core.webhook import Message, message_of, parse_secrets, signed
from passivator.meters import Meters
from passivator.settings import ControllerSettings

logger = logging.getLogger(__name__)

Post = Callable[[str, bytes, Mapping[str, str]], Awaitable[int]]
"""Sends a body with fields to a URL; the status of the answer. Raises OSError, TimeoutError or aiohttp.ClientError."""

AT_ONCE: Final = 8
"""Messages under way to one URL at the same time."""
_FIRST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 300.0
_NOTE_SECONDS: Final = 1.0
"""Between two writings of how far everything has been told."""
_MOST_EARLY: Final = 10_000
_LONGEST_SECRET_FILE: Final = 16 * 1024


class WebhookSecretError(GogetaError):
    """The secret that webhooks are signed with is not there, or is none."""

    fault = Fault.OPERATOR


def read_secrets(path: str) -> tuple[bytes, ...]:
    """The secrets that messages are signed with. Raises WebhookSecretError, which never shows one."""
    hint = "one secret of 16 bytes or more a line, e.g. made with `openssl rand -base64 32 | sed s/^/whsec_/`"
    if not path:
        raise WebhookSecretError("--webhook-urls needs --webhook-secret-file: messages are signed", hint=hint)
    try:
        with Path(path).open(encoding="utf-8") as file:
            return parse_secrets(file.read(_LONGEST_SECRET_FILE))
    except OSError as error:
        raise WebhookSecretError(f"--webhook-secret-file: {path}: {error.strerror or error}", hint=hint) from None
    except ValueError as error:
        words = "is not text" if isinstance(error, UnicodeDecodeError) else str(error)
        raise WebhookSecretError(f"--webhook-secret-file: {path}: {words}", hint=hint) from None


class Webhooks:
    """Messages on their way to one URL each, in lanes: one for each tenant that has some."""

    def __init__(
        self, settings: ControllerSettings, secrets: Sequence[bytes], post: Post, tasks: Tasks, meters: Meters
    ) -> None:
        """``post`` sends; ``tasks`` is where lanes run, and end."""
        self._urls = settings.webhook_urls
        self._capacity = settings.webhook_queue
        self._attempts = settings.webhook_attempts
        self._secrets = tuple(secrets)
        self._post = post
        self._tasks = tasks
        self._meters = meters
        self._lanes: dict[tuple[str, str], deque[Message]] = {}
        self._queued = dict.fromkeys(self._urls, 0)
        self._slots = {url: asyncio.Semaphore(AT_ONCE) for url in self._urls}
        self._in_trouble: set[str] = set()

    def __repr__(self) -> str:
        """One line: how much is to be told."""
        return f"<Webhooks: {len(self)} messages in {len(self._lanes)} lanes>"

    def __len__(self) -> int:
        """Messages that have not been delivered yet."""
        return sum(self._queued.values())

    @property
    def oldest(self) -> int | None:
        """The lowest revision that is still to be told; None when all is told."""
        return min((message.revision for lane in self._lanes.values() for message in lane), default=None)

    def tell(self, message: Message) -> None:
        """Queue a message for every URL; where too many wait, it is dropped and counted."""
        for url in self._urls:
            if self._queued[url] >= self._capacity:
                self._meters.webhooks.labels("queue-full").inc()
                continue
            self._queued[url] += 1
            key = url, message.tenant
            lane = self._lanes.get(key)
            if lane is not None:
                lane.append(message)
                continue
            self._lanes[key] = deque((message,))
            self._tasks.start(self._drive(url, message.tenant), f"webhooks of {message.tenant}")

    async def _drive(self, url: str, tenant: str) -> None:
        lane = self._lanes[url, tenant]
        while lane:
            await self._deliver(url, lane[0])
            lane.popleft()
            self._queued[url] -= 1
        del self._lanes[url, tenant]

    async def _deliver(self, url: str, message: Message) -> None:
        backoff = Backoff(first=_FIRST_PAUSE, limit=_LONGEST_PAUSE, factor=3.0)
        problem: str | None = None
        for attempt in range(1, self._attempts + 1):
            async with self._slots[url]:
                problem = await self._try(url, message)
            if problem is None:
                self._meters.webhooks.labels("delivered").inc()
                if url in self._in_trouble:
                    self._in_trouble.discard(url)
                    logger.warning("webhooks are delivered to %s again", shown(url))
                return
            if url not in self._in_trouble:
                self._in_trouble.add(url)
                logger.warning("webhooks cannot be delivered to %s, trying again: %s", shown(url), problem)
            if attempt < self._attempts:
                self._meters.webhooks.labels("failed").inc()
                await asyncio.sleep(backoff.next())
        self._meters.webhooks.labels("given-up").inc()
        logger.warning("webhook %s of tenant %s is given up: %s", message.id, message.tenant, problem)

    async def _try(self, url: str, message: Message) -> str | None:
        """Send it once; what went wrong, None when it was taken."""
        try:
            status = await self._post(url, message.body, signed(message, wall_ms() // 1000, self._secrets))
        except TimeoutError:
            return "no answer in time"
        except (OSError, aiohttp.ClientError) as error:
            return str(error) or type(error).__name__
        return None if 200 <= status < 300 else f"status {status}"


class Telling:
    """What one term of leading tells: which transitions, and how far everything has been told."""

    def __init__(self, webhooks: Webhooks, events: Collection[str], registry: Registry, group: str) -> None:
        """``events``: which are told; ``registry`` may write only while we lead."""
        self._webhooks = webhooks
        self._events = frozenset(events)
        self._registry = registry
        self._group = group
        self._seen = 0
        self._written = -1
        self._early: deque[Message] | None = deque(maxlen=_MOST_EARLY)
        """What happens before it is known what is to be told first."""

    def __call__(self, change: Transition) -> None:
        """The listener."""
        self._seen = max(self._seen, change.revision)
        if change.event not in self._events:
            return
        message = message_of(change, self._group)
        if self._early is None:
            self._webhooks.tell(message)
        else:
            self._early.append(message)

    async def run(self, records: Callable[[], Iterable[TenantRecord]]) -> NoReturn:
        """Tell what was missed before this term, of the tenants that are ours; then note how far we are, for ever."""
        await self._catch_up(records)
        while True:
            await asyncio.sleep(_NOTE_SECONDS)
            oldest = self._webhooks.oldest
            told = self._seen if oldest is None else oldest - 1
            if told <= self._written:
                continue
            try:
                await self._registry.note_told(self._group, told)
            except RegistryError as error:
                logger.debug("how far webhooks are told is not written yet: %s", error)
                continue
            self._written = told

    async def _catch_up(self, records: Callable[[], Iterable[TenantRecord]]) -> None:
        backoff = Backoff(first=0.2, limit=5.0)
        # What comes while we ask is told as it comes; what was there before is compared with the answer.
        before = [missed(record) for record in records()]
        told: int | None = None
        while True:
            try:
                told = await self._registry.told(self._group)
            except RegistryError as error:
                logger.debug("how far webhooks were told is not known yet: %s", error)
                await asyncio.sleep(backoff.next())
            else:
                break
        early, self._early = self._early or deque(), None
        again = {message.id for message in early}
        last = max((change.revision for change in before if change is not None), default=0)
        for change in before:
            if told is not None and change is not None and change.revision > told and change.event in self._events:
                message = message_of(change, self._group)
                if message.id not in again:
                    self._webhooks.tell(message)
        for message in early:
            self._webhooks.tell(message)
        self._seen = max(self._seen, last)


@asynccontextmanager
async def posting(timeout: float) -> AsyncIterator[Post]:
    """What sends over HTTP; an answer that takes more than ``timeout`` seconds is none. Redirects are not followed."""
    limits = aiohttp.ClientTimeout(total=timeout)
    headers = {"User-Agent": f"gogeta-passivator/{__version__}"}
    async with aiohttp.ClientSession(timeout=limits, headers=headers, cookie_jar=aiohttp.DummyCookieJar()) as session:

        async def post(url: str, body: bytes, fields: Mapping[str, str]) -> int:
            async with session.post(url, data=body, headers=fields, allow_redirects=False) as response:
                return response.status

        yield post


def shown(url: str) -> str:
    """A URL for the log: its path and query may be secret."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}"
