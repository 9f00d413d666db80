"""What became of calls to something outside, by operation: how long they took, and how many failed how.

Plain integers, for the registry as well as for a runtime; ``collect`` gives them their public names. It knows no store,
no driver and no error but by the name that its user gives it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from prometheus_client.metrics_core import Metric

from gogeta.kit.clock import monotonic
from gogeta.kit.families import counter, histogram
from gogeta.kit.histogram import Histogram

Kind = Callable[[Exception], str | None]
"""The kind of failure that an error is; None: the call did what it should."""
OTHER: Final = "other"


class Calls:
    """Counts of all calls so far."""

    def __init__(self, operations: Iterable[str], streams: Iterable[str], kinds: Iterable[str], kind: Kind) -> None:
        """``operations`` end, and are timed; ``streams`` go on; ``kinds`` are those that ``kind`` gives."""
        operations, kinds = tuple(operations), tuple(kinds)
        self.seconds = {operation: Histogram() for operation in operations}
        self.errors: dict[tuple[str, ...], int] = {
            (operation, each): 0 for operation in (*operations, *streams) for each in kinds
        }
        self._kind = kind

    @contextlib.contextmanager
    def made(self, operation: str) -> Iterator[None]:
        """One call is made in this block: it is timed, however it ends, and counted if it fails."""
        began = monotonic()
        try:
            with self.tried(operation):
                yield
        finally:
            self.seconds[operation].add(monotonic() - began)

    @contextlib.contextmanager
    def tried(self, operation: str) -> Iterator[None]:
        """The same without the time."""
        try:
            yield
        except Exception as error:
            if (kind := self._kind(error)) is not None:
                self.errors[operation, kind] += 1
            raise

    def collect(self, prefix: str, what: str) -> Iterator[Metric]:
        """As metrics: ``what`` is called, and ``prefix`` begins the names."""
        yield counter(
            f"{prefix}_errors", f"Calls of the {what} that failed, by kind.", self.errors, ("operation", "kind")
        )
        yield histogram(
            f"{prefix}_call_seconds",
            f"How long calls of the {what} took, those that failed included.",
            {(operation,): one for operation, one in self.seconds.items()},
            ("operation",),
        )
