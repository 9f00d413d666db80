"""An upgraded connection: bytes both ways, each side paused while the other is slow, each side ending on its own.

WebSockets and any other protocol a tenant switched to (RFC 9110 section 7.8). There is no idle limit: an open tunnel
means that the tenant is in use.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, cast

from gogeta.net.breaking import break_off
from gogeta.net.reading import Hold, ReadGate

_GOING_AWAY: Final = b"\x88\x02\x03\xe9"
"""A server's close frame with status 1001 (RFC 6455 sections 5.5.1 and 7.4.1)."""
_QUIET_SECONDS: Final = 0.25
"""After so long without a byte of the tenant's, it is between two frames: servers write a frame at once."""


class Relay:
    """The protocol of one side of a tunnel: what it receives is written to the other side, without a step between.

    Everything but bytes is still told to the connection that this side was. An asyncio.Protocol by what it offers: its
    methods are those of others.
    """

    __slots__ = ("connection_lost", "data_received", "eof_received", "pause_writing", "resume_writing")

    def __init__(self, owner: asyncio.Protocol, peer: asyncio.Transport) -> None:
        """``owner`` is the connection, ``peer`` the transport of the other side."""
        self.data_received = peer.write
        self.eof_received = owner.eof_received
        self.connection_lost = owner.connection_lost
        self.pause_writing = owner.pause_writing
        self.resume_writing = owner.resume_writing


class Tunnel:
    """Two transports joined: ``one`` the visitor's, ``other`` the tenant's.

    ``on_end`` is called once, when both directions are over.
    """

    __slots__ = ("_ended", "_eofs", "_gates", "_heard_at", "_on_end", "_one", "_other", "_tenant", "_websocket")

    def __init__(
        self,
        one: asyncio.Transport,
        other: asyncio.Transport,
        gates: dict[asyncio.Transport, ReadGate],
        on_end: Callable[[], None],
        *,
        websocket: bool,
    ) -> None:
        """``gates`` are the reading sides of both; ``websocket``: that is what is spoken."""
        self._websocket = websocket
        self._tenant: asyncio.Protocol | None = None
        self._heard_at = float("inf")
        self._one = one
        self._other = other
        self._gates = gates
        self._eofs = 0
        self._ended = False
        self._on_end = on_end

    def _peer(self, side: asyncio.Transport) -> asyncio.Transport:
        return self._other if side is self._one else self._one

    def join(self, side: asyncio.Transport, connection: asyncio.Protocol) -> None:
        """From now on, what ``side`` receives goes straight to the other one; ``connection`` hears of the rest."""
        if side is self._other:
            self._tenant = connection
        side.set_protocol(cast("asyncio.Protocol", Relay(connection, self._peer(side))))

    def listen(self, clock: Callable[[], float]) -> None:
        """From the begin of a drain on: know when the tenant last said something, which costs a step between."""
        if not self._websocket or self._ended or self._tenant is None:
            return
        write = self._one.write
        self._heard_at = clock()

        def forward(data: bytes | bytearray | memoryview) -> None:
            self._heard_at = clock()
            write(data)

        relay = Relay(self._tenant, self._one)
        relay.data_received = forward
        self._other.set_protocol(cast("asyncio.Protocol", relay))

    def say_goodbye(self, now: float) -> bool:
        """End a WebSocket as its protocol has it, where that can be done: between two frames of the tenant's."""
        quiet = now - self._heard_at >= _QUIET_SECONDS
        if self._ended or not quiet or self._one.is_closing() or self._one.get_write_buffer_size():
            return False
        self._one.write(_GOING_AWAY)
        self.close()
        return True

    def forward(self, side: asyncio.Transport, data: bytes) -> None:
        """Bytes that came from ``side`` before its relay was there."""
        self._peer(side).write(data)

    def pause(self, side: asyncio.Transport) -> None:
        """``side`` cannot take more for now."""
        self._gates[self._peer(side)].hold(Hold.PEER)

    def resume(self, side: asyncio.Transport) -> None:
        """``side`` takes more again."""
        self._gates[self._peer(side)].release(Hold.PEER)

    def eof(self, side: asyncio.Transport) -> bool:
        """``side`` sends no more: its peer is told; True keeps ``side`` open for what still comes back."""
        self._eofs += 1
        self._gates[side].over()
        peer = self._peer(side)
        if self._eofs > 1 or peer.is_closing():
            self.close()
            return False
        if not peer.can_write_eof():
            # TLS: all it can be told is that everything is over.
            self.close()
            return False
        peer.write_eof()
        return side.can_write_eof()

    def lost(self, side: asyncio.Transport, error: Exception | None) -> None:
        """``side`` is gone: so is the tunnel, after what is on its way to the other side; broken when it broke."""
        if error is not None:
            break_off(self._peer(side))
        self.close()

    def close(self) -> None:
        """End both sides, what was written still goes out. Idempotent."""
        if not self._ended:
            self._ended = True
            self._one.close()
            self._other.close()
            self._on_end()
