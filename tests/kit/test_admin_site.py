"""The admin listener: health, readiness by part, metrics in the scraper's format, and nobody else's name for it."""

import asyncio
import logging
import re
import socket
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.parser import text_string_to_metric_families

from gogeta.domain.upstreams import Endpoint
from gogeta.kit.admin_site import AdminSite
from gogeta.kit.listening import AddressTakenError
from gogeta.kit.setting_values import parse_hosts


async def hello(_request: web.Request) -> web.Response:
    return web.Response(text="hello")


async def broken(_request: web.Request) -> web.Response:
    raise RuntimeError("a mistake")


@pytest.fixture
async def site() -> AsyncIterator[AdminSite]:
    metrics = CollectorRegistry()
    Counter("gogeta_things", "Things.", registry=metrics).inc(3)
    site = AdminSite(Endpoint("127.0.0.1", 0), metrics, "gogeta", names=("admin.example",))
    site.add_routes([web.get("/hello", hello), web.get("/broken", broken)])
    await site.start()
    yield site
    await site.stop()


@pytest.fixture
async def client(site: AdminSite) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(f"http://{site.endpoint}") as client:
        yield client


async def test_it_lives(client: aiohttp.ClientSession) -> None:
    async with client.get("/healthz") as answer:
        assert (answer.status, await answer.text()) == (200, "ok\n")
        assert "Server" not in answer.headers


async def test_it_is_ready_when_every_part_has_said_so(site: AdminSite, client: aiohttp.ClientSession) -> None:
    async with client.get("/readyz") as answer:
        assert answer.status == 503
    site.ready("registry", None)
    site.ready("runtime", "Docker does not answer")
    async with client.get("/readyz") as answer:
        assert answer.status == 503
        assert (await answer.json())["problems"] == {"runtime": "Docker does not answer"}
    site.ready("runtime", None)
    async with client.get("/readyz") as answer:
        assert answer.status == 200
        assert (await answer.json())["status"] == "ready"


async def test_metrics_come_in_the_format_that_was_asked_for(client: aiohttp.ClientSession) -> None:
    async with client.get("/metrics") as answer:
        families = {family.name: family for family in text_string_to_metric_families(await answer.text())}
        assert families["gogeta_things"].samples[0].value == 3
        assert answer.content_type == "text/plain"
    async with client.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"}) as answer:
        assert answer.content_type == "application/openmetrics-text"
        assert (await answer.text()).endswith("# EOF\n")


async def test_other_methods_and_paths_are_refused(client: aiohttp.ClientSession) -> None:
    async with client.post("/healthz") as answer:
        assert answer.status == 405
    async with client.get("/nothing") as answer:
        assert answer.status == 404
    async with client.get("/hello") as answer:
        assert await answer.text() == "hello"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:1", "LOCALHOST", "[::1]:9901", "admin.example"])
async def test_it_answers_to_addresses_localhost_and_configured_names(client: aiohttp.ClientSession, host: str) -> None:
    async with client.get("/healthz", headers={"Host": host}) as answer:
        assert answer.status == 200


@pytest.mark.parametrize(
    "host", ["acme.example", "acme.localhost", "localhost.evil.example", "127.0.0.1.nip.example", "a b"]
)
async def test_it_does_not_answer_to_a_tenants_name_or_a_rebound_one(client: aiohttp.ClientSession, host: str) -> None:
    for path in ("/healthz", "/metrics", "/hello", "/nothing"):
        async with client.get(path, headers={"Host": host}) as answer:
            assert answer.status == 421


async def test_a_taken_address_is_named_with_its_setting() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        site = AdminSite(Endpoint("127.0.0.1", taken.getsockname()[1]), CollectorRegistry(), "gogeta")
        with pytest.raises(
            AddressTakenError, match=r"--admin: cannot listen on 127\.0\.0\.1:.*another program"
        ) as caught:
            await site.start()
        assert "--admin" in caught.value.hint
        await site.stop()


@pytest.mark.parametrize("given", ["Admin.Example, gogeta1", ["admin.example.", "gogeta1"]])
def test_names_of_the_admin_listener_are_hosts_in_their_one_spelling(given: object) -> None:
    assert parse_hosts(given) == ("admin.example", "gogeta1")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("admin:9901", "without a port, not 'admin:9901'"),
        ("*.example", "*.example"),
        ("a b", "a b"),
        (7, "separated by commas"),
        (",".join(f"h{number}" for number in range(65)), "at most 64 names, not 65"),
    ],
)
def test_what_is_no_name_of_a_host_is_refused_by_name(given: object, words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        parse_hosts(given)


async def test_what_is_no_http_is_refused_and_fills_no_log(site: AdminSite, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        for raw in (
            b"GET / HTTP/1.1\r\nHost: localhost\r\nX: \x00\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n",
        ):
            reader, writer = await asyncio.open_connection("127.0.0.1", site.endpoint.port)
            writer.write(raw)
            assert (await reader.readline()).startswith(b"HTTP/1.0 400")
            writer.close()
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_a_mistake_of_ours_is_in_the_log_with_its_traceback(
    site: AdminSite, caplog: pytest.LogCaptureFixture
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", site.endpoint.port)
    writer.write(b"GET /broken HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert b" 500 " in await reader.readline()
    writer.close()
    (record,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert record.exc_info
