"""Durations and sizes as people write them: ``30m``, ``1h30m``, ``256m``, ``2GiB``.

Parsing is strict: what is not understood is refused with the forms that are, never guessed.
"""

from __future__ import annotations

import math
import re
from typing import Final

_DURATION_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION_PART: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)", re.ASCII)
_DURATION: Final = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+", re.ASCII)
_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?", re.IGNORECASE | re.ASCII)
_SIZE_UNITS: Final = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_MAX_SECONDS: Final = 10 * 365 * 86400.0
_MAX_BYTES: Final = 1 << 60


def parse_duration(value: object) -> float:
    """Seconds from a number of seconds or from text such as ``250ms``, ``30s``, ``30m``, ``1h30m``.

    Raises ValueError, with the accepted forms, for anything else: negative, infinite, longer than ten years.
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        # An integer may be too large for a float.
        seconds = float(value) if 0 <= value <= _MAX_SECONDS else math.inf
    elif isinstance(value, str):
        text = value.strip().lower()
        if _DURATION.fullmatch(text):
            seconds = sum(float(number) * _DURATION_UNITS[unit] for number, unit in _DURATION_PART.findall(text))
        elif re.fullmatch(r"\d+(?:\.\d+)?", text, re.ASCII):
            seconds = float(text)
        else:
            raise ValueError(f"expected a duration such as 500ms, 30s, 30m or 1h30m, not {value!r}")
    else:
        raise ValueError(f"expected a duration such as 500ms, 30s, 30m or 1h30m, not {value!r}")  # noqa: TRY004 - one way
    if not math.isfinite(seconds) or seconds < 0 or seconds > _MAX_SECONDS:
        raise ValueError(f"expected a duration between 0 and ten years, not {value!r}")
    return seconds


def parse_duration_or_never(value: object) -> float | None:
    """Seconds, or None for ``never``, ``0`` and null: all three mean that the thing does not happen."""
    if value is None or (isinstance(value, str) and value.strip().lower() == "never"):
        return None
    return parse_duration(value) or None


def format_duration(seconds: float | None) -> str:
    """The shortest text that ``parse_duration_or_never`` reads back to the same milliseconds: ``1h30m``, ``never``."""
    if seconds is None:
        return "never"
    milliseconds = round(seconds * 1000)
    if milliseconds == 0:
        return "0s"
    text = ""
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)):
        count, milliseconds = divmod(milliseconds, size)
        if count:
            text += f"{count}{unit}"
    return text


def format_age(seconds: float) -> str:
    """How long ago, in the one or two units that matter: ``5s``, ``3m``, ``2h10m``, ``4d``."""
    whole = max(0, int(seconds))
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m"
    if whole < 86400:
        return format_duration(whole // 60 * 60)
    return f"{whole // 86400}d"


def parse_size(value: object) -> int:
    """Bytes from a number of bytes or from text such as ``64k``, ``256m``, ``2GiB`` (powers of 1024, as Docker's).

    Raises ValueError, with the accepted forms, for anything else.
    """
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MAX_BYTES:
        return value
    if isinstance(value, str) and (match := _SIZE.fullmatch(value.strip())):
        size = float(match[1]) * _SIZE_UNITS[match[2].lower()]
        if size <= _MAX_BYTES:
            return int(size)
    raise ValueError(f"expected a size such as 64k, 256m or 2g, not {value!r}")


def format_size(size: int) -> str:
    """Bytes as a person reads them: ``256 MiB``, ``1.5 GiB``."""
    for unit, factor in (("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size >= factor:
            return f"{size / factor:.3g} {unit}" if size < 1000 * factor else f"{size / factor:.0f} {unit}"
    return f"{size} bytes"
