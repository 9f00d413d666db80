"""Several containers as one tenant, on a real engine: started in order with its conditions, stopped in reverse."""

import asyncio
from typing import Any

import pytest

from gogeta.domain.state import ReasonCode
from gogeta.domain.tenant import Tenant, read_tenant
from gogeta.kit.tasks import Tasks
from passivator.drivers.base import Runtime, StartFailedError, Status, StopFailedError
from passivator.drivers.docker import DockerDriver
from tests.drivers.worlds import fetch, until
from tests.rig.docker import DockerEngine

pytestmark = pytest.mark.docker

SECOND = 1_000_000_000
SERVE = "mkdir -p /tmp/www; echo shop > /tmp/www/index.html; exec httpd -f -p 80 -h /tmp/www"
WAIT = "trap 'exit 0' TERM; while :; do sleep 0.05; done"
SLOW = f"sleep 1; touch /tmp/ready; {WAIT}"


def declared(*, timeout: float = 20.0, grace: float = 3.0) -> Tenant:
    return read_tenant(
        {
            "name": "shop",
            "hosts": ["shop.test"],
            "stop_grace": grace,
            "ready": {"timeout": timeout},
            "docker": {"compose": "shop", "service": "web"},
        },
        what="test",
    )


def make(
    docker: DockerEngine,
    service: str,
    script: str = WAIT,
    needs: str | None = "",
    *,
    number: int = 1,
    healthy: str = "",
    **labels: str,
) -> str:
    """A container as Compose makes it."""
    ours = {"project": "shop", "service": service, "container-number": str(number), "oneoff": "False"}
    given = {f"com.docker.compose.{key}": value for key, value in {**ours, **labels}.items()}
    if needs is not None:
        given["com.docker.compose.depends_on"] = needs
    options: dict[str, Any] = {"Labels": given}
    if healthy:
        test = ["CMD-SHELL", healthy]
        retries = 2 if healthy == "false" else 50
        options["Healthcheck"] = {"Test": test, "Interval": SECOND // 5, "Timeout": SECOND, "Retries": retries}
    name = f"shop-{service}-{number}"
    docker.create("bb:1", "sh", "-c", script, name=name, options=options)
    return name


def make_shop(docker: DockerEngine) -> None:
    """Web waits for a healthy db and for a job that waits for db; mail is nobody's."""
    make(docker, "web", SERVE, "db:service_healthy:false,migrate:service_completed_successfully:false")
    make(docker, "migrate", "sleep 0.3; exit 0", "db:service_healthy:false")
    make(docker, "db", SLOW, healthy="test -e /tmp/ready")
    make(docker, "mail", WAIT, "db:service_started:true")


def moment(docker: DockerEngine, name: str, what: str) -> str:
    return str(docker.inspect(name)["State"][what])


def all_states(docker: DockerEngine) -> dict[str, str]:
    return {name: docker.state(name) for name in docker.containers()}


async def test_it_starts_in_order_with_its_conditions_and_stops_in_reverse(
    docker: DockerEngine, docker_driver: DockerDriver
) -> None:
    make_shop(docker)
    who = declared()
    assert (await docker_driver.inspect(who)).status is Status.EXITED
    runtime = await docker_driver.start(who)
    assert runtime.status is Status.RUNNING
    assert await fetch(runtime.endpoints[0]) == "shop"
    states = all_states(docker)
    assert states == {
        "shop-db-1": "running", "shop-mail-1": "running", "shop-migrate-1": "exited", "shop-web-1": "running",
    }  # fmt: skip
    log = docker.inspect("shop-db-1")["State"]["Health"]["Log"]
    first_healthy = min(check["End"] for check in log if check["ExitCode"] == 0)
    # By the engine's own clock; times of checks have a zone, those of starts have none.
    assert moment(docker, "shop-migrate-1", "StartedAt")[:23] >= first_healthy[:23]
    assert moment(docker, "shop-web-1", "StartedAt") >= moment(docker, "shop-migrate-1", "FinishedAt")
    stopped = await docker_driver.stop(who)
    assert stopped.status is Status.EXITED
    assert set(all_states(docker).values()) == {"exited"}
    assert moment(docker, "shop-web-1", "FinishedAt") <= moment(docker, "shop-db-1", "FinishedAt")
    assert moment(docker, "shop-mail-1", "FinishedAt") <= moment(docker, "shop-db-1", "FinishedAt")


async def test_a_start_of_what_runs_does_nothing_and_a_second_one_is_another_instance(
    docker: DockerEngine, docker_driver: DockerDriver
) -> None:
    make_shop(docker)
    who = declared()
    first = await docker_driver.start(who)
    ran = moment(docker, "shop-migrate-1", "StartedAt")
    assert (await docker_driver.start(who)).instance == first.instance
    assert moment(docker, "shop-migrate-1", "StartedAt") == ran
    await docker_driver.stop(who)
    second = await docker_driver.start(who)
    assert second.instance != first.instance
    assert moment(docker, "shop-migrate-1", "StartedAt") != ran


@pytest.mark.parametrize(
    ("script", "healthy", "condition", "code", "message"),
    [
        ("exit 3", "", "service_completed_successfully", ReasonCode.EXITED, "ended with exit code 3: service db"),
        ("echo no disk; exit 4", "true", "service_healthy", ReasonCode.EXITED, "exit code 4: service db: no disk"),
        (WAIT, "false", "service_healthy", ReasonCode.UNHEALTHY, "service db: its health check fails"),
        (WAIT, "", "service_healthy", ReasonCode.BAD_SPEC, "service db has no health check"),
        (WAIT, "", "service_completed_successfully", ReasonCode.NOT_READY, "service db was not done within 2s of the"),
    ],
)
async def test_a_condition_that_is_not_met_fails_the_start_and_names_the_service(
    docker: DockerEngine,
    docker_driver: DockerDriver,
    script: str,
    healthy: str,
    condition: str,
    code: ReasonCode,
    message: str,
) -> None:
    make(docker, "web", SERVE, f"db:{condition}:false")
    make(docker, "db", script, healthy=healthy)
    make(docker, "cache")
    who = declared(timeout=2.0)
    with pytest.raises(StartFailedError) as failed:
        await docker_driver.start(who)
    assert failed.value.code is code
    assert message in failed.value.message
    assert docker.state("shop-web-1") == "created"
    # What did start is seen, and can be stopped.
    assert (await docker_driver.inspect(who)).status is Status.BROKEN
    assert (await docker_driver.stop(who)).status is Status.EXITED


async def test_what_cannot_be_ordered_or_is_not_there_is_told_before_anything_starts(
    docker: DockerEngine, docker_driver: DockerDriver
) -> None:
    who = declared()
    assert (await docker_driver.inspect(who)).status is Status.ABSENT
    with pytest.raises(StartFailedError, match="the Compose project shop has no containers"):
        await docker_driver.start(who)
    make(docker, "web", SERVE, "db:service_started:false")
    with pytest.raises(StartFailedError, match="service db, which web depends on, has no container"):
        await docker_driver.start(who)
    make(docker, "db", WAIT, "web:service_started:false")
    with pytest.raises(StartFailedError, match="services db, web depend on each other in a circle"):
        await docker_driver.start(who)
    assert set(all_states(docker).values()) == {"created"}


async def test_a_needed_service_that_dies_breaks_it_and_others_do_not(
    docker: DockerEngine, docker_driver: DockerDriver
) -> None:
    make_shop(docker)
    who = declared()
    running = await docker_driver.start(who)
    docker.request("POST", "/containers/shop-mail-1/kill")
    assert (await docker_driver.inspect(who)).status is Status.RUNNING
    docker.request("POST", "/containers/shop-db-1/kill")

    async def broken() -> bool:
        return (await docker_driver.inspect(who)).status is Status.BROKEN

    await until(broken)
    seen = await docker_driver.inspect(who)
    assert seen.instance == running.instance
    assert seen.failure is not None
    assert seen.failure.message == "ended with exit code 137: service db"
    # A start completes it, and that is another instance.
    again = await docker_driver.start(who)
    assert (again.status, again.instance == running.instance) == (Status.RUNNING, False)


async def test_pause_freezes_all_and_a_start_goes_on_with_the_same_instance(
    docker: DockerEngine, docker_driver: DockerDriver
) -> None:
    make_shop(docker)
    who = declared()
    with pytest.raises(StopFailedError):
        await docker_driver.pause(who)
    running = await docker_driver.start(who)
    ran = moment(docker, "shop-migrate-1", "StartedAt")
    paused = await docker_driver.pause(who)
    assert (paused.status, paused.instance) == (Status.PAUSED, running.instance)
    assert [state for state in all_states(docker).values() if state != "exited"] == ["paused"] * 3
    resumed = await docker_driver.start(who)
    assert (resumed.status, resumed.instance) == (Status.RUNNING, running.instance)
    assert moment(docker, "shop-migrate-1", "StartedAt") == ran
    await docker_driver.pause(who)
    assert (await docker_driver.stop(who)).status is Status.EXITED


async def test_containers_of_one_service_all_answer_and_those_of_compose_run_are_left_alone(
    docker: DockerEngine, docker_driver: DockerDriver
) -> None:
    make(docker, "web", SERVE)
    make(docker, "web", SERVE, number=2)
    make(docker, "shell", WAIT, oneoff="True")
    runtime = await docker_driver.start(declared())
    assert len(runtime.endpoints) == 2
    assert docker.state("shop-shell-1") == "created"
    docker.start_container("shop-shell-1")
    await docker_driver.stop(declared())
    assert docker.state("shop-shell-1") == "running"


async def test_a_start_during_somebody_elses_stop_waits_and_really_starts(
    docker: DockerEngine, docker_driver: DockerDriver
) -> None:
    make_shop(docker)
    who = declared()
    first = await docker_driver.start(who)
    stopping = asyncio.create_task(asyncio.to_thread(docker.stop_container, "shop-web-1", grace=3))
    await asyncio.sleep(0.3)
    second: Runtime = await docker_driver.start(who)
    await stopping
    assert second.status is Status.RUNNING
    assert second.instance != first.instance
    assert docker.state("shop-web-1") == "running"


async def test_each_call_that_changes_something_asks_the_fence_first(
    docker: DockerEngine, docker_driver: DockerDriver
) -> None:
    make_shop(docker)
    who, asked = declared(), []

    def count() -> None:
        asked.append(len([name for name in docker.containers() if docker.state(name) == "running"]))

    docker_driver.fence = count
    await docker_driver.start(who)
    assert len(asked) == 4
    asked.clear()
    await docker_driver.pause(who)
    assert len(asked) == 3
    asked.clear()

    def closed() -> None:
        raise RuntimeError("not leading")

    docker_driver.fence = closed
    for change in (docker_driver.start, docker_driver.stop):
        with pytest.raises(RuntimeError, match="not leading"):
            await change(who)
    assert [state for state in all_states(docker).values() if state != "exited"] == ["paused"] * 3


async def test_events_of_any_of_its_containers_are_its_own(docker: DockerEngine, docker_driver: DockerDriver) -> None:
    make_shop(docker)
    who = declared()
    await docker_driver.start(who)
    events = docker_driver.events()
    try:
        assert (await anext(events)).name is None
        docker.request("POST", "/containers/shop-db-1/kill")
        async with asyncio.timeout(5):
            assert (await anext(events)).name == "shop"
    finally:
        await events.aclose()


async def test_its_lines_have_the_service_before_them_and_its_processor_time_is_that_of_all(
    docker: DockerEngine, docker_driver: DockerDriver
) -> None:
    make(docker, "web", f"echo hello; {SERVE}", "db:service_started:false")
    make(docker, "db", "echo one; echo two; while :; do :; done")
    who = declared(grace=0.0)
    await docker_driver.start(who)
    await asyncio.sleep(0.5)
    assert (await docker_driver.logs(who)).splitlines() == ["db | one", "db | two", "web | hello"]
    assert (await docker_driver.logs(who, 2)).splitlines() == ["db | two", "web | hello"]
    used = await docker_driver.cpu_seconds(who)
    assert used is not None
    assert used > 0.1
    heard: list[str] = []
    async with Tasks("listener") as tasks:
        listening = tasks.start(_listen(docker_driver, who, heard), "listen")
        async with asyncio.timeout(10):
            while len(heard) < 3:  # noqa: ASYNC110 - nothing tells when
                await asyncio.sleep(0.05)
        assert sorted(heard) == ["db | one", "db | two", "web | hello"]
        await docker_driver.stop(who)
        await asyncio.wait_for(asyncio.shield(listening), 10)
    assert await docker_driver.cpu_seconds(who) is None


async def _listen(driver: DockerDriver, who: Tenant, heard: list[str]) -> None:
    async for portion in driver.follow(who, 10):
        heard.extend(portion)


async def test_removal_of_the_tenant_leaves_its_containers(docker: DockerEngine, docker_driver: DockerDriver) -> None:
    make_shop(docker)
    who = declared()
    await docker_driver.start(who)
    await docker_driver.remove(who.name)
    assert docker.state("shop-web-1") == "running"
