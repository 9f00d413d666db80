"""http -> https: what a visitor is told who asks for a tenant in plain text that is served over TLS alone."""

from __future__ import annotations

import re
from typing import Final

from gogeta.core.pages import Page, moved
from gogeta.domain.hosts import split_authority

HTTPS_PORT: Final = 443
_CHALLENGE: Final = re.compile(rb"/\.well-known/acme-challenge/[A-Za-z0-9_-]{1,256}").fullmatch
"""RFC 8555 section 8.3: the token is base64url. Nothing else, above all no ``..``, may pass under this name."""


def to_https(method: bytes, target: bytes, authority: bytes, port: int) -> Page | None:
    """The redirect to the same target over TLS; None when the request may pass as it is.

    ``authority`` is the request's host as it was written, and has been judged; ``port`` is where visitors find TLS. An
    ACME challenge passes: the authority asks for it in plain text, and without it there would be no certificate to
    redirect to.
    """
    if _CHALLENGE(target) and method in (b"GET", b"HEAD"):
        return None
    host, _ = split_authority(authority.decode("ascii"))
    path = "/" if target == b"*" else target.decode("ascii")
    return moved(f"https://{host}{'' if port == HTTPS_PORT else f':{port}'}{path}")
