"""http -> https: who is sent there, how exactly, and who is not; and `Via`, with the loop it shows."""

from __future__ import annotations

import asyncio
import ipaddress
from dataclasses import replace
from pathlib import Path

import pytest

from gogeta.domain.lifecycle import Cause
from gogeta.domain.tenant import read_tenant
from gogeta.registry.registry import DesiredChange
from tests.net.stage import Stage, stage
from tests.net.talk import Message, get, post, until
from tests.net.test_limits import code
from tests.net.test_tls import ANY, client, secure

PROXY = (ipaddress.ip_network("127.0.0.0/8"),)


async def moved(on: Stage, request: bytes) -> str:
    """Where a request is sent to; the tenant may not hear of it."""
    answer = await on.ask(request)
    assert answer.status == 308
    location = answer.get("Location")
    assert location is not None
    assert answer.get("Cache-Control") == "no-store"
    return location


@pytest.mark.parametrize(
    ("request_bytes", "location"),
    [
        (get("/"), "https://acme.test/"),
        (get("/a/../b?c=%20d&e=f?g=/h"), "https://acme.test/a/../b?c=%20d&e=f?g=/h"),
        (get("//evil.test/x"), "https://acme.test//evil.test/x"),
        (get('/<"|\\^`{}>'), 'https://acme.test/<"|\\^`{}>'),
        (get("/", host="acme.test:8080"), "https://acme.test/"),
        (get("/", host="ACME.test."), "https://ACME.test./"),
        (get("http://acme.test:8080/abs?q", host="acme.test:8080"), "https://acme.test/abs?q"),
        (get("http://acme.test", host="acme.test"), "https://acme.test/"),
        (get("/v6", host="[::1]:8080"), "https://[::1]/v6"),
        (b"OPTIONS * HTTP/1.1\r\nHost: acme.test\r\n\r\n", "https://acme.test/"),
        (b"GET /old HTTP/1.0\r\nHost: acme.test\r\n\r\n", "https://acme.test/old"),
        (post(b"hello"), "https://acme.test/"),
    ],
)
async def test_the_same_target_over_https(request_bytes: bytes, location: str) -> None:
    async with stage() as on:
        app = await on.serve(hosts=["acme.test", "[::1]"], https_only=True)
        assert await moved(on, request_bytes) == location
        assert not app.connections
        assert on.proxy.tally.refusals["https-only"] == 1


async def test_the_connection_goes_on_where_it_can() -> None:
    async with stage() as on, on.visitor() as visitor:
        await on.serve(https_only=True)
        for request in (get("/1"), get("/2")):
            assert (await visitor.ask(request)).status == 308
        assert (await visitor.ask(b"HEAD / HTTP/1.1\r\nHost: acme.test\r\n\r\n", bodiless=True)).status == 308
        visitor.send(post(b"hello")[:-1])
        answer = await visitor.answer()
        assert (answer.status, answer.get("Connection")) == (308, "close")


@pytest.mark.parametrize("switch", [{"https_redirect": True}, {}], ids=["all", "tenant"])
async def test_nobody_is_woken_and_nothing_counts_as_use(switch: dict[str, bool]) -> None:
    async with stage(**switch) as on:
        on.declare(https_only=not switch)
        before = on.proxy.fleet.entries["acme"]
        touched = set(on.proxy.activity._touched)  # noqa: SLF001 - what would be written
        assert (await on.ask(get())).status == 308
        assert (on.registry.wakes, before.in_flight, before.held) == ([], 0, {})
        assert set(on.proxy.activity._touched) == touched  # noqa: SLF001 - ditto


async def test_other_tenants_and_unknown_hosts_are_as_ever() -> None:
    async with stage() as on:
        await on.serve(https_only=True)
        await on.serve(name="plain")
        assert (await on.ask(get(host="plain.test"))).status == 200
        assert (await on.ask(get(host="nobody.test"))).status == 404
        assert (await on.ask(get(host="not a host"))).status == 400
    async with stage(https_redirect=True) as on:
        await on.serve(name="plain")
        assert (await on.ask(get(host="plain.test"))).status == 308
        assert (await on.ask(get(host="nobody.test"))).status == 404


async def test_the_declaration_may_change() -> None:
    async with stage() as on:
        await on.serve()
        assert (await on.ask(get())).status == 200
        for https_only in (True, False):
            on.change(tenant=replace(on.records["acme"].tenant, https_only=https_only))
            assert (await on.ask(get())).status == (308 if https_only else 200)


async def test_over_tls_it_is_served(tmp_path: Path) -> None:
    async with secure(tmp_path, https_redirect=True) as on:
        await on.serve()
        assert (await on.ask(get(), tls=client())).status == 200


async def test_the_port_is_that_of_the_tls_listener_or_as_said(tmp_path: Path) -> None:
    async with secure(tmp_path, tls_listen=ANY, https_redirect=True) as on:
        app = await on.serve()
        location = await moved(on, get("/x", host="acme.test:80"))
        assert location == f"https://acme.test:{on.server.tls_port}/x"
        assert (await on.ask(get("/x"), tls=client())).status == 200
        assert len(app.seen) == 1
    for port, shown in ((443, ""), (8443, ":8443")):
        async with secure(tmp_path, tls_listen=ANY, https_redirect=True, https_port=port) as on:
            await on.serve()
            assert await moved(on, get("/x")) == f"https://acme.test{shown}/x"


@pytest.mark.parametrize(
    ("said", "status"),
    [
        (("X-Forwarded-Proto: https",), 200),
        (("X-Forwarded-Proto: HTTPS",), 200),
        (("X-Forwarded-Proto: https, http",), 200),
        (("X-Forwarded-Proto: https", "X-Forwarded-Proto: http"), 200),
        (("Forwarded: for=192.0.2.1;proto=https",), 200),
        (('Forwarded: proto="https", for=10.0.0.1;proto=http',), 200),
        (("X-Forwarded-Proto: http",), 308),
        (("X-Forwarded-Proto: http", "Forwarded: proto=https"), 308),
        (("X-Forwarded-Proto: http, https",), 308),
        (("X-Forwarded-Proto: httpss",), 308),
        (("Forwarded: for=10.0.0.1;proto=http, proto=https",), 308),
        (("Forwarded: for=x;xproto=https",), 308),
        (("X-Forwarded-For: 192.0.2.1",), 308),
        ((), 308),
    ],
)
async def test_a_trusted_proxys_word_counts_and_nobody_elses(said: tuple[str, ...], status: int) -> None:
    async with stage(https_redirect=True, trusted_proxies=PROXY) as on:
        await on.serve()
        assert (await on.ask(get("/", *said))).status == status
    async with stage(https_redirect=True) as on:
        await on.serve()
        assert (await on.ask(get("/", *said))).status == 308


async def test_who_asked_a_trusted_proxy_in_plain_text_is_redirected_although_we_speak_tls(tmp_path: Path) -> None:
    async with secure(tmp_path, https_redirect=True, trusted_proxies=PROXY) as on:
        await on.serve()
        assert (await on.ask(get("/", "X-Forwarded-Proto: http"), tls=client())).status == 308
        assert (await on.ask(get(), tls=client())).status == 200


TOKEN = "/.well-known/acme-challenge/evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA"


async def test_the_challenge_of_an_authority_passes() -> None:
    async with stage(https_redirect=True) as on:
        app = await on.serve()
        assert (await on.ask(get(TOKEN))).status == 200
        assert app.seen[0].start == f"GET {TOKEN} HTTP/1.1"


@pytest.mark.parametrize(
    "request_bytes",
    [
        get("/.well-known/acme-challenge/"),
        get("/.well-known/acme-challenge"),
        get(TOKEN + "/../../../admin"),
        get("/.well-known/acme-challenge/../../admin"),
        get("/.well-known/acme-challenge/%2e%2e%2fadmin"),
        get(TOKEN + "?x"),
        get(TOKEN + "\\..\\admin"),
        get("/x" + TOKEN),
        get(TOKEN.upper()),
        post(b"x").replace(b"POST / ", f"POST {TOKEN} ".encode()),
    ],
)
async def test_nothing_else_passes_under_its_name(request_bytes: bytes) -> None:
    async with stage(https_redirect=True) as on:
        app = await on.serve()
        assert (await on.ask(request_bytes)).status == 308
        assert not app.connections


def test_the_declaration_has_one_more_word() -> None:
    declared = {"name": "acme", "hosts": ["acme.test"], "docker": {"image": "x"}}
    assert read_tenant(declared, what="test").https_only is False
    assert read_tenant({**declared, "https_only": True}, what="test").https_only is True


# Via.


async def asked(on: Stage, *via: str) -> Message:
    """The answer to a request that has these lines of Via."""
    return await on.ask(get("/", *(f"Via: {line}" for line in via)))


async def test_via_is_left_alone_unless_we_have_a_name() -> None:
    async with stage() as on:
        app = await on.serve()
        assert (await asked(on, "1.1 gogeta-1")).status == 200
        assert app.seen[0].get("Via") == "1.1 gogeta-1"


async def test_our_name_comes_last() -> None:
    async with stage(via="gogeta-1") as on:
        app = await on.serve()
        assert (await asked(on, "1.0 fred, 1.1 p.example.net")).status == 200
        await on.ask(b"GET / HTTP/1.0\r\nHost: acme.test\r\n\r\n")
        lines = [[value for name, value in message.fields if name == "Via"] for message in app.seen]
        assert lines == [["1.0 fred, 1.1 p.example.net", "1.1 gogeta-1"], ["1.0 gogeta-1"]]


async def test_a_request_that_was_here_before_is_in_a_loop() -> None:
    async with stage(via="gogeta-1") as on:
        app = await on.serve()
        answer = await asked(on, "1.1 a", "1.1 GOGETA-1 (again)")
        assert (answer.status, code(answer)) == (508, "loop")
        assert not app.connections


async def test_a_loop_wakes_nobody() -> None:
    async with stage(via="gogeta-1") as on:
        on.declare()

        async def never(name: str, _: Cause) -> DesiredChange:
            raise AssertionError(name)

        on.registry.on_wake = never
        assert (await asked(on, "1.1 gogeta-1")).status == 508


async def test_a_real_loop_ends_at_its_second_pass() -> None:
    async with stage(via="gogeta-1") as on:

        async def back(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            onward_reader, onward = await asyncio.open_connection("127.0.0.1", on.port)
            onward.write(await reader.readuntil(b"\r\n\r\n"))
            writer.write(await onward_reader.readuntil(b"}\n"))
            await writer.drain()
            onward.close()

        await on.serve(back)
        answer = await on.ask(get())
        assert (answer.status, code(answer)) == (508, "loop")
        await until(lambda: on.proxy.tally.refusals["loop"] == 1)
