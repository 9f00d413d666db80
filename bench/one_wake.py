"""Thousands ask for one sleeping tenant at once, through two proxies: it is started once, and all are answered by it.

The tenant cannot become ready before all its visitors are held: it waits for a gate, which this bench opens when the
proxies say that they hold them all. So what a held request costs in memory is seen too: the proxies' memory (RSS)
before, with the connections alone, and while all are held.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import httpx
import uvloop
from prometheus_client.parser import text_string_to_metric_families

from bench.lifecycle import wire
from bench.lifecycle.stage import LifecycleStage
from bench.machine import machine, machine_line
from bench.stage import raise_descriptor_limit
from bench.surroundings import Surroundings
from bench.table import table
from bench.usage import resident
from gogeta.registry.registry import Registry

HELP: Final = "thousands of requests at once to one sleeping tenant: one start, and what each held request costs"
_NAME: Final = "sleeper"
_PER_ADDRESS: Final = 250
_LIMIT: Final = 300.0
_FIELDS: Final = (
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
    "Accept: application/json",
    "Accept-Encoding: gzip, deflate, br, zstd",
    "Cookie: session=7f3b2c1d9e8a4f60b5c4d3e2f1a09876; theme=dark; consent=necessary",
)
_LOOK: Final = 0.05


@dataclass
class Woken:
    """What came of it. Memory in bytes, of all proxies together."""

    asked: int
    held: int
    """The most that the proxies said they held at the same time."""
    own: int
    others: list[str]
    """What else was answered, in words."""
    starts: int
    """As the application tells."""
    wakes: int
    """As the desired state counts them."""
    memory: dict[str, int]
    first_byte_ms: list[float]
    """From the opening of the gate."""

    def per_held(self) -> float:
        """Bytes of a held request, beside those of its connection."""
        return (self.memory["held"] - self.memory["connected"]) / self.asked

    def per_connection(self) -> float:
        """Bytes of a connection that has said nothing yet."""
        return (self.memory["connected"] - self.memory["before"]) / self.asked

    def violations(self) -> list[str]:
        """What must not be, in words."""
        found = [f"{self.starts} starts"] if self.starts != 1 else []
        found += [f"{self.wakes} wakes"] if self.wakes != 1 else []
        found += [f"{self.held} of {self.asked} were held at the same time"] if self.held != self.asked else []
        return found + [f"not the tenant's own answer: {what}" for what in self.others]


def add_options(parser: argparse.ArgumentParser) -> None:
    """The subcommand's options."""
    parser.add_argument("--driver", choices=("process", "docker"), default="process")
    parser.add_argument("--requests", type=int, default=2000, metavar="N", help="at once (default: 2000)")
    parser.add_argument("--proxies", type=int, default=2, metavar="N", help="gogeta processes (default: 2)")
    parser.add_argument("--json", action="store_true", help="all figures as JSON")


def run(options: argparse.Namespace) -> int:
    """Run and print; 1 when anything is not as promised."""
    raise_descriptor_limit()
    surroundings = Surroundings()
    limits = ["--max-connections-per-address", "0", "--max-held-per-tenant", str(options.requests)]
    with LifecycleStage(driver=options.driver, proxies=options.proxies, serve=limits) as stage:
        woken = uvloop.run(_wake(stage, options.requests))
    violations = woken.violations()
    if options.json:
        print(json.dumps(_plain(options, woken, violations)))
    else:
        print(f"one-wake: {options.requests} requests at once, {options.proxies} gogeta, {options.driver} driver, etcd")
        print(machine_line())
        print(f"{surroundings}\n")
        print("\n".join(_lines(woken)))
        print(
            "\n".join(f"VIOLATION {violation}" for violation in violations) or "one wake, one start, nobody forgotten"
        )
    return 1 if violations else 0


async def _wake(stage: LifecycleStage, count: int) -> Woken:
    gate = stage.ledger_path.with_name("gate")
    store = stage.store()
    try:
        registry = Registry(store, "cli/bench")
        policy = {"idle_timeout": "never", "wake": {"timeout": f"{_LIMIT:g}s"}, "ready": {"timeout": f"{_LIMIT:g}s"}}
        await registry.apply([stage.tenant(_NAME, environment={"GATE": str(gate)}, **policy)])
        await stage.known([_NAME])
        async with contextlib.AsyncExitStack() as connections, asyncio.timeout(_LIMIT):
            memory = {"before": _resident(stage)}
            streams = [
                await connections.enter_async_context(
                    wire.connected(stage.ports[number % len(stage.ports)], f"127.0.2.{1 + number // _PER_ADDRESS}")
                )
                for number in range(count)
            ]
            await _until(stage, "gogeta_connections", count)
            memory["connected"] = _resident(stage)
            for number, (_, writer) in enumerate(streams):
                writer.write(wire.request("GET", f"/echo/{number}", f"{_NAME}.localhost", *_FIELDS))
            held = await _until(stage, "gogeta_held_requests", count)
            memory["held"] = _resident(stage)
            loop = asyncio.get_running_loop()
            opened = loop.time()
            gate.touch()
            answers = await asyncio.gather(*(_answer(reader) for reader, _ in streams))
            memory["after"] = _resident(stage)
        wrong = [found for number, (what, _) in enumerate(answers) if (found := _wrong(what, number)) is not None]
        record = await registry.record(_NAME)
        first_byte = [(at - opened) * 1000 for _, at in answers]
        ledger = stage.ledger()
        return Woken(
            count, held, count - len(wrong), wrong, ledger.starts(_NAME), record.desired.wakes, memory, first_byte
        )
    finally:
        await store.close()


async def _answer(reader: asyncio.StreamReader) -> tuple[wire.Answer | str, float]:
    """The answer, or what came instead, and when its first byte was there."""
    clock = asyncio.get_running_loop().time
    began = clock()
    try:
        answer = await wire.read_head(reader)
        began = clock()
        await wire.read_body(reader, answer)
    except (OSError, KeyError) as error:
        return f"{type(error).__name__}: {error}", began
    return answer, began


def _wrong(answer: wire.Answer | str, number: int) -> str | None:
    """What is wrong with an answer; None when nothing is."""
    if isinstance(answer, str):
        return answer
    instance = answer.fields.get("x-instance", "")
    if answer.status == 200 and answer.body == f"{_NAME} {instance} {number}\n".encode():
        return None
    return f"{answer.status} {answer.body[:200]!r}"


def _resident(stage: LifecycleStage) -> int:
    return sum(resident(proxy.pid) for proxy in stage.proxies)


async def _until(stage: LifecycleStage, gauge: str, wanted: int) -> int:
    """Wait until the proxies' gauges add up to that."""
    async with httpx.AsyncClient(trust_env=False) as client:
        while True:
            found = 0
            for admin in stage.admins:
                text = (await client.get(f"http://127.0.0.1:{admin}/metrics")).text
                found += sum(
                    int(sample.value)
                    for family in text_string_to_metric_families(text)
                    if family.name == gauge
                    for sample in family.samples
                )
            if found >= wanted:
                return found
            await asyncio.sleep(_LOOK)


def _lines(woken: Woken) -> Sequence[str]:
    memory = ", ".join(f"{bytes_ / 1e6:.1f} {when}" for when, bytes_ in woken.memory.items())
    return (
        f"{woken.asked} asked, {woken.held} held at the same time, {woken.own} answered by the tenant",
        f"wakes: {woken.wakes}; starts: {woken.starts}",
        f"RSS of the proxies in MB: {memory}",
        f"a held request: {woken.per_held() / 1024:.1f} KiB",
        f"its connection, before that: {woken.per_connection() / 1024:.1f} KiB",
        "first byte, from when the application was let go on, in ms:",
        table("ms", {"all": woken.first_byte_ms}),
        "",
    )


def _plain(options: argparse.Namespace, woken: Woken, violations: list[str]) -> dict[str, Any]:
    return {
        "bench": "one-wake",
        "machine": machine(),
        "driver": options.driver,
        "proxies": options.proxies,
        "asked": woken.asked,
        "held": woken.held,
        "own": woken.own,
        "starts": woken.starts,
        "wakes": woken.wakes,
        "memory": woken.memory,
        "per_held": woken.per_held(),
        "per_connection": woken.per_connection(),
        "first_byte_ms": woken.first_byte_ms,
        "violations": violations,
    }
