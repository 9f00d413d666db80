"""Lines of output made from pieces of text as a runtime gives them. Pure: it must not know any runtime."""

from __future__ import annotations

from passivator.drivers.base import MAX_LINE


class Lines:
    """Whole lines from pieces; a line that grows too long is given away in parts."""

    def __init__(self) -> None:
        """Nothing has come yet."""
        self._rest = ""

    def take(self, text: str) -> list[str]:
        """The lines that ``text`` completes."""
        *whole, rest = (self._rest + text).split("\n")
        found = [line.rstrip("\r")[place : place + MAX_LINE] for line in whole for place in _parts(line)]
        while len(rest) > MAX_LINE:
            found.append(rest[:MAX_LINE])
            rest = rest[MAX_LINE:]
        self._rest = rest
        return found

    def end(self) -> list[str]:
        """What was begun and not ended, when nothing more comes."""
        rest, self._rest = self._rest, ""
        return [rest] if rest else []


def _parts(line: str) -> range:
    return range(0, max(len(line), 1), MAX_LINE)
