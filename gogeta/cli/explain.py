"""`gogeta explain NAME`: why a tenant is as it is, from the registry alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

import click

from gogeta.cli import showing
from gogeta.cli.connecting import on_registry
from gogeta.cli.parameters import output_option, registry_options, tenant_argument
from gogeta.cli.showing import echo, took
from gogeta.domain.explanation import Explanation, explanation_data
from gogeta.domain.explanation import explain as explanation_of
from gogeta.domain.state import Phase
from gogeta.domain.timeline import Kind, TimelineEvent, Wake
from gogeta.kit.clock import local_time, rfc3339
from gogeta.kit.command import Settings, SettingsCommand
from gogeta.kit.exits import printable
from gogeta.registry.explaining import facts_of
from gogeta.registry.registry import Registry

_MOST_WAKES: Final = 8
_WAKE_COLUMNS: Final = (
    "WAKE", "ASKED AT", "WHY", "ASKED", "QUEUED", "STARTED", "READY", "FIRST BYTE", "IN ALL", "HELD", "OUTCOME",
)  # fmt: skip
_EVENT_COLUMNS: Final = ("WHEN", "WHAT", "WHO", "WAKE", "DETAILS")
_COLOURS: Final = {"awake": "green", "routed": "green", "failed": "red", "asleep": "blue", "stopped": "bright_black"}


@click.command(cls=SettingsCommand)
@tenant_argument()
@output_option("text", "json")
@registry_options
def explain(settings: Settings, name: str, output: str) -> None:
    """Say why a tenant is as it is, and what happened to it lately.

    Changes nothing. First one sentence: awake or asleep, why, and when that
    would change. Then its policies in words, its last wakes with how long each
    step took, and its last events. It reads the registry alone, and so works
    while proxy and passivator are down; it then says that they are.

    Of a wake, ASKED is the time until the registry had the wish, QUEUED,
    STARTED and READY are passivator's steps, FIRST BYTE is from the moment the
    proxy knew that the tenant answers to the first byte of its answer, and IN
    ALL is what the visitor waited, from his request to that byte.

    \b
    Examples:
      gogeta explain acme
      gogeta explain acme -o json | jq -r .sentence
    """  # noqa: D301 - \b is click's
    on_registry(settings, lambda registry: _explain(registry, name, output))


async def _explain(registry: Registry, name: str, output: str) -> None:
    facts = await facts_of(registry, name)

    def spoken(moment: int) -> str:
        return local_time(moment, facts.now)

    explanation = explanation_of(facts, spoken)
    if output == "json":
        showing.print_json(explanation_data(explanation, rfc3339))
        return
    _print(explanation, spoken)


def _print(explanation: Explanation, spoken: showing.Clock) -> None:
    # Names stand before the first comma or blank: only the state's word is coloured.
    word, _, rest = explanation.sentence.partition(" ")
    echo(f"{explanation.name} is ", (printable(word), _COLOURS.get(explanation.state, "yellow")), f" {printable(rest)}")
    for warning in explanation.warnings:
        echo(("warning: ", "yellow"), printable(warning))
    echo("")
    echo("Policy")
    for line in explanation.policy:
        echo(f"  {printable(line)}")
    wakes = explanation.wakes[-_MOST_WAKES:]
    if wakes:
        echo("")
        echo("Last wakes" + (f" (of {explanation.wakes[-1].number})" if explanation.wakes[-1].number > 1 else ""))
        showing.print_columns(_WAKE_COLUMNS, [_wake_row(wake, spoken) for wake in reversed(wakes)])
    echo("")
    events = explanation.timeline.events
    if not events:
        echo("Nothing has happened to it yet.")
        return
    dropped = explanation.timeline.dropped
    echo("Timeline" + (f" (the last {len(events)}, {dropped} older ones are forgotten)" if dropped else ""))
    # What a start went through stands where it ended.
    overtaken = {id(event) for event in events[:-1] if event.kind is Kind.STARTING}
    plain = [replace(event, text="", phases=()) if id(event) in overtaken else event for event in events]
    showing.print_columns(_EVENT_COLUMNS, [_event_row(event, spoken) for event in plain])


def _wake_row(wake: Wake, spoken: showing.Clock) -> tuple[str, ...]:
    seen = {step.name: took(step.ms) for step in wake.seen}
    steps = {step.name: took(step.ms) for step in wake.steps}
    tries = f" after {wake.tries} failed" if wake.tries and wake.outcome == "ready" else ""
    return (
        str(wake.number),
        spoken(wake.at),
        wake.why,
        seen.get("asked", "-"),
        *(steps.get(name, "-") for name in ("queued", "started", "ready")),
        seen.get("answered", "-"),
        "-" if wake.first_byte_ms is None else took(wake.first_byte_ms),
        str(wake.held) if wake.held else "-",
        wake.outcome + tries,
    )


_WORDS: Final = {
    Kind.ASKED: "asked for",
    Kind.SLEEP: "to sleep",
    Kind.STOP: "to be stopped",
    Kind.FIRST_BYTE: "first byte",
}


def _event_row(event: TimelineEvent, spoken: showing.Clock) -> tuple[str, ...]:
    when = spoken(event.at) + (f" .. {spoken(event.latest)}" if event.times > 1 else "")
    what = _WORDS.get(event.kind, event.kind.value) + (f" x{event.times}" if event.times > 1 else "")
    return when, what, event.who, str(event.wake) if event.wake else "", "; ".join(_details(event))


def _details(event: TimelineEvent) -> Iterable[str]:
    if event.why:
        yield event.why
    if event.text:
        yield event.text
    if event.request_id:
        yield f"request {event.request_id}"
    if event.phases:
        yield _steps(event.phases)
    if event.held > 1:
        yield f"{event.held} requests waited"


def _steps(phases: Sequence[Phase]) -> str:
    steps = ", ".join(f"{phase.name} {took(phase.ms)}" for phase in phases)
    return f"{steps} (in all {took(sum(phase.ms for phase in phases))})"
