"""How the phases of a start are shown while a command waits: live on a terminal, a line per phase when piped."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

import click

from gogeta.cli.showing import on_terminal, took, warn
from gogeta.cli.waiting import Progress
from gogeta.domain.state import Phase
from gogeta.kit.exits import printable
from gogeta.registry.outcomes import Pending


@contextmanager
def progress(name: str, doing: str, *, silent: bool) -> Iterator[Progress]:
    """The way that fits the output; ``silent`` for programs."""
    if silent:
        yield Silent()
    elif on_terminal():
        with Live(name, doing) as live:
            yield live
    else:
        yield Lines(name, doing)


class Silent:
    """Says nothing on stdout: a program reads the result."""

    def pending(self, pending: Pending) -> None:
        """Nothing."""

    def reached(self, phases: tuple[Phase, ...]) -> None:
        """Nothing."""

    def warn(self, text: str) -> None:
        """Warn on stderr all the same."""
        warn(text)


class Lines:
    """One line per finished phase, and one for each new step under way."""

    def __init__(self, name: str, doing: str) -> None:
        """Say what is being waited for."""
        click.echo(f"{name}: {doing}")
        self._told: tuple[Phase, ...] = ()
        self._phase = ""

    def pending(self, pending: Pending) -> None:
        """Print what is new."""
        self.reached(pending.phases)
        if pending.phase and pending.phase != self._phase:
            click.echo(f"  {printable(pending.phase)} ...")
        self._phase = pending.phase

    def reached(self, phases: tuple[Phase, ...]) -> None:
        """Print the phases that are new."""
        if phases[: len(self._told)] != self._told:
            # Another start: its phases begin anew.
            self._told = ()
        for phase in phases[len(self._told) :]:
            click.echo(_finished(phase))
        self._told = phases

    def warn(self, text: str) -> None:
        """Warn on stderr."""
        warn(text)


def _finished(phase: Phase) -> str:
    return f"  {printable(phase.name):<10} {took(phase.ms):>9}"


class Live:
    """Finished phases, the one under way with its clock running, redrawn in place."""

    def __init__(self, name: str, doing: str) -> None:
        """Prepare; drawing begins on entering."""
        from rich.console import Console  # noqa: PLC0415 - only a terminal needs it
        from rich.live import Live as Display  # noqa: PLC0415
        from rich.spinner import Spinner  # noqa: PLC0415

        self._title = f"{name}: {doing}"
        self._spinner = Spinner("line")
        # Drawn from a thread of its own, which has no loop to ask for the time.
        self._began = time.monotonic()
        self._pending: Pending | None = None
        # Transient: what stays is what `reached` prints.
        self._display = Display(console=Console(), get_renderable=self._draw, refresh_per_second=12, transient=True)

    def __enter__(self) -> Self:
        """Begin to draw."""
        self._display.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Take the drawing away."""
        self._display.stop()

    def _draw(self) -> Any:  # noqa: ANN401 - a renderable of rich
        from rich.console import Group  # noqa: PLC0415
        from rich.text import Text  # noqa: PLC0415

        pending = self._pending
        lines: list[Any] = [Text(_finished(phase)) for phase in (pending.phases if pending else ())]
        step = printable(pending.phase) if pending and pending.phase else "waiting"
        self._spinner.update(text=Text(f"{step}  {time.monotonic() - self._began:.0f} s"))
        return Group(Text(self._title, style="bold"), *lines, self._spinner)

    def pending(self, pending: Pending) -> None:
        """Draw this from now on."""
        self._pending = pending

    def reached(self, phases: tuple[Phase, ...]) -> None:
        """Print all phases above the drawing, where they stay."""
        for phase in phases:
            self._display.console.print(_finished(phase), highlight=False, markup=False)

    def warn(self, text: str) -> None:
        """Warn above the drawing."""
        from rich.markup import escape  # noqa: PLC0415 - ditto

        self._display.console.print("[yellow]warning:[/yellow]", escape(printable(text)), highlight=False)
