"""A Compose project read from its containers' labels: the order of starting, and what the containers are together."""

from typing import Any

import pytest

from passivator.drivers.base import Health, Status
from passivator.drivers.compose_labels import Condition, parse_depends_on
from passivator.drivers.compose_project import Project, culprit, read_project, view_project

Json = dict[str, Any]


def member(
    service: str,
    needs: str | None = "",
    *,
    status: str = "running",
    code: int = 0,
    created: int = 1,
    number: int = 1,
    health: str = "",
    label: str = "com.docker.compose.depends_on",
    oneoff: str = "False",
    starts: int = 1,
) -> Json:
    """A container as the engine says it; `needs` None: nobody says what it depends on."""
    compose = {"service": service, "container-number": str(number), "oneoff": oneoff, "project": "shop"}
    labels = {f"com.docker.compose.{key}": value for key, value in compose.items()}
    started = f"2026-01-01T00:00:0{starts}Z" if starts else "0001-01-01T00:00:00Z"
    state: Json = {"Status": status, "Running": status in ("running", "paused"), "Paused": status == "paused"}
    state |= {"ExitCode": code, "OOMKilled": False, "StartedAt": started, "Error": ""}
    if health:
        state["Health"] = {"Status": health}
    network = {"IPAddress": f"10.0.0.{number}", "IPPrefixLen": 24} if state["Running"] else {"IPAddress": ""}
    return {
        "Id": f"{service}-{number}-{created}".ljust(20, "0"),
        "Name": f"/shop_{service}_{number}",
        "Created": f"2026-01-01T00:00:0{created}Z",
        "Config": {"Labels": labels if needs is None else {**labels, label: needs}},
        "State": state,
        "HostConfig": {"NetworkMode": "shop_default"},
        "NetworkSettings": {"Ports": {}, "Networks": {"shop_default": network}},
    }


def project(*members: Json) -> Project:
    return read_project("shop", "web", members)


def seen(*members: Json, stopping: str = "-") -> Any:  # noqa: ANN401
    return view_project(project(*members), port=80, is_stopping=lambda one: one["Name"] == f"/shop_{stopping}_1")


SHOP = ("db:service_healthy:false,migrate:service_completed_successfully:false", "db:service_healthy:false")


def shop(**more: Any) -> tuple[Json, ...]:  # noqa: ANN401
    """Web waits for db and for the job migrate, which waits for db; mail is nobody's."""
    return (
        member("web", SHOP[0], **more.get("web", {})),
        member("migrate", SHOP[1], **{"status": "exited", **more.get("migrate", {})}),
        member("db", "", **more.get("db", {})),
        member("mail", "db:service_started:true", **more.get("mail", {})),
    )


def test_services_start_in_waves_after_what_they_depend_on() -> None:
    shopping = project(*shop())
    assert shopping.waves == (("db",), ("mail", "migrate"), ("web",))
    assert shopping.needs["web"] == {"db": Condition.HEALTHY, "migrate": Condition.COMPLETED}
    assert shopping.needed == {"web", "db"}
    assert not shopping.problem


def test_without_a_word_about_dependencies_they_start_as_they_were_made_and_who_answers_is_last() -> None:
    made = project(member("web", None, created=2), member("zoo", None, created=1), member("app", None, created=3))
    assert made.waves == (("zoo",), ("app",), ("web",))
    assert made.needed == {"web"}


def test_an_operator_may_say_it_where_compose_does_not() -> None:
    said = project(member("web", "db", label="gogeta.depends-on"), member("db", None), member("cache", None))
    assert said.waves == (("cache", "db"), ("web",))
    assert said.needs["web"] == {"db": Condition.STARTED}


def test_what_cannot_be_started_is_told_and_can_be_stopped_all_the_same() -> None:
    circle = project(member("web", "db"), member("db", "web"), member("mail", ""))
    assert circle.problem == "services db, web depend on each other in a circle"
    assert circle.waves == (("mail",), ("db", "web"))
    assert project(member("web", "db")).problem == "service db, which web depends on, has no container"
    assert project(member("db", "")).problem == "service web has no container"
    wrong = project(member("web", "db:ready"), member("db", ""))
    assert wrong.problem.startswith("label com.docker.compose.depends_on of service web: expected service_started, ")


def test_compose_run_and_older_ones_of_the_same_number_are_left_out() -> None:
    made = project(member("web", ""), member("web", "", created=2), member("web", "", number=2, oneoff="True"))
    assert [one["Created"] for one in made.containers] == ["2026-01-01T00:00:02Z"]


@pytest.mark.parametrize("text", [":service_healthy", "db:healthy"])
def test_a_word_that_is_no_condition_is_told(text: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        parse_depends_on(text)


def test_it_runs_when_what_is_needed_runs_and_jobs_and_others_may_have_ended() -> None:
    assert seen(*shop()).status is Status.RUNNING
    assert seen(*shop(mail={"status": "exited", "code": 1})).status is Status.RUNNING
    assert seen(*shop(migrate={"code": 3})).status is Status.RUNNING


def test_what_it_is_follows_from_all_of_it() -> None:
    down = {"status": "exited", "code": 137}
    assert seen(*shop(web=down, db=down, mail=down)).status is Status.EXITED
    assert seen().status is Status.ABSENT
    assert seen(*shop(web=down, db=down)).status is Status.BROKEN
    assert seen(*shop(db={"status": "paused"})).status is Status.PAUSED
    assert seen(*shop(), stopping="db").status is Status.STOPPING
    assert seen(*shop(), stopping="mail").status is Status.RUNNING


def test_a_needed_service_that_ended_is_named_with_how() -> None:
    broken = seen(*shop(db={"status": "exited", "code": 3}))
    assert broken.status is Status.BROKEN
    assert broken.failure is not None
    assert broken.failure.message == "ended with exit code 3: service db"


def test_of_several_that_ended_the_first_that_failed_is_named() -> None:
    ended = {"status": "exited"}
    found = culprit(project(*shop(db={**ended, "code": 137}, web={**ended, "code": 1})))
    assert found is not None
    assert found[0] == "web"
    found = culprit(project(*shop(db={**ended, "code": 2}, web={**ended, "code": 1})))
    assert found is not None
    assert found[0] == "db"


def test_another_start_of_anything_needed_is_another_instance() -> None:
    instance = seen(*shop()).instance
    assert instance.startswith("shop@")
    assert seen(*shop(db={"starts": 2})).instance != instance
    assert seen(*shop(web={"starts": 2})).instance != instance
    assert seen(*shop(mail={"starts": 2}, migrate={"starts": 3})).instance == instance
    # Not by its end: that is what was started.
    assert seen(*shop(db={"status": "exited", "code": 3})).instance == instance
    assert seen(*shop(db={"starts": 0, "status": "created"}, web={"starts": 0, "status": "created"})).instance == ""


def test_all_containers_of_the_answering_service_answer_and_one_is_enough() -> None:
    two = (member("web", ""), member("web", "", number=2))
    assert [str(endpoint) for endpoint in seen(*two).endpoints] == ["10.0.0.1:80", "10.0.0.2:80"]
    one_left = seen(two[0], member("web", "", number=2, status="exited", code=1))
    assert one_left.status is Status.RUNNING
    assert [str(endpoint) for endpoint in one_left.endpoints] == ["10.0.0.1:80"]


def test_its_health_is_that_of_the_service_that_answers() -> None:
    assert seen(*shop(web={"health": "starting"}, db={"health": "unhealthy"})).health is Health.STARTING
    assert seen(*shop(db={"health": "unhealthy"})).health is Health.NONE
