"""Field lines of ordinary heads: split, checked by the grammar, and known again.

This reads what nearly every head is made of: ``name: value`` by the letter of RFC 9112 section 5, nothing else. What
does not look like that is not refused here but left to llhttp, which knows all that may come and says what is wrong
with it. So this may be stricter than llhttp, and must never be laxer.

Most lines of a head are the same in the next one, whoever sends it, so each line is judged once per spelling.
"""

from __future__ import annotations

import re
from typing import Final

from gogeta.core.fields import KindCache, is_token
from gogeta.core.memory import Memory

Pairs = list[tuple[bytes, bytes]]
"""Fields as a parser tells them: names as they were written, values without the blanks around them."""

Field = tuple[bytes, bytes, int, bytes]
"""A field: name as it was written, value, its kind, and the line to send on when it passes."""

_is_value: Final = re.compile(rb"[\t -~\x80-\xff]*").fullmatch
"""Whether a value, and the blanks around it, hold no control character but the tab (RFC 9110 section 5.5)."""


class FieldLines:
    """Reads the lines of heads of one kind, requests or responses."""

    def __init__(self, kinds: KindCache) -> None:
        """``kinds`` tells the kind of a field by its name."""
        self._kinds = kinds
        self._known: Memory[Field] = Memory(1024, longest=1024)

    def read(self, lines: bytes) -> list[Field] | None:
        """The fields of lines that CRLF separates; None when one of them is not an ordinary one."""
        get = self._known.get
        fields = []
        for line in lines.split(b"\r\n"):
            field = get(line) or self._judge(line)
            if field is None:
                return None
            fields.append(field)
        return fields

    def _judge(self, line: bytes) -> Field | None:
        field = self._known.recall(line)
        if field is not None:
            return field
        name, colon, value = line.partition(b":")
        if not colon or (name not in self._kinds and not is_token(name)) or not _is_value(value):
            return None
        # A tab around a value is allowed, and llhttp takes it for one in the value where it counts most.
        value = value.strip(b" ")
        if value[:1] == b"\t" or value[-1:] == b"\t":
            return None
        field = self.field(name, value)
        self._known.learn(line, field)
        return field

    def field(self, name: bytes, value: bytes) -> Field:
        """A field from its parts, which a parser has checked."""
        return (name, value, self._kinds[name], name + b": " + value + b"\r\n")

    def fields(self, pairs: Pairs) -> list[Field]:
        """All fields of a head that llhttp has read; it leaves the blanks behind a value."""
        return [self.field(name, value.strip(b" \t")) for name, value in pairs]
