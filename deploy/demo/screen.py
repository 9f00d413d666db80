"""What the demo tells: one line per step with its time; colours on a terminal, plain text anywhere else."""

from __future__ import annotations

import time
from typing import Final

from rich.console import Console
from rich.text import Text

COLOURS: Final = {"plain": "green", "chat": "magenta", "slow": "yellow"}


class Screen:
    """Writes lines at once, so that a pipe or a log shows them as they happen."""

    def __init__(self) -> None:
        """The clock starts with ``begin``."""
        self._console = Console(highlight=False, soft_wrap=True)
        self._began = time.monotonic()

    @property
    def interactive(self) -> bool:
        """Whether a person watches."""
        return self._console.is_terminal

    def begin(self) -> None:
        """The story starts now."""
        self._began = time.monotonic()

    def say(self, text: str = "", *, style: str = "") -> None:
        """A line."""
        self._console.print(Text(text, style=style))

    def title(self, text: str) -> None:
        """A line that begins a part."""
        self.say()
        self.say(text, style="bold")

    def step(self, tenant: str, text: str, *, time_shown: str = "") -> None:
        """A step of the story, with the seconds since its begin (or another time)."""
        shown = time_shown or f"{time.monotonic() - self._began:.1f} s"
        line = Text(f"{shown:>8}  ", style="dim")
        line.append(f"{tenant:<6}", style=f"not dim bold {COLOURS.get(tenant, '')}")
        line.append(text, style="not dim")
        self._console.print(line)
