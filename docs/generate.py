"""Write the reference pages beside this file: `python docs/generate.py`. A test fails when they are stale."""  # noqa: INP001

from __future__ import annotations

from pathlib import Path

from gogeta.cli.reference import Chapter, cli_page, settings_page
from gogeta.settings import ServeSettings
from passivator.settings import PassivatorSettings

CHAPTERS = (
    Chapter(
        "gogeta",
        "GOGETA_",
        ServeSettings,
        "Of `gogeta serve` and `gogeta up`. The commands about tenants take those under Registry and Logs "
        "(there, `log_level` is `error` if nobody says otherwise).",
    ),
    Chapter(
        "passivator",
        "PASSIVATOR_",
        PassivatorSettings,
        "Of `passivator`. `gogeta up` takes those under Runtime, Several, Life cycle and Memory, as `GOGETA_...`.",
    ),
)


def pages() -> dict[Path, str]:
    """Each page's place and text."""
    here = Path(__file__).parent
    return {here / "settings.md": settings_page(CHAPTERS), here / "cli.md": cli_page()}


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
