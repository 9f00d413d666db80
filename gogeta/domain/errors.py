"""The root of every error this product raises on purpose.

An error says three things besides its message: whose fault it is, whether the same call may safely be made again,
and what to do next. The command line, the pages and the logs all read these, so that none of them has to guess.
Packages add their own branches (the registry's, the drivers'); the root must know none of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar


class Fault(StrEnum):
    """Whose mistake or trouble an error is."""

    CLIENT = "client"
    """The visitor's request was wrong."""
    TENANT = "tenant"
    """The tenant's application misbehaved or is not there."""
    OPERATOR = "operator"
    """A setting, a file or a command was wrong."""
    REGISTRY = "registry"
    """The registry was unreachable, refused us, or holds something we cannot read."""
    RUNTIME = "runtime"
    """The container runtime was unreachable or refused."""
    SELF = "gogeta"
    """Our own mistake: please report it."""


class GogetaError(Exception):
    """Base of all our errors.

    ``fault`` and ``retry_safe`` belong to the class; ``hint`` belongs to the occurrence and says what to do next in
    one plain sentence (it may be empty).
    """

    fault: ClassVar[Fault] = Fault.SELF
    retry_safe: ClassVar[bool] = False

    def __init__(self, message: str, *, hint: str = "") -> None:
        """Keep the message and the hint apart, so that each reader can lay them out."""
        super().__init__(message)
        self.message = message
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with an input.

    ``path`` leads to it from the outside in, e.g. ``("tenants", 0, "hosts", 1)``; ``message`` says what was expected
    and, where there is one, the nearest valid name. ``line`` and ``column`` count from one and are known only of files.
    """

    path: tuple[str | int, ...]
    message: str
    line: int | None = None
    column: int | None = None

    @property
    def field(self) -> str:
        """The path as people write it: ``tenants[0].hosts[1]``."""
        text = ""
        for step in self.path:
            text += f"[{step}]" if isinstance(step, int) else (f".{step}" if text else step)
        return text

    def __str__(self) -> str:
        """``field: message``, or the message alone when there is no path."""
        return f"{self.field}: {self.message}" if self.path else self.message


class InvalidInputError(GogetaError):
    """An input was refused whole; ``problems`` lists everything wrong with it, in the order of the input."""

    fault = Fault.OPERATOR

    def __init__(self, what: str, problems: tuple[Problem, ...], *, hint: str = "") -> None:
        """``what`` names the input: a file, a setting, a registry key."""
        super().__init__(f"{what}: " + "; ".join(str(problem) for problem in problems), hint=hint)
        self.what = what
        self.problems = problems


class HostConflictError(GogetaError):
    """One host is claimed by two tenants; both are named."""

    fault = Fault.OPERATOR

    def __init__(self, host: str, holder: str, claimant: str) -> None:
        """``holder`` has the host already; ``claimant`` wanted it too."""
        super().__init__(
            f"host {host!r} of tenant {claimant!r} is already claimed by tenant {holder!r}",
            hint=f"give {claimant!r} another host, or take {host!r} from {holder!r} first",
        )
        self.host = host
        self.holder = holder
        self.claimant = claimant


class TransitionRefusedError(GogetaError):
    """A change of desired state that the transition table does not allow, e.g. waking a tenant an operator stopped."""

    fault = Fault.OPERATOR


class WakeBudgetError(GogetaError):
    """Visitors have woken a tenant as often as they may in an hour. It is woken again by whoever asks later."""

    def __init__(self, name: str, limit: int, wait_ms: int, revision: int) -> None:
        """``wait_ms``: how long until it may be woken again; ``revision`` of the desired state that says so."""
        super().__init__(
            f"tenant {name!r} was woken {limit} times by visitors in an hour, and may be woken again in "
            f"{-(-wait_ms // 1000)} s",
            hint=f"`gogeta wake {name}` wakes it now; `wake: {{per_hour: N}}` is its limit",
        )
        self.wait_ms = wait_ms
        self.revision = revision


class UnknownTenantError(GogetaError):
    """No tenant has this name; ``nearest`` is the closest one that exists, if any is close."""

    fault = Fault.OPERATOR

    def __init__(self, name: str, nearest: str | None = None) -> None:
        """Build the message a person reads after a typing mistake."""
        hint = f"did you mean {nearest!r}?" if nearest else "`gogeta tenants` lists them"
        super().__init__(f"there is no tenant {name!r}", hint=hint)
        self.name = name
        self.nearest = nearest
