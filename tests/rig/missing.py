"""Parts that cannot be had here: the tests which need them are skipped, and the end of the run says so in one line."""

import collections
from collections.abc import Sequence
from typing import NoReturn

import pytest

_PREFIX = "missing part: "


def missing(part: str, reason: str) -> NoReturn:
    """Skip the test, or all tests of the fixture, that needs `part`, because of `reason`."""
    pytest.skip(f"{_PREFIX}{part} ({reason})")


def summary(skipped: Sequence[pytest.TestReport]) -> str | None:
    """The one line about the tests that did not run for want of a part; None when there are none."""
    wants: collections.Counter[str] = collections.Counter()
    for report in skipped:
        # A skip's longrepr is (path, line, "Skipped: " + reason).
        if isinstance(report.longrepr, tuple) and _PREFIX in report.longrepr[2]:
            wants[report.longrepr[2].split(_PREFIX, 1)[1]] += 1
    if not wants:
        return None
    return "not run: " + "; ".join(f"{count} tests for want of {want}" for want, count in sorted(wants.items()))
