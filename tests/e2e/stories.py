"""The main job as three visitors see it. Each story is played on every way to run the system."""

import asyncio
import hashlib
import os
import time
from pathlib import Path

import aiohttp

from tests.e2e.system import System
from tests.rig.chromium import Chromium

BODY_SIZE = 1 << 20


async def a_person(system: System, chromium: Chromium, screenshots: Path, name: str = "person") -> None:
    """A sleeping tenant that takes its time: starting page, then the application, with no manual reload; twice."""
    instances = []
    for cycle in ("first", "second"):
        await asyncio.to_thread(system.until, name, "passivated")
        assert not system.runs(name)
        async with chromium.page() as page:
            await page.navigate(system.url(f"{name}.localhost"))
            assert f"Starting {name}.localhost" in await page.wait_for_text("Starting")
            await page.screenshot(screenshots / f"{cycle}-starting.png")
            await page.wait_for_text("The application answers", timeout=20)
            await page.screenshot(screenshots / f"{cycle}-application.png")
            assert page.requests.count(system.url(f"{name}.localhost")) > 1, page.requests
            # The page that it leaves behind says 503 in the console; nothing else is to be complained about.
            assert not [line for line in page.console if "503" not in line], page.console
            instances.append((await page.text()).split()[-1])
            assert system.runs(name)
        await asyncio.to_thread(system.until, name, "passivated")
        assert not system.runs(name)
    assert instances[0] != instances[1]


async def programs(system: System, name: str = "program") -> None:
    """A 1 MB body to a sleeping tenant arrives whole; many requests at once are one wake; asleep; once more."""
    body = os.urandom(BODY_SIZE)
    file = system.folder / "body"
    file.write_bytes(body)
    instances = set()
    for cycle in (1, 2):
        await asyncio.to_thread(system.until, name, "passivated")
        assert not system.runs(name)
        answer = await asyncio.to_thread(
            system.curl,
            f"{name}.localhost",
            "/digest",
            "--data-binary",
            f"@{file}",
            "--header",
            "Content-Type: application/x-test",
        )
        assert answer.status == 200, answer
        assert answer.json["length"] == BODY_SIZE
        assert answer.json["sha256"] == hashlib.sha256(body).hexdigest()
        instances.add(answer.json["instance"])
        # An open tunnel keeps it awake while we look, however long that takes.
        async with (
            aiohttp.ClientSession(headers={"Host": f"{name}.localhost"}) as session,
            session.ws_connect(f"http://127.0.0.1:{system.port}/echo"),
        ):
            assert system.runs(name)
            record = await asyncio.to_thread(system.tenant, name)
        assert record["desired"]["wakes"] == cycle
        assert record["desired"]["cause"] == "request"
        assert [phase["name"] for phase in record["observed"]["phases"]] == ["queued", "started", "ready"]
        await asyncio.to_thread(system.until, name, "passivated")
        assert not system.runs(name)
    assert len(instances) == 2

    async with aiohttp.ClientSession(headers={"Host": f"{name}.localhost"}) as session:

        async def ask() -> tuple[int, str]:
            async with session.get(f"http://127.0.0.1:{system.port}/", headers={"Accept": "*/*"}) as response:
                return response.status, response.headers.get("X-Instance", "")

        answers = set(await asyncio.gather(*(ask() for _ in range(60))))
    assert len(answers) == 1, answers
    assert answers.pop()[0] == 200
    assert system.tenant(name)["desired"]["wakes"] == 3


async def a_socket(system: System, idle: float, name: str = "socket") -> None:
    """A WebSocket wakes its tenant, keeps it awake in silence past its idle timeout, and lets it sleep once closed."""
    await asyncio.to_thread(system.until, name, "passivated")
    async with (
        aiohttp.ClientSession(headers={"Host": f"{name}.localhost"}) as session,
        session.ws_connect(f"http://127.0.0.1:{system.port}/echo") as socket,
    ):
        await socket.send_str("first")
        first = await socket.receive_str(timeout=10)
        began = time.monotonic()
        while time.monotonic() < began + idle + 2.0:
            await asyncio.sleep(1.0)
            assert (await asyncio.to_thread(system.tenant, name))["state"] == "started"
        await socket.send_str("second")
        second = await socket.receive_str(timeout=10)
    assert first.split()[1] == "first"
    assert second == first.replace("first", "second")
    await asyncio.to_thread(system.until, name, "passivated")
    assert not system.runs(name)
