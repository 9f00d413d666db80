"""What the tests of deploy/ share with the end-to-end tests, and what both programs show once they have lived."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import httpx
import pytest

from tests.e2e.conftest import local_system
from tests.e2e.system import System
from tests.rig.certificates import CertificateAuthority
from tests.rig.ports import free_port
from tests.rig.programs import ProcessRack
from tests.rig.run_folder import RunFolder

__all__ = ["local_system", "scraped"]


@dataclass(frozen=True)
class Scraped:
    """The metrics of both programs, as they were answered."""

    gogeta: str
    passivator: str


def metrics_of(port: int) -> str:
    """What is at /metrics there."""
    answer = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=10, trust_env=False)
    assert answer.headers["content-type"].startswith("text/plain")
    return answer.text


def until(condition: Callable[[], object], what: str, within: float = 30.0) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, f"not within {within:g} s: {what}"
        time.sleep(0.1)


@pytest.fixture(scope="session")
def scraped(
    run_folder: RunFolder, tmp_path_factory: pytest.TempPathFactory, certificates: CertificateAuthority
) -> Scraped:
    """Both programs after a small life (visitors, a wake, a sleep, a start that fails), with what adds metrics."""
    folder = tmp_path_factory.mktemp("scraped")
    pair = certificates.issue("127.0.0.1", "localhost")
    rack = ProcessRack(run_folder)
    try:
        system = System(rack, f"embedded:{folder}/gogeta.db", folder)
        system.declare("acme", idle="1s")
        system.declare("broken", command="[/nonexistent]")
        secure = f"127.0.0.1:{free_port()}"
        tls = ("--tls-cert", str(pair.cert_file), "--tls-key", str(pair.key_file), "--tls-listen", secure)
        system.serve("--metrics-tenants", "5", *tls)
        system.control("--memory-limit", "1g")
        system.apply()
        assert system.curl("acme.localhost").status == 200
        assert system.curl("nobody.localhost").status == 404
        assert system.curl("broken.localhost").status == 503
        slept = 'passivator_passivations_total{cause="idle"} 1.0'
        until(lambda: slept in metrics_of(system.passivator_admin), "acme falls asleep")
        return Scraped(metrics_of(system.admin), metrics_of(system.passivator_admin))
    finally:
        rack.end()
