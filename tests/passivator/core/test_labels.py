"""Labels as declarations: each label sets its field, each wrong one is told by its own name, and nothing is guessed."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gogeta.domain.discovery import LONGEST_MESSAGE, Refused
from gogeta.domain.tenant import DockerSpec, read_tenant, tenant_to_data
from passivator.core import labels
from passivator.core.labels import ENABLE, LABELS, MOST_SOURCES, Found, read_labelled
from passivator.drivers.compose_labels import DEPENDS_LABEL
from passivator.drivers.labelled import Labelled

PAGE = (Path(__file__).parents[3] / "docs" / "labels.md").read_text()


def container(own: str = "web", /, *, created: int = 1, running: bool = False, **more: Any) -> Labelled:  # noqa: ANN401
    """A container; `gogeta_` and `__` in the names of labels stand for the dots that Python has no names with."""
    given = {key.replace("__", ".").replace("_", "-"): value for key, value in more.items()}
    ours = {f"gogeta.{key}": value for key, value in {"enable": "true", "host": "web.test", **given}.items()}
    return Labelled(id=own, name=own, labels=ours, created=created, running=running)


def of_project(
    service: str,
    labels: dict[str, str],
    *,
    project: str = "shop",
    number: int = 1,
    created: int = 1,
    oneoff: str = "False",
) -> Labelled:
    """A container of a Compose project."""
    compose = {"project": "shop", "service": service, "container-number": str(number), "oneoff": oneoff}
    return Labelled(
        id=f"{service}{number}{created}",
        name=f"shop_{service}_{number}",
        labels={**{f"com.docker.compose.{key}": value for key, value in compose.items()}, **labels},
        created=created,
        running=True,
    )


def one(*listed: Labelled) -> Found:
    found, refused = read_labelled(listed, "group1")
    assert not refused
    (only,) = found
    return only


def wrong(*listed: Labelled) -> str:
    found, refused = read_labelled(listed, "group1")
    assert not found
    (only,) = refused
    assert only.why is Refused.INVALID
    return only.message


def test_a_container_becomes_a_tenant_that_adopts_it() -> None:
    found = one(container("web", running=True, host="A.test, *.b.test", port="8080", idle_timeout="5m"))
    tenant = found.tenant
    assert (tenant.name, tenant.hosts, tenant.port, tenant.idle_timeout) == ("web", ("a.test", "*.b.test"), 8080, 300.0)
    assert tenant.docker == DockerSpec(container="web")
    assert (tenant.discovered, tenant.group, found.source, found.running) == (True, "group1", "container web", True)


VALUES: dict[str, tuple[str, Any]] = {
    "gogeta.name": ("other", "other"),
    "gogeta.host": ("a.test,b.test", ["a.test", "b.test"]),
    "gogeta.port": ("81", 81),
    "gogeta.idle-timeout": ("never", "never"),
    "gogeta.stop-grace": ("3s", 3.0),
    "gogeta.https-only": ("true", True),
    "gogeta.keep-alive": ("false", False),
    "gogeta.ready.path": ("/ready", "/ready"),
    "gogeta.ready.timeout": ("5s", 5.0),
    "gogeta.wake.mode": ("hold", "hold"),
    "gogeta.wake.hold": ("2s", 2.0),
    "gogeta.wake.timeout": ("9s", 9.0),
    "gogeta.wake.bots": ("wake", "wake"),
    "gogeta.wake.prefetch": ("wake", "wake"),
    "gogeta.wake.favicon": ("wake", "wake"),
    "gogeta.wake.robots": ("allow", "allow"),
    "gogeta.wake.asleep-paths": ("/a=204, /b", [{"path": "/a", "status": 204}, {"path": "/b", "status": 200}]),
    "gogeta.wake.per-hour": ("7", 7),
    "gogeta.sleep.pause-after": ("1m", 60.0),
    "gogeta.sleep.quiet-tunnel": ("1h", 3600.0),
    "gogeta.busy.path": ("/busy", "/busy"),
    "gogeta.busy.cpu": ("20%", 20.0),
    "gogeta.busy.at-most": ("1h", 3600.0),
    "gogeta.awake.hours": ("mon,wed 08:00-18:00; sat 10:00-12:00", ["mon,wed 08:00-18:00", "sat 10:00-12:00"]),
    "gogeta.awake.zone": ("Europe/Paris", "Europe/Paris"),
    "gogeta.awake.wake": ("true", True),
    "gogeta.limits.body": ("1k", 1024),
    "gogeta.limits.exchange": ("1m", 60.0),
}


@pytest.mark.parametrize("label", LABELS, ids=lambda label: label.key)
def test_each_label_sets_its_field(label: labels.Label) -> None:
    text, expected = VALUES[label.key]
    # Fields that may not stand alone.
    beside = {"busy": {"gogeta.busy.path": "/busy"}, "awake": {"gogeta.awake.hours": "daily 08:00-09:00"}}
    given = {ENABLE: "true", "gogeta.host": "x.test", **beside.get(label.path[0], {}), label.key: text}
    tenant = one(Labelled(id="1", name="web", labels=given)).tenant
    data: Any = tenant_to_data(tenant)
    for step in label.path:
        data = data[step]
    if label.key == "gogeta.wake.asleep-paths":
        assert [str(path) for path in tenant.wake.asleep_paths] == ["/a=204", "/b=200"]
    else:
        assert data == expected
    assert read_tenant(tenant_to_data(tenant), what="test") == tenant


def test_the_page_lists_each_label_and_no_other() -> None:
    told = re.findall(r"^\| `(gogeta\.[a-z.-]+)` \|", PAGE, re.MULTILINE)
    assert sorted(told) == sorted([ENABLE, DEPENDS_LABEL, *(label.key for label in LABELS)])
    for label in LABELS:
        assert f"| `{label.key}` | `{'.'.join(label.path)}` |" in PAGE


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"enable": "yes"}, "gogeta.enable: expected true or false, not 'yes'"),
        ({"port": "http"}, "gogeta.port: expected a whole number, not 'http'"),
        ({"host": "a b"}, "gogeta.host: expected a host name, not 'a b'"),
        ({"host": " , "}, "gogeta.host: is missing: which host does it answer for?"),
        ({"host": "a.test,A.test"}, "host 'a.test' is listed twice"),
        (
            {"idle_timeout": "soon"},
            "gogeta.idle-timeout: expected a duration such as 500ms, 30s, 30m or 1h30m, not 'soon'",
        ),
        ({"ready__path": "health"}, "gogeta.ready.path: "),
        ({"wake__mode": "slow"}, "gogeta.wake.mode: expected auto, page or hold, not 'slow'"),
        ({"wake__asleep_paths": "/a,b"}, "gogeta.wake.asleep-paths: expected a path such as /healthz"),
        ({"busy__at_most": "1h"}, "gogeta.busy: expected a path, a cpu threshold, or both"),
        ({"awake__zone": "UTC"}, "gogeta.awake.hours: is missing"),
        ({"sleep__pause_after": "1h"}, "sleep.pause_after (1h) has to be less than idle_timeout (30m)"),
        ({"name": "no name"}, "gogeta.name: expected a name of 1 to 63 letters a-z"),
        ({"depends_on": "db:service_up"}, "gogeta.depends-on: expected service_started, service_healthy, "),
        ({"hosts": "a.test"}, "gogeta.hosts: is no label of ours; did you mean gogeta.host?"),
        ({"idletimeout": "5m"}, "gogeta.idletimeout: is no label of ours; did you mean gogeta.idle-timeout?"),
        ({"sleep__destroy_after": "5d"}, "gogeta.sleep.destroy-after: is no label of ours"),
        ({"colour": "blue"}, "gogeta.colour: is no label of ours (docs/labels.md)"),
    ],
)
def test_a_wrong_label_is_told_by_its_name_and_refuses_the_whole(more: dict[str, Any], message: str) -> None:
    assert message in wrong(container(**more))


def test_all_that_is_wrong_is_told_at_once_and_what_is_long_is_cut() -> None:
    told = wrong(container(port="x", wake__mode="y"))
    assert "gogeta.port" in told
    assert "gogeta.wake.mode" in told
    assert len(wrong(container(port="x" * 10_000, wake__mode="y" * 10_000))) <= LONGEST_MESSAGE


def test_a_host_without_the_switch_is_told_and_not_taken() -> None:
    labels = {"gogeta.host": "a.test"}
    told = wrong(Labelled(id="1", name="web", labels=labels))
    assert told.startswith("gogeta.enable: it is missing: gogeta.enable=true makes a tenant of it")
    assert read_labelled([Labelled(id="1", name="web", labels={**labels, ENABLE: "false"})], "g") == ((), ())


def test_the_switch_without_a_host_is_told() -> None:
    assert wrong(Labelled(id="1", name="web", labels={ENABLE: "true"})) == (
        "gogeta.host: is missing: which host does it answer for?"
    )


def test_a_name_that_docker_allows_and_a_host_does_not_is_made_one() -> None:
    assert one(container("My_App.1", host="a.test")).tenant.name == "my-app-1"
    assert one(container("x" * 64, host="a.test", name="short")).tenant.name == "short"
    assert wrong(container("x" * 64, host="a.test")).startswith("gogeta.name: is needed, because")


def test_our_own_containers_are_none_of_them() -> None:
    own = container("gogeta-acme")
    own = Labelled(id="1", name="x", labels={**own.labels, "gogeta.tenant": "acme", "gogeta.spec": "1"})
    assert read_labelled([own], "g") == ((), ())


ON = {ENABLE: "true", "gogeta.host": "shop.test", "gogeta.port": "8000"}


def test_a_compose_project_is_one_tenant_that_answers_where_its_label_is() -> None:
    found = one(of_project("web", ON))
    assert found.tenant.docker == DockerSpec(compose="shop", service="web")
    assert (found.tenant.name, found.tenant.hosts, found.tenant.port) == ("shop", ("shop.test",), 8000)
    assert found.source == "Compose project shop"


def test_several_containers_of_one_service_are_one_tenant() -> None:
    assert one(of_project("web", ON), of_project("web", ON, number=2)).tenant.docker is not None
    told = wrong(of_project("web", ON), of_project("web", {**ON, "gogeta.port": "1"}, number=2))
    assert told == "its containers shop_web_1 and shop_web_2 have different labels gogeta.*"


def test_while_compose_makes_a_container_anew_the_newer_one_counts() -> None:
    found = one(of_project("web", ON, created=1), of_project("web", {**ON, "gogeta.port": "9000"}, created=2))
    assert found.tenant.port == 9000


def test_two_labelled_services_of_one_project_are_told() -> None:
    told = wrong(of_project("web", ON), of_project("api", ON))
    assert told.startswith("services api, web are labelled gogeta.enable=true; a project is one tenant")


def test_a_service_that_says_no_is_no_second_one() -> None:
    assert one(of_project("web", ON), of_project("api", {**ON, ENABLE: "false"})).tenant.name == "shop"


def test_a_project_whose_name_no_compose_would_allow_is_told_and_its_name_cut() -> None:
    made = of_project("web", ON)
    found, refused = read_labelled(
        [replace(made, labels={**made.labels, "com.docker.compose.project": "A" * 900})], "g"
    )
    assert not found
    assert refused[0].message.startswith("gogeta.name: is needed, because the name it has by itself will not do: ")
    assert "its name in Docker will not do as compose: " in refused[0].message
    assert len(refused[0].source) == 200


def test_what_compose_run_made_is_no_part_of_it() -> None:
    assert read_labelled([of_project("web", ON, oneoff="True")], "g") == ((), ())


def test_there_are_no_more_than_so_many_and_the_oldest_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(labels, "MOST_SOURCES", 2)
    assert MOST_SOURCES == 10_000
    found, refused = read_labelled(
        [container(name, created=9 - n, host=f"{name}.test") for n, name in enumerate("abc")], "g"
    )
    assert [each.tenant.name for each in found] == ["c", "b"]
    assert [(each.names, each.message) for each in refused] == [
        (("a",), "2 others are older, and there are no more than so many")
    ]
