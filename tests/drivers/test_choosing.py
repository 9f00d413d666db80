"""Settings lead to the right driver, or to a message that names the setting."""

from dataclasses import replace
from pathlib import Path

import pytest

from gogeta.domain.errors import InvalidInputError
from gogeta.domain.upstreams import Endpoint
from passivator.drivers.choosing import open_driver, open_labels
from passivator.settings import ControllerSettings

SETTINGS = ControllerSettings()


def test_the_default_is_local_processes(tmp_path: Path) -> None:
    driver = open_driver(replace(SETTINGS, state_dir=str(tmp_path)))
    assert driver.kind == "process"
    assert driver.runtime_endpoints == ()


def test_docker_by_socket_has_no_endpoint_to_protect() -> None:
    driver = open_driver(replace(SETTINGS, driver="docker"))
    assert driver.kind == "docker"
    assert driver.runtime_endpoints == ()


def test_docker_by_tcp_tells_its_endpoint() -> None:
    driver = open_driver(replace(SETTINGS, driver="docker", docker_host="tcp://192.0.2.7:2375"))
    assert driver.runtime_endpoints == (Endpoint("192.0.2.7", 2375),)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/var/run/docker.sock",
        "unix://",
        "unix://var/run/docker.sock",
        "tcp://192.0.2.7",
        "tcp://192.0.2.7:99999",
        "tcp://:2375",
        "tcp://user@192.0.2.7:2375",
        "tcp://192.0.2.7:2375/path",
        "http://192.0.2.7:2375",
        "ssh://host",
    ],
)
def test_a_docker_host_that_makes_no_sense_is_named(url: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        open_driver(replace(SETTINGS, driver="docker", docker_host=url))
    assert refused.value.problems[0].path == ("docker_host",)
    assert repr(url) in refused.value.message


def test_a_driver_that_is_not_there_is_named() -> None:
    with pytest.raises(InvalidInputError, match="driver"):
        open_driver(replace(SETTINGS, driver="podman"))


def test_labels_are_looked_for_only_when_asked_for_and_only_with_docker() -> None:
    assert open_labels(SETTINGS, ("a",)) is None
    assert open_labels(replace(SETTINGS, driver="docker"), ("a",)) is None
    assert open_labels(replace(SETTINGS, driver="docker", discover=True), ("a",)) is not None
    with pytest.raises(InvalidInputError) as refused:
        open_labels(replace(SETTINGS, discover=True), ("a",))
    assert [str(problem) for problem in refused.value.problems] == [
        "discover: labels are Docker's, and the driver is process: `--driver docker`"
    ]
