"""Tokens of the admin API: what is kept of one, and how a secret is made and compared.

What a person is given is ``NAME.SECRET``; what is kept is the SHA-256 of the secret. A plain hash is right here, where
it would be wrong for a password: the secret has 256 bits of chance, so that there is nothing to guess, and a slow hash
would only make every request slow. Pure but for its source of chance.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from typing import Final

from pydantic import ConfigDict

ROLES: Final = ("read", "operate", "admin")
MAX_TOKENS: Final = 1000
_NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_NOBODY: Final = hashlib.sha256(b"").hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """What the registry has of a token, under its name."""

    __pydantic_config__ = ConfigDict(extra="ignore")

    role: str
    """``read``, ``operate`` or ``admin``; one that is not known allows nothing."""
    hash: str
    """SHA-256 of the secret, hexadecimal."""
    created: int = 0
    """When it was made, epoch milliseconds."""
    expires: int | None = None
    """Epoch milliseconds from which on it is worth nothing; None: never."""
    by: str = ""
    """Who made it."""


def is_token_name(text: str) -> bool:
    """Whether a token can have this name: 1 to 63 small letters, digits and inner hyphens."""
    return _NAME.fullmatch(text) is not None


def make_secret() -> tuple[str, str]:
    """A new secret, and its hash."""
    secret = secrets.token_urlsafe(32)
    return secret, hash_of(secret)


def hash_of(secret: str) -> str:
    """What is kept of a secret."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


def expired(token: Token, now: int) -> bool:
    """Whether its time is over."""
    return token.expires is not None and now >= token.expires


def matches(token: Token | None, secret: str, now: int) -> bool:
    """Whether this is the token's secret, and it has not expired. As long for a token that does not exist."""
    right = hmac.compare_digest(hash_of(secret), token.hash if token is not None else _NOBODY)
    return right and token is not None and not expired(token, now)
