"""The translation of declarations for Docker: pure."""

from typing import Any

import pytest

from gogeta.domain.state import ReasonCode
from gogeta.domain.tenant import Tenant, read_tenant
from passivator.drivers.base import StartFailedError
from passivator.drivers.docker_spec import container_config, network_config, stop_seconds
from passivator.drivers.docker_view import is_attached, refused_create, refused_start, stop_asked, tenant_of


def declared(*, port: int | None = None, grace: float = 10, name: str = "acme", **docker: Any) -> Tenant:  # noqa: ANN401
    data = {"name": name, "hosts": [f"{name}.test"], "port": port, "stop_grace": grace}
    return read_tenant({**data, "docker": {"image": "acme:1", **docker}}, what="test")


def config(tenant: Tenant, *, publish: bool = False) -> dict[str, Any]:
    assert tenant.docker is not None
    return container_config(tenant, tenant.docker, publish=publish)


def test_the_image_keeps_its_command_unless_another_is_declared() -> None:
    plain = config(declared())
    assert "Cmd" not in plain
    assert "Entrypoint" not in plain
    assert "User" not in plain
    assert config(declared(command=["a", "b"], entrypoint=["e"], user="7"))["Cmd"] == ["a", "b"]


def test_nothing_is_published_unless_the_bridge_cannot_be_reached() -> None:
    assert "PortBindings" not in config(declared())["HostConfig"]
    published = config(declared(port=8080), publish=True)
    assert published["ExposedPorts"] == {"8080/tcp": {}}
    assert published["HostConfig"]["PortBindings"] == {"8080/tcp": [{"HostIp": "127.0.0.1", "HostPort": ""}]}


def test_limits_are_left_to_the_engine_unless_declared() -> None:
    host = config(declared())["HostConfig"]
    assert "Memory" not in host
    assert "NanoCpus" not in host
    assert host["PidsLimit"] == 256


@pytest.mark.parametrize(
    "change",
    [
        {"image": "acme:2"},
        {"command": ["x"]},
        {"env": {"A": "b"}},
        {"memory": "1g"},
        {"cpus": 2},
        {"cap_add": ["NET_ADMIN"]},
        {"port": 81},
        {"init": False},
        {"network": "shared"},
        {"labels": {"a": "b"}},
    ],
)
def test_every_change_of_how_it_runs_has_another_fingerprint(change: dict[str, Any]) -> None:
    assert fingerprint_of(declared(**change)) != fingerprint_of(declared())


def test_what_does_not_change_how_it_runs_has_the_same_fingerprint() -> None:
    assert fingerprint_of(declared(grace=1)) == fingerprint_of(declared(grace=99))
    assert fingerprint_of(declared()) == fingerprint_of(declared())


def fingerprint_of(tenant: Tenant) -> str:
    return str(config(tenant)["Labels"]["gogeta.spec"])


def test_declared_labels_never_stand_for_ours() -> None:
    labels = config(declared(labels={"gogeta.tenant": "other", "gogeta.spec": "0", "a": "b"}))["Labels"]
    assert labels["gogeta.tenant"] == "acme"
    assert labels["gogeta.spec"] != "0"
    assert labels["a"] == "b"


@pytest.mark.parametrize("network", ["host", "none"])
def test_networks_without_isolation_or_without_a_way_in_are_refused(network: str) -> None:
    with pytest.raises(StartFailedError) as refused:
        config(declared(network=network))
    assert refused.value.code is ReasonCode.BAD_SPEC


def test_a_network_is_a_bridge_with_the_tenants_name() -> None:
    made = network_config(declared().name)
    assert (made["Name"], made["Driver"], made["Labels"]) == ("gogeta-acme", "bridge", {"gogeta.tenant": "acme"})


@pytest.mark.parametrize(("grace", "seconds"), [(0, 0), (0.1, 1), (2, 2), (2.5, 3)])
def test_grace_is_rounded_up(grace: float, seconds: int) -> None:
    assert stop_seconds(grace) == seconds


@pytest.mark.parametrize(
    ("labels", "name"),
    [
        ({"gogeta.tenant": "acme"}, "acme"),
        ({"gogeta.tenant": "../etc"}, None),
        ({"gogeta.tenant": "ACME"}, None),
        ({}, None),
    ],
)
def test_only_names_that_tenants_can_have_are_read_from_labels(labels: dict[str, str], name: str | None) -> None:
    assert tenant_of(labels) == name
    assert tenant_of(None) is None


def test_the_machines_own_subnets_are_told_from_others() -> None:
    assert is_attached("127.0.0.0/8")
    assert not is_attached("198.51.100.0/24")


@pytest.mark.parametrize(
    ("status", "message", "code"),
    [
        (500, "Bind for 127.0.0.1:80 failed: port is already allocated", ReasonCode.PORT_TAKEN),
        (400, 'exec: "x": executable file not found in $PATH', ReasonCode.COMMAND_FAILED),
        (400, "error mounting /nowhere: no such file or directory", ReasonCode.BAD_SPEC),
        (500, "something broke", ReasonCode.RUNTIME),
        (400, "something is wrong", ReasonCode.BAD_SPEC),
    ],
)
def test_why_the_engine_did_not_start_it(status: int, message: str, code: ReasonCode) -> None:
    assert refused_start(status, message).code is code


@pytest.mark.parametrize(
    ("status", "message", "code"),
    [
        (404, "No such image: a:1", ReasonCode.IMAGE_MISSING),
        (404, "pull access denied: image a:1 not found", ReasonCode.IMAGE_MISSING),
        (400, "invalid reference format", ReasonCode.BAD_SPEC),
        (500, "invalid volume specification", ReasonCode.BAD_SPEC),
        (500, "disk full", ReasonCode.RUNTIME),
    ],
)
def test_why_the_engine_did_not_make_it(status: int, message: str, code: ReasonCode) -> None:
    assert refused_create(status, message).code is code


def event(action: str, signal: str = "") -> dict[str, Any]:
    return {"Action": action, "Actor": {"Attributes": {"signal": signal} if signal else {}}}


@pytest.mark.parametrize(
    ("history", "asked"),
    [
        ([], False),
        ([event("start")], False),
        ([event("start"), event("kill", "15")], True),
        ([event("kill", "15"), event("die")], False),
        ([event("kill", "15"), event("die"), event("start")], False),
        ([event("kill", "1")], False),
        ([event("kill", "15"), event("health_status: healthy")], True),
    ],
)
def test_a_stop_under_way_is_read_from_the_history(history: list[dict[str, Any]], asked: bool) -> None:  # noqa: FBT001
    assert stop_asked(history) is asked
