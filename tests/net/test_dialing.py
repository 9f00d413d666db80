"""Reaching a tenant: unix sockets, IPv6, and names with several addresses; on real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from gogeta.domain.upstreams import Endpoint, UnixEndpoint
from gogeta.net import unix_sockets
from tests.net.stage import Stage, stage
from tests.net.talk import OK, App, get, post, until


def declare(on: Stage, *upstreams: str) -> None:
    """A routed-only tenant."""
    on.declare(docker=None, upstreams=list(upstreams))


@contextlib.asynccontextmanager
async def listening(app: App, path: Path, *, backlog: int = 100) -> AsyncIterator[None]:
    """An application on a unix socket."""

    async def guarded(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await app(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_unix_server(guarded, path, backlog=backlog)
    try:
        yield
    finally:
        server.close()


async def test_a_tenant_on_a_unix_socket_is_served_and_its_connection_kept(tmp_path: Path) -> None:
    app = App()
    async with stage() as on, listening(app, tmp_path / "app.sock"), on.visitor() as visitor:
        declare(on, f"unix:{tmp_path}/app.sock")
        for path in ("/one", "/two"):
            assert (await visitor.ask(get(path))).body == b"ok"
        assert (await visitor.ask(post(b"x" * 300_000))).status == 200
        assert app.connections == 1
        assert [message.start for message in app.seen[:2]] == ["GET /one HTTP/1.1", "GET /two HTTP/1.1"]
        assert app.seen[0].get("Host") == "acme.test"
        assert len(app.seen[2].body) == 300_000


async def test_a_long_path_is_no_trouble(tmp_path: Path) -> None:
    # Longer than a socket's address may be (108 bytes): it was bound from inside its folder, or moved there.
    folder = tmp_path / ("x" * 200)
    folder.mkdir()
    app = App()
    async with stage() as on, listening(app, tmp_path / "app.sock"):
        (tmp_path / "app.sock").rename(folder / "app.sock")
        declare(on, f"unix:{folder}/app.sock")
        assert (await on.ask(get())).body == b"ok"


async def test_an_upgrade_goes_through_a_unix_socket_both_ways(tmp_path: Path) -> None:
    app = App(b"HTTP/1.1 101 Go\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
    async with stage() as on, listening(app, tmp_path / "app.sock"), on.visitor() as visitor:
        declare(on, f"unix:{tmp_path}/app.sock")
        visitor.send(get("/", "Connection: Upgrade", "Upgrade: x"))
        assert (await visitor.answer()).status == 101
        app.writers[0].write(b"hello")
        assert await visitor.reader.readexactly(5) == b"hello"


async def test_a_stale_connection_over_a_unix_socket_costs_a_get_nothing(tmp_path: Path) -> None:
    app = App()
    async with stage() as on, listening(app, tmp_path / "app.sock"), on.visitor() as visitor:
        declare(on, f"unix:{tmp_path}/app.sock")
        await visitor.ask(get())
        app.response = b""
        visitor.send(get("/again"))
        await app.heard(2)
        app.response = OK
        app.writers[-1].close()
        assert (await visitor.answer()).body == b"ok"


@pytest.mark.parametrize("kind", ["missing", "a file", "nobody listens"])
async def test_a_socket_that_cannot_be_connected_to_is_502(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "app.sock"
    if kind == "a file":
        path.touch()
    elif kind == "nobody listens":
        with socket.socket(socket.AF_UNIX) as gone:
            gone.bind(str(path))
    async with stage() as on:
        declare(on, f"unix:{path}")
        answer = await on.ask(get())
        assert answer.status == 502
        assert b"upstream-connect" in answer.body
        assert str(tmp_path).encode() not in answer.body
        assert on.proxy.tally.upstream_connect_failures == 1


def fill(listener: socket.socket, stack: contextlib.ExitStack) -> list[socket.socket]:
    """Connections that nobody accepts, until the kernel takes no more."""
    waiting: list[socket.socket] = []
    while True:
        one = stack.enter_context(socket.socket(listener.family))
        one.settimeout(0)
        try:
            one.connect(listener.getsockname())
        except BlockingIOError:
            return waiting
        waiting.append(one)


@contextlib.contextmanager
def full(path: Path) -> Iterator[tuple[socket.socket, list[socket.socket]]]:
    """A unix socket whose queue is full, and who waits in it."""
    with socket.socket(socket.AF_UNIX) as listener, contextlib.ExitStack() as stack:
        listener.bind(str(path))
        listener.listen(0)
        listener.settimeout(0)
        yield listener, fill(listener, stack)


async def test_a_full_queue_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "app.sock"
    app = App()
    async with stage() as on, on.visitor() as visitor:
        with full(path) as (listener, waiting):
            declare(on, f"unix:{path}")
            visitor.send(get())
            await until(lambda: on.proxy.tally.upstream_connects)
            # It has to ask more than once: nobody is served before the queue moves.
            await asyncio.sleep(0.05)
            assert app.connections == 0
            server = await asyncio.start_unix_server(app, sock=listener)
            assert (await visitor.answer()).body == b"ok"
            assert on.proxy.tally.upstream_connect_failures == 0
            for one in waiting:
                one.close()
            server.close()
            await until(lambda: app.lost)


async def test_a_queue_that_stays_full_is_502_in_time(tmp_path: Path) -> None:
    path = tmp_path / "app.sock"
    async with stage(connect_timeout=0.1) as on:
        with full(path):
            declare(on, f"unix:{path}")
            assert (await on.ask(get())).status == 502


@pytest.fixture
def runtime(tmp_path: Path) -> Iterator[Path]:
    """A runtime's socket, as far as its name tells."""
    path = tmp_path / "docker.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        yield path


@pytest.mark.parametrize("way", ["a link", "a link to its folder", "a hard link"])
async def test_a_runtime_is_not_reached_by_another_name(
    tmp_path: Path, runtime: Path, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if way == "a link":
        named = tmp_path / "app.sock"
        named.symlink_to(runtime)
    elif way == "a link to its folder":
        (tmp_path / "folder").symlink_to(tmp_path)
        named = tmp_path / "folder" / "docker.sock"
    else:
        named = tmp_path / "app.sock"
        named.hardlink_to(runtime)
        # Known by its place on this machine, which a test must not write to.
        monkeypatch.setattr(unix_sockets, "RUNTIME_SOCKETS", (str(runtime),))
    async with stage() as on:
        declare(on, f"unix:{named}")
        answer = await on.ask(get())
        assert answer.status == 502
        assert b"upstream-forbidden" in answer.body


async def test_the_end_of_a_tenant_over_a_unix_socket_within_its_answer_is_visible(tmp_path: Path) -> None:
    app = App(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
    async with stage() as on, listening(app, tmp_path / "app.sock"), on.visitor() as visitor:
        declare(on, f"unix:{tmp_path}/app.sock")
        visitor.send(get())
        assert await visitor.reader.readuntil(b"hello")
        app.writers[0].close()
        with pytest.raises(ConnectionError):
            await visitor.rest()


async def test_an_ipv6_upstream_is_reached() -> None:
    app = App()
    async with stage() as on:
        server = await asyncio.start_server(app, "::1", 0)
        declare(on, f"http://[::1]:{server.sockets[0].getsockname()[1]}")
        assert (await on.ask(get())).body == b"ok"
        server.close()


class Names:
    """Plays the system's resolver: a name has the addresses that a test gives it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.addresses: dict[str, list[str]] = {}
        loop = asyncio.get_running_loop()
        real = loop.getaddrinfo

        async def resolve(host: str, port: int, **more: int) -> object:
            if host not in self.addresses:
                return await real(host, port, **more)
            return [answer for address in self.addresses[host] for answer in await real(address, port, **more)]

        monkeypatch.setattr(loop, "getaddrinfo", resolve)


async def test_each_address_of_a_name_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    async with stage() as on:
        names = Names(monkeypatch)
        endpoint = await on.upstream(App())
        # Nobody listens at the first two.
        names.addresses["many.example"] = ["::1", "127.0.0.2", "127.0.0.1"]
        declare(on, f"http://many.example:{endpoint.port}")
        assert (await on.ask(get())).body == b"ok"
        assert on.proxy.tally.upstream_connect_failures == 0


async def test_a_name_none_of_whose_addresses_answers_is_502(monkeypatch: pytest.MonkeyPatch) -> None:
    async with stage() as on:
        Names(monkeypatch).addresses["many.example"] = ["::1", "127.0.0.2"]
        declare(on, "http://many.example:1")
        answer = await on.ask(get())
        assert answer.status == 502
        assert b"upstream-connect" in answer.body


async def test_an_address_that_swallows_packets_does_not_keep_the_next_from_being_tried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.socket() as deaf, contextlib.ExitStack() as stack:
        deaf.bind(("127.0.0.2", 0))
        deaf.listen(0)
        port = deaf.getsockname()[1]
        # Its queue is full: the kernel drops what else comes, as a machine that is gone would.
        for _ in range(2):
            waiting = stack.enter_context(socket.socket())
            waiting.settimeout(0)
            with contextlib.suppress(BlockingIOError):
                waiting.connect(deaf.getsockname())
        async with stage(connect_timeout=1.0) as on:
            app = App()
            server = await asyncio.start_server(app, "127.0.0.1", port)
            names = Names(monkeypatch)
            names.addresses["many.example"] = ["127.0.0.2", "127.0.0.1"]
            declare(on, f"http://many.example:{port}")
            assert (await on.ask(get())).body == b"ok"
            server.close()


async def test_a_name_that_leads_to_a_forbidden_address_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    async with stage() as on:
        names = Names(monkeypatch)
        names.addresses["rebound.example"] = ["169.254.169.254"]
        declare(on, "http://rebound.example")
        answer = await on.ask(get())
        assert answer.status == 502
        assert b"upstream-forbidden" in answer.body


def test_an_endpoint_says_where_it_is() -> None:
    assert str(UnixEndpoint("/run/app.sock")) == "unix:/run/app.sock"
    assert str(Endpoint("::1", 80)) == "[::1]:80"
