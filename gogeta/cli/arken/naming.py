"""Names of tenants for what an Arken tree names otherwise: ``nxio_000001`` becomes ``nxio-000001``. Pure.

The same tree gets the same names each time. A name that had to be changed, and then is another's too or too long, ends
in a part of its own hash.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable
from typing import Final

_OTHER: Final = re.compile(r"[^a-z0-9]+").sub
_MAX: Final = 63
_HASH: Final = 8

Source = tuple[str, str]
"""The kind of thing (``service``, ``uri``) and its name."""


def tenant_names(services: Iterable[str], hosts: Iterable[str]) -> dict[Source, str]:
    """A tenant's name for each service, and for each host that leads to an address; no two are the same."""
    sources: list[Source] = [*(("service", name) for name in services), *(("uri", host) for host in hosts)]
    plain = {source: _OTHER("-", source[1].lower()).strip("-") for source in sources}
    count = Counter(plain.values())
    names: dict[Source, str] = {}
    for source, name in plain.items():
        own = source == ("service", name)
        if name and len(name) <= _MAX and (own or count[name] == 1):
            names[source] = name
        else:
            digest = hashlib.sha256("\0".join(source).encode("utf-8", "surrogatepass")).hexdigest()[:_HASH]
            names[source] = f"{name[: _MAX - _HASH - 1].rstrip('-')}-{digest}".lstrip("-")
    return names
