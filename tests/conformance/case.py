"""What a case is: bytes as they stand on the wire, the section they rest on, and what must become of them."""

from __future__ import annotations

from dataclasses import dataclass

from gogeta.core.refusal import Reason
from tests.conformance import strictly
from tests.conformance.strictly import Message
from tests.conformance.world import STRANGER

OURS = frozenset(
    {
        b"x-forwarded-for",
        b"x-forwarded-proto",
        b"x-forwarded-host",
        b"x-forwarded-port",
        b"forwarded",
        b"x-request-id",
        b"via",
    }
)
"""Fields that the proxy writes by itself; cases that are about them say so."""

Brief = tuple[str, str, bytes]
"""Method, target and body: what most cases say of a request that the tenant must read."""


@dataclass(frozen=True)
class Case:
    """What a visitor sends. ``read``: what the tenant reads of it, in order, each answered with 200.

    A request is given briefly, or as the whole message in its strictest form, the proxy's own fields left out.
    ``refused``: then comes a refusal for one of these reasons (which one may depend on how the bytes arrive), and the
    connection ends. ``closes``: it ends without one. ``waits``: more is waited for, and ``partly`` says what the tenant
    has read of the request that has begun (method, target, body so far).
    """

    section: str
    data: bytes
    read: tuple[Brief | bytes, ...] = ()
    refused: tuple[Reason, ...] = ()
    stays: bool = False
    """Although refused, the connection stays: its request was understood."""
    closes: bool = False
    waits: bool = False
    partly: Brief | None = None
    peer: str = STRANGER
    whole_heads: bool = False
    """Heads are compared with the proxy's own fields in them."""

    @property
    def methods(self) -> list[bytes]:
        """Of the requests that are answered."""
        read = [message.start[0] if isinstance(message, Message) else message[0].encode() for message in self.messages]
        return [*read, b"HEAD"] if self.refuses_head else read

    @property
    def refuses_head(self) -> bool:
        """Whether the first request is a HEAD and is refused: without content then."""
        return bool(self.refused) and not self.read and self.data.startswith(b"HEAD ")

    @property
    def messages(self) -> list[Message | Brief]:
        """What the tenant reads, parsed where it is given whole."""
        return [parsed(item) if isinstance(item, bytes) else item for item in self.read]


def parsed(data: bytes) -> Message:
    """A request in its strictest form."""
    found = strictly.request(data)
    assert found is not None, data
    message, end = found
    assert end == len(data), data
    assert message.complete, data
    return message


def brief(message: Message) -> Brief:
    """A request, briefly."""
    return (message.start[0].decode(), message.start[1].decode(), message.body)


def refused(section: str, data: bytes, *reasons: Reason, read: tuple[Brief | bytes, ...] = ()) -> Case:
    """Refused, and the connection ends; malformed if nothing else is said."""
    return Case(section, data, read=read, refused=reasons or (Reason.MALFORMED,))


def passed(section: str, data: bytes, *read: Brief | bytes, closes: bool = False) -> Case:
    """Forwarded as exactly this."""
    return Case(section, data, read=read, closes=closes)


def waits(section: str, data: bytes, *read: Brief | bytes, partly: Brief | None = None) -> Case:
    """Not complete: nothing is answered (but what came before), nothing is refused."""
    return Case(section, data, read=read, waits=True, partly=partly)
