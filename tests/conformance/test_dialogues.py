"""Exchanges in which the order of what both sides say is the point."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from tests.conformance.requests import HOST
from tests.conformance.world import OK, Behind, Outcome, Reply, World

SILENCE = Reply(b"")
EXPECTS = b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\nExpect: 100-continue\r\n\r\n"
UPGRADES = b"GET / HTTP/1.1\r\n" + HOST + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
SWITCHES = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
GET = b"GET / HTTP/1.1\r\n" + HOST + b"\r\n"


class Talk:
    """One visitor and one tenant, both played by hand."""

    def __init__(self, world: World) -> None:
        self.world = world
        world.answering = lambda _: SILENCE
        self.visitor = world.visitor()

    @property
    def tenant(self) -> Behind:
        """The tenant's side of the newest connection."""
        return self.world.behind[-1]

    async def says(self, data: bytes) -> Outcome:
        """The visitor says something; what has become of him."""
        self.visitor.feed(data)
        return await self.seen()

    async def answers(self, data: bytes) -> Outcome:
        """The tenant says something; what has become of the visitor."""
        if data.startswith(b"HTTP/1.1 101"):
            self.tenant.tunnel()
        self.tenant.wire.feed(data)
        return await self.seen()

    async def seen(self) -> Outcome:
        """What has become of the visitor."""
        await self.world.loop.settle()
        return self.world.outcome(self.visitor)


def talk(story: Callable[[Talk], Coroutine[Any, Any, None]]) -> None:
    """Tell one story."""

    async def tell(world: World) -> None:
        await story(Talk(world))

    with World() as world:
        world.run(tell(world))


def test_nobody_says_100_before_the_tenant() -> None:
    """RFC 9110 section 10.1.1."""

    async def story(on: Talk) -> None:
        seen = await on.says(EXPECTS)
        assert seen.heralds == seen.answers == []
        assert on.tenant.partial is not None
        assert on.tenant.partial.values(b"expect") == [b"100-continue"]
        seen = await on.answers(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert [herald.status for herald in seen.heralds] == [100]
        seen = await on.says(b"hello")
        assert [message.body for message in seen.read] == [b"hello"]
        seen = await on.answers(OK.data)
        assert seen.statuses == [200]
        assert not seen.over
        seen = await on.says(GET)
        assert len(seen.read) == 2
        assert seen.connects == 1

    talk(story)


def test_the_tenants_417_is_final() -> None:
    """RFC 9110 section 10.1.1: the body that was announced may or may not come, so neither connection is used again."""

    async def story(on: Talk) -> None:
        await on.says(EXPECTS)
        seen = await on.answers(b"HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n")
        assert seen.statuses == [417]
        assert seen.answers[0].values(b"connection") == [b"close"]
        assert seen.over
        assert on.tenant.wire.closing
        seen = await on.says(b"hello" + GET)
        assert seen.statuses == [417]
        assert seen.read == []

    talk(story)


def test_a_body_that_did_not_wait_is_a_body() -> None:
    """RFC 9110 section 10.1.1: a visitor may send it without having been told to."""

    async def story(on: Talk) -> None:
        seen = await on.says(EXPECTS + b"hello" + GET)
        assert [message.body for message in seen.read] == [b"hello"]
        await on.answers(b"HTTP/1.1 100 Continue\r\n\r\n" + OK.data)
        seen = await on.answers(OK.data)
        assert seen.statuses == [200, 200]

    talk(story)


def test_an_answer_before_the_body_has_come() -> None:
    """RFC 9112 section 9.3 and 9.6: it is told, what still comes is not read as a request."""

    async def story(on: Talk) -> None:
        await on.says(b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 100\r\n\r\nhello")
        seen = await on.answers(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n")
        assert seen.statuses == [413]
        assert seen.over
        assert on.tenant.wire.closing
        seen = await on.says(GET * 10)
        assert seen.statuses == [413]
        assert seen.read == []

    talk(story)


def test_a_tunnel_begins_behind_both_heads() -> None:
    """RFC 9110 section 7.8: what came with the head of either side is the first of what is tunnelled."""

    async def story(on: Talk) -> None:
        seen = await on.says(UPGRADES + b"early")
        assert seen.answers == []
        assert on.tenant.tunnelled() == b""
        seen = await on.answers(SWITCHES + b"first")
        assert seen.statuses == [101]
        assert seen.answers[0].body == b"first"
        assert on.tenant.tunnelled() == b"early"
        seen = await on.says(GET)
        assert on.tenant.tunnelled() == b"early" + GET
        seen = await on.answers(b"\0\r\n")
        assert seen.answers[0].body == b"first\0\r\n"
        on.tenant.wire.end()
        assert (await on.seen()).over
        on.visitor.end()
        await on.seen()
        assert on.tenant.wire.closing

    talk(story)


def test_an_upgrade_that_is_declined_is_a_request_as_any() -> None:
    """RFC 9110 section 7.8: what came behind it is the next request."""

    async def story(on: Talk) -> None:
        await on.says(UPGRADES + GET)
        seen = await on.answers(OK.data)
        assert len(seen.read) == 2
        assert seen.read[1].values(b"upgrade") == []
        assert (await on.answers(OK.data)).statuses == [200, 200]

    talk(story)


def test_who_has_said_all_is_still_answered() -> None:
    """RFC 9112 section 9.6: half a close is no end."""

    async def story(on: Talk) -> None:
        await on.says(GET + GET)
        on.visitor.end()
        assert not (await on.seen()).over
        await on.answers(OK.data)
        seen = await on.answers(OK.data)
        assert seen.statuses == [200, 200]
        assert seen.over

    talk(story)


def test_who_leaves_within_a_body_has_asked_nothing() -> None:
    """RFC 9112 section 8: the tenant sees a broken request, never a complete one."""

    async def story(on: Talk) -> None:
        await on.says(b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        on.visitor.end()
        seen = await on.seen()
        assert seen.read == []
        assert on.tenant.wire.closing
        assert not bytes(on.tenant.wire.sent).endswith(b"0\r\n\r\n")

    talk(story)


def test_pieces_of_a_body_go_on_as_they_come() -> None:
    """RFC 9112 section 7.1: nothing waits for the rest."""

    async def story(on: Talk) -> None:
        await on.says(b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n")
        for piece, so_far in ((b"3\r\nabc", b"abc"), (b"\r\n2\r\nd", b"abcd"), (b"e\r\n", b"abcde")):
            await on.says(piece)
            assert on.tenant.partial is not None
            assert on.tenant.partial.body == so_far
        seen = await on.says(b"0\r\n\r\n")
        assert [message.body for message in seen.read] == [b"abcde"]
        for piece, body in ((b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab", b"ab"), (b"cd", b"abcd")):
            seen = await on.answers(piece)
            assert seen.answers[0].body == body
        assert seen.answers[0].complete

    talk(story)


def test_bytes_of_a_tenant_that_nobody_asked_cost_its_connection() -> None:
    """RFC 9112 section 9.2: they would be taken for the answer to the next request."""

    async def story(on: Talk) -> None:
        await on.says(GET)
        await on.answers(OK.data)
        await on.answers(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison")
        assert on.tenant.wire.closing
        seen = await on.says(GET)
        assert seen.connects == 2
        assert (await on.answers(OK.data)).statuses == [200, 200]

    talk(story)
