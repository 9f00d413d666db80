"""The PROXY protocol on a listener: who the visitor is, before the first byte that is theirs."""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
from pathlib import Path

import pytest

from gogeta.core.refusal import Reason
from gogeta.net.downstream import DownstreamConnection
from gogeta.net.forwarder import Proxy
from gogeta.net.listener import TurnedAway
from tests.core.test_client_hello import hello
from tests.core.test_proxy_protocol import V4, V6, version_2
from tests.net.stage import stage
from tests.net.talk import get, post, until
from tests.net.test_tls import client, counted, secure, turned_away

HEADERS = [
    (b"PROXY TCP4 192.0.2.7 10.0.0.1 40000 80\r\n", "192.0.2.7"),
    (b"PROXY TCP6 2001:db8::7 fd00::1 40000 80\r\n", "2001:db8::7"),
    (b"PROXY UNKNOWN\r\n", "127.0.0.1"),
    (version_2(0x21, 0x11, V4), "192.0.2.7"),
    (version_2(0x21, 0x21, V6 + b"\x04\x00\x02\0\0"), "2001:db8::7"),
    (version_2(0x21, 0x31, bytes(216)), "unknown"),
    (version_2(0x20, 0x00, b""), "127.0.0.1"),
]


@pytest.mark.any_loop
@pytest.mark.parametrize(("header", "visitor"), HEADERS)
async def test_the_tenant_is_told_the_visitors_address(header: bytes, visitor: str) -> None:
    async with stage(proxy_protocol=True) as on, on.visitor() as through:
        app = await on.serve()
        # Header and request in one piece; the second request has no header any more.
        assert (await through.ask(header + get())).status == 200
        assert (await through.ask(post(b"x"))).status == 200
        assert [message.get("X-Forwarded-For") for message in app.seen] == [visitor] * 2
        assert app.seen[0].get("X-Forwarded-Proto") == "http"
        peers = {connection.peer for connection in on.proxy.connections}
        assert peers == {"unix" if visitor == "unknown" else visitor}


@pytest.mark.parametrize(("header", "visitor"), HEADERS)
async def test_a_header_byte_by_byte(header: bytes, visitor: str) -> None:
    async with stage(proxy_protocol=True) as on, on.visitor() as through:
        app = await on.serve()
        await until(lambda: on.server.arriving)
        (arrival,) = on.server.listeners[0].arriving
        for byte in header:
            assert not on.proxy.connections
            arrival.data_received(bytes((byte,)))
        assert on.proxy.connections
        assert (await through.ask(get())).status == 200
        assert app.seen[0].get("X-Forwarded-For") == visitor


async def test_who_is_behind_the_header_is_known_before_it_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits per address count the visitor, not the load balancer."""
    async with stage(proxy_protocol=True) as on, on.visitor() as through:
        await on.serve()
        peers = []
        opened = Proxy.opened

        def look(proxy: Proxy, connection: DownstreamConnection) -> Reason | None:
            peers.append(connection.peer)
            return opened(proxy, connection)

        monkeypatch.setattr(Proxy, "opened", look)
        await through.ask(HEADERS[0][0] + get())
        assert peers == ["192.0.2.7"]


@pytest.mark.parametrize("pieces", [1, 2, 50])
@pytest.mark.parametrize(("header", "visitor"), HEADERS[:4])
@pytest.mark.any_loop
async def test_before_the_handshake(tmp_path: Path, header: bytes, visitor: str, pieces: int) -> None:
    """However the header and the beginning of TLS are cut: not a byte is lost, and none is taken twice."""
    async with secure(tmp_path, proxy_protocol=True) as on:
        app = await on.serve()
        for _ in range(5):
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            tls = client().wrap_bio(incoming, outgoing, server_hostname="acme.test")
            reader, writer = await asyncio.open_connection("127.0.0.1", on.port)
            lead = header
            while True:
                try:
                    tls.do_handshake()
                except ssl.SSLWantReadError:
                    data, lead = lead + outgoing.read(), b""
                    size = -(-len(data) // pieces) or 1
                    for place in range(0, len(data), size):
                        writer.write(data[place : place + size])
                        await asyncio.sleep(0)
                    incoming.write(await reader.read(65536))
                else:
                    break
            tls.write(get())
            writer.write(outgoing.read())
            answer = b""
            while not answer.endswith(b"ok"):
                incoming.write(await reader.read(65536))
                while incoming.pending:
                    try:
                        answer += tls.read(65536)
                    except ssl.SSLWantReadError:
                        break
            writer.close()
            assert app.seen[-1].get("X-Forwarded-For") == visitor
            assert app.seen[-1].get("X-Forwarded-Proto") == "https"
        await on.quiet()
        assert not turned_away(on)


@pytest.mark.parametrize(
    "data",
    [
        get(),
        hello("acme.test"),
        b"\0",
        b"PROXY TCP4 192.0.2.7 10.0.0.1 40000 80\n",
        b"PROXY UDP4 1 2 3 4\r\n",
        b"PROXY " + b"x" * 200,
        version_2(0x21, 0x12, V4),
        version_2(0x21, 0x11, b"", length=60_000),
    ],
)
async def test_a_connection_without_a_good_header_is_closed(data: bytes) -> None:
    async with stage(proxy_protocol=True) as on:
        app = await on.serve()
        async with on.visitor() as through:
            through.send(data)
            assert await through.everything() == b""
        await counted(on, TurnedAway.PROXY_HEADER)
        assert not app.seen


async def test_a_second_header_is_no_request() -> None:
    async with stage(proxy_protocol=True) as on, on.visitor() as through:
        app = await on.serve()
        assert (await through.ask(HEADERS[0][0] * 2 + get())).status == 501
        assert not app.seen


@pytest.mark.parametrize("begun", [b"", b"PROXY TCP4 192", version_2(0x21, 0x11, V4)[:-1]])
async def test_a_header_that_does_not_come_is_not_waited_for(begun: bytes) -> None:
    async with stage(proxy_protocol=True, header_timeout=0.1) as on:
        async with on.visitor() as through:
            through.send(begun)
            assert await through.everything() == b""
        await counted(on, TurnedAway.PROXY_TIMEOUT)


async def test_a_health_check_that_only_connects_leaves_nothing() -> None:
    async with stage(proxy_protocol=True) as on:
        async with on.visitor():
            await until(lambda: on.server.arriving)
        await counted(on, TurnedAway.LEFT)


async def test_the_handshake_has_its_own_time_after_the_header(tmp_path: Path) -> None:
    async with secure(tmp_path, proxy_protocol=True, tls_handshake_timeout=0.1) as on:
        async with on.visitor() as through:
            through.send(HEADERS[0][0])
            assert await through.everything() == b""
        await counted(on, TurnedAway.TLS_TIMEOUT)


TRUSTED = (ipaddress.ip_network("127.0.0.0/8"),)
OTHERS = (ipaddress.ip_network("10.0.0.0/8"),)


async def test_only_trusted_proxies_may_speak_for_somebody_else() -> None:
    async with stage(proxy_protocol=True, trusted_proxies=OTHERS) as on:
        app = await on.serve()
        async with on.visitor() as through:
            through.send(HEADERS[0][0] + get())
            assert await through.everything() == b""
        await counted(on, TurnedAway.PROXY_UNTRUSTED)
        assert not app.seen
    async with stage(proxy_protocol=True, trusted_proxies=TRUSTED) as on, on.visitor() as through:
        await on.serve()
        assert (await through.ask(HEADERS[0][0] + get())).status == 200


async def test_the_word_of_the_visitor_behind_the_header_is_not_taken() -> None:
    """It is the visitor's address that is looked up among the trusted proxies then, not the load balancer's."""
    spoofed = get("/", "X-Forwarded-For: 6.6.6.6", "X-Forwarded-Proto: https")
    async with stage(proxy_protocol=True, trusted_proxies=TRUSTED) as on, on.visitor() as through:
        app = await on.serve()
        await through.ask(HEADERS[0][0] + spoofed)
        assert app.seen[0].get("X-Forwarded-For") == "192.0.2.7"
        assert app.seen[0].get("X-Forwarded-Proto") == "http"


async def test_without_the_setting_a_header_is_no_request() -> None:
    async with stage() as on:
        app = await on.serve()
        assert (await on.ask(HEADERS[0][0] + get())).status == 501
        assert not app.seen
