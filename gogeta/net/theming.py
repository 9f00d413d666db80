"""The theme of our pages: read from a folder at the start, and again when its files change.

At the start a mistake ends the program with a message that names the file and the line. Later a mistake changes
nothing: the last good theme stays, one line says what is wrong with the new one, and a counter tells it to whoever
watches. A page that the folder does not have looks as it comes.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

from gogeta.core.pages import BUILT_IN, PLACEHOLDERS, Theme
from gogeta.core.theme import MAX_BYTES, Template, ThemeError, read_template
from gogeta.domain.errors import InvalidInputError, Problem

if TYPE_CHECKING:
    from gogeta.settings import ServeSettings

logger = logging.getLogger(__name__)

POLL_SECONDS: Final = 2.0
"""How often the folder is looked at. A change counts when it was seen twice: until then it is still being written."""

Stamps = tuple[tuple[str, int, int, int], ...]
"""Name, inode, size and time of change of each page that is there."""


class Theming:
    """How pages look now: ``theme``."""

    def __init__(self, folder: Path | None) -> None:
        """Read the folder; None for pages as they come. Raises ThemeError."""
        self._folder = folder
        self.theme = BUILT_IN
        self.failures = 0
        """Changes that could not be taken in."""
        self._taken: Stamps = ()
        """What the theme was made of."""
        self._seen: Stamps = ()
        self._tried: Stamps = ()
        self._complained = ""
        """What was wrong with the folder last, so that it is told once."""
        if folder is not None:
            self._seen = self._tried = self._stamps()
            self._take(self._tried)

    @classmethod
    def of(cls, settings: ServeSettings) -> Theming:
        """That of the settings. Raises InvalidInputError, naming the setting."""
        try:
            return cls(Path(settings.pages) if settings.pages else None)
        except ThemeError as error:
            raise InvalidInputError("the theme of the pages", (Problem(("pages",), str(error)),)) from error

    async def watch(self) -> NoReturn:
        """Look at the folder again and again; ends when cancelled."""
        while True:
            await asyncio.sleep(POLL_SECONDS)
            if self._folder is not None:
                await asyncio.to_thread(self.refresh)

    def refresh(self) -> None:
        """Look once, and take in what has changed and stands still."""
        try:
            stamps = self._stamps()
            self._complained = ""
            if stamps != self._seen:
                self._seen = stamps
                return
            if stamps == self._tried:
                return
            self._tried = stamps
            self._take(stamps)
        except ThemeError as error:
            if str(error) != self._complained:
                self._complained = str(error)
                self.failures += 1
                logger.error("--pages: %s; pages stay as they were", error)  # noqa: TRY400 - an expected trouble
        else:
            logger.info("pages: %s", self)

    def _take(self, stamps: Stamps) -> None:
        """Read the pages that are there."""
        self.theme = self._read([name for name, *_ in stamps])
        self._taken = stamps

    def __str__(self) -> str:
        """Which pages are the theme's, for people."""
        own = [name for name, *_ in self._taken]
        return f"{' and '.join(own)} from {self._folder}" if own else "as they come"

    def _stamps(self) -> Stamps:
        """What is there. Raises ThemeError when the folder cannot be used, or has a page that nobody asks for."""
        assert self._folder is not None  # noqa: S101 - asked only where there is one
        found = []
        try:
            for path in sorted(self._folder.iterdir()):
                if path.name in PLACEHOLDERS:
                    stat = path.stat()
                    found.append((path.name, stat.st_ino, stat.st_size, stat.st_mtime_ns))
                elif path.suffix in (".html", ".htm"):
                    names = " and ".join(PLACEHOLDERS)
                    raise ThemeError(f"{path}: there is no page of this name; there are {names}")
        except OSError as error:
            raise ThemeError(f"{error.filename or self._folder}: {error.strerror}") from error
        return tuple(found)

    def _read(self, names: list[str]) -> Theme:
        templates: dict[str, Template] = {}
        problems = []
        for name in names:
            try:
                templates[name] = self._template(name)
            except ThemeError as error:
                problems.append(str(error))
        if problems:
            raise ThemeError("; ".join(problems))
        return Theme(
            templates.get("starting.html", BUILT_IN.starting),
            templates.get("error.html", BUILT_IN.error),
        )

    def _template(self, name: str) -> Template:
        assert self._folder is not None  # noqa: S101 - asked only where there is one
        path = self._folder / name
        try:
            with path.open("rb") as file:
                data = file.read(MAX_BYTES + 1)
        except OSError as error:
            raise ThemeError(f"{path}: {error.strerror}") from error
        if len(data) > MAX_BYTES:
            raise ThemeError(f"{path}: it is larger than {MAX_BYTES // 1024} KiB")
        try:
            source = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            raise ThemeError(f"{path}, line {line}: it is not UTF-8") from error
        return read_template(source, PLACEHOLDERS[name], what=str(path))
