"""``Via`` (RFC 9110 section 7.6.3): our name in the chain of proxies; a request that has it already is in a loop."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from gogeta.core.field_lines import Field

_COMMENT: Final = re.compile(rb"\([^()]*\)")


def via_field(name: str, version: bytes) -> bytes:
    """The field, serialised; ``version`` is that of the message as we received it (``1.0`` or ``1.1``)."""
    return b"Via: %b %b\r\n" % (version, name.encode("ascii"))


def via_fields(name: str) -> tuple[bytes, bytes] | None:
    """The field for what came in HTTP/1.0, and in HTTP/1.1; None without a name."""
    return (via_field(name, b"1.0"), via_field(name, b"1.1")) if name else None


def went_through(fields: list[Field], name: str) -> bool:
    """Whether a message with these fields has been here before."""
    ours = name.lower().encode("ascii")
    return any(
        len(key) == 3 and key.lower() == b"via" and ours in value.lower() and ours in _received_by(value)
        for key, value, _, _ in fields
    )


def _received_by(value: bytes) -> list[bytes]:
    words = [member.split() for member in _COMMENT.sub(b"", value).lower().split(b",")]
    return [member[1] for member in words if len(member) > 1]
