"""Logs over the API: the last lines, those that come, and every reason why there are none."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import pytest

from gogeta.domain.errors import Fault, GogetaError
from gogeta.domain.state import Member
from gogeta.domain.tenant import Tenant, read_tenant
from gogeta.domain.upstreams import Endpoint
from gogeta.kit.tasks import Tasks
from gogeta.registry import keys
from gogeta.registry.codec import encode
from gogeta.registry.store import Put
from gogeta.registry.tokens import revoke_token
from tests.api.conftest import Api, Opener
from tests.api.test_guard import ask, declared, known, make


class Away(GogetaError):
    """The runtime does not answer."""

    fault = Fault.RUNTIME


class Written:
    """What a tenant writes, as a driver reads it."""

    def __init__(self) -> None:
        self.lines = ["one", "two <b>", "three"]
        self.news: asyncio.Queue[str | None] = asyncio.Queue()
        self.away = False
        self.readers = 0

    async def __call__(self, tenant: Tenant, lines: int, *, follow: bool) -> AsyncGenerator[Sequence[str], None]:
        if self.away:
            raise Away("the engine does not answer", hint="is it running?")
        yield self.lines[len(self.lines) - min(lines, len(self.lines)) :]
        if not follow:
            return
        self.readers += 1
        try:
            while (line := await self.news.get()) is not None:
                yield [line]
        finally:
            self.readers -= 1


@pytest.fixture
def written() -> Written:
    return Written()


@pytest.fixture
async def api(open_api: Opener, written: Written) -> Api:
    """An API of a process that drives a runtime."""
    opened: Api = await open_api(auth="auto", reader=written)
    return await declared(opened)


async def text_of(api: Api, path: str, **fields: str) -> tuple[int, str, str]:
    async with api.session.get("/api/v1" + path, headers=fields) as answer:
        return answer.status, answer.content_type, await answer.text()


async def test_the_last_lines_are_plain_text_and_nothing_else(api: Api) -> None:
    async with api.session.get("/api/v1/tenants/acme/logs?lines=2") as answer:
        assert (answer.status, answer.content_type, answer.charset) == (200, "text/plain", "utf-8")
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cache-Control"] == "no-store"
        assert await answer.text() == "two <b>\nthree\n"
    assert await text_of(api, "/tenants/acme/logs?lines=0") == (200, "text/plain", "")
    assert (await text_of(api, "/tenants/acme/logs"))[2].count("\n") == 3


async def test_a_follower_hears_what_is_written_until_it_ends(api: Api, written: Written) -> None:
    async with api.session.get("/api/v1/tenants/acme/logs?follow=true&lines=1") as answer:
        assert await answer.content.readline() == b"three\n"
        await written.news.put("four")
        assert await answer.content.readline() == b"four\n"
        await written.news.put(None)
        assert await answer.content.read() == b""
    await api.until(lambda: written.readers == 0)


async def test_as_events_a_line_is_data_and_the_end_is_told(api: Api, written: Written) -> None:
    fields = {"Accept": "text/event-stream"}
    async with api.session.get("/api/v1/tenants/acme/logs?follow=true&lines=1", headers=fields) as answer:
        assert answer.content_type == "text/event-stream"
        await written.news.put("evil\r\ndata: forged")
        await written.news.put(None)
        text = (await answer.content.read()).decode()
    assert (
        text == 'event: line\ndata: "three"\n\nevent: line\ndata: "evil\\r\\ndata: forged"\n\nevent: end\ndata: {}\n\n'
    )
    status, kind, text = await text_of(api, "/tenants/acme/logs?lines=1", Accept="text/event-stream")
    assert (status, kind, text) == (200, "text/event-stream", 'event: line\ndata: "three"\n\nevent: end\ndata: {}\n\n')


async def test_who_leaves_is_noticed_and_costs_nothing_more(open_api: Opener, written: Written) -> None:
    api = await declared(await open_api(auth="auto", reader=written, heartbeat=0.05))
    async with api.session.get("/api/v1/tenants/acme/logs?follow=true") as answer:
        assert await answer.content.readline() == b"one\n"
        assert written.readers == 1
    await api.until(lambda: written.readers == 0)


async def test_a_silent_stream_shows_that_it_lives(open_api: Opener, written: Written) -> None:
    api = await declared(await open_api(auth="auto", reader=written, heartbeat=0.05))
    fields = {"Accept": "text/event-stream"}
    async with api.session.get("/api/v1/tenants/acme/logs?follow=true&lines=0", headers=fields) as answer:
        assert (await answer.content.readuntil(b"\n\n")) == b": \n\n"


async def test_followers_are_bounded_and_named(open_api: Opener, written: Written) -> None:
    api = await declared(await open_api(auth="auto", reader=written, followers=2))
    first = await api.session.get("/api/v1/tenants/acme/logs?follow=true")
    second = await api.session.get("/api/v1/tenants/acme/logs?follow=true")
    status, data, headers = await api.call("GET", "/tenants/acme/logs?follow=true")
    assert (status, data["code"], headers["Retry-After"]) == (503, "too-many", "5")
    assert (await text_of(api, "/tenants/acme/logs"))[0] == 200
    first.close()
    second.close()


async def test_the_end_of_the_process_ends_it_at_once(api: Api, written: Written) -> None:
    async with api.session.get("/api/v1/tenants/acme/logs?follow=true") as answer:
        assert await answer.content.readline() == b"one\n"
        async with Tasks("stop") as tasks:
            stopping = tasks.start(api.site.stop(), "stop")
            await asyncio.wait_for(answer.content.read(), 1.5)
            await stopping
    assert written.readers == 0


async def test_a_runtime_that_is_away_is_said_before_the_first_byte(api: Api, written: Written) -> None:
    written.away = True
    for path in ("/tenants/acme/logs", "/tenants/acme/logs?follow=true"):
        status, data, headers = await api.call("GET", path)
        assert (status, data["code"], data["hint"]) == (503, "runtime-unavailable", "is it running?")
        assert headers["Retry-After"] == "1"


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("lines=-1", "lines: expected a whole number from 0 to 10000, not '-1'"),
        ("lines=10001", "lines: expected"),
        ("lines=ten", "lines: expected"),
        ("lines=1&lines=2", "lines is given twice"),
        ("follow=yes", "follow: expected true or false, not 'yes'"),
        ("tail=5", "tail is not a parameter here; valid: lines, follow"),
    ],
)
async def test_what_cannot_be_read_is_refused_by_name(api: Api, query: str, words: str) -> None:
    status, data, _ = await api.call("GET", f"/tenants/acme/logs?{query}")
    assert (status, data["code"]) == (400, "invalid-query")
    assert words in data["detail"]


async def test_there_are_none_of_nobody_and_of_what_runs_elsewhere(api: Api) -> None:
    routed = read_tenant({"name": "far", "hosts": ["far.test"], "upstreams": ["http://192.0.2.1"]}, what="far")
    await api.registry.apply([routed])
    status, data, _ = await api.call("GET", "/tenants/far/logs")
    assert (status, data["code"]) == (409, "routed-only")
    status, data, _ = await api.call("GET", "/tenants/acne/logs")
    assert (status, data["code"]) == (404, "no-such-tenant")


async def test_who_drives_nothing_says_who_does(open_api: Opener) -> None:
    api = await declared(await open_api(auth="auto"))
    status, data, _ = await api.call("GET", "/tenants/acme/logs")
    assert (status, data["code"]) == (409, "refused")
    assert data["hint"] == "ask passivator's admin listener; none is there now"
    for name, role, driver in (
        ("b-1", "follower", "process"),
        ("c-2", "leader", "process"),
        ("a-3", "leader", "docker"),
    ):
        member = Member(
            kind="passivator", id=name, role=role, driver=driver, listeners=(Endpoint("10.0.0.5", 9902 + len(role)),)
        )
        await api.registry.store.commit([Put(keys.member_key("passivator", name), encode(member))])
    _, data, _ = await api.call("GET", "/tenants/acme/logs")
    assert data["hint"] == "ask passivator c-2 at 10.0.0.5:9908, b-1 at 10.0.0.5:9910"


async def test_it_takes_the_role_that_operates_and_ends_with_the_token(open_api: Opener, written: Written) -> None:
    api = await declared(await open_api(auth="always", reader=written))
    reads, operates = await make(api, "reads", "read"), await make(api, "operates", "operate")
    status, data, _ = await ask(api, "GET", "/tenants/acme/logs", Authorization=reads)
    assert (status, data["code"]) == (403, "forbidden")
    path = "/api/v1/tenants/acme/logs?follow=true"
    async with api.session.get(path, headers={"Authorization": operates}) as answer:
        assert await answer.content.readline() == b"one\n"
        await revoke_token(api.registry.store, "operates")
        await api.until(lambda: not known(api, "operates"))
        await written.news.put("a secret")
        assert b"a secret" not in await asyncio.wait_for(answer.content.read(), 5)


async def test_a_follower_that_does_not_read_is_cut(open_api: Opener, written: Written) -> None:
    api = await declared(await open_api(auth="auto", reader=written, write=0.2))
    answer = await api.session.get("/api/v1/tenants/acme/logs?follow=true")
    many = "x" * 100_000

    async def flood() -> Any:  # noqa: ANN401 - it is cancelled
        while True:
            await written.news.put(many)
            await asyncio.sleep(0)

    async with Tasks("flood") as tasks:
        tasks.start(flood(), "flood")
        await api.until(lambda: written.readers == 0 if written.news.qsize() else False)
    answer.close()
