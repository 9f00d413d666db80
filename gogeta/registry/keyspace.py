"""Keys as bytes, and the range of keys under a prefix: what every store needs to agree on.

Stores order keys by their bytes. A key that is no UTF-8 (somebody else's) survives the way to text and back.
"""

from __future__ import annotations


def key_bytes(key: str) -> bytes:
    """A key as it is stored."""
    return key.encode("utf-8", "surrogateescape")


def key_text(key: bytes) -> str:
    """A key as it is read."""
    return key.decode("utf-8", "surrogateescape")


def range_end(prefix: bytes) -> bytes | None:
    """The first key after all keys that begin with ``prefix``; None when there is none."""
    stem = prefix.rstrip(b"\xff")
    return stem[:-1] + bytes((stem[-1] + 1,)) if stem else None
