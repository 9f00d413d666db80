"""Registry values: JSON objects with a ``version``, to and from domain values.

Reading is strict about what matters and never raises anything but InvalidInputError: what is in the registry may have
been written by anybody. Unknown fields of a known version are passed over; an unknown version is refused.
"""

from __future__ import annotations

import json
from typing import Any, Final, TypeVar

from gogeta.domain.errors import InvalidInputError, Problem
from gogeta.domain.reading import adapter, read
from gogeta.domain.tenant import Tenant, tenant_to_data

VERSION: Final = 1
MAX_VALUE_BYTES: Final = 256 * 1024

T = TypeVar("T")


def encode(value: object) -> bytes:
    """The JSON text of a domain value, compact, with its version first and without what is at its default."""
    data: dict[str, Any] = (
        tenant_to_data(value)
        if isinstance(value, Tenant)
        else adapter(type(value)).dump_python(value, mode="json", exclude_defaults=True)
    )
    return json.dumps({"version": VERSION, **data}, separators=(",", ":"), ensure_ascii=False).encode()


def decode(kind: type[T], value: bytes, *, what: str) -> T:
    """A domain value from a key's bytes. ``what`` names the key. Raises InvalidInputError."""
    if len(value) > MAX_VALUE_BYTES:
        raise InvalidInputError(what, (Problem((), f"is {len(value)} bytes long, at most {MAX_VALUE_BYTES} are read"),))
    try:
        data = json.loads(value)
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(what, (Problem((), f"is not JSON ({error})"),)) from None
    if not isinstance(data, dict):
        raise InvalidInputError(what, (Problem((), "expected a JSON object"),))
    version = data.pop("version", None)
    if version != VERSION or isinstance(version, bool):
        raise InvalidInputError(what, (Problem(("version",), f"expected {VERSION}, not {version!r}"),))
    return read(kind, data, what=what)
