"""The story that the demo plays: three sleeping applications, each woken in its own way, and asleep again.

Each step has to happen in its time; one that does not ends the demo with ``StepFailedError``.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, replace
from typing import Final

import aiohttp
from screen import Screen
from states import ASLEEP, AWAKE, States

IDLE: Final = 8.0
"""The idle timeout of all three, as their file says."""
MARGIN: Final = 8.0
"""Seconds that falling asleep may take on top: the pause for taking back, the stop, and a busy machine."""
START_LIMIT: Final = 30.0
"""Longest start that still counts as one."""
PAST_IDLE: Final = 3.0
"""Seconds for which the WebSocket stays open in silence after its tenant's idle timeout."""

_BROWSER: Final = {
    "Accept": "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8",
    "Sec-Fetch-Dest": "document",
    "Sec-Fetch-Mode": "navigate",
    "User-Agent": "Mozilla/5.0 (the demo's browser)",
}
_PROGRAM: Final = {"Accept": "*/*", "User-Agent": "the demo's program"}
_MARKS: Final = {"plain": "A plain site", "chat": "A chat", "slow": "five seconds to start"}
"""Words of each application's own page."""


class StepFailedError(Exception):
    """A step of the story did not happen, or not in its time."""


@dataclass(frozen=True)
class _Answer:
    status: int
    text: str
    refresh: bool
    """Whether it is a page that loads itself again."""
    took: float


class Story:
    """Plays the three parts at the same time, through the proxy on ``port``."""

    def __init__(self, screen: Screen, states: States, port: int) -> None:
        """``states`` tells when something is asleep; everything else is seen as a visitor sees it."""
        self._screen = screen
        self._states = states
        self._port = port

    async def play(self) -> None:
        """All of it. Raises StepFailedError."""
        limit = aiohttp.ClientTimeout(total=START_LIMIT)
        async with aiohttp.ClientSession(timeout=limit) as session:
            parts = [self._plain(session), self._slow(session), self._chat(session)]
            try:
                async with asyncio.TaskGroup() as group:
                    for part in parts:
                        group.create_task(part)
            except* StepFailedError as failed:
                raise failed.exceptions[0] from None

    # ------------------------------------------------------------------------------------------ the three parts

    async def _plain(self, session: aiohttp.ClientSession) -> None:
        await self._asleep_at_first("plain")
        answer = await self._page("plain", session, _PROGRAM)
        self._tell("plain", f"a program's request: held while it starts, then answered, after {_ms(answer.took)}")
        await self._falls_asleep("plain")
        answer = await self._page("plain", session, _BROWSER)
        self._tell("plain", f"a browser's request: woken again, its page after {_ms(answer.took)}")
        await self._falls_asleep("plain")

    async def _slow(self, session: aiohttp.ClientSession) -> None:
        await self._asleep_at_first("slow")
        began = time.monotonic()
        answer = await self._ask("slow", session, _BROWSER)
        if answer.status != 503 or not answer.refresh:
            raise StepFailedError(f"slow: no starting page: {_shown(answer)}")
        self._tell("slow", f"a browser's request: the starting page, after {_ms(answer.took)}")
        await self._until_loaded("slow", session, answer)
        took = time.monotonic() - began
        self._tell("slow", f"the page has loaded itself again: the application, {took:.1f} s after the first request")
        await self._falls_asleep("slow")

    async def _chat(self, session: aiohttp.ClientSession) -> None:
        await self._asleep_at_first("chat")
        began = time.monotonic()
        try:
            socket = await session.ws_connect(self._url("/ws"), headers={"Host": "chat.localhost"})
        except (aiohttp.ClientError, TimeoutError) as error:
            raise StepFailedError(f"chat: no WebSocket: {error!r}") from error
        async with socket:
            self._tell("chat", f"a WebSocket: held while it starts, then open, after {_ms(time.monotonic() - began)}")
            await socket.send_str("hello")
            await self._hears(socket, "hello")
            self._tell("chat", 'says "hello" and hears it')
            silence = IDLE + PAST_IDLE
            await asyncio.sleep(silence)
            if self._states.now("chat") != AWAKE:
                raise StepFailedError(f"chat: {self._states.now('chat')} although its WebSocket is open")
            await socket.send_str("still here?")
            await self._hears(socket, "still here?")
            self._tell(
                "chat",
                f"{silence:.0f} s of silence with the WebSocket open: awake, although it sleeps after {IDLE:.0f} s",
            )
        self._tell("chat", "the WebSocket is closed")
        await self._falls_asleep("chat")

    # ------------------------------------------------------------------------------------------ steps they share

    async def _asleep_at_first(self, tenant: str) -> None:
        await self._reaches(tenant, ASLEEP, START_LIMIT)
        self._tell(tenant, "asleep: nothing of it runs")

    async def _falls_asleep(self, tenant: str) -> None:
        began = time.monotonic()
        await self._reaches(tenant, ASLEEP, IDLE + MARGIN)
        self._tell(tenant, f"nobody came for {time.monotonic() - began:.1f} s: asleep again")

    async def _reaches(self, tenant: str, wanted: str, within: float) -> None:
        try:
            await self._states.until(tenant, wanted, within=within)
        except TimeoutError:
            raise StepFailedError(
                f"{tenant}: not {wanted} within {within:.0f} s, but {self._states.now(tenant) or 'unknown'}"
            ) from None

    async def _page(self, tenant: str, session: aiohttp.ClientSession, headers: dict[str, str]) -> _Answer:
        """The application's page; a browser loads a starting page again, as it says."""
        began = time.monotonic()
        answer = await self._until_loaded(tenant, session, await self._ask(tenant, session, headers))
        return replace(answer, took=time.monotonic() - began)

    async def _until_loaded(self, tenant: str, session: aiohttp.ClientSession, answer: _Answer) -> _Answer:
        """Load a starting page again until the application answers."""
        give_up = time.monotonic() + START_LIMIT
        while answer.refresh and time.monotonic() < give_up:
            await asyncio.sleep(1.0)
            answer = await self._ask(tenant, session, _BROWSER)
        if answer.status != 200 or _MARKS[tenant] not in answer.text:
            raise StepFailedError(f"{tenant}: not the application's page: {_shown(answer)}")
        return answer

    async def _ask(self, tenant: str, session: aiohttp.ClientSession, headers: dict[str, str]) -> _Answer:
        began = time.monotonic()
        try:
            async with session.get(self._url("/"), headers={**headers, "Host": f"{tenant}.localhost"}) as response:
                text = await response.text()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise StepFailedError(f"{tenant}: no answer: {error!r}") from error
        refresh = response.status == 503 and 'http-equiv="refresh"' in text
        return _Answer(response.status, text, refresh, time.monotonic() - began)

    async def _hears(self, socket: aiohttp.ClientWebSocketResponse, wanted: str) -> None:
        try:
            async with asyncio.timeout(5):
                while wanted not in await socket.receive_str():
                    pass
        except (TimeoutError, TypeError, aiohttp.ClientError) as error:
            raise StepFailedError(f"chat: {wanted!r} was not heard: {error!r}") from error

    def _url(self, path: str) -> str:
        return f"http://127.0.0.1:{self._port}{path}"

    def _tell(self, tenant: str, text: str) -> None:
        self._screen.step(tenant, text)


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def _shown(answer: _Answer) -> str:
    return f"{answer.status} {answer.text[:300]!r}"
