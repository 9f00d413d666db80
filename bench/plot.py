"""The figures of ``bench forward`` as one picture: a panel for each question, a bar for each proxy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

_COLOURS: Final = {
    "gogeta": "#c0392b",
    "nginx": "#2e7d32",
    "haproxy": "#1565c0",
    "go": "#00838f",
    "caddy": "#6a1b9a",
    "aiohttp": "#8d6e63",
    "direct": "#9e9e9e",
}
_WHOLE: Final = 100
"""From here on a figure is shown without a fraction."""


@dataclass(frozen=True)
class Panel:
    """One question: which rows answer it, and by which figure."""

    title: str
    scenario: str
    figure: Callable[[dict[str, Any]], float | None]


PANELS: Final = (
    Panel("CPU per request, us (less is better)", "small", lambda row: row["cpu_us"]),
    Panel("p99 at 64 connections, ms (less is better)", "small", lambda row: row["p99_ms"]),
    Panel("p50 at a fixed rate, ms (less is better)", "latency", lambda row: row["p50_ms"]),
    Panel("10 MB bodies, MB/s (more is better)", "bodies", lambda row: row["rate"]),
    Panel("WebSocket messages/s (more is better)", "websocket", lambda row: row["rate"]),
    Panel("an idle connection, kB (less is better)", "idle", lambda row: row["besides"]["kb_each"]),
)


def available() -> bool:
    """Whether what draws is installed."""
    return find_spec("matplotlib") is not None


def draw(result: dict[str, Any], file: Path) -> None:
    """Draw the JSON figures of a run into a PNG. Panels whose scenario was not measured are left out."""
    # By name: it is no part of the development environment, where types are checked.
    import_module("matplotlib").use("agg")
    pyplot: Any = import_module("matplotlib.pyplot")
    panels = [(panel, rows) for panel in PANELS if (rows := answers(panel, result["rows"]))]
    columns = min(3, max(1, len(panels)))
    lines = -(-len(panels) // columns) or 1
    figure, axes = pyplot.subplots(lines, columns, figsize=(5.2 * columns, 3.6 * lines), squeeze=False)
    for place in axes.flat[len(panels) :]:
        place.set_visible(False)
    for place, (panel, rows) in zip(axes.flat, panels, strict=False):
        _bars(place, panel, rows)
    about = result["machine"]
    figure.suptitle(f"gogeta {about.get('gogeta', '')} and its peers, one worker each, on {about['cpu']}", fontsize=11)
    shown = [proxy for proxy in _COLOURS if any(row["proxy"] == proxy for row in result["rows"])]
    patch: Any = import_module("matplotlib.patches").Patch
    marks = [patch(color=_COLOURS[proxy], label=proxy) for proxy in shown]
    figure.legend(handles=marks, loc="lower center", ncols=len(shown) or 1, frameon=False, fontsize=9)
    figure.tight_layout(rect=(0, 0.05, 1, 1))
    figure.savefig(file, dpi=110, format="png")
    pyplot.close(figure)


def answers(panel: Panel, rows: list[dict[str, Any]]) -> list[tuple[str, str, float]]:
    """Variant, proxy and figure of each row that has one."""
    return [
        (row["variant"], row["proxy"], value)
        for row in rows
        if row["scenario"] == panel.scenario and (value := panel.figure(row)) is not None
    ]


def _bars(place: Any, panel: Panel, answers: list[tuple[str, str, float]]) -> None:  # noqa: ANN401 - matplotlib's
    variants = list(dict.fromkeys(variant for variant, _, _ in answers))
    proxies = list(dict.fromkeys(proxy for _, proxy, _ in answers))
    width = 0.84 / len(proxies)
    for variant, proxy, value in answers:
        at = variants.index(variant) + (proxies.index(proxy) - (len(proxies) - 1) / 2) * width
        place.bar(at, value, width * 0.92, color=_COLOURS.get(proxy, "#555555"))
        shown = f"{value:,.0f}" if value >= _WHOLE else f"{value:.3g}"
        place.text(at, value, shown, ha="center", va="bottom", fontsize=6)
    place.set_title(panel.title, fontsize=9)
    place.set_xticks(range(len(variants)), variants, fontsize=8)
    place.tick_params(axis="y", labelsize=7)
    place.margins(y=0.12)
    for side in ("top", "right"):
        place.spines[side].set_visible(False)
