"""Cases that the product does not keep yet, by section, each with the reason. The aim is empty tables."""

from typing import Final

PENDING: Final[dict[str, str]] = {}
"""Of requests."""

PENDING_ANSWERS: Final[dict[str, str]] = {}
"""Of responses."""

PENDING_CORPUS: Final[dict[str, str]] = {}
"""Of the shared corpus, by number and title."""
