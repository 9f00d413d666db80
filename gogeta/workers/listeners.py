"""The listeners of a program by name, as their holder sees them: taken or passed once, kept through every change.

The holder keeps a descriptor of each socket while workers come and go. What the new settings still want is kept as it
is, queue and all; only an address that is wanted no more is given up.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Self

from gogeta.domain.upstreams import Endpoint
from gogeta.kit import listening


@dataclass(frozen=True)
class Listener:
    """One of them."""

    wanted: Endpoint
    """As the settings say; port 0 for any."""
    sockets: tuple[socket.socket, ...]
    given: bool = False
    """A service manager passed them: the settings have no say in them, and they live on after us."""

    @property
    def endpoint(self) -> Endpoint:
        """Where it listens really."""
        really = listening.address(self.sockets[0])
        return really if self.given else Endpoint(self.wanted.host, really.port)


class Listeners:
    """All of them (see the module's docstring)."""

    def __init__(self, by_name: Mapping[str, Listener]) -> None:
        """``by_name`` is kept as it is."""
        self._by_name = dict(by_name)

    def __getitem__(self, name: str) -> Listener:
        """The listener of that name."""
        return self._by_name[name]

    @classmethod
    def given(cls, sockets: Mapping[str, Iterable[socket.socket]]) -> Self:
        """Those that a service manager passed."""
        return cls({name: Listener(Endpoint("", 0), tuple(each), given=True) for name, each in sockets.items()})

    def follow(self, wanted: Iterable[tuple[str, str, str, int]], workers: int, single: Iterable[str]) -> Listeners:
        """The listeners for other settings: each (name, setting, host, port), with a socket for each of ``workers``.

        ``single`` are the names of those that have one socket in all. What both have in common is shared between them.
        Raises AddressTakenError, which names the setting; nothing was taken then.
        """
        found: dict[str, Listener] = {}
        with ExitStack() as taken:
            for name, setting, host, port in wanted:
                endpoint = Endpoint(host, port)
                count = 1 if name in single else workers
                before = self._by_name.get(name)
                if before is not None and (before.given or before.wanted == endpoint):
                    added = listening.more(before.sockets, count)
                    found[name] = Listener(endpoint, (*before.sockets, *added), given=before.given)
                else:
                    added = listening.take(endpoint, setting, count=count)
                    found[name] = Listener(endpoint, tuple(added))
                taken.callback(listening.close, added)
            taken.pop_all()
        return Listeners(found)

    def share(self, number: int, count: int, single: Iterable[str]) -> dict[str, list[socket.socket]]:
        """What worker ``number`` of ``count`` accepts from, by name; ``single`` are the supervisor's own."""
        return {
            name: listening.share(listener.sockets, number, count)
            for name, listener in self._by_name.items()
            if name not in single
        }

    def endpoints(self) -> dict[str, tuple[str, int]]:
        """Host and port of each, by name."""
        return {name: (each.endpoint.host, each.endpoint.port) for name, each in self._by_name.items()}

    def copies(self, name: str) -> list[socket.socket]:
        """Further descriptors of a listener's sockets, for whoever closes them; none if there is no such one."""
        return [each.dup() for each in self._by_name[name].sockets] if name in self._by_name else []

    def close(self, *, but: Listeners | None = None) -> None:
        """Give up our descriptors, except those that ``but`` has as well."""
        kept = set() if but is None else {id(each) for each in but}
        for each in self:
            if id(each) not in kept:
                each.close()

    def end(self, single: Iterable[str]) -> None:
        """Give them up for good: nobody comes after those who accept from them now.

        ``single`` are the holder's own; those and the sockets of a service manager live on.
        """
        for name, listener in self._by_name.items():
            if name not in single and not listener.given:
                listening.admit_no_more(listener.sockets)
        self.close()

    def __iter__(self) -> Iterator[socket.socket]:
        """Every socket."""
        for listener in self._by_name.values():
            yield from listener.sockets

    def plain(self) -> list[dict[str, Any]]:
        """Plain values that say the same, to the process that has the descriptors."""
        return [
            {
                "name": name,
                "host": listener.wanted.host,
                "port": listener.wanted.port,
                "given": listener.given,
                "sockets": [each.fileno() for each in listener.sockets],
            }
            for name, listener in self._by_name.items()
        ]

    @classmethod
    def told(cls, values: Iterable[Mapping[str, Any]]) -> Self:
        """The listeners from their plain values; the descriptors are ours from now on."""
        return cls(
            {
                value["name"]: Listener(
                    Endpoint(value["host"], value["port"]),
                    tuple(listening.adopt(number) for number in value["sockets"]),
                    given=value["given"],
                )
                for value in values
            }
        )
