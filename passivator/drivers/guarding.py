"""The driver's side of the guardian: one link to it, and one to the keeper of each started command.

Knows the guardian's messages and asyncio; must not know tenants or what a driver promises. See ``guardian.py`` for who
notices whose death.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import secrets
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from gogeta.kit.tasks import Tasks
from passivator.drivers.base import RuntimeUnavailableError, StopFailedError
from passivator.drivers.guardian import MAX_LINE

_PROGRAM: Final = Path(__file__).with_name("guardian.py")
_ANSWER: Final = 10.0
"""Seconds in which a keeper answers; it needs a few milliseconds."""
_BEYOND: Final = 5.0
"""Seconds beyond the grace in which what was killed has to be gone."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a keeper is to run."""

    argv: tuple[str, ...]
    env: dict[str, str]
    cwd: str | None
    memory: int | None
    open_files: int | None
    log: Path
    log_limit: int


class CannotRun(Exception):
    """The command could not be started. ``what``: ``cwd``, ``limit``, ``log`` or ``command``."""

    def __init__(self, what: str, error: str) -> None:
        """``error`` in the system's words."""
        super().__init__(error)
        self.what = what
        self.error = error


class Kept:
    """One start of one command, from the hand-over to its end. Made by ``Guard.run``."""

    def __init__(self, changed: Callable[[], None]) -> None:
        """``changed`` is called after each change of ``running``, ``paused`` or ``stopping``."""
        self._changed = changed
        self._writer: asyncio.StreamWriter | None = None
        self._news = asyncio.Event()
        self._refused: CannotRun | None = None
        self._grace = 0.0
        self.instance = ""
        self.pid: int | None = None
        self.ended = False
        """Nothing of it is left, or it never started."""
        self.paused = False
        self.stopping = False
        self.code: int | None = None
        """Exit code, negative for a signal; None when it could not be learnt."""
        self.tail = ""
        """The last it wrote, once it has ended."""

    def __repr__(self) -> str:
        """One line: who, and in what state."""
        state = "ended" if self.ended else "stopping" if self.stopping else "paused" if self.paused else "running"
        return f"<Kept {self.instance or 'unborn'} {state} code={self.code}>"

    async def follow(self, mine: socket.socket, order: Order) -> None:
        """Hand over the order and keep the state true until the keeper ends. Runs as a task."""
        try:
            reader, self._writer = await asyncio.open_unix_connection(sock=mine, limit=MAX_LINE)
            message = {
                "argv": order.argv,
                "env": order.env,
                "cwd": order.cwd,
                "memory": order.memory,
                "open_files": order.open_files,
                "log": str(order.log),
                "log_limit": order.log_limit,
            }
            self._send(message)
            while line := await reader.readline():
                self._heard(json.loads(line))
        except ConnectionError:
            logger.debug("the keeper of %s is gone", self.instance)
        finally:
            if not self.ended:
                self.tail = self.tail or "its keeper ended before it"
            self.ended, self.paused, self.stopping = True, False, False
            self._tell()
            if self._writer is not None:
                self._writer.close()

    def _heard(self, message: dict[str, Any]) -> None:
        match message:
            case {"is": "started", "pid": int(pid)}:
                self.pid = pid
                # Process ids come back; the random part never does.
                self.instance = f"{pid}-{secrets.token_hex(8)}"
            case {"is": "failed", "what": str(what), "error": str(error)}:
                self._refused = CannotRun(what, error)
                self.ended = True
            case {"is": "paused"}:
                self.paused = True
            case {"is": "resumed"}:
                self.paused = False
            case {"is": "exited", "code": code, "tail": str(tail)}:
                self.code, self.tail = code, tail
                self.ended, self.paused, self.stopping = True, False, False
            case {"is": "unlogged", "error": str(error)}:
                logger.warning("output of %s is not kept: %s", self.instance, error)
            case _:
                logger.error("the keeper of %s said what nobody understands: %r", self.instance, message)
        self._tell()

    def _tell(self) -> None:
        self._news.set()
        self._news = asyncio.Event()
        self._changed()

    def _send(self, message: dict[str, Any]) -> None:
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(json.dumps(message).encode() + b"\n")

    async def _until(self, reached: Callable[[], bool], seconds: float) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not reached():
                    await self._news.wait()
        return reached()

    async def born(self) -> None:
        """Wait until it runs. Raises CannotRun, RuntimeUnavailableError."""
        await self._until(lambda: self.ended or self.pid is not None, _ANSWER)
        if self._refused is not None:
            raise self._refused
        if self.pid is None:
            raise RuntimeUnavailableError("the keeper of local processes did not start the command in time")

    async def stop(self, grace: float) -> None:
        """SIGTERM to all of it, SIGKILL after ``grace`` seconds; returns when nothing is left. StopFailedError."""
        if not self.ended:
            self.stopping = True
            self._changed()
            self._send({"do": "stop", "grace": grace})
            self._grace = grace
            await self.gone()

    async def gone(self) -> None:
        """Wait for the end of a stop that was asked for. StopFailedError when it does not come."""
        if not await self._until(lambda: self.ended, self._grace + _BEYOND):
            raise StopFailedError(f"process {self.pid} still runs {_BEYOND:g} s after SIGKILL")

    async def freeze(self, *, frozen: bool) -> None:
        """SIGSTOP or SIGCONT to all of it. RuntimeUnavailableError when that has no effect in time."""
        self._send({"do": "pause" if frozen else "resume"})
        if not await self._until(lambda: self.ended or self.paused is frozen, _ANSWER):
            raise RuntimeUnavailableError(f"process {self.pid} did not {'stop' if frozen else 'continue'} in time")


class Guard:
    """Keeps one guardian running while it is needed."""

    def __init__(self, changed: Callable[[], None]) -> None:
        """``changed`` is called when the guardian died, which ends all that it kept."""
        self._changed = changed
        self._tasks = Tasks("process")
        self._lock = asyncio.Lock()
        self._door: socket.socket | None = None
        self._watching: asyncio.Task[None] | None = None
        self._closed = False
        self.pid: int | None = None

    async def open(self) -> socket.socket:
        """Have a guardian, and the way to it. Raises RuntimeUnavailableError."""
        async with self._lock:
            if self._closed:
                raise RuntimeUnavailableError("the process driver is closed")
            if self._door is not None:
                return self._door
            ours, theirs = socket.socketpair()
            try:
                process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    "-I",
                    "-S",
                    str(_PROGRAM),
                    str(theirs.fileno()),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=asyncio.subprocess.DEVNULL,
                    env={},
                    pass_fds=(theirs.fileno(),),
                    start_new_session=True,
                )
            except BaseException as error:
                # Also when given up: without our end of the socket, one that did start ends.
                ours.close()
                if not isinstance(error, OSError):
                    raise
                raise RuntimeUnavailableError(f"the guardian of local processes cannot be started: {error}") from error
            finally:
                theirs.close()
            ours.settimeout(0.0)
            self._door, self.pid = ours, process.pid
            self._watching = self._tasks.start(self._watch(process, ours), "guardian")
            return ours

    async def _watch(self, process: asyncio.subprocess.Process, door: socket.socket) -> None:
        code = await process.wait()
        if not self._closed:
            logger.error(
                "the guardian of local processes (pid %d) ended with %d; its tenants ended with it", process.pid, code
            )
        door.close()
        if self._door is door:
            self._door = self.pid = None
            self._changed()

    async def run(self, order: Order, changed: Callable[[], None]) -> Kept:
        """Hand an order to a new keeper. Raises RuntimeUnavailableError."""
        door = await self.open()
        mine, theirs = socket.socketpair()
        try:
            socket.send_fds(door, [b"k"], [theirs.fileno()])
        except OSError as error:
            mine.close()
            raise RuntimeUnavailableError(f"the guardian of local processes does not answer: {error}") from error
        finally:
            theirs.close()
        mine.settimeout(0.0)
        kept = Kept(changed)
        self._tasks.start(kept.follow(mine, order), f"keeper of {Path(order.log).stem}")
        return kept

    async def close(self) -> None:
        """End the guardian, and with it all that still runs."""
        async with self._lock:
            self._closed = True
            if self._door is not None:
                with contextlib.suppress(OSError):
                    self._door.shutdown(socket.SHUT_RDWR)
            if self._watching is not None:
                await asyncio.wait((self._watching,), timeout=_ANSWER)
        await self._tasks.close()
