"""Mistakes and missing parts, met by a person at the command line: a message that helps, never a traceback.

That no program leaves a traceback is watched by the `processes` fixture in every test.
"""

import time

import pytest

from tests.e2e.system import System
from tests.rig.docker import DockerEngine
from tests.rig.etcd import EtcdFactory
from tests.rig.ports import free_port
from tests.rig.programs import ProcessRack

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]


def test_a_malformed_file_is_refused_whole_with_its_lines(local_system: System) -> None:
    file = local_system.folder / "broken.yaml"
    file.write_text("""tenants:
  - name: good
    hosts: [good.localhost]
    process: {command: [sleep, "1000"]}
  - name: bad
    host: [bad.localhost]
    process: {command: [sleep, "1000"]}
    idle_timeout: soon
""")
    local_system.cli("apply", "-f", local_system.write_tenants())
    for arguments in (("apply", "-f", file), ("up", "-f", file)):
        refused = local_system.cli(*arguments)
        assert refused.returncode == 2, refused
        assert f"{file}:6" in refused.stderr
        assert "'hosts'" in refused.stderr, "the nearest valid name"
        assert f"{file}:8" in refused.stderr
        assert "idle_timeout" in refused.stderr
    assert "good" not in local_system.cli("tenants").stdout


def test_a_mistyped_option_and_setting_name_the_nearest(local_system: System, processes: ProcessRack) -> None:
    mistyped = processes.run("gogeta", "serve", "--listne", "127.0.0.1:1")
    assert mistyped.returncode == 2
    assert "--listen" in mistyped.stderr
    config = local_system.folder / "gogeta.toml"
    config.write_text('[gogeta]\nlistne = "127.0.0.1:1"\n')
    mistyped = processes.run("gogeta", "serve", "--config", config)
    assert mistyped.returncode == 2
    assert "listen" in mistyped.stderr.replace("listne", "")


@pytest.mark.parametrize("listener", ["listen", "admin"])
def test_a_taken_port_is_named(local_system: System, processes: ProcessRack, listener: str) -> None:
    local_system.serve()
    taken = {"listen": local_system.port, "admin": local_system.admin}[listener]
    ports = {"listen": free_port(), "admin": free_port(), listener: taken}
    refused = processes.run(
        "gogeta",
        "serve",
        *("--listen", f"127.0.0.1:{ports['listen']}", "--admin", f"127.0.0.1:{ports['admin']}"),
        *("--registry", local_system.registry),
    )
    assert refused.returncode not in (0, -9), refused
    assert str(taken) in refused.stderr
    assert "another program listens there already" in refused.stderr
    assert f"--{listener}" in refused.stderr


def test_etcd_may_come_later(processes: ProcessRack, make_etcd: EtcdFactory, local_system: System) -> None:
    etcd = make_etcd()
    local_system.registry = etcd.registry_url
    etcd.stop()
    gogeta = local_system.serve()
    passivator = local_system.control()
    gogeta.wait_for_line("does not answer")
    passivator.wait_for_line("does not answer")
    early = local_system.curl("acme.localhost")
    assert (early.status, early.json["code"]) == (503, "routes-not-loaded")
    assert local_system.curl("acme.localhost", "/", timeout=5).headers["retry-after"]
    refused = local_system.cli("tenants")
    assert refused.returncode == 3, refused
    assert etcd.endpoint in refused.stderr

    etcd.start()
    local_system.declare("acme")
    local_system.apply()
    answer = local_system.curl("acme.localhost")
    deadline = time.monotonic() + 20
    while answer.status != 200:
        assert time.monotonic() < deadline, answer
        time.sleep(0.2)
        answer = local_system.curl("acme.localhost")


def test_docker_may_come_later(docker_system: System, docker: DockerEngine) -> None:
    docker.stop()
    docker_system.declare("acme")
    docker_system.serve()
    passivator = docker_system.control()
    docker_system.apply()
    passivator.wait_for_line(str(docker.socket))
    assert passivator.running
    docker.start()
    assert docker_system.curl("acme.localhost", timeout=40).status == 200


def test_upstreams_that_lead_inside_are_refused_by_rule(docker_system: System, docker: DockerEngine) -> None:
    system = docker_system
    system.serve()
    assert docker.running
    endpoint = system.registry.removeprefix("etcd://")
    rules = {
        f"http://127.0.0.1:{system.port}": "own listeners",
        f"http://localhost:{system.admin}": "own listeners",
        f"http://{endpoint}": "the registry",
        "http://127.0.0.1:2375": "the container runtime",
        "http://169.254.169.254": "link-local",
        "https://example.com": "plain http URL",
        "http://user:secret@example.com": "credentials",
    }
    # The proxy tells the registry where it listens; apply reads it there.
    system.gogeta.wait_for_line("routes: well")
    file = system.folder / "upstreams.yaml"
    for url, rule in rules.items():
        file.write_text(f"tenants:\n  - name: acme\n    hosts: [acme.localhost]\n    upstreams: ['{url}']\n")
        deadline = time.monotonic() + 5
        refused = system.cli("apply", "-f", file, "--dry-run")
        while refused.returncode == 0 and time.monotonic() < deadline:
            refused = system.cli("apply", "-f", file, "--dry-run")
        assert refused.returncode == 2, (url, refused)
        assert rule in refused.stderr, (url, refused.stderr)
        assert f"{file}:4" in refused.stderr, refused.stderr
    assert system.curl("acme.localhost").status == 404
