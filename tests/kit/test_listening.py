"""Listening sockets: taken, shared out, kept."""

from __future__ import annotations

import errno
import os
import select
import socket
import sys
from collections.abc import Iterator

import pytest

from gogeta.domain.upstreams import Endpoint
from gogeta.kit import listening
from gogeta.kit.listening import AddressTakenError

LOCAL = Endpoint("127.0.0.1", 0)


@pytest.fixture
def sockets() -> Iterator[list[socket.socket]]:
    """Whatever a test puts in is closed."""
    made: list[socket.socket] = []
    yield made
    listening.close(made)


def test_all_sockets_of_an_address_share_its_port_and_get_their_part(sockets: list[socket.socket]) -> None:
    sockets += listening.take(LOCAL, "listen", count=4)
    (port,) = {each.getsockname()[1] for each in sockets}
    for _ in range(64):
        with socket.create_connection(("127.0.0.1", port), timeout=5):
            pass
    waiting = []
    for each in sockets:
        count = 0
        try:
            while True:
                each.accept()[0].close()
                count += 1
        except BlockingIOError:
            waiting.append(count)
    assert sum(waiting) == 64
    assert min(waiting) > 0


def test_every_address_of_a_host_is_taken(sockets: list[socket.socket]) -> None:
    sockets += listening.take(Endpoint("", 0), "listen", count=2)
    families = [each.family for each in sockets]
    assert families.count(socket.AF_INET) == 2
    assert families.count(socket.AF_INET6) in (0, 2)
    assert len({each.getsockname()[1] for each in sockets}) == 1


def test_an_address_of_somebody_else_is_not_joined(sockets: list[socket.socket]) -> None:
    sockets += listening.take(LOCAL, "listen")
    with pytest.raises(AddressTakenError, match=r"--admin: cannot listen on .*: another program listens there already"):
        listening.take(listening.address(sockets[0]), "admin")
    with pytest.raises(AddressTakenError, match="does not have that address"):
        listening.take(Endpoint("192.0.2.1", 80), "listen")
    with pytest.raises(AddressTakenError, match=r"--listen: cannot listen on nowhere\.invalid:80: "):
        listening.take(Endpoint("nowhere.invalid", 80), "listen")


@pytest.mark.parametrize("workers", [1, 2, 3, 5])
def test_each_socket_has_a_worker_and_each_worker_a_socket(sockets: list[socket.socket], workers: int) -> None:
    sockets += [*listening.take(LOCAL, "listen", count=3), *listening.take(LOCAL, "listen", count=1)]
    shares = [listening.share(sockets, number, workers) for number in range(workers)]
    assert {each for share in shares for each in share} == set(sockets)
    for share in shares:
        assert len({each.getsockname() for each in share}) == 2, "of each address"
    if workers <= 3:
        three = [each for share in shares for each in share if each in sockets[:3]]
        assert len(three) == 3, "no socket is woken in two workers without need"


def test_more_are_made_where_that_is_allowed(sockets: list[socket.socket]) -> None:
    sockets += listening.take(LOCAL, "listen", count=2)
    added = listening.more(sockets, 3)
    sockets += added
    assert [each.getsockname() for each in added] == [sockets[0].getsockname()]
    assert listening.more(sockets, 2) == []
    alone = socket.create_server(("127.0.0.1", 0))
    sockets.append(alone)
    assert listening.more([alone], 3) == [], "it was not made to be shared"


def test_an_adopted_descriptor_is_not_inherited(sockets: list[socket.socket]) -> None:
    sockets += listening.take(LOCAL, "listen")
    number = os.dup(sockets[0].fileno())
    os.set_inheritable(number, True)  # noqa: FBT003 - os's signature
    adopted = listening.adopt(number)
    sockets.append(adopted)
    assert not os.get_inheritable(number)
    assert adopted.getsockname() == sockets[0].getsockname()


@pytest.mark.skipif(sys.platform != "linux", reason="the filter is Linux's")
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_nobody_comes_between_the_last_look_and_the_close(host: str) -> None:
    (listener,) = listening.take(Endpoint(host, 0), "listen")
    where = listener.getsockname()[:2]
    with socket.create_connection(where) as early, socket.socket(listener.family) as late:
        other_descriptor = listener.dup()
        listening.admit_no_more([other_descriptor])
        late.settimeout(0.0)
        assert late.connect_ex(where) == errno.EINPROGRESS
        early.sendall(b"still there?")
        let_in, _ = listener.accept()
        assert let_in.recv(20) == b"still there?", "who waited already is served"
        with pytest.raises(BlockingIOError):
            listener.accept()
        listening.close([let_in, listener, other_descriptor])
        assert select.select([], [late], [], 10)[1], "its system asks again"
        assert late.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ECONNREFUSED
