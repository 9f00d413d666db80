"""Just enough of HTTP for a load to know where an answer ends."""

from __future__ import annotations


class Answers:
    """Counts the whole answers in the bytes of one connection. Only answers with Content-Length are understood."""

    def __init__(self) -> None:
        self._head = b""
        self._left = 0

    def fed(self, data: bytes) -> int:
        """How many answers end in ``data``. Raises ValueError at one that is no 200 or has no length."""
        ended = 0
        while data:
            if self._left:
                taken = min(self._left, len(data))
                data = data[taken:]
                self._left -= taken
                ended += self._left == 0
                continue
            head, end, rest = (self._head + data).partition(b"\r\n\r\n")
            if not end:
                self._head = head
                break
            self._head, data = b"", rest
            self._left = _length(head)
            ended += self._left == 0
        return ended


def _length(head: bytes) -> int:
    status = head[9:12]
    length = head.lower().partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0]
    if status != b"200" or not length:
        raise ValueError(f"answered with {head!r}")
    return int(length)
