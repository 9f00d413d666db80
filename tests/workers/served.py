"""`gogeta serve` as a real process, with an application behind it, as the tests of its processes use it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import signal
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from tests.rig.ports import free_port
from tests.rig.programs import ProcessRack, Program

LIMIT = 30.0


def ask(url: str, host: str = "127.0.0.1") -> tuple[int, str]:
    """Status and body of a GET."""
    request = urllib.request.Request(url, headers={"Host": host})  # noqa: S310 - our own listener
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - ditto
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


async def until(what: str, condition: Callable[[], object], *, limit: float = LIMIT) -> None:
    """Wait until something is so; the condition may block."""
    give_up = time.monotonic() + limit
    while not await asyncio.to_thread(condition):
        assert time.monotonic() < give_up, f"not within {limit} s: {what}"
        await asyncio.sleep(0.05)


async def status(program: Program) -> int:
    """The exit status of a program that is ending; whatever else the test does goes on meanwhile."""
    return await asyncio.to_thread(program.wait, timeout=40)


def children(pid: int) -> set[int]:
    """The processes that a process has started and that live."""
    found = set()
    for status in Path("/proc").glob("[0-9]*/status"):
        with contextlib.suppress(OSError):
            text = status.read_text()
            if re.search(rf"^PPid:\t{pid}$", text, re.MULTILINE) and "\nState:\tZ" not in text:
                found.add(int(status.parent.name))
    return found


def alive(pid: int) -> bool:
    """Whether a process lives."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


class Served:
    """One `gogeta serve`, its registry, and its settings in a file."""

    def __init__(self, processes: ProcessRack, folder: Path) -> None:
        self.port, self.admin_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.admin = f"http://127.0.0.1:{self.admin_port}"
        self.registry = folder / "registry" / "gogeta.db"
        self.registry.parent.mkdir()
        self.config = folder / "gogeta.toml"
        self.settings: dict[str, object] = {
            "listen": f"127.0.0.1:{self.port}",
            "admin": f"127.0.0.1:{self.admin_port}",
            "registry": f"embedded:{self.registry}",
        }
        self.processes = processes
        self.process: Program

    def configure(self, **settings: object) -> None:
        """Change the file."""
        self.settings.update(settings)
        self.config.write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in self.settings.items()))

    def declare(self, port: int) -> None:
        """A tenant ``acme.test`` whose application listens there."""
        file = self.config.with_name("tenants.yaml")
        upstream = f"http://127.0.0.1:{port}"
        file.write_text(f"tenants:\n  - {{name: acme, hosts: [acme.test], upstreams: ['{upstream}']}}\n")
        done = self.processes.run("gogeta", "apply", "-f", file, "--registry", f"embedded:{self.registry}")
        assert done.returncode == 0, done.stderr

    def launch(self, *, env: dict[str, str] | None = None, **settings: object) -> Program:
        """Start it."""
        self.configure(**settings)
        self.process = self.processes.start("gogeta", "serve", "--config", self.config, env=env)
        return self.process

    async def start(self, **settings: object) -> None:
        """Start it and wait until it is ready."""
        self.configure(**settings)
        self.launch()
        await self.becomes_ready()

    async def becomes_ready(self) -> None:
        """Wait until it is ready."""
        await until("ready", self.ready)

    def ready(self) -> bool:
        """Whether it says that it is ready."""
        return self.readiness()[0] == 200

    def readiness(self) -> tuple[int, str]:
        """What ``/readyz`` says; 0 when nobody is there."""
        try:
            return ask(f"{self.admin}/readyz")
        except OSError:
            return 0, ""

    def metric(self, name: str) -> float:
        """A number from ``/metrics``; 0 when it is not there, and no number at all when nobody answers."""
        try:
            found = re.search(rf"^{re.escape(name)} (\S+)$", ask(f"{self.admin}/metrics")[1], re.MULTILINE)
        except OSError:
            return float("nan")
        return float(found[1]) if found else 0.0

    def handovers(self, result: str = "done") -> float:
        """How many have ended so."""
        return self.metric(f'gogeta_handovers_total{{result="{result}"}}')

    def reload(self) -> None:
        """SIGHUP."""
        self.process.signal(signal.SIGHUP)

    async def reloaded(self, times: int = 1) -> None:
        """SIGHUP, and wait until the new version serves."""
        self.reload()
        await until("handed over", lambda: self.handovers() == times)

    def workers(self) -> set[int]:
        """Its worker processes, those that drain included."""
        return children(self.process.pid)

    def none_of(self, pids: set[int]) -> bool:
        """Whether all these workers have ended."""
        return not pids & self.workers()

    def has_restarted(self, times: int) -> bool:
        """Whether so many workers were replaced."""
        return self.metric("gogeta_worker_restarts_total") == times


class Backend:
    """An application in the test's own process: ``/`` is answered at once, ``/slow`` when the test says."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        """A slow request has arrived."""
        self.go = asyncio.Event()
        """Slow ones are answered."""

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[int]:
        """Run; yields its port."""
        writers: set[asyncio.StreamWriter] = set()

        async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writers.add(writer)
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
                while head := await reader.readuntil(b"\r\n\r\n"):
                    await self._answer(head, reader, writer)
            writer.close()
            writers.discard(writer)

        server = await asyncio.start_server(connection, "127.0.0.1", 0)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()
            self.go.set()
            for writer in writers:
                writer.close()

    async def _answer(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if b"upgrade: echo" in head.lower():
            writer.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
            while data := await reader.read(1000):
                writer.write(data)
            raise ConnectionResetError
        if head.startswith(b"GET /slow"):
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nslow" if b"/slow-body" in head else b"")
            self.asked.set()
            await self.go.wait()
            writer.write(b"done" if b"/slow-body" in head else b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        else:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        await writer.drain()


class Visitor:
    """One connection of a visitor."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, path: str = "/", *fields: str) -> None:
        """Send a GET for the tenant."""
        self.writer.write("\r\n".join([f"GET {path} HTTP/1.1", "Host: acme.test", *fields, "", ""]).encode())

    async def answer(self) -> tuple[int, str, bytes]:
        """Status, head in small letters and body of the next answer."""
        async with asyncio.timeout(LIMIT):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode().lower()
            length = re.search(r"^content-length: (\d+)", head, re.MULTILINE)
            body = await self.reader.readexactly(int(length[1]) if length else 0)
        return int(head.split(" ")[1]), head, body

    async def ended(self) -> bytes:
        """What comes until the end, an orderly one."""
        async with asyncio.timeout(LIMIT):
            return await self.reader.read(-1)


@contextlib.asynccontextmanager
async def visitor(port: int) -> AsyncIterator[Visitor]:
    """A visitor's connection; closed at the end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield Visitor(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
