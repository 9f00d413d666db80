from pathlib import Path
from typing import Any

from bench import plot
from tests.rig.programs import ProcessRack

ROOT = Path(__file__).resolve().parents[2]


def row(scenario: str, variant: str, proxy: str, **figures: Any) -> dict[str, Any]:  # noqa: ANN401 - as in JSON
    return {
        "scenario": scenario,
        "variant": variant,
        "proxy": proxy,
        **dict.fromkeys(("rate", "cpu_us", "p50_ms", "p99_ms")),
        "besides": {},
    } | figures


RESULT: dict[str, Any] = {
    "machine": {"cpu": "a processor", "gogeta": "1"},
    "rows": [
        row("small", variant, proxy, cpu_us=20.0, p99_ms=4.0)
        for variant in ("same", "varied")
        for proxy in ("gogeta", "nginx")
    ]
    + [row("bodies", "200 slow readers", "gogeta", p99_ms=3.0), row("idle", "5", "gogeta", besides={"kb_each": 5.6})],
}


def test_a_panel_has_the_rows_that_answer_its_question() -> None:
    answered = {panel.title: plot.answers(panel, RESULT["rows"]) for panel in plot.PANELS}
    assert answered["CPU per request, us (less is better)"][0] == ("same", "gogeta", 20.0)
    assert answered["an idle connection, kB (less is better)"] == [("5", "gogeta", 5.6)]
    assert answered["10 MB bodies, MB/s (more is better)"] == [], "slow readers have no rate"
    assert answered["WebSocket messages/s (more is better)"] == [], "not measured"


def test_the_plot_is_a_png_or_it_is_said_what_it_needs(processes: ProcessRack, tmp_path: Path) -> None:
    file = tmp_path / "figures.png"
    if plot.available():
        plot.draw(RESULT, file)
        assert file.read_bytes().startswith(b"\x89PNG\r\n")
        return
    ended = processes.run("python", "-m", "bench", "forward", "--plot", str(file), cwd=ROOT)
    assert ended.returncode == 2
    assert "make bench-forward" in ended.stderr
