"""The words of etcd's v3 JSON gateway: keys and values in base64, numbers as text, errors in two formats.

Pure, except for the socket's options. It knows how things are written and not when anything is said.
"""

from __future__ import annotations

import json
import socket
from base64 import b64decode, b64encode
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import Any, Final

from gogeta.registry.keyspace import key_bytes, key_text, range_end
from gogeta.registry.store import (
    Change,
    CompactedError,
    Entry,
    RegistryError,
    RegistryRefusedError,
    RegistryUnavailableError,
)

MAX_ANSWER_BYTES: Final = 64 * 1024 * 1024
MAX_LINE_BYTES: Final = 16 * 1024 * 1024
"""etcd cuts what a watch sends into pieces of about 2 MiB when it is asked to; base64 adds a third."""
_ALL: Final = b"\0"
"""As the start of a range the first key there can be; as its end, no end."""
_KEEP_ALIVE: Final = ((socket.TCP_KEEPIDLE, 10), (socket.TCP_KEEPINTVL, 5), (socket.TCP_KEEPCNT, 3))
_USER_TIMEOUT_MS: Final = 10_000

# gRPC's codes, as the gateway passes them on.
_RESOURCE_EXHAUSTED: Final = 8
_OUT_OF_RANGE: Final = 11
_UNAUTHENTICATED: Final = 16
_FOR_NOW: Final = frozenset({1, 2, 4, 10, 13, 14})
"""Cancelled, unknown, deadline exceeded, aborted, internal, unavailable: another member or a later time may do."""
_TOKEN_TROUBLE: Final = ("invalid auth token", "revision of auth store is old", "user name is empty")

Object = dict[str, Any]


class AnswerTooLargeError(RegistryRefusedError):
    """An answer was longer than we read; asking for less may help."""


class TokenRefusedError(RegistryRefusedError):
    """Our token is not valid (any more): a new one may do."""


def text64(data: bytes) -> str:
    """Bytes as the gateway wants them."""
    return b64encode(data).decode("ascii")


def key64(key: str) -> str:
    """A key as the gateway wants it."""
    return text64(key_bytes(key))


def range_of(prefix: str) -> Object:
    """The fields that stand for all keys under ``prefix``."""
    start = key_bytes(prefix)
    return {"key": text64(start or _ALL), "range_end": text64(range_end(start) or _ALL)}


def after_key(key: str) -> str:
    """The first key that can follow ``key``, as the gateway wants it."""
    return text64(key_bytes(key) + b"\0")


def header_revision(answer: Mapping[str, Any]) -> int:
    """The revision in an answer's header."""
    return int(answer.get("header", {}).get("revision", 0))


def entry_of(kv: Mapping[str, Any]) -> Entry:
    """An entry from a ``kv`` object; the gateway leaves out what is empty or zero."""
    return Entry(
        key_text(b64decode(kv["key"])),
        b64decode(kv.get("value", "")),
        int(kv["mod_revision"]),
        int(kv.get("create_revision", 0)),
    )


def change_of(event: Mapping[str, Any]) -> Change:
    """A change from a watch's event. Puts are its default type."""
    entry = entry_of(event["kv"])
    return Change(entry.key, entry.revision, None if event.get("type") == "DELETE" else entry)


def meaning(answer: Mapping[str, Any], where: str) -> tuple[RegistryError, bool]:
    """What an error object means, in either of the gateway's formats; and whether the call surely did nothing."""
    nested = answer.get("error")
    details: Mapping[str, Any] = nested if isinstance(nested, dict) else answer
    message = str(details.get("message") or nested or "no message")
    code = details.get("grpc_code", details.get("code"))
    told = f"etcd at {where}: {message}"
    if code == _OUT_OF_RANGE and "compacted" in message:
        return CompactedError(told), True
    if code == _UNAUTHENTICATED or any(text in message for text in _TOKEN_TROUBLE):
        return TokenRefusedError(told, hint="look at the user and the password of the registry"), True
    if code == _RESOURCE_EXHAUSTED and "too many requests" in message:
        return RegistryUnavailableError(told, hint="etcd is overloaded; it is tried again"), True
    if code in _FOR_NOW:
        return RegistryUnavailableError(told, hint="look at etcd's log; it is tried again"), False
    hint = ""
    if code == _RESOURCE_EXHAUSTED:
        hint = "compact and defragment etcd, then disarm its alarm; docs/registry.md says how"
    elif "permission denied" in message:
        hint = "grant the user what docs/registry.md lists for its role"
    elif "authentication failed" in message:
        hint = "look at the user and the password of the registry"
    return RegistryRefusedError(told, hint=hint), True


def is_error(answer: Mapping[str, Any]) -> bool:
    """Whether an object is one of etcd's errors."""
    nested = answer.get("error")
    return ("code" in nested or "grpc_code" in nested) if isinstance(nested, dict) else "code" in answer


def parse(text: bytes) -> Object | None:
    """A JSON object, or None when it is something else."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


async def joined(chunks: AsyncIterator[bytes], limit: int = MAX_ANSWER_BYTES) -> bytes:
    """A whole body. Raises AnswerTooLargeError."""
    found = bytearray()
    async for chunk in chunks:
        found += chunk
        if len(found) > limit:
            raise AnswerTooLargeError(f"an answer of etcd is longer than {limit} bytes")
    return bytes(found)


async def lines(chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    """The lines of a body that are not blank, however the chunks fall.

    Raises CompactedError for a line that is too long: listing again goes in pages, and that is the way past it.
    """
    rest = bytearray()
    async for chunk in chunks:
        looked_at = len(rest)
        rest += chunk
        start = 0
        while (end := rest.find(b"\n", max(start, looked_at))) >= 0:
            line = bytes(rest[start:end])
            start = end + 1
            if line.strip():
                yield line
        del rest[:start]
        if len(rest) > MAX_LINE_BYTES:
            raise CompactedError(f"a message of etcd is longer than {MAX_LINE_BYTES} bytes")
    if rest.strip():
        yield bytes(rest)


def make_socket(info: tuple[Any, ...]) -> socket.socket:
    """A socket that notices a dead peer by itself, also while it has nothing to send."""
    family, kind, protocol, _, _ = info
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _KEEP_ALIVE:
        made.setsockopt(socket.IPPROTO_TCP, option, value)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _USER_TIMEOUT_MS)
    return made
