"""On real sockets: who may wake a sleeping tenant, what the others get, and budgets of tenants and addresses."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from gogeta.domain.asleep import parse_asleep_paths
from gogeta.domain.errors import WakeBudgetError
from gogeta.domain.lifecycle import Cause, Desired, Observed
from gogeta.domain.state import DesiredState, ObservedState, Reason, ReasonCode
from gogeta.domain.wake_budget import with_wake
from gogeta.kit.clock import wall_ms
from gogeta.net import doorkeeper
from gogeta.registry.registry import DesiredChange
from tests.net.stage import Stage, stage
from tests.net.talk import NAVIGATES, OK, App, Message, get, post, until

BOT = "User-Agent: Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
MONITOR = "User-Agent: Mozilla/5.0+(compatible; UptimeRobot/2.0; http://www.uptimerobot.com/)"
PREFETCH = "Sec-Purpose: prefetch;prerender"
LOCAL = (ipaddress.ip_network("127.0.0.0/8"),)


def code(answer: Message) -> str:
    """The name of a refusal told to a program."""
    return str(json.loads(answer.body)["code"])


def came_from(address: str) -> str:
    """As a trusted proxy says it."""
    return f"X-Forwarded-For: {address}"


def head(path: str, *more: str) -> bytes:
    """A HEAD request."""
    return get(path, *more).replace(b"GET ", b"HEAD ", 1)


def sleeps(on: Stage, name: str = "acme", **wake: Any) -> None:  # noqa: ANN401 - parts of a declaration
    """A sleeping tenant; whoever wakes it finds it starting for ever."""
    on.declare(name, wake={"hold": 0.0, "timeout": 0.05, **wake})


def falls_asleep(on: Stage, name: str = "acme") -> None:
    """It was started and is asleep again; its history stays."""
    record = on.records[name]
    on.change(
        name, desired=replace(record.desired, state=Desired.PASSIVATED), observed=ObservedState(state=Observed.STOPPED)
    )


def counts(on: Stage) -> None:
    """The registry counts visitors' wakes, as the real one does."""

    async def wake(name: str, cause: Cause) -> DesiredChange:
        before = on.records[name].desired
        history = with_wake(before.recent_wakes, wall_ms()) if cause is Cause.REQUEST else before.recent_wakes
        desired = DesiredState(state=Desired.STARTED, cause=cause, recent_wakes=history)
        on.change(name, desired=desired)
        return DesiredChange(desired, on.revision, changed=True)

    on.registry.on_wake = wake


@pytest.mark.parametrize(
    "request_bytes", [get("/", BOT), get("/", MONITOR), get("/", PREFETCH), get("/", BOT, *NAVIGATES)]
)
async def test_bots_monitors_and_prefetch_are_put_off_and_wake_nothing(request_bytes: bytes) -> None:
    async with stage() as on, on.visitor() as visitor:
        sleeps(on)
        for _ in range(2):
            answer = await visitor.ask(request_bytes)
            assert (answer.status, answer.get("Cache-Control")) == (503, "no-store")
            assert int(answer.get("Retry-After") or 0) > 0
        assert on.registry.wakes == []
        assert on.proxy.tally.held == on.proxy.tally.holds == 0
        assert on.proxy.tally.unwoken == {"prefetch" if b"Sec-Purpose" in request_bytes else "bot": 2}


async def test_paths_are_answered_on_one_connection_with_and_without_a_body() -> None:
    async with stage(asleep_paths=parse_asleep_paths("/healthz,/ping=204")) as on, on.visitor() as visitor:
        sleeps(on, robots="User-agent: *\nDisallow: /tmp\n", asleep_paths=["/own=503"])
        icon = await visitor.ask(get("/favicon.ico?1"))
        assert (icon.status, icon.get("Content-Length"), icon.get("Cache-Control")) == (204, None, "no-store")
        robots = await visitor.ask(get("/robots.txt"))
        assert (robots.status, robots.body) == (200, b"User-agent: *\nDisallow: /tmp\n")
        asked = await visitor.ask(head("/robots.txt"), bodiless=True)
        assert (asked.status, asked.get("Content-Length")) == (200, str(len(robots.body)))
        absolute = await visitor.ask(get("http://acme.test/healthz?deep"))
        assert (absolute.status, absolute.body) == (200, b"asleep\n")
        assert (await visitor.ask(head("/ping"), bodiless=True)).status == 204
        assert (await visitor.ask(get("/ping"))).status == 204
        assert (await visitor.ask(get("/own"))).status == 503
        assert on.registry.wakes == []
        assert on.proxy.tally.unwoken == {"favicon": 1, "robots": 2, "asleep-path": 4}
        assert (await visitor.ask(get("/healthz/more"))).status == 503
        assert on.registry.wakes == [("acme", Cause.REQUEST)]


@pytest.mark.parametrize(
    "request_bytes",
    [
        get("/"),
        get("/", *NAVIGATES),
        get("/", BOT, *NAVIGATES, "Sec-Fetch-User: ?1"),
        post(b"x", BOT),
        post(b"x", PREFETCH),
        get("/favicon.ico/x"),
        get("/x/robots.txt"),
        get("/", BOT, "Connection: Upgrade", "Upgrade: websocket"),
    ],
)
async def test_everybody_else_wakes(request_bytes: bytes) -> None:
    async with stage() as on:
        sleeps(on)
        await on.ask(request_bytes)
        assert on.registry.wakes == [("acme", Cause.REQUEST)]
        assert not on.proxy.tally.unwoken


@pytest.mark.parametrize("rule", ["bots", "prefetch", "favicon", "robots"])
@pytest.mark.parametrize("by", ["tenant", "settings"])
async def test_each_rule_can_be_switched_off(rule: str, by: str) -> None:
    asked = {"bots": get("/", BOT), "prefetch": get("/", PREFETCH)}.get(rule) or get(
        "/favicon.ico" if rule == "favicon" else "/robots.txt"
    )
    settings = {f"asleep_{rule}": "wake"} if by == "settings" else {}
    async with stage(**settings) as on:
        sleeps(on, **({rule: "wake"} if by == "tenant" else {}))
        await on.ask(asked)
        assert on.registry.wakes == [("acme", Cause.REQUEST)]


async def test_names_of_bots_can_be_changed() -> None:
    async with stage(asleep_bot_names=("Checker", "-Googlebot")) as on:
        sleeps(on)
        assert code(await on.ask(get("/", "User-Agent: checker/1"))) == "asleep"
        assert on.registry.wakes == []
        await on.ask(get("/", BOT))
        assert len(on.registry.wakes) == 1


async def test_an_awake_tenant_gets_everything() -> None:
    async with stage(asleep_paths=parse_asleep_paths("/healthz")) as on, on.visitor() as visitor:
        app = await on.serve()
        paths = ["/robots.txt", "/favicon.ico", "/healthz"]
        for request_bytes in [*(get(path) for path in paths), get("/", BOT), get("/", PREFETCH)]:
            assert (await visitor.ask(request_bytes)).body == b"ok"
        assert len(app.seen) == 5
        assert not on.proxy.tally.unwoken


async def test_on_the_way_up_they_wait_like_everybody_and_wake_nothing() -> None:
    async with stage() as on, on.visitor() as visitor, on.visitor() as second:
        on.declare()
        on.change(desired=DesiredState(state=Desired.STARTED), observed=ObservedState(state=Observed.STARTING))
        visitor.send(get("/robots.txt", BOT))
        second.send(get("/", PREFETCH))
        await until(lambda: on.proxy.tally.held == 2)
        on.change(observed=on.observed(await on.upstream(App())))
        assert [(await one.answer()).body for one in (visitor, second)] == [b"ok", b"ok"]
        assert on.registry.wakes == []


async def test_who_waited_for_a_start_and_finds_it_asleep_is_decided_on_anew() -> None:
    async with stage() as on, on.visitor() as visitor:
        on.declare()
        on.change(desired=DesiredState(state=Desired.STARTED), observed=ObservedState(state=Observed.STARTING))
        visitor.send(get("/", BOT))
        await until(lambda: on.proxy.tally.held)
        falls_asleep(on)
        assert code(await visitor.answer()) == "asleep"
        assert on.registry.wakes == []


async def test_a_stopped_tenant_says_so_to_bots_as_well() -> None:
    async with stage() as on:
        on.declare()
        on.change(desired=DesiredState(state=Desired.STOPPED))
        assert code(await on.ask(get("/robots.txt", BOT))) == "stopped"


async def test_who_wakes_nothing_uses_nothing() -> None:
    async with stage() as on:
        sleeps(on)
        await on.ask(get("/", BOT))
        await on.proxy.activity.flush(on.proxy.loop_time(), everything=True)
        assert on.registry.accesses == []
        await on.ask(get("/"))
        await on.proxy.activity.flush(on.proxy.loop_time(), everything=True)
        assert [list(batch) for batch in on.registry.accesses] == [["acme"]]


@pytest.mark.parametrize(
    ("request_bytes", "uses"),
    [
        (get("/", BOT), False),
        (get("/", MONITOR), False),
        (get("/healthz"), False),
        (get("/robots.txt"), False),
        (get("/", PREFETCH), False),
        (get("/"), True),
        (post(b"x", BOT), True),
        (get("/", BOT, *NAVIGATES, "Sec-Fetch-User: ?1"), True),
    ],
)
async def test_who_would_not_have_woken_it_does_not_keep_it_awake(request_bytes: bytes, *, uses: bool) -> None:
    async with stage(asleep_paths=parse_asleep_paths("/healthz")) as on:
        await on.serve()
        assert (await on.ask(request_bytes)).body == b"ok"
        await on.proxy.activity.flush(on.proxy.loop_time(), everything=True)
        assert [list(batch) for batch in on.registry.accesses] == ([["acme"]] if uses else [])


async def test_a_bot_that_is_told_to_wake_keeps_awake_as_well() -> None:
    async with stage() as on:
        await on.serve(wake={"bots": "wake"})
        await on.ask(get("/", BOT))
        await on.proxy.activity.flush(on.proxy.loop_time(), everything=True)
        assert len(on.registry.accesses) == 1


async def test_a_bot_in_flight_is_a_use_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    async with stage() as on, on.visitor() as visitor:
        app = await on.serve(App(b""))
        visitor.send(get("/", BOT))
        await app.heard(1)
        on.change(desired=DesiredState(state=Desired.PASSIVATED))
        await until(lambda: on.registry.wakes)
        assert on.registry.wakes == [("acme", Cause.IN_USE)], "what is under way is not stopped"
        monkeypatch.setattr(doorkeeper, "LONG_SECONDS", 0.0)
        app.writers[-1].write(OK)
        await visitor.answer()
        await on.proxy.activity.flush(on.proxy.loop_time(), everything=True)
        assert len(on.registry.accesses) == 1, "and what took long was a use"


async def test_a_tenants_budget_is_for_visitors_together_and_says_when() -> None:
    async with stage() as on:
        counts(on)
        sleeps(on, per_hour=2)
        for number in range(2):
            assert code(await on.ask(get("/"))) == "wake-timeout"
            assert len(on.registry.wakes) == number + 1
            falls_asleep(on)
        answer = await on.ask(get("/"))
        assert (answer.status, code(answer)) == (429, "too-many-wakes")
        assert 3000 < int(answer.get("Retry-After") or 0) <= 3660
        page = await on.ask(get("/", *NAVIGATES))
        assert page.status == 429
        assert b"It can be started again in about" in page.body
        assert code(await on.ask(post(b"x"))) == "too-many-wakes"
        # Who would not have woken it anyway is answered as ever.
        assert (await on.ask(get("/robots.txt"))).status == 200
        assert code(await on.ask(get("/", BOT))) == "asleep"
        assert len(on.registry.wakes) == 2
        assert on.proxy.tally.unwoken["tenant-budget"] == 3
        # Nobody who was refused has used it.
        await on.proxy.activity.flush(on.proxy.loop_time(), everything=True)
        assert on.registry.accesses == []


async def test_another_proxys_wakes_are_found_out_when_it_is_asked_for() -> None:
    async with stage() as on, on.visitor() as visitor:
        sleeps(on, per_hour=1, timeout=30.0)

        async def wake(name: str, _: Cause) -> DesiredChange:
            spent = replace(on.records[name].desired, recent_wakes=with_wake((), wall_ms()))
            on.change(name, desired=spent)
            raise WakeBudgetError(name, 1, 1000, on.revision)

        on.registry.on_wake = wake
        assert code(await visitor.ask(get("/"))) == "too-many-wakes"
        assert on.registry.wakes == [("acme", Cause.REQUEST)]
        assert on.proxy.tally.wakes["over-budget"] == 1
        assert on.proxy.doorkeeper.by_address.wait("127.0.0.1", 0) == 0


async def test_what_is_in_use_is_taken_back_whatever_the_budget() -> None:
    async with stage() as on, on.visitor() as visitor, on.visitor() as late:
        counts(on)
        app = await on.serve(App(b""), wake={"per_hour": 1})
        visitor.send(get())
        await app.heard(1)
        spent = DesiredState(state=Desired.STARTED, recent_wakes=with_wake((), wall_ms()))
        on.change(desired=spent, observed=replace(on.records["acme"].observed, state=Observed.STARTING))
        late.send(get())
        await until(lambda: on.proxy.tally.held)
        on.change(desired=replace(spent, state=Desired.PASSIVATED))
        await until(lambda: on.registry.wakes)
        assert on.registry.wakes == [("acme", Cause.IN_USE)]
        on.change(observed=on.observed(await on.upstream(App())))
        assert (await late.answer()).body == b"ok", "somebody's wake was under way"


async def test_one_more_try_of_what_was_given_up_is_no_wake_and_no_bots_matter() -> None:
    async with stage() as on:
        sleeps(on, per_hour=1)
        reason = Reason(ReasonCode.EXITED, "given up", given_up=True, on_request=True)
        on.change(
            desired=DesiredState(state=Desired.STARTED, wakes=3, recent_wakes=with_wake((), wall_ms())),
            observed=ObservedState(state=Observed.FAILED, wakes=3, reason=reason),
        )
        assert code(await on.ask(get("/", BOT))) == "asleep"
        assert on.registry.tries == []
        assert code(await on.ask(get("/"))) != "too-many-wakes"
        assert on.registry.tries
        assert on.proxy.doorkeeper.by_address.wait("127.0.0.1", 0) == 0


async def test_who_waits_when_a_tenant_is_given_up_asks_although_something_is_in_flight() -> None:
    async with stage() as on, on.visitor() as visitor, on.visitor() as late:
        app = await on.serve(App(b""))
        visitor.send(get())
        await app.heard(1)
        started = DesiredState(state=Desired.STARTED, wakes=3)
        on.change(desired=started, observed=replace(on.records["acme"].observed, state=Observed.STARTING))
        late.send(get())
        await until(lambda: on.proxy.tally.held)
        reason = Reason(ReasonCode.EXITED, "given up", given_up=True, on_request=True)
        on.change(observed=ObservedState(state=Observed.FAILED, wakes=3, reason=reason))
        await until(lambda: on.registry.tries)
        assert on.registry.wakes == []


async def test_an_addresss_budget_is_its_own_and_counts_no_joined_wakes() -> None:
    async with stage(trusted_proxies=LOCAL, wakes_per_hour_per_address=2) as on:
        for name in ("a", "b", "c", "d"):
            sleeps(on, name)

        async def ask(name: str, *more: str) -> Message:
            return await on.ask(get("/", *more, host=f"{name}.test"))

        mine, neighbour, other = (
            came_from("2001:db8:1:2::1"),
            came_from("2001:db8:1:2:ffff::9"),
            came_from("2001:db8:1:3::1"),
        )
        for _ in range(5):
            assert code(await ask("a", mine)) == "wake-timeout"
        assert code(await ask("b", neighbour)) == "wake-timeout"
        answer = await ask("c", mine)
        assert (answer.status, code(answer)) == (429, "too-many-wakes-from-address")
        assert int(answer.get("Retry-After") or 0) > 3000
        assert code(await ask("a", mine)) == "wake-timeout", "what is on its way up needs no wake"
        assert code(await ask("c", other)) == "wake-timeout"
        # The proxy in front itself speaks for nobody.
        assert code(await ask("d")) == "wake-timeout"
        assert [name for name, _ in on.registry.wakes] == ["a", "b", "c", "d"]
        assert on.proxy.tally.unwoken == {"address-budget": 1}


async def test_nobody_speaks_for_others_who_is_not_trusted() -> None:
    async with stage(wakes_per_hour_per_address=1) as on:
        sleeps(on, "a")
        sleeps(on, "b")
        assert code(await on.ask(get("/", came_from("192.0.2.1"), host="a.test"))) == "wake-timeout"
        assert code(await on.ask(get("/", came_from("192.0.2.2"), host="b.test"))) == "too-many-wakes-from-address"


@pytest.mark.parametrize("changed", [True, False])
async def test_a_wake_that_was_somebody_elses_is_not_charged(*, changed: bool) -> None:
    async with stage(wakes_per_hour_per_address=1) as on:
        sleeps(on)
        wake = on.registry.on_wake
        assert wake is not None

        async def late(name: str, cause: Cause) -> DesiredChange:
            return replace(await wake(name, cause), changed=changed)

        on.registry.on_wake = late
        await on.ask(get("/"))
        waking = on.proxy.fleet.entries["acme"].waking
        assert waking is not None
        await until(waking.done)
        falls_asleep(on)
        expected = "too-many-wakes-from-address" if changed else "wake-timeout"
        assert code(await on.ask(get("/"))) == expected


def metrics_of(on: Stage) -> Mapping[str, float]:
    """What a scrape says of callers."""
    from gogeta.admin.metrics import ProxyCollector  # noqa: PLC0415 - only here
    from gogeta.registry.memory import MemoryStore  # noqa: PLC0415 - ditto
    from gogeta.registry.mirror import TenantMirror  # noqa: PLC0415 - ditto

    collector = ProxyCollector(on.proxy, TenantMirror(MemoryStore()))
    return {
        sample.labels.get("why", sample.name): sample.value
        for metric in collector.collect()
        if metric.name in ("gogeta_unwoken_requests", "gogeta_waking_addresses")
        for sample in metric.samples
    }


async def test_all_of_it_is_counted_under_names_that_are_there_from_the_first_scrape() -> None:
    async with stage() as on:
        sleeps(on)
        assert set(metrics_of(on).values()) == {0}
        await on.ask(get("/", BOT))
        await on.ask(get("/"))
        seen = metrics_of(on)
        assert (seen["bot"], seen["gogeta_waking_addresses"]) == (1, 1)
        assert set(seen) == {
            *("asleep-path", "robots", "favicon", "prefetch", "bot", "tenant-budget", "address-budget"),
            "gogeta_waking_addresses",
        }
