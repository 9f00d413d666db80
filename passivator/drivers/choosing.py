"""Which driver the settings ask for. The only module that knows all that can be asked for."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from gogeta.domain.errors import InvalidInputError, Problem
from passivator.drivers.base import Driver
from passivator.drivers.docker import DockerDriver
from passivator.drivers.docker_labels import EngineLabels
from passivator.drivers.labelled import LabelSource
from passivator.drivers.process import ProcessDriver
from passivator.settings import ControllerSettings


def open_driver(settings: ControllerSettings) -> Driver:
    """The driver that ``settings.driver`` names; the runtime is reached by its ``open``.

    Raises InvalidInputError naming the setting that makes no sense.
    """
    if settings.driver == "docker":
        return DockerDriver(_docker_url(settings.docker_host), reach=settings.docker_reach)
    if settings.driver == "process":
        return ProcessDriver(Path(settings.state_dir))
    raise _invalid("driver", f"expected docker or process, not {settings.driver!r}")


def open_labels(settings: ControllerSettings, keys: tuple[str, ...]) -> LabelSource | None:
    """Where tenants are discovered, among containers with any label of ``keys``; None where none are.

    Raises InvalidInputError where the settings contradict each other.
    """
    if not settings.discover:
        return None
    if settings.driver != "docker":
        raise _invalid("discover", f"labels are Docker's, and the driver is {settings.driver}: `--driver docker`")
    return EngineLabels(_docker_url(settings.docker_host), keys)


def _docker_url(url: str) -> str:
    wrong = _invalid("docker_host", f"expected unix:///PATH or tcp://HOST:PORT, not {url!r}")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise wrong from None
    if parts.query or parts.fragment or parts.username is not None:
        raise wrong
    if parts.scheme == "unix" and not parts.netloc and len(parts.path) > 1:
        return url
    if parts.scheme == "tcp" and parts.hostname and port and parts.path in ("", "/"):
        return f"tcp://{parts.netloc}"
    raise wrong


def _invalid(setting: str, message: str) -> InvalidInputError:
    return InvalidInputError("settings", (Problem((setting,), message),))
