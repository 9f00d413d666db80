"""`gogeta explain`: from the registry alone, in words and as JSON."""

import pytest

from gogeta.cli import showing
from gogeta.domain.lifecycle import Cause, Observed
from gogeta.domain.state import LastAccess, ObservedState, Phase
from gogeta.domain.timeline import EMPTY, Kind, TimelineEvent, WakeReport, fold
from gogeta.domain.upstreams import Endpoint
from gogeta.kit.exits import ExitStatus
from gogeta.registry import keys
from gogeta.registry.registry import Registry
from gogeta.registry.store import Put
from tests.cli.conftest import Cli

STEPS = (Phase("queued", 2.0), Phase("started", 300.0), Phase("ready", 98.0))
SEEN = (Phase("asked", 4.0), Phase("known", 410.0), Phase("answered", 6.0))


async def woken(registry: Registry) -> None:
    """A tenant that a request woke, as proxy and passivator leave it behind."""
    change = await registry.change_desired("acme", Cause.REQUEST, request_id="r-1")
    since = change.desired.since
    started = ObservedState(
        state=Observed.STARTED,
        since=since + 410,
        wakes=1,
        driver="process",
        endpoints=(Endpoint("127.0.0.1", 1),),
        phases=STEPS,
    )
    await registry.observe("acme", started, 0)
    await registry.report_wakes(
        {"acme": WakeReport(wake=1, at=since, by="test", request_id="r-1", visitor="person", phases=SEEN, held=3)}
    )
    await registry.record_accesses({"acme": LastAccess(at=since + 500, by="gogeta/gone", in_flight=2, tunnels=2)})


def test_it_needs_nothing_but_the_registry_and_says_that_nobody_is_there(cli: Cli) -> None:
    cli.have("acme")
    done = cli("explain", "acme")
    assert done.status == 0
    lines = done.out.splitlines()
    assert lines[0].startswith("acme is asleep because nobody has asked for it since it was declared at ")
    assert lines[1:3] == [
        "warning: no gogeta is alive: nobody passes its requests on",
        "warning: no passivator for driver process is alive: nobody starts or stops it",
    ]
    assert "  put to sleep when nobody used it for 30m" in lines
    assert [line.split()[-2] for line in lines if "declared" in line][1:] == ["declared"]


def test_a_wake_is_a_line_with_all_its_steps(cli: Cli) -> None:
    cli.have("acme")
    cli.on_registry(woken)
    done = cli("explain", "acme")
    lines = done.out.splitlines()
    assert lines[0].startswith("acme is awake because it had 2 WebSockets at gogeta/gone at ")
    place = lines.index("Last wakes")
    assert lines[place + 1].split()[-1] == "OUTCOME"
    cells = [cell.strip() for cell in lines[place + 2].split("  ") if cell.strip()]
    assert cells[0] == "1"
    assert cells[2:] == ["request", "4 ms", "2 ms", "300 ms", "98 ms", "6 ms", "420 ms", "3", "ready"]
    timeline = lines[lines.index("Timeline") + 2 :]
    assert [line.split()[2] for line in timeline] == ["asked", "ready", "first"]
    assert "request r-1" in timeline[0]
    assert "3 requests waited" in timeline[2]


def test_as_json_the_times_are_utc_and_the_steps_add_up(cli: Cli) -> None:
    cli.have("acme")
    cli.on_registry(woken)
    data = cli("explain", "acme", "-o", "json").json
    assert data["state"] == "awake"
    assert data["would_sleep_at"].endswith("Z")
    (wake,) = data["wakes"]
    assert (wake["outcome"], wake["ready_ms"], wake["first_byte_ms"], wake["held"]) == ("ready", 400.0, 420.0, 3)
    assert sum(step["ms"] for step in wake["seen_by_proxy"]) == wake["first_byte_ms"]
    assert [event["kind"] for event in data["timeline"]["events"]] == ["asked", "ready", "first-byte"]


def test_what_was_written_and_what_is_newer_are_one_story(cli: Cli) -> None:
    cli.have("acme")

    async def write(registry: Registry) -> None:
        told = fold(EMPTY, [TimelineEvent(at=5, kind=Kind.NOTE, text="moved \x1b[31m house")])
        await registry.write_timelines({"acme": (told, 0)})
        await woken(registry)

    cli.on_registry(write)
    done = cli("explain", "acme")
    assert r"moved \x1b[31m house" in done.out
    assert "\x1b" not in done.out
    kinds = [event["kind"] for event in cli("explain", "acme", "-o", "json").json["timeline"]["events"]]
    assert kinds == ["note", "asked", "ready", "first-byte"]


def test_a_timeline_that_cannot_be_read_costs_the_past_alone(cli: Cli) -> None:
    cli.have("acme")

    async def spoil(registry: Registry) -> None:
        await registry.store.commit([Put(keys.timeline_key("acme"), b"no json")])
        await woken(registry)

    cli.on_registry(spoil)
    done = cli("explain", "acme", "-o", "json")
    assert done.status == 0
    assert not [text for text in done.json["warnings"] if "observed" in text]
    assert [event["kind"] for event in done.json["timeline"]["events"]] == ["asked", "ready", "first-byte"]


def test_an_unknown_name_is_answered_with_the_nearest(cli: Cli) -> None:
    cli.have("acme")
    done = cli("explain", "acne")
    assert done.status == ExitStatus.UNKNOWN
    assert "did you mean 'acme'?" in done.err


def test_on_a_terminal_it_is_a_table_too(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    cli.have("acme")
    cli.on_registry(woken)
    monkeypatch.setattr(showing, "on_terminal", lambda: True)
    monkeypatch.setenv("COLUMNS", "200")
    done = cli("explain", "acme")
    assert "OUTCOME" in done.out
    assert "420 ms" in done.out


def test_a_state_that_cannot_be_read_is_named(cli: Cli) -> None:
    cli.have("acme")

    async def spoil(registry: Registry) -> None:
        await registry.store.commit([Put(keys.observed_key("acme"), b"no json")])

    cli.on_registry(spoil)
    warnings = cli("explain", "acme", "-o", "json").json["warnings"]
    assert [text for text in warnings if keys.observed_key("acme") in text]
