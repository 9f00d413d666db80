"""What a tenant wrote, from the shell and over the API: in one process, and through a passivator of its own."""

import json
import time
import urllib.error
import urllib.request

import pytest

from gogeta.kit.exits import ExitStatus
from tests.e2e.system import System

pytestmark = pytest.mark.e2e

TALKS = '["sh", "-c", "echo begins; exec python3 -u -m http.server {port}"]'


def asked(port: int, path: str, host: str = "127.0.0.1") -> tuple[int, str]:
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers={"Host": f"{host}:{port}"})
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_in_one_process_its_logs_are_read_by_the_command_and_the_api(local_system: System) -> None:
    system = local_system
    system.declare("acme", idle="never", command=TALKS)
    system.up()
    assert asked(system.port, "/nothing-here", "acme.localhost")[0] == 404
    shown = system.cli("logs", "acme")
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.splitlines()[0] == "begins"
    assert "/nothing-here" in shown.stdout
    assert system.cli("logs", "acme", "-n", "0").stdout == ""
    assert asked(system.admin, "/api/v1/tenants/acme/logs?lines=1")[1].count("\n") == 1


def test_a_follower_hears_what_comes_and_is_told_of_the_end(local_system: System) -> None:
    system = local_system
    system.declare("acme", idle="never", command=TALKS)
    system.up()
    assert asked(system.port, "/first", "acme.localhost")[0] == 404
    following = system.start_cli("logs", "acme", "--follow", "-n", "1")
    following.wait_for_line("/first")
    asked(system.port, "/second", "acme.localhost")
    following.wait_for_line("/second")
    assert system.cli("stop", "acme").returncode == 0
    assert following.wait(timeout=20) == 0


def test_a_proxy_alone_says_where_they_are_and_the_command_goes_there(local_system: System) -> None:
    system = local_system
    system.declare("acme", idle="never", command=TALKS)
    system.apply()
    system.serve("--admin-names", "proxy.internal")
    system.control()
    assert asked(system.port, "/nothing-here", "acme.localhost")[0] == 404
    assert [asked(system.admin, "/metrics", host)[0] for host in ("proxy.internal", "other.internal")] == [200, 421]
    status, text = asked(system.admin, "/api/v1/tenants/acme/logs")
    assert status == 409
    assert f"127.0.0.1:{system.passivator_admin}" in json.loads(text)["hint"]
    shown = system.cli("logs", "acme")
    assert shown.returncode == 0, shown.stderr
    assert "begins" in shown.stdout
    # Where a token is needed, the command says which and where it takes it from.
    system.passivator.end()
    system.control("--admin-auth", "always")
    deadline = time.monotonic() + 20
    while "GOGETA_TOKEN" not in (refused := system.cli("logs", "acme")).stderr:
        assert time.monotonic() < deadline, refused.stderr
    assert refused.returncode == ExitStatus.FAILED
    assert "a token is needed here" in refused.stderr
    made = system.cli("token", "create", "ops", "--role", "operate").stdout.strip()
    deadline = time.monotonic() + 20
    while (shown := system.cli("logs", "acme", env={"GOGETA_TOKEN": made})).returncode != 0:
        assert time.monotonic() < deadline, shown.stderr
    assert "begins" in shown.stdout
    # Nobody there, and nobody of that name.
    system.passivator.end()
    deadline = time.monotonic() + 20
    while "no passivator that drives process is there now" not in (gone := system.cli("logs", "acme")).stderr:
        assert time.monotonic() < deadline, gone.stderr
    assert gone.returncode == ExitStatus.FAILED
    assert system.cli("logs", "acne").returncode == ExitStatus.UNKNOWN
    assert system.cli("logs", "acme", "--admin", "nowhere").returncode == ExitStatus.USAGE
