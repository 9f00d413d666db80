"""Requests by tenant: for so many tenants, under their names; the others together; and nothing that is shown falls."""

from __future__ import annotations

from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry

from gogeta.admin.metrics import ProxyCollector
from gogeta.domain.lifecycle import Desired
from gogeta.domain.state import DesiredState
from gogeta.registry.memory import MemoryStore
from gogeta.registry.mirror import TenantMirror
from tests.net.stage import Stage, stage
from tests.net.talk import get, post, until

CALL = ("Content-Type: application/grpc",)


def shown(on: Stage) -> CollectorRegistry:
    """What is scraped of the proxy."""
    metrics = CollectorRegistry()
    metrics.register(ProxyCollector(on.proxy, TenantMirror(MemoryStore())))
    return metrics


def requests(on: Stage, code: str = "2xx") -> dict[str, float]:
    """Requests by tenant."""
    return {
        sample.labels["tenant"]: sample.value
        for family in shown(on).collect()
        for sample in family.samples
        if sample.name == "gogeta_tenant_requests_total" and sample.labels["code"] == code
    }


def whole(on: Stage, code: str = "2xx") -> float:
    """Requests of all."""
    return shown(on).get_sample_value("gogeta_requests_total", {"code": code}) or 0.0


async def declared(on: Stage, *names: str) -> None:
    """Tenants that are up, declared in this order."""
    for place, name in enumerate(names, 1):
        await on.serve(name=name)
        on.become(name, replace(on.records[name], created=place))


async def ask(on: Stage, name: str, times: int = 1) -> None:
    for _ in range(times):
        assert (await on.ask(get(host=f"{name}.test"))).status == 200


async def test_nothing_is_counted_by_tenant_unless_it_was_asked_for() -> None:
    async with stage() as on:
        await declared(on, "acme", "globex")
        await ask(on, "acme", 3)
        assert requests(on) == {}
        assert whole(on) == 3
        assert on.proxy.fleet.entries["acme"].answers is on.proxy.tally.answers, "and nothing is counted apart"


async def test_each_tenant_has_its_requests_by_class_and_what_has_no_tenant_is_in_the_sum_alone() -> None:
    async with stage(metrics_tenants=10) as on:
        await declared(on, "acme", "globex", "quiet")
        await ask(on, "acme", 3)
        await ask(on, "globex")
        await on.ask(get(host="nobody.test"))
        on.change("globex", desired=DesiredState(state=Desired.STOPPED))
        assert (await on.ask(get(host="globex.test"))).status == 503
        await on.quiet()
        assert requests(on) == {"acme": 3, "globex": 1, "quiet": 0}
        assert requests(on, "5xx") == {"acme": 0, "globex": 1, "quiet": 0}
        assert (whole(on), whole(on, "4xx"), whole(on, "5xx")) == (4, 1, 1)


async def test_the_first_declared_have_names_and_all_others_are_counted_together() -> None:
    async with stage(metrics_tenants=2) as on:
        await declared(on, "zeta", "beta", "alpha", "gamma")
        for times, name in enumerate(("alpha", "beta", "gamma", "zeta"), 1):
            await ask(on, name, times)
        assert requests(on) == {"zeta": 4, "beta": 2, "_other": 1 + 3}
        assert whole(on) == 10


async def test_who_gets_a_name_later_begins_at_nothing_and_no_number_falls() -> None:
    async with stage(metrics_tenants=1) as on:
        await declared(on, "first", "second", "third")
        for name in ("first", "second", "third"):
            await ask(on, name, 2)
        assert requests(on) == {"first": 2, "_other": 4}
        on.become("first", None)
        assert requests(on) == {"second": 0, "_other": 4}
        await ask(on, "second")
        await ask(on, "third")
        assert requests(on) == {"second": 1, "_other": 5}
        on.become("third", None)
        assert requests(on) == {"second": 1, "_other": 5}
        assert whole(on) == 8, "what was asked of those that are gone is not forgotten"


async def test_what_is_under_way_while_its_tenant_is_removed_is_counted_all_the_same() -> None:
    async with stage(metrics_tenants=5) as on:
        on.declare()
        on.registry.away = True
        async with on.visitor() as visitor:
            visitor.send(get())
            await until(lambda: on.proxy.tally.held)
            on.become("acme", None)
            assert (await visitor.answer()).status == 404
        assert requests(on, "4xx") == {}
        assert whole(on, "4xx") == 1


async def test_requests_under_way_are_shown_by_tenant() -> None:
    async with stage(metrics_tenants=5) as on:
        on.declare()
        on.registry.away = True
        async with on.visitor() as visitor:
            visitor.send(get())
            await until(lambda: on.proxy.tally.held)
            assert shown(on).get_sample_value("gogeta_tenant_in_flight", {"tenant": "acme"}) == 1


async def test_no_host_and_no_path_is_in_any_label() -> None:
    async with stage(metrics_tenants=5) as on:
        await declared(on, "acme")
        await on.ask(get("/secret-path", host="acme.test"))
        await on.ask(get("/secret-path", host="secret-host.test"))
        labels = {
            value for family in shown(on).collect() for sample in family.samples for value in sample.labels.values()
        }
        assert "acme" in labels
        assert not [value for value in labels if "secret" in value or ".test" in value or "/" in value]


@pytest.mark.parametrize("named", [0, 5])
async def test_a_refusal_in_grpcs_words_is_no_success(named: int) -> None:
    async with stage(metrics_tenants=named) as on:
        on.declare(wake={"timeout": 0.05})
        answer = await on.ask(post(b"\0\0\0\0\1x", *CALL))
        assert (answer.status, answer.get("grpc-status")) == (200, "14")
        unknown = await on.ask(post(b"\0\0\0\0\1x", *CALL, host="nobody.test"))
        assert unknown.status == 200
        assert unknown.get("grpc-status") not in (None, "0")
        await on.quiet()
        assert [whole(on, f"{digit}xx") for digit in range(1, 6)] == [0, 0, 0, 1, 1]
        if named:
            assert (requests(on, "2xx"), requests(on, "5xx")) == ({"acme": 0}, {"acme": 1})
        reasons = shown(on)
        for reason in ("wake-timeout", "unknown-host"):
            assert reasons.get_sample_value("gogeta_refusals_total", {"reason": reason}) == 1


async def test_closed_sets_are_shown_from_the_begin() -> None:
    async with stage() as on:
        metrics = shown(on)
        for name, labels in (
            ("gogeta_requests_total", {"code": "5xx"}),
            ("gogeta_refusals_total", {"reason": "wake-timeout"}),
            ("gogeta_broken_exchanges_total", {"side": "upstream"}),
            ("gogeta_wakes_total", {"result": "unavailable"}),
            ("gogeta_wakes_ended_total", {"result": "failed"}),
            ("gogeta_unwoken_requests_total", {"why": "bot"}),
        ):
            assert metrics.get_sample_value(name, labels) == 0, name


async def test_nothing_is_named_that_the_registry_took_away() -> None:
    async with stage(metrics_tenants=5) as on:
        await declared(on, "acme")
        await ask(on, "acme")
        assert requests(on) == {"acme": 1}
        on.become("acme", None)
        assert requests(on) == {}
        await declared(on, "acme")
        await ask(on, "acme")
        assert requests(on) == {"acme": 1}
        assert whole(on) == 2
