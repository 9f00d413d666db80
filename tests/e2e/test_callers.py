"""A sleeping tenant, end to end: bots, prefetch and health checks let it sleep, a person and a program wake it."""

from __future__ import annotations

import re
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.e2e.system import System
from tests.rig.chromium import Chromium
from tests.rig.etcd import EtcdServer
from tests.rig.ports import free_port
from tests.rig.programs import ProcessRack

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

BOT = "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)"


def counted(system: System, why: str) -> float:
    """What the metrics say."""
    text = httpx.get(f"http://127.0.0.1:{system.admin}/metrics").text
    found = re.search(rf'^gogeta_unwoken_requests_total{{why="{why}"}} (\S+)$', text, re.MULTILINE)
    assert found, text
    return float(found[1])


async def test_who_may_not_wake_a_tenant_does_not_and_a_person_does(local_system: System, chromium: Chromium) -> None:
    system = local_system
    system.declare("acme", idle="10m", wake="{asleep_paths: [/healthz], robots: allow}")
    system.serve("--asleep-bot-names=Our-Checker", "--asleep-paths", "/ping=204")
    system.control()
    system.apply()
    host = "acme.localhost"

    bot = system.curl(host, "/", "--user-agent", BOT)
    assert (bot.status, bot.json["code"], bot.headers["retry-after"]) == (503, "asleep", "3600")
    assert bot.headers["cache-control"] == "no-store"
    assert system.curl(host, "/", "--user-agent", "our-checker/1.0").status == 503
    early = system.curl(host, "/", "--header", "Sec-Purpose: prefetch", "--header", "Accept: text/html")
    assert (early.status, early.headers["cache-control"]) == (503, "no-store")
    assert system.curl(host, "/favicon.ico").status == 204
    assert system.curl(host, "/robots.txt?a").text == "User-agent: *\nDisallow:\n"
    assert system.curl(host, "/robots.txt", "--head").status == 200
    assert system.curl(host, "/healthz").text == "asleep\n"
    assert system.curl(host, "/ping").status == 204
    assert not system.runs("acme")
    record = system.tenant("acme")
    assert (record["state"], record["desired"].get("wakes", 0)) == ("passivated", 0)
    assert [counted(system, why) for why in ("bot", "prefetch", "favicon", "robots", "asleep-path")] == [2, 1, 1, 2, 2]

    async with chromium.page() as page:
        await page.navigate(system.url(host))
        await page.wait_for_text("The application answers", timeout=30)
    assert system.runs("acme")
    assert system.curl(host, "/", "--user-agent", BOT).status == 200, "awake, it answers for itself"
    assert system.curl(host, "/robots.txt").status == 404, "this one has none"
    assert system.tenant("acme")["desired"]["wakes"] == 1


def test_a_tenants_budget_holds_over_two_proxies_and_their_restart(
    etcd: EtcdServer, processes: ProcessRack, local_system: System
) -> None:
    system = local_system
    system.registry = etcd.registry_url
    system.declare("acme", idle="10m", wake="{per_hour: 3}")
    first = system.serve()
    ports = [system.port, free_port()]

    def second() -> None:
        addresses = ["--listen", f"127.0.0.1:{ports[1]}", "--admin", f"127.0.0.1:{free_port()}"]
        program = processes.start("gogeta", "serve", *addresses, "--registry", system.registry, cwd=system.folder)
        program.wait_for_port(ports[1])

    second()
    system.control()
    system.apply()

    def ask(number: int) -> int:
        return system.curl("acme.localhost", at=f"127.0.0.1:{ports[number % 2]}").status

    for _ in range(3):
        with ThreadPoolExecutor(8) as visitors:
            assert set(visitors.map(ask, range(8))) == {200}
        assert system.cli("sleep", "acme").returncode == 0
        system.until("acme", "passivated")
    assert system.tenant("acme")["desired"]["wakes"] == 3
    with ThreadPoolExecutor(8) as visitors:
        assert set(visitors.map(ask, range(8))) == {429}

    first.kill()
    system.serve()
    refused = system.curl("acme.localhost")
    assert (refused.status, refused.json["code"]) == (429, "too-many-wakes")
    assert 3000 < int(refused.headers["retry-after"]) <= 3660
    page = system.curl("acme.localhost", "/", "--header", "Accept: text/html")
    assert page.status == 429
    assert "It can be started again in about" in page.text
    assert not system.runs("acme")

    assert system.cli("wake", "acme").returncode == 0, "operators are not refused"
    assert {ask(number) for number in range(4)} == {200}
    assert system.tenant("acme")["desired"]["wakes"] == 4


def test_a_monitor_does_not_keep_a_tenant_awake(local_system: System) -> None:
    system = local_system
    system.declare("acme", idle="6s", wake="{asleep_paths: [/healthz]}")
    system.serve()
    system.control()
    system.apply()
    assert system.curl("acme.localhost").status == 200
    seen = set()
    deadline = time.monotonic() + 60
    while system.runs("acme"):
        assert time.monotonic() < deadline, "it is kept awake"
        seen.add(system.curl("acme.localhost", "/healthz").status)
        seen.add(system.curl("acme.localhost", "/", "--user-agent", BOT).status)
    assert {200, 404} <= seen, "awake, it answered for itself"
    system.until("acme", "passivated")
    assert system.tenant("acme")["desired"]["wakes"] == 1
