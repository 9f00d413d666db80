"""One world for each driver: what the contract suite sees and does beside the driver, by other means than it."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from gogeta.domain.tenant import Tenant, read_tenant
from gogeta.domain.upstreams import Endpoint
from passivator.drivers.base import Driver
from passivator.drivers.docker import DockerDriver
from passivator.drivers.memory import MemoryDriver
from passivator.drivers.memory_engine import MemoryEngine
from passivator.drivers.process import ProcessDriver
from passivator.metered_driver import MeteredDriver
from tests.rig.docker import DockerEngine

KINDS = [
    "memory",
    "metered",
    "process",
    pytest.param("docker", marks=pytest.mark.docker),
]

SERVER = """
import http.server, sys
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = sys.argv[2].encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *words): pass
print("serving", sys.argv[2], flush=True)
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Page).serve_forever()
"""


async def until(reached: Callable[[], Awaitable[bool]], *, timeout: float = 10.0) -> None:
    """Wait for something that has to become true."""
    async with asyncio.timeout(timeout):
        while not await reached():  # noqa: ASYNC110  # nothing tells when
            await asyncio.sleep(0.01)


async def _said(driver: Driver, tenant: Tenant, words: str) -> bool:
    return words in await driver.logs(tenant)


async def fetch(endpoint: Endpoint, *, timeout: float = 10.0) -> str:
    """The body that a server answers with, as soon as it answers."""
    async with asyncio.timeout(timeout):
        while True:
            with contextlib.suppress(OSError):
                reader, writer = await asyncio.open_connection(endpoint.host, endpoint.port)
                try:
                    writer.write(b"GET / HTTP/1.0\r\n\r\n")
                    answer = await reader.read()
                finally:
                    writer.close()
                    with contextlib.suppress(OSError):
                        await writer.wait_closed()
                if answer:
                    return answer.partition(b"\r\n\r\n")[2].decode().strip()
            await asyncio.sleep(0.01)


class World:
    """A runtime, the drivers made on it, and declarations of tenants that it can run."""

    kind = ""
    survives = True
    """Whether what runs outlives its driver."""

    def __init__(self) -> None:
        self.drivers: list[Driver] = []

    def driver(self) -> Driver:
        """One more driver on the same runtime."""
        driver = self.make()
        self.drivers.append(driver)
        return driver

    def make(self) -> Driver:
        raise NotImplementedError

    async def close(self) -> None:
        for driver in self.drivers:
            await driver.close()

    def tenant(self, name: str = "acme", does: str = "serve", *, text: str = "", grace: float = 5.0) -> Tenant:
        """One that will ``serve`` its name, ``resist`` SIGTERM, ``exit`` with 3, ``spin``, or run ``nothing``."""
        return read_tenant(
            {"name": name, "hosts": [f"{name}.test"], "stop_grace": grace, **self.way(does, text or name)}, what="test"
        )

    def way(self, does: str, text: str) -> dict[str, Any]:
        raise NotImplementedError

    def prepare(self, tenant: Tenant, does: str) -> None:
        """Tell the world what the tenant's program does, where the declaration does not."""

    async def resisting(self, driver: Driver, tenant: Tenant) -> None:
        """Wait until a program that will ``resist`` does: before its first line a SIGTERM ends it like any other."""
        await until(lambda: _said(driver, tenant, "resisting"))

    async def answer(self, endpoint: Endpoint) -> str:
        """Who answers there."""
        return await fetch(endpoint)

    async def kill(self, driver: Driver, tenant: Tenant) -> None:
        """Somebody kills the tenant's process."""
        raise NotImplementedError

    async def freeze(self, driver: Driver, tenant: Tenant) -> None:
        """Somebody pauses the tenant."""
        raise NotImplementedError


class MemoryWorld(World):
    kind = "memory"

    def __init__(self) -> None:
        super().__init__()
        self.engine = MemoryEngine()

    def make(self) -> Driver:
        return MemoryDriver(self.engine)

    def way(self, does: str, text: str) -> dict[str, Any]:
        return {"docker": {"image": "any", "command": [does, text]}}

    def prepare(self, tenant: Tenant, does: str) -> None:
        from gogeta.domain.state import ReasonCode  # noqa: PLC0415  # the one use

        program = self.engine.program(f"gogeta-{tenant.name}")
        program.stop_seconds = 3600.0 if does == "resist" else 0.01
        program.exit_code = 3 if does == "exit" else None
        program.cpu = 1.0 if does == "spin" else 0.0
        program.failure = (ReasonCode.COMMAND_FAILED, "no such file") if does == "nothing" else None

    async def resisting(self, driver: Driver, tenant: Tenant) -> None:
        """Its programs do from the first moment."""

    async def answer(self, endpoint: Endpoint) -> str:
        return (self.engine.reach(endpoint) or "nobody").removeprefix("gogeta-")

    async def kill(self, driver: Driver, tenant: Tenant) -> None:
        self.engine.crash(f"gogeta-{tenant.name}", 137)

    async def freeze(self, driver: Driver, tenant: Tenant) -> None:
        await self.engine.pause(f"gogeta-{tenant.name}")


class MeteredWorld(MemoryWorld):
    """What passivator really uses: each driver behind a meter."""

    def make(self) -> Driver:
        return MeteredDriver(super().make())


class ProcessWorld(World):
    kind = "process"
    survives = False

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    def make(self) -> Driver:
        return ProcessDriver(self.folder / "state")

    def way(self, does: str, text: str) -> dict[str, Any]:
        commands = {
            "serve": [sys.executable, "-S", "-c", SERVER, "{port}", text],
            "resist": ["sh", "-c", "trap '' TERM; echo resisting; while :; do sleep 0.05; done"],
            "exit": ["sh", "-c", "echo good bye; exit 3"],
            "nothing": ["/no/such/program"],
            # What uses the processor has left the command's own process group, and is not its leader.
            "spin": ["sh", "-c", "set -m; (while :; do :; done) & wait"],
        }
        return {"process": {"command": commands[does]}}

    async def kill(self, driver: Driver, tenant: Tenant) -> None:
        os.kill(int((await driver.inspect(tenant)).instance.partition("-")[0]), signal.SIGKILL)

    async def freeze(self, driver: Driver, tenant: Tenant) -> None:
        os.kill(int((await driver.inspect(tenant)).instance.partition("-")[0]), signal.SIGSTOP)


class DockerWorld(World):
    kind = "docker"

    def __init__(self, engine: DockerEngine) -> None:
        super().__init__()
        self.engine = engine

    def make(self) -> Driver:
        return DockerDriver(self.engine.url)

    def way(self, does: str, text: str) -> dict[str, Any]:
        serve = (
            f"echo serving {text}; mkdir /tmp/www; echo {text} > /tmp/www/index.html; exec httpd -f -p 80 -h /tmp/www"
        )
        commands = {
            "serve": ["sh", "-c", serve],
            "resist": ["sh", "-c", "trap '' TERM; echo resisting; while :; do sleep 0.05; done"],
            "exit": ["sh", "-c", "echo good bye; exit 3"],
            "nothing": ["/no/such/program"],
            # What uses the processor has left the command's own process group, and is not its leader.
            "spin": ["sh", "-c", "set -m; (while :; do :; done) & wait"],
        }
        return {"docker": {"image": "bb:1", "command": commands[does]}}

    async def kill(self, driver: Driver, tenant: Tenant) -> None:
        await asyncio.to_thread(self.engine.request, "POST", f"/containers/gogeta-{tenant.name}/kill")

    async def freeze(self, driver: Driver, tenant: Tenant) -> None:
        await asyncio.to_thread(self.engine.request, "POST", f"/containers/gogeta-{tenant.name}/pause")
