"""Requests that meet a sleeping tenant: held, paged, woken once; nobody is lost and nobody gets another's bytes."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import pytest

from gogeta.domain.lifecycle import Cause, Desired, Observed
from gogeta.domain.state import DesiredState, ObservedState, Reason, ReasonCode, TenantRecord
from gogeta.registry.registry import DesiredChange
from gogeta.registry.store import RegistryUnavailableError
from tests.net.stage import Stage, reset, stage
from tests.net.talk import NAVIGATES, OK, App, Message, get, post, until

STARTED = DesiredState(state=Desired.STARTED)
PASSIVATED = DesiredState(state=Desired.PASSIVATED)


def code(answer: Message) -> str:
    """The name of a refusal told to a program."""
    return str(json.loads(answer.body)["code"])


async def wake_up(on: Stage, app: App, name: str = "acme") -> None:
    """What passivator does after a wake."""
    on.change(name, desired=STARTED, observed=on.observed(await on.upstream(app)))


async def test_many_requests_ask_for_one_wake_and_are_all_answered() -> None:
    async with stage() as on:
        on.declare()
        all_here = asyncio.Event()
        wake = on.registry.on_wake
        assert wake is not None

        async def slow(name: str, cause: Cause) -> DesiredChange:
            # It takes its time: everybody meets the tenant while it is still asleep.
            await all_here.wait()
            return await wake(name, cause)

        on.registry.on_wake = slow
        asking = [asyncio.create_task(on.ask(get(f"/{number}"))) for number in range(50)]
        await until(lambda: on.proxy.tally.held == 50)
        assert on.registry.wakes == [("acme", Cause.REQUEST)]
        all_here.set()
        await wake_up(on, App())
        assert [(await task).status for task in asking] == [200] * 50
        assert on.registry.wakes == [("acme", Cause.REQUEST)]
        assert on.proxy.tally.holds >= 50


async def test_a_held_upload_is_delivered_intact() -> None:
    body = bytes(range(256)) * 4096
    async with stage() as on, on.visitor() as visitor:
        on.declare()
        app = App()
        visitor.send(post(body) + get("/next"))
        await until(lambda: on.proxy.tally.held)
        await wake_up(on, app)
        assert (await visitor.answer()).status == 200
        assert (await visitor.answer()).status == 200
        assert app.seen[0].body == body


async def test_a_person_is_held_then_gets_the_page() -> None:
    async with stage() as on:
        on.declare(wake={"hold": 0.05})
        answer = await on.ask(get("/", *NAVIGATES))
        assert answer.status == 503
        assert b"Starting acme.test" in answer.body
        assert answer.get("Cache-Control") == "no-store"
        assert on.proxy.tally.holds == 2
        assert on.registry.wakes == [("acme", Cause.REQUEST)]


async def test_a_person_whose_application_is_quick_never_sees_the_page() -> None:
    async with stage() as on, on.visitor() as visitor:
        on.declare(wake={"hold": 10.0})
        visitor.send(get("/", "Accept: text/html"))
        await until(lambda: on.proxy.tally.held)
        await wake_up(on, App())
        assert (await visitor.answer()).body == b"ok"


async def test_a_program_is_held_until_the_timeout() -> None:
    async with stage() as on:
        on.declare(wake={"timeout": 0.1})
        answer = await on.ask(get())
        assert (answer.status, code(answer)) == (503, "wake-timeout")
        assert answer.get("Retry-After")


async def test_mode_page_pages_at_once_and_still_wakes() -> None:
    async with stage() as on:
        on.declare(wake={"mode": "page", "hold": 10.0})
        assert b"Starting" in (await on.ask(get("/", *NAVIGATES))).body
        await until(lambda: on.registry.wakes)
        assert on.proxy.tally.holds == 0


async def test_mode_hold_never_pages() -> None:
    async with stage() as on:
        on.declare(wake={"mode": "hold", "hold": 0.0, "timeout": 0.1})
        answer = await on.ask(get("/", *NAVIGATES))
        assert answer.status == 503
        assert b"Still starting" in answer.body


@pytest.mark.parametrize(
    ("desired", "observed", "name"),
    [(Desired.STOPPED, Observed.STARTED, "stopped"), (Desired.STARTED, Observed.FAILED, "failed")],
)
async def test_what_is_stopped_or_failed_is_said_at_once(desired: Desired, observed: Observed, name: str) -> None:
    async with stage() as on:
        on.declare()
        on.change(desired=DesiredState(state=desired), observed=ObservedState(state=observed))
        answer = await on.ask(get())
        assert (answer.status, code(answer)) == (503, name)
        assert on.registry.wakes == []


def gave_up(*, on_request: bool) -> ObservedState:
    reason = Reason(ReasonCode.EXITED, "given up", failures=8, given_up=True, on_request=on_request)
    return ObservedState(state=Observed.FAILED, wakes=1, reason=reason)


WOKEN = DesiredState(state=Desired.STARTED, wakes=1)


async def test_of_a_tenant_that_was_given_up_requests_ask_for_one_try_and_wait_for_it() -> None:
    async with stage() as on:
        on.declare()
        on.change(desired=WOKEN, observed=gave_up(on_request=True))

        async def renewed(record: TenantRecord) -> DesiredChange:
            desired = replace(record.desired, wakes=record.desired.wakes + 1)
            on.change(desired=desired)
            return DesiredChange(desired, on.revision, changed=True)

        on.registry.on_try = renewed
        asking = [asyncio.create_task(on.ask(get())) for _ in range(20)]
        await until(lambda: on.proxy.tally.held == 20)
        await wake_up(on, App())
        assert {answer.status for answer in await asyncio.gather(*asking)} == {200}
        assert on.registry.tries == ["acme"]
        assert on.registry.wakes == []


async def test_a_try_that_fails_is_told_to_who_waited_and_asked_for_no_second_time() -> None:
    async with stage() as on, on.visitor() as visitor:
        on.declare()
        on.change(desired=WOKEN, observed=gave_up(on_request=True))

        async def renewed(record: TenantRecord) -> DesiredChange:
            desired = replace(record.desired, wakes=2)
            on.change(desired=desired)
            on.change(observed=ObservedState(state=Observed.STARTING, wakes=2))
            return DesiredChange(desired, on.revision, changed=True)

        on.registry.on_try = renewed
        visitor.send(get())
        await until(lambda: on.registry.tries)
        on.change(observed=replace(gave_up(on_request=False), wakes=2))
        assert code(await visitor.answer()) == "failed"
        assert code(await on.ask(get())) == "failed"
        assert on.registry.tries == ["acme"]


async def test_a_try_that_somebody_else_asked_for_is_not_asked_for_again() -> None:
    async with stage() as on, on.visitor() as visitor:
        on.declare()
        on.change(desired=WOKEN, observed=gave_up(on_request=True))
        visitor.send(get())
        await until(lambda: on.registry.tries)
        # Refused: another proxy was first. Its wish comes to us by the mirror.
        await asyncio.sleep(0.05)
        on.change(desired=replace(WOKEN, wakes=2))
        await wake_up(on, App())
        assert (await visitor.answer()).status == 200
        assert on.registry.tries == ["acme"]


@pytest.mark.parametrize("meets", ["removed", "stopped"])
async def test_who_waits_is_told_when_the_tenant_goes(meets: str) -> None:
    async with stage() as on, on.visitor() as visitor:
        on.declare()
        visitor.send(get())
        await until(lambda: on.proxy.tally.held)
        if meets == "removed":
            on.become("acme", None)
        else:
            on.change(desired=DesiredState(state=Desired.STOPPED))
        assert code(await visitor.answer()) == ("tenant-removed" if meets == "removed" else "stopped")


async def test_a_request_in_flight_takes_the_passivation_back() -> None:
    async with stage() as on, on.visitor() as visitor:
        app = await on.serve(App(b""))
        visitor.send(get())
        await app.heard(1)
        on.change(desired=PASSIVATED)
        await until(lambda: on.registry.wakes)
        assert on.registry.wakes == [("acme", Cause.IN_USE)]
        app.writers[-1].write(OK)
        assert (await visitor.answer()).status == 200
        assert on.proxy.tally.taken_back == 1


async def test_an_idle_tenant_is_passivated_without_a_word() -> None:
    async with stage() as on:
        await on.serve()
        await on.ask(get())
        on.change(desired=PASSIVATED)
        await asyncio.sleep(0)
        assert on.registry.wakes == []


class Shared(App):
    """What listens at one address: whoever has it now answers."""

    def __init__(self, owner: str) -> None:
        super().__init__()
        self.become(owner)

    def become(self, owner: str) -> None:
        """Another container gets the address; the connections of the one before are gone."""
        self.owner = owner
        self.response = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n" + owner.encode()
        for writer in self.writers:
            reset(writer)
        self.writers.clear()


async def test_tenants_that_swap_their_addresses_never_answer_for_each_other() -> None:
    async with stage() as on:
        apps = [Shared("one"), Shared("two")]
        endpoints = [await on.upstream(app) for app in apps]
        for app, endpoint in zip(apps, endpoints, strict=True):
            on.declare(app.owner, endpoint=endpoint)

        async def visit(name: str) -> None:
            async with on.visitor() as visitor:
                for _ in range(125):
                    answer = await visitor.ask(get(host=f"{name}.test"))
                    assert (answer.status, answer.body) == (200, name.encode())

        visits = [asyncio.create_task(visit(name)) for name in ("one", "two") for _ in range(4)]
        swaps = 0
        while not all(task.done() for task in visits):
            await asyncio.sleep(0.02)
            for app in apps:
                on.change(app.owner, observed=on.observed(None))
            await asyncio.sleep(0.005)
            # A container takes its queue of connections with it; these applications have to have accepted theirs.
            for _ in range(20):
                await asyncio.sleep(0)
            one, two = (app.owner for app in apps)
            apps[0].become(two)
            apps[1].become(one)
            for app, endpoint in zip(apps, endpoints, strict=True):
                on.change(app.owner, observed=on.observed(endpoint))
            swaps += 1
        await asyncio.gather(*visits)
        assert swaps > 1


async def test_a_connection_of_an_earlier_start_is_never_used_again() -> None:
    async with stage() as on, on.visitor() as visitor:
        app = App()
        endpoint = await on.upstream(app)
        on.declare(endpoint=endpoint)
        await visitor.ask(get())
        # The same address, and another start: another container may have it now.
        on.change(observed=on.observed(endpoint))
        await until(lambda: app.lost == 1)
        await visitor.ask(get())
        assert app.connections == 2


async def test_an_answer_under_way_when_the_start_changes_ends_with_its_connection() -> None:
    async with stage() as on, on.visitor() as visitor:
        app = App(b"")
        endpoint = await on.upstream(app)
        on.declare(endpoint=endpoint)
        visitor.send(get())
        await app.heard(1)
        on.change(observed=on.observed(endpoint))
        app.writers[-1].write(OK)
        assert (await visitor.answer()).status == 200
        await until(lambda: app.lost == 1)


async def test_a_get_whose_tenant_is_stopped_under_it_waits_for_the_next_start() -> None:
    async with stage() as on, on.visitor() as visitor:
        first, second = App(b""), App()
        await on.serve(first)
        visitor.send(get())
        await first.heard(1)
        on.change(desired=PASSIVATED, observed=on.observed(None))
        first.writers[-1].close()
        await until(lambda: on.proxy.tally.held)
        await wake_up(on, second)
        assert (await visitor.answer()).body == b"ok"


@pytest.mark.parametrize("limits", [{"max_held": 2}, {"max_held_per_tenant": 2}], ids=lambda limits: next(iter(limits)))
async def test_one_held_request_too_many_is_refused(limits: dict[str, int]) -> None:
    async with stage(**limits) as on:
        on.declare()
        waiting = [asyncio.create_task(on.ask(get())) for _ in range(2)]
        await until(lambda: on.proxy.tally.held == 2)
        answer = await on.ask(get())
        assert (answer.status, code(answer)) == (503, "too-many-held")
        await wake_up(on, App())
        assert [(await task).status for task in waiting] == [200, 200]


async def test_the_wake_goes_on_when_the_visitor_leaves() -> None:
    async with stage() as on:
        on.declare()
        asked, go_on = asyncio.Event(), asyncio.Event()
        done: list[str] = []
        wake = on.registry.on_wake
        assert wake is not None

        async def slow(name: str, cause: Cause) -> DesiredChange:
            asked.set()
            await go_on.wait()
            done.append(name)
            return await wake(name, cause)

        on.registry.on_wake = slow
        async with on.visitor() as visitor:
            visitor.send(get())
            await asked.wait()
            visitor.reset()
            await on.quiet()
        go_on.set()
        await until(lambda: done == ["acme"])
        assert on.proxy.fleet.entries["acme"].in_flight == 0


async def test_a_registry_that_is_away_is_asked_again_while_somebody_waits() -> None:
    async with stage() as on, on.visitor() as visitor:
        on.declare()
        on.registry.away = True
        visitor.send(get())
        await until(lambda: on.proxy.tally.wakes["unavailable"] > 1)
        on.registry.away = False
        await until(lambda: on.proxy.tally.wakes["asked"])
        await wake_up(on, App())
        assert (await visitor.answer()).status == 200


async def test_a_registry_that_stays_away_is_named_and_left_alone() -> None:
    async with stage() as on:
        on.declare(wake={"timeout": 0.2})
        on.registry.away = True
        answer = await on.ask(get())
        assert (answer.status, code(answer)) == (503, "registry-unavailable")
        await on.quiet()
        waking = on.proxy.fleet.entries["acme"].waking
        assert waking is not None
        await until(waking.done)


async def test_a_served_tenant_does_not_need_the_registry() -> None:
    async with stage() as on:
        await on.serve()
        on.registry.away = True
        assert (await on.ask(get())).status == 200


async def test_a_registry_that_never_answers_is_named_as_well() -> None:
    async with stage() as on:
        on.declare(wake={"timeout": 0.2})
        answered = asyncio.Event()

        async def never(_name: str, _cause: Cause) -> DesiredChange:
            await answered.wait()
            raise RegistryUnavailableError("it was away all the time")

        on.registry.on_wake = never
        answer = await on.ask(get())
        assert (answer.status, code(answer)) == (503, "registry-unavailable")
        answered.set()
