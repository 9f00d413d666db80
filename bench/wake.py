"""How long a sleeping tenant's first visitor waits for the first byte, and where that time goes.

One tenant is put to sleep and woken by a request, again and again. The phases of one wake, each from the end of the one
before, so that together they are the whole; all clocks are this machine's:

asked      the request is sent -> gogeta has decided to wake (the time in the desired state it writes)
heard      -> passivator begins the start: the write, its way through the registry's watch, and taking it up
queued     waiting for a turn among other starts (passivator's own record, `observed.phases`)
started    the driver's start call (the same record)
listening  -> the application listens, as it says itself; nothing when it did so before the start call had returned
noticed    -> passivator has decided `started`: its check that the application is ready (the record, less the above)
answered   -> the first byte is here: the write, its way to gogeta, connecting, forwarding, and the application's answer

From pause (`--from pause`; asked, heard and answered as above) there is one phase between: `resumed`, the driver's call
that lets it go on.

`overhead` is what the system adds: all but `started` and `listening`, which are the driver's and the application's own.
`told` is a part of `answered`: until this process, which watches the registry as gogeta does, knows of `started`.
The times in the registry are whole milliseconds, so the phases next to them are exact to about one.
The connection of the visitor is open before the clock starts. `alone` is the same application started without gogeta:
from the start call until the first byte of its answer, tried every millisecond.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import httpx

from bench.machine import machine, machine_line
from bench.surroundings import Surroundings
from bench.system import (
    CONTAINER_COMMAND,
    CONTAINER_ENVIRONMENT,
    CONTAINER_FOLDER,
    CONTAINER_PORT,
    System,
    local_command,
    running_system,
)
from bench.table import distribution, table
from bench.targets import Target, lines
from gogeta.domain.lifecycle import Cause, Desired, Meeting, Observed
from gogeta.domain.state import TenantRecord
from gogeta.domain.tenant import TenantName, read_tenant
from gogeta.kit.setting_values import parse_registry
from gogeta.kit.tasks import Tasks
from gogeta.registry.mirror import TenantMirror
from gogeta.registry.opening import open_store
from gogeta.registry.registry import Registry
from gogeta.settings import RegistrySettings
from tests.rig.docker import PYTHON_IMAGE
from tests.rig.ports import free_port

HELP: Final = "first request to a sleeping tenant -> first byte of its answer, phase by phase"
PHASES: Final = ("asked", "heard", "queued", "started", "listening", "noticed", "answered")
PHASES_FROM_PAUSE: Final = ("asked", "heard", "resumed", "answered")
_THEIRS: Final = ("started", "listening")
"""The driver's own time, and the application's."""
_PROMISED: Final = {"p50": 15.0, "p99": 50.0}
"""Milliseconds of overhead, through etcd on a local disk."""
_PROMISED_FROM_PAUSE: Final = 30.0
"""Milliseconds in all at p50."""
_PAUSE_AFTER: Final = "300ms"
_NAME: Final = TenantName("bench")
_REQUEST: Final = b"GET / HTTP/1.1\r\nHost: bench.localhost\r\nAccept: */*\r\nConnection: close\r\n\r\n"
_LIMIT: Final = 60.0
_REST: Final = 0.3
"""Seconds between two wakes, so that what the last one left to do does not stand in the next."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """The subcommand's options."""
    parser.add_argument("--driver", choices=("process", "docker"), default="process")
    parser.add_argument("--registry", choices=("embedded", "etcd"), default="embedded")
    parser.add_argument("--from", dest="origin", choices=("stop", "pause"), default="stop", help="how deep it slept")
    parser.add_argument("-n", type=int, default=50, metavar="N", help="wakes to measure (default: 50)")
    parser.add_argument("--json", action="store_true", help="all samples, in milliseconds, as JSON")


def run(options: argparse.Namespace) -> int:
    """Measure and print."""
    surroundings = Surroundings()
    with running_system(options.driver, options.registry) as system:
        wakes = asyncio.run(_wakes(system, options.n, paused=options.origin == "pause"))
    rows = {name: [wake[name] for wake in wakes] for name in wakes[0]}
    if options.json:
        asked = {"driver": options.driver, "registry": options.registry, "from": options.origin, "n": options.n}
        figures = {**asked, "ms": rows}
        print(json.dumps({"bench": "wake", "machine": machine(), **figures}))
        return 0
    print(f"wake: {options.driver} driver, {options.registry} registry, from {options.origin}, n = {options.n}")
    print(machine_line())
    print(f"{surroundings}\n")
    print(table("ms", rows))
    print()
    print("\n".join(lines(_targets(rows))))
    return 0


def _targets(rows: Mapping[str, Sequence[float]]) -> list[Target]:
    if "resumed" in rows:
        return [Target("total p50", _PROMISED_FROM_PAUSE, distribution(rows["total"])["p50"], unit="ms")]
    found = distribution(rows["overhead"])
    return [Target(f"overhead {which}", most, found[which], unit="ms") for which, most in _PROMISED.items()]


async def _wakes(system: System, count: int, *, paused: bool) -> list[dict[str, float]]:
    store = open_store(RegistrySettings(registry=parse_registry(system.registry)))
    try:
        async with Tasks("bench") as tasks:
            registry, mirror = Registry(store, "bench"), TenantMirror(store)
            tasks.start(mirror.source.run(), "mirror")
            await mirror.source.wait_synced()
            hosts = {"name": _NAME, "hosts": ["bench.localhost"], "idle_timeout": "never", "stop_grace": "1s"}
            sleep = {"sleep": {"pause_after": _PAUSE_AFTER}} if paused else {}
            await registry.apply([read_tenant({**hosts, **sleep, **system.declaration}, what="bench")])
            if paused:
                await registry.change_desired(_NAME, Cause.WAKE)
                return [await _wake_from_pause(system, mirror) for _ in range(count + 1)][1:]
            # The first start of all makes what later ones find: a container, a network, a guardian.
            samples = []
            for _ in range(count + 1):
                sample = await _wake(system, registry, mirror)
                # In turns, so that what else this machine does meets both.
                sample["alone"] = await asyncio.to_thread(_alone, system)
                samples.append(sample)
            return samples[1:]
    finally:
        await store.close()


async def _wake(system: System, registry: Registry, mirror: TenantMirror) -> dict[str, float]:
    began, ended, told, answer = await _visit(system, mirror, Observed.STOPPED)
    record = mirror.records[_NAME]
    phases = {phase.name: phase.ms for phase in record.observed.phases}
    assert tuple(phases) == ("queued", "started", "ready"), phases
    decided, ready_at = record.desired.since, record.observed.since
    head, _, _ = answer.partition(b"\r\n\r\n")
    listening_at = float(head.partition(b"X-Listening-At: ")[2].split()[0])
    listening = max(0.0, listening_at - (ready_at - phases["ready"]))
    await _put_to_sleep(registry, mirror)
    sample = {
        "asked": decided - began,
        "heard": ready_at - sum(phases.values()) - decided,
        "queued": phases["queued"],
        "started": phases["started"],
        "listening": listening,
        "noticed": phases["ready"] - listening,
        "answered": ended - ready_at,
    }
    total = ended - began
    return {
        **sample,
        "total": total,
        "overhead": total - sum(sample[name] for name in _THEIRS),
        "told": told - ready_at,
    }


async def _wake_from_pause(system: System, mirror: TenantMirror) -> dict[str, float]:
    began, ended, told, _ = await _visit(system, mirror, Observed.PAUSED)
    record = mirror.records[_NAME]
    phases = {phase.name: phase.ms for phase in record.observed.phases}
    assert tuple(phases) == ("resumed",), phases
    decided, ready_at = record.desired.since, record.observed.since
    return {
        "asked": decided - began,
        "heard": ready_at - phases["resumed"] - decided,
        "resumed": phases["resumed"],
        "answered": ended - ready_at,
        "total": ended - began,
        "told": told - ready_at,
    }


async def _visit(system: System, mirror: TenantMirror, depth: Observed) -> tuple[float, float, float, bytes]:
    """Wake it: when that began, ended, and was told, in epoch milliseconds, and the answer."""
    await _until(mirror, lambda: _is_asleep(mirror.records.get(_NAME), depth))
    await asyncio.sleep(_REST)
    told: list[float] = []

    def watch(_name: TenantName, _before: TenantRecord | None, after: TenantRecord | None) -> None:
        if after is not None and after.meeting is Meeting.FORWARD and not told:
            told.append(time.time() * 1000)

    unsubscribe = mirror.subscribe(watch)
    reader, writer = await asyncio.open_connection("127.0.0.1", system.port)
    try:
        async with asyncio.timeout(_LIMIT):
            began = time.time() * 1000
            writer.write(_REQUEST)
            first = await reader.readexactly(1)
            ended = time.time() * 1000
            # To its end: a tenant with a request in flight is not put to sleep.
            answer = first + await reader.read()
            assert answer.split()[1] == b"200", answer
            await _until(mirror, lambda: mirror.records[_NAME].meeting is Meeting.FORWARD)
    finally:
        unsubscribe()
        writer.close()
        await writer.wait_closed()
    return began, ended, told[0], answer


async def _put_to_sleep(registry: Registry, mirror: TenantMirror) -> None:
    """Ask until it is so: a proxy that has not counted the last request as over yet takes the tenant back."""
    while True:
        asked = await registry.change_desired(_NAME, Cause.SLEEP)

        def overtaken(revision: int = asked.revision) -> bool:
            record = mirror.records[_NAME]
            return record.desired_revision > revision and record.desired.state is Desired.STARTED

        await _until(mirror, lambda: _is_asleep(mirror.records.get(_NAME)) or overtaken())
        if not overtaken():
            return


def _is_asleep(record: TenantRecord | None, depth: Observed = Observed.STOPPED) -> bool:
    return record is not None and record.desired.state is Desired.PASSIVATED and record.observed.state is depth


async def _until(mirror: TenantMirror, wanted: Callable[[], bool]) -> None:
    changed = asyncio.Event()
    unsubscribe = mirror.subscribe(lambda *_: changed.set())
    try:
        async with asyncio.timeout(_LIMIT):
            while not wanted():
                await changed.wait()
                changed.clear()
    except TimeoutError:
        raise TimeoutError(f"not in {_LIMIT:g} s: {mirror.records.get(_NAME)}") from None
    finally:
        unsubscribe()


def _alone(system: System) -> float:
    """One start without gogeta, in milliseconds."""
    if system.docker is None:
        return _start_and_ask(local_command(), free_port())
    engine, name = system.docker, "alone"
    if name not in engine.containers():
        host = {"Init": True, "Binds": [CONTAINER_FOLDER]}
        environment = [f"{key}={value}" for key, value in CONTAINER_ENVIRONMENT.items()]
        engine.create(PYTHON_IMAGE, *CONTAINER_COMMAND, name=name, options={"HostConfig": host, "Env": environment})
    transport = httpx.HTTPTransport(uds=str(engine.socket))
    with httpx.Client(transport=transport, base_url="http://docker", timeout=_LIMIT, trust_env=False) as client:
        client.get("/_ping").raise_for_status()
        began = time.monotonic()
        client.post(f"/containers/{name}/start").raise_for_status()
        networks = client.get(f"/containers/{name}/json").json()["NetworkSettings"]["Networks"]
        _ask_until_answered(next(iter(networks.values()))["IPAddress"], CONTAINER_PORT)
        took = (time.monotonic() - began) * 1000
    engine.stop_container(name)
    return took


def _start_and_ask(command: Sequence[str], port: int) -> float:
    began = time.monotonic()
    with subprocess.Popen(command, env={**os.environ, "PORT": str(port)}) as process:
        try:
            _ask_until_answered("127.0.0.1", port)
            return (time.monotonic() - began) * 1000
        finally:
            process.terminate()


def _ask_until_answered(host: str, port: int) -> None:
    give_up = time.monotonic() + _LIMIT
    while True:
        try:
            with socket.create_connection((host, port), timeout=1) as connection:
                connection.sendall(_REQUEST)
                assert connection.recv(1)
                return
        except OSError:
            if time.monotonic() > give_up:
                raise
            time.sleep(0.001)
