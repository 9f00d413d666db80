"""How a command ends: one table of exit statuses, and errors in words a person (or a program) can act upon.

Both programs end through ``run``. It knows errors by the domain's classes and by whose fault they are, so that a new
error of any layer has its status without being listed here.
"""

from __future__ import annotations

import json
import logging
import os
import traceback
from collections.abc import Callable, Sequence
from enum import IntEnum
from itertools import pairwise
from typing import Any, Final, Self

import click

from gogeta.domain.errors import (
    Fault,
    GogetaError,
    HostConflictError,
    InvalidInputError,
    TransitionRefusedError,
    UnknownTenantError,
)


class ExitStatus(IntEnum):
    """What a command's exit status means (docs/cli.md has the same table, made from here)."""

    meaning: str

    def __new__(cls, value: int, meaning: str) -> Self:
        """A status and what it means."""
        member = int.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        return member

    DONE = 0, "It is done, or was so already."
    FAILED = 1, "It was tried and failed; the reason is printed."
    USAGE = 2, "A wrong option, setting or file; nothing was done."
    REGISTRY = 3, "The registry is unreachable or refused."
    UNKNOWN = 4, "There is no such tenant."
    REFUSED = 5, "The tenant's present state does not allow it, or somebody else changed it meanwhile."
    TIMED_OUT = 6, "It was asked for, and had not happened when the waiting time ended. It stays asked for."
    INTERRUPTED = 130, "Ctrl-C. What was asked for stays asked for."


class CommandError(GogetaError):
    """A command ends with this message and status."""

    fault = Fault.OPERATOR

    def __init__(self, message: str, *, status: ExitStatus = ExitStatus.FAILED, hint: str = "") -> None:
        """``status`` is what the program exits with."""
        super().__init__(message, hint=hint)
        self.status = status


_BY_CLASS: Final[tuple[tuple[type[GogetaError], ExitStatus], ...]] = (
    (UnknownTenantError, ExitStatus.UNKNOWN),
    (TransitionRefusedError, ExitStatus.REFUSED),
    (InvalidInputError, ExitStatus.USAGE),
    (HostConflictError, ExitStatus.USAGE),
)


def status_of(error: BaseException) -> ExitStatus:
    """The exit status that an error leads to."""
    if isinstance(error, CommandError):
        return error.status
    for kind, status in _BY_CLASS:
        if isinstance(error, kind):
            return status
    if isinstance(error, click.UsageError | click.BadParameter):
        return ExitStatus.USAGE
    if isinstance(error, click.Abort | KeyboardInterrupt):
        return ExitStatus.INTERRUPTED
    return (
        ExitStatus.REGISTRY if isinstance(error, GogetaError) and error.fault is Fault.REGISTRY else ExitStatus.FAILED
    )


def run(main: Callable[[], Any], *, as_json: bool = False) -> int:
    """Call ``main`` (returning None or an exit status), report what it raises on stderr; the exit status.

    An error of ours never shows a traceback. One that nobody expected is our mistake: a short message says so and how
    to get the traceback.
    """
    try:
        result = main()
    except (click.exceptions.Exit, SystemExit) as end:
        code = end.exit_code if isinstance(end, click.exceptions.Exit) else end.code
        return code if isinstance(code, int) else int(code is not None)
    except (click.Abort, KeyboardInterrupt):
        _show(("interrupted",), "", ExitStatus.INTERRUPTED, as_json=as_json)
        return ExitStatus.INTERRUPTED
    except (click.ClickException, GogetaError) as error:
        status = status_of(error)
        _show(_lines(error), _hint(error), status, as_json=as_json)
        return status
    except Exception as error:  # noqa: BLE001 - the outermost frame: whatever it is, a person gets a message
        if logging.getLogger().isEnabledFor(logging.DEBUG) and logging.getLogger().hasHandlers():
            traceback.print_exc()
        if isinstance(error, OSError):
            # A full disk, a closed terminal: the machine's trouble, which has words of its own.
            what, hint = error.strerror or str(error), "--log-level debug shows where it happened"
        else:
            what = f"unexpected {type(error).__name__}: {error}"
            hint = "this is a mistake in the program; --log-level debug shows where, please report it"
        _show(
            (what,),
            hint,
            ExitStatus.FAILED,
            as_json=as_json,
        )
        return ExitStatus.FAILED
    return result if isinstance(result, int) else ExitStatus.DONE


def wants_json(arguments: Sequence[str]) -> bool:
    """Whether ``-o json`` is among the arguments. Read before parsing, because parsing is what may fail."""
    return any(
        (first in ("-o", "--output") and second == "json") or first in ("-ojson", "-o=json", "--output=json")
        for first, second in pairwise([*arguments, ""])
    )


def _lines(error: click.ClickException | GogetaError) -> tuple[str, ...]:
    if isinstance(error, InvalidInputError):
        if error.what == "settings":
            return tuple(str(problem) for problem in error.problems)
        return tuple(
            error.what
            + (f":{problem.line}" if problem.line else "")
            + (f":{problem.column}" if problem.line and problem.column else "")
            + f": {problem}"
            for problem in error.problems
        )
    return (error.format_message() if isinstance(error, click.ClickException) else error.message,)


def _hint(error: click.ClickException | GogetaError) -> str:
    if isinstance(error, GogetaError):
        return error.hint
    if isinstance(error, click.UsageError) and error.ctx is not None:
        return f"`{error.ctx.command_path} --help` lists what it takes"
    return ""


def _show(lines: Sequence[str], hint: str, status: ExitStatus, *, as_json: bool) -> None:
    if as_json:
        error = {"kind": status.name.lower(), "exit_status": int(status), "messages": list(lines), "hint": hint}
        click.echo(json.dumps({"error": error}), err=True)
        return
    for line in lines:
        say("error", line, colour="red")
    if hint:
        say("hint", hint, colour="yellow")


def say(kind: str, text: str, *, colour: str) -> None:
    """One line on stderr: ``error: ...``. Coloured on a terminal, unless NO_COLOR is set."""
    plain = bool(os.environ.get("NO_COLOR"))
    click.echo(
        click.style(f"{kind}: ", fg=colour, bold=True) + printable(text), err=True, color=False if plain else None
    )


def printable(text: str) -> str:
    """``text`` with everything escaped that a terminal would act upon: it may quote a file or a registry value."""
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)
