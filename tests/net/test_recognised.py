"""Heads that are known by their bytes mean what they meant when they were judged, and nothing else does."""

from __future__ import annotations

import pytest

from tests.net.stage import stage
from tests.net.talk import App, get, post, until

LARGE = b"x" * 1_000_000


async def test_a_repeated_request_is_recognised_whatever_its_target_and_method() -> None:
    async with stage() as on, on.visitor() as visitor:
        app = await on.serve()
        for path in ("/", "/a?b", "/c"):
            assert (await visitor.ask(get(path, "X-A: 1"))).body == b"ok"
        assert (await visitor.ask(get("/d", "X-A: 1").replace(b"GET", b"DELETE"))).body == b"ok"
        assert [message.start for message in app.seen] == [
            "GET / HTTP/1.1",
            "GET /a?b HTTP/1.1",
            "GET /c HTTP/1.1",
            "DELETE /d HTTP/1.1",
        ]
        fields = [[(name, value) for name, value in message.fields if name != "X-Request-Id"] for message in app.seen]
        assert fields[1:] == fields[:-1]
        assert len({message.get("X-Request-Id") for message in app.seen}) == 4
        assert len(on.proxy.request_heads) == len(on.proxy.response_heads) == 1
        # llhttp saw the first request of this connection alone.
        assert app.connections == 1


async def test_a_body_that_came_with_its_head_is_recognised_too() -> None:
    async with stage() as on, on.visitor() as visitor:
        app = await on.serve()
        for body in (b"one", b"two", b"six"):
            assert (await visitor.ask(post(body))).status == 200
        assert [message.body for message in app.seen] == [b"one", b"two", b"six"]
        # A body that comes later, or with more behind it, is none of these.
        head, late = post(b"ten")[:-3], b"ten"
        visitor.send(head)
        await until(lambda: len(app.seen) == 3)
        visitor.send(late + get("/next"))
        assert (await visitor.answer()).status == 200
        assert (await visitor.answer()).status == 200
        assert [message.body for message in app.seen[3:]] == [b"ten", b""]


@pytest.mark.parametrize(
    "spoiled",
    [
        b"GET / HTTP/1.0\r\n",
        b"GET  / HTTP/1.1\r\n",
        b"\r\nGET / HTTP/1.1\r\n",
        b"get / HTTP/1.1\r\n",
        b"GET /#x HTTP/1.1\r\n",
        b"GET /\x80 HTTP/1.1\r\n",
        b"GET http://acme.test/ HTTP/1.1\r\n",
        b"CONNECT / HTTP/1.1\r\n",
        b"GET / HTTP/1.1\n",
    ],
)
async def test_another_line_is_judged_as_if_its_fields_were_new(spoiled: bytes) -> None:
    ordinary = get("/")
    fields = ordinary.partition(b"\r\n")[2]
    answers = []
    for known in (True, False):
        async with stage() as on:
            await on.serve()
            if known:
                await on.ask(ordinary)
            async with on.visitor() as visitor:
                visitor.send(spoiled + fields)
                answers.append((await visitor.answer()).status)
    assert answers[0] == answers[1]


async def test_fields_are_known_in_their_place_alone() -> None:
    """A request line that stands among the fields is never taken for one, however often it is said."""
    inner = get("/").partition(b"\r\n")[2]
    async with stage() as on:
        app = await on.serve()
        await on.ask(get("/"))
        for _ in range(2):
            answer = await on.ask(b"GET / HTTP/1.1\r\nGET / HTTP/1.1\r\n" + inner)
            assert answer.status == 400
        assert len(app.seen) == 1


async def test_what_was_refused_is_refused_again() -> None:
    async with stage() as on:
        app = await on.serve()
        for _ in range(3):
            assert (await on.ask(get("/", "X : 1"))).status == 400
        assert app.seen == []
        assert len(on.proxy.request_heads) == 0


async def test_an_answer_in_pieces_is_counted() -> None:
    async with stage() as on, on.visitor() as visitor:
        app = await on.serve(App(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(LARGE) + LARGE))
        for _ in range(3):
            assert (await visitor.ask(get())).body == LARGE
        assert app.connections == 1
        assert on.proxy.tally.first_byte_seconds.total > 0


async def test_a_byte_too_many_costs_the_connection() -> None:
    async with stage() as on, on.visitor() as visitor:
        app = await on.serve()
        await visitor.ask(get())
        app.response += b"!"
        assert (await visitor.ask(get())).body == b"ok"
        await until(lambda: app.lost == 1)
        app.response = app.response[:-1]
        assert (await visitor.ask(get())).body == b"ok"
        assert app.connections == 2


async def test_a_counted_answer_that_breaks_off_breaks_off_for_the_visitor() -> None:
    async with stage() as on, on.visitor() as visitor:
        app = await on.serve(App(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789"))
        await visitor.ask(get())
        app.response = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n01234"
        visitor.send(get())
        await app.heard(2)
        app.writers[-1].close()
        with pytest.raises(ConnectionError):
            await visitor.rest()
        assert on.proxy.tally.broken["upstream"] == 1


async def test_a_date_is_that_of_now_also_in_a_known_answer() -> None:
    async with stage() as on, on.visitor() as visitor:
        await on.serve()
        await visitor.ask(get())
        on.proxy.date = b"Date: later\r\n"
        assert (await visitor.ask(get())).get("Date") == "later"


async def test_a_known_answer_to_another_kind_of_request_is_judged_anew() -> None:
    async with stage() as on, on.visitor() as visitor:
        app = await on.serve()
        await visitor.ask(get())
        app.response = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"
        assert (await visitor.ask(get().replace(b"GET", b"HEAD"), bodiless=True)).get("Content-Length") == "2"
        app.response += b"ok"
        answer = await visitor.ask(get("/", "Connection: close"))
        assert (answer.body, answer.get("Connection")) == (b"ok", "close")
        answer = await on.ask(get().replace(b"1.1", b"1.0"))
        assert answer.get("Connection") == "close"
