"""The commands that act on one tenant: `wake`, `start`, `sleep`, `stop` and `rm`.

Each changes what the tenant should be, by compare-and-set in the registry, and nothing else: passivator carries it
out, whenever it runs. Waiting for that is cli/waiting.py's part.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

from gogeta.cli import showing
from gogeta.cli.connecting import on_registry
from gogeta.cli.parameters import DurationType, output_option, registry_options, tenant_argument
from gogeta.cli.progress import progress
from gogeta.cli.waiting import missing_controller, phases_of, wait_until
from gogeta.domain.errors import TransitionRefusedError
from gogeta.domain.lifecycle import Cause, Desired, Observed
from gogeta.domain.quantities import format_duration
from gogeta.domain.state import TenantRecord
from gogeta.kit.clock import monotonic
from gogeta.kit.command import Settings, SettingsCommand
from gogeta.kit.exits import CommandError, ExitStatus
from gogeta.registry.registry import DesiredChange, Registry

Callback = TypeVar("Callback", bound=Callable[..., Any])

_DOING = {Cause.WAKE: "waking", Cause.START: "starting", Cause.SLEEP: "going to sleep", Cause.STOP: "stopping"}
_VERBS = {Cause.WAKE: "start", Cause.START: "start", Cause.SLEEP: "stop", Cause.STOP: "stop"}
_DONE = {Cause.WAKE: "is up", Cause.START: "is up", Cause.SLEEP: "is asleep", Cause.STOP: "is stopped"}


def _waiting_options(timeout: float) -> Callable[[Callback], Callback]:
    def decorate(callback: Callback) -> Callback:
        for decorator in (
            output_option("text", "json"),
            click.option("--wait/--no-wait", default=True, help="Wait until it is so, or only ask for it."),
            click.option(
                "--timeout",
                type=DurationType(),
                default=format_duration(timeout),
                show_default=True,
                metavar="DURATION",
                help="Longest wait; what was asked for stays asked for.",
            ),
        ):
            callback = decorator(callback)
        return callback

    return decorate


@click.command(cls=SettingsCommand)
@tenant_argument()
@_waiting_options(120.0)
@registry_options
def wake(settings: Settings, name: str, **waiting: Any) -> None:  # noqa: ANN401 - see `_waiting_options`
    """Start a sleeping tenant and wait until it answers.

    Does what its first request would do: desired becomes `started`, and
    passivator starts it. It goes to sleep again after its idle timeout. A
    tenant that `gogeta stop` stopped is not woken: `gogeta start` does that.
    One whose start has failed is tried again at once. While it waits, the
    phases of the start are shown.

    \b
    Examples:
      gogeta wake acme
      gogeta wake acme --timeout 30s
      gogeta wake acme --no-wait
    """  # noqa: D301 - \b is click's
    _act(settings, name, Cause.WAKE, **waiting)


@click.command(cls=SettingsCommand)
@tenant_argument()
@_waiting_options(120.0)
@registry_options
def start(settings: Settings, name: str, **waiting: Any) -> None:  # noqa: ANN401 - ditto
    """Start a tenant, also one that was stopped, and wait until it answers.

    Ends an operator's `stop`: desired becomes `started`. Like a woken tenant
    it goes to sleep after its idle timeout.

    \b
    Examples:
      gogeta start acme
      gogeta start acme --no-wait
    """  # noqa: D301 - ditto
    _act(settings, name, Cause.START, **waiting)


@click.command(cls=SettingsCommand)
@tenant_argument()
@_waiting_options(60.0)
@registry_options
def sleep(settings: Settings, name: str, **waiting: Any) -> None:  # noqa: ANN401 - ditto
    """Put a tenant to sleep now; its next request wakes it.

    Desired becomes `passivated`, and passivator stops it, also what is paused.
    What is in flight is waited for (passivator's `--drain-limit`). A tenant that
    is in use even then stays awake; the command says so and ends with status 5.
    A stopped tenant becomes one that requests wake again.

    \b
    Examples:
      gogeta sleep acme
      gogeta sleep acme --no-wait
    """  # noqa: D301 - ditto
    _act(settings, name, Cause.SLEEP, **waiting)


@click.command(cls=SettingsCommand)
@tenant_argument()
@_waiting_options(60.0)
@registry_options
def stop(settings: Settings, name: str, **waiting: Any) -> None:  # noqa: ANN401 - ditto
    """Stop a tenant; requests do not wake it.

    Desired becomes `stopped`, whether or not it is in use, and stays so until
    `gogeta start` (or `gogeta sleep`, after which requests wake it again).
    Visitors are told that it is stopped; what is in flight gets passivator's
    `--drain-limit` to finish.

    \b
    Examples:
      gogeta stop acme
      gogeta stop acme --timeout 10s
    """  # noqa: D301 - ditto
    _act(settings, name, Cause.STOP, **waiting)


@click.command(cls=SettingsCommand)
@tenant_argument()
@click.option("-y", "--yes", is_flag=True, help="Do not ask. Needed where there is no terminal to ask on.")
@output_option("text", "json")
@registry_options
def rm(settings: Settings, name: str, output: str, *, yes: bool) -> None:
    """Remove a tenant.

    Removes its declaration: its hosts answer 404 at once, and passivator ends
    what runs for it and removes the container it made. Volumes and images
    stay. `gogeta apply` with the same declaration brings it back, asleep.

    \b
    Examples:
      gogeta rm acme
      gogeta rm acme --yes
    """  # noqa: D301 - ditto
    record = on_registry(settings, lambda registry: registry.record(name))
    if not yes:
        if not sys.stdin.isatty():
            raise CommandError(
                f"removing tenant {name!r} needs a yes, and there is no terminal to ask on",
                status=ExitStatus.USAGE,
                hint=f"gogeta rm {name} --yes",
            )
        click.confirm(f"Remove tenant {name} ({', '.join(record.tenant.hosts)})?", abort=True, err=True)

    async def work(registry: Registry) -> str:
        await registry.remove(name)
        return (
            ""
            if record.tenant.routed_only
            else missing_controller(await registry.members(), record, "end what runs for")
        )

    missing = on_registry(settings, work)
    if output == "json":
        showing.print_json({"name": name, "removed": True})
    else:
        click.echo(f"{name} is removed")
    if missing:
        showing.warn(missing)


def _act(settings: Settings, name: str, cause: Cause, *, wait: bool, timeout: float, output: str) -> None:
    as_json = output == "json"

    async def work(registry: Registry) -> None:
        record, began = await registry.record(name), monotonic()
        asked = await _ask(registry, record, cause)
        if not wait:
            _report_asked(name, asked, as_json=as_json)
            if missing := missing_controller(await registry.members(), record, _VERBS[cause]):
                showing.warn(missing)
            return
        with progress(name, _DOING[cause], silent=as_json) as teller:
            reached = await wait_until(registry, record, asked, teller, timeout)
        _report_reached(reached, cause, asked, (monotonic() - began) * 1000, as_json=as_json)

    on_registry(settings, work)


async def _ask(registry: Registry, record: TenantRecord, cause: Cause) -> DesiredChange:
    name = record.name
    if record.tenant.routed_only:
        raise CommandError(
            f"tenant {name!r} is routed only: somebody else runs its upstreams",
            status=ExitStatus.REFUSED,
            hint="there is nothing here to start or to stop",
        )
    try:
        # Asked for again after a failure, it is worth another try now; passivator's own pauses have grown by then.
        failed = record.observed.state is Observed.FAILED and cause in (Cause.WAKE, Cause.START)
        # Paused, it is asleep already, and yet not as deep as an operator means it.
        paused = record.observed.state is Observed.PAUSED and cause is Cause.SLEEP
        return await registry.change_desired(name, cause, renew=failed or paused)
    except TransitionRefusedError as error:
        raise CommandError(
            f"tenant {name!r} was stopped by an operator, and a {cause.value} does not end that",
            status=ExitStatus.REFUSED,
            hint=f"gogeta start {name}",
        ) from error


def _report_asked(name: str, asked: DesiredChange, *, as_json: bool) -> None:
    state = asked.desired.state.value
    if as_json:
        showing.print_json({"name": name, "desired": state, "changed": asked.changed})
    else:
        click.echo(f"{name} is to be {state}" if asked.changed else f"{name} was to be {state} already")


def _report_reached(record: TenantRecord, cause: Cause, asked: DesiredChange, ms: float, *, as_json: bool) -> None:
    up = asked.desired.state is Desired.STARTED
    phases = phases_of(record, asked)
    endpoints = [str(endpoint) for endpoint in record.endpoints]
    if as_json:
        showing.print_json(
            {
                "name": record.name,
                "desired": record.desired.state.value,
                "observed": record.observed.state.value,
                "changed": asked.changed,
                "endpoints": endpoints,
                "phases": [{"name": phase.name, "ms": phase.ms} for phase in phases],
                "took_ms": round(ms, 1),
            }
        )
        return
    when = f"after {showing.took(ms)}" if asked.changed else "already"
    where = f", at {', '.join(endpoints)}" if up else ""
    click.echo(f"{record.name} {_DONE[cause]} {when}{where}")
