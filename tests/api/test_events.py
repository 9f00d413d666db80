import asyncio
import json
from typing import Any

import aiohttp
import pytest

from gogeta.api.feed import Feed
from gogeta.domain.lifecycle import Observed
from tests.api.conftest import Api, Opener

URL = "/api/v1/events"


async def events_of(answer: aiohttp.ClientResponse, number: int) -> list[tuple[str, str, dict[str, Any]]]:
    """The next so many events: id, kind, data."""
    found: list[tuple[str, str, dict[str, Any]]] = []
    fields: dict[str, str] = {}
    while len(found) < number:
        line = (await asyncio.wait_for(answer.content.readline(), 20)).decode().rstrip("\n")
        name, _, value = line.partition(": ")
        if name and value.strip():
            fields[name] = value
        elif not line and "event" in fields:
            found.append((fields["id"], fields["event"], json.loads(fields["data"])))
            fields = {}
    return found


async def test_a_listener_that_comes_back_misses_nothing(api: Api) -> None:
    async with api.session.get(URL) as answer:
        ((start, kind, _),) = await events_of(answer, 1)
        assert (answer.content_type, kind) == ("text/event-stream", "hello")
        await api.put("acme")
        first = await events_of(answer, 1)
        assert [(kind, data["name"]) for _, kind, data in first] == [("tenant", "acme")]
    await api.call("POST", "/tenants/acme/wake")
    await api.observe("acme", Observed.STARTING)
    await api.call("DELETE", "/tenants/acme")
    async with api.session.get(URL, headers={"Last-Event-ID": start}) as answer:
        again = await events_of(answer, 2)
        assert again[0][1] == "hello"
        assert again[1] == first[0]
    async with api.session.ws_connect(URL, params={"last_event_id": first[0][0]}) as socket:
        met: list[dict[str, Any]] = []
        while not met or met[-1]["event"] != "removed":
            met.append(json.loads(await socket.receive_str(timeout=20)))
    numbers = [int(each["id"].partition("-")[2]) for each in met[1:]]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert numbers[0] == int(first[-1][0].partition("-")[2]) + 1
    assert "starting" in [each["data"].get("state") for each in met]


async def test_an_id_of_another_run_or_of_long_ago_is_a_reset(open_api: Opener) -> None:
    api: Api = await open_api(feed=Feed("run2", limit=2))
    for number in range(4):
        await api.put(f"t{number}", {"hosts": [f"t{number}.test"], "upstreams": ["http://10.0.0.1:1"]})
    for text in ("run1-1", "run2-1", "run2-99"):
        async with api.session.get(URL, headers={"Last-Event-ID": text}) as answer:
            ((last, kind, _),) = await events_of(answer, 1)
            assert (kind, last) == ("reset", api.events.feed.last_id)


async def test_listeners_are_bounded_and_see_that_the_connection_lives(open_api: Opener) -> None:
    api: Api = await open_api(max_listeners=1, heartbeat=0.05)
    async with api.session.get(URL) as answer:
        await events_of(answer, 1)
        assert await asyncio.wait_for(answer.content.readline(), 20) == b": \n"
        status, data, headers = await api.call("GET", "/events")
        assert (status, data["code"]) == (503, "too-many")
        assert "Retry-After" in headers


async def test_a_listener_that_does_not_follow_is_cut_and_nobody_waits_for_it(open_api: Opener) -> None:
    api: Api = await open_api(write_limit=0.2)
    reader, writer = await asyncio.open_connection(api.site.endpoint.host, api.site.endpoint.port, limit=1024)
    writer.write(b"GET /api/v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    assert b"200 OK" in await reader.readline()
    await api.until(lambda: _metric(api, "test_api_listeners") == 1)
    while not _metric(api, "test_api_listeners_cut_total", reason="too-slow"):
        for _ in range(64):
            api.events.feed.append("tenant", {"pad": "x" * 16_384})
        api.events._wake()  # noqa: SLF001 - as a change of a tenant would
        await asyncio.sleep(0.005)
    await api.until(lambda: _metric(api, "test_api_listeners") == 0)
    writer.close()


async def test_a_socket_of_another_web_page_is_refused(api: Api) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await api.session.ws_connect(URL, origin="http://evil.example")
    assert refused.value.status == 403


async def test_the_end_of_the_process_ends_streams_at_once(api: Api) -> None:
    async with api.session.get(URL) as answer, api.session.ws_connect(URL) as socket:
        await events_of(answer, 1)
        await socket.receive_str(timeout=20)
        stopping = asyncio.ensure_future(api.site.stop())
        assert (await socket.receive(timeout=20)).data == 1001
        await answer.content.read()
        await stopping


def _metric(api: Api, name: str, **labels: str) -> float:
    samples = [sample for metric in api.events.collect() for sample in metric.samples]
    return next(sample.value for sample in samples if sample.name == name and sample.labels == labels)
