"""From an Arken tree to answered requests: the old etcd is read, the new gogeta serves what stood in it."""

import os
import pty
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.cli.arken_tree import domain, read_v2, service, status, write_v2
from tests.e2e.system import APPLICATION, System
from tests.rig.docker import DockerEngine
from tests.rig.etcd import EtcdFactory, EtcdServer

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]


@pytest.fixture
def old(make_etcd: EtcdFactory) -> EtcdServer:
    """The etcd of the older programs."""
    return make_etcd(extra_args=("--enable-v2=true",))


class Answering(BaseHTTPRequestHandler):
    """Tells who it is, and for which host it was asked."""

    def do_GET(self) -> None:
        body = f"{self.connection.getsockname()[1]} {self.headers['Host']}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its base's
        pass


@pytest.fixture
def ports() -> Iterator[list[int]]:
    """Four applications that somebody else runs."""
    with ExitStack() as stack:
        found = []
        for _ in range(4):
            server = stack.enter_context(ThreadingHTTPServer(("127.0.0.1", 0), Answering))
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            stack.callback(thread.join)
            stack.callback(server.shutdown)
            found.append(server.server_port)
        yield found


def test_requests_by_host_reach_the_endpoints_of_an_imported_tree_in_turn(
    local_system: System, old: EtcdServer, ports: list[int]
) -> None:
    system, three = local_system, ports[:3]
    tree = {
        **domain("shop.example", "nxio_000001"),
        **domain("boutique.example", "nxio_000001"),
        **service("nxio_000001", *(f"127.0.0.1:{port}" for port in three), **status("started")),
        **domain("blog.example", f"http://127.0.0.1:{ports[3]}/", "uri"),
    }
    write_v2(old, tree)
    before = read_v2(old)
    system.serve()
    assert system.curl("shop.example").status == 404, "it is not known yet"
    imported = system.cli("import-arken", "--etcd", old.url, "--yes")
    assert imported.returncode == 0, imported.stderr
    assert imported.stdout.splitlines()[-1] == "2 created, 0 changed, 0 unchanged"

    deadline = time.monotonic() + 10
    while system.curl("shop.example").status != 200:
        assert time.monotonic() < deadline, "gogeta serves what was imported, without being started again"
    for host in ("shop.example", "www.shop.example", "boutique.example", "www.boutique.example"):
        answers = [system.curl(host).text.split() for _ in range(6)]
        assert Counter(int(port) for port, _ in answers) == dict.fromkeys(three, 2), "each in its turn"
        assert {asked.partition(":")[0] for _, asked in answers} == {host}, "the host is the visitor's, as it was"
    assert system.curl("www.blog.example").text.startswith(f"{ports[3]} ")
    assert system.curl("other.example").status == 404
    assert read_v2(old) == before, "the old tree is as it was"


def test_containers_of_an_imported_tree_sleep_and_wake_as_they_were_to(
    docker_system: System, docker: DockerEngine, old: EtcdServer
) -> None:
    system = docker_system
    keys: dict[str, str] = {}
    containers = {}
    for state in ("started", "passivated", "stopped"):
        name = f"nxio_{state}"
        keys |= {**domain(f"{state}.localhost", name), **service(name, "172.17.0.5:49153", **status(state))}
        containers[state] = docker.create(
            "py:1",
            "python",
            "/application.py",
            name=f"nuxeo-{name}",
            options={
                "Env": ["HOST=0.0.0.0", "PORT=8000"],
                "HostConfig": {"Binds": [f"{APPLICATION}:/application.py:ro"]},
            },
        )
    docker.start_container(containers["started"])
    began = docker.inspect(containers["started"])["State"]["StartedAt"]
    write_v2(old, keys)
    options = ("--container-name", "nuxeo-{service}", "--container-port", "8000")
    imported = system.cli("import-arken", "--etcd", old.url, *options, "--yes")
    assert imported.returncode == 0, imported.stderr

    system.serve()
    system.control()
    system.until("nxio-started", "started")
    assert system.curl("started.localhost").status == 200
    assert docker.inspect(containers["started"])["State"]["StartedAt"] == began, "it was never started again"
    assert docker.state(containers["passivated"]) == "created", "asleep until somebody asks"
    assert system.curl("passivated.localhost").status == 200, "the first request wakes it"
    assert docker.state(containers["passivated"]) == "running"
    assert system.curl("stopped.localhost").status == 503, "requests do not wake what an operator stopped"
    assert docker.state(containers["stopped"]) == "created"


def test_on_a_terminal_it_shows_the_plan_and_asks(local_system: System, old: EtcdServer) -> None:
    write_v2(old, {**domain("a.example", "a"), **service("a", "10.0.0.1:80")})
    system = local_system
    system.declare("other")
    system.apply()
    command = [sys.executable, "-m", "gogeta", "import-arken", "--etcd", old.url, "--registry", system.registry]
    for answer, status_of_it, created in (("n", 130, False), ("y", 0, True)):
        ours, theirs = pty.openpty()
        try:
            with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, close_fds=True) as program:
                os.close(theirs)
                os.write(ours, f"{answer}\n".encode())
                said = b""
                while True:
                    try:
                        said += os.read(ours, 4096) or b""
                    except OSError:
                        break
                assert program.wait(timeout=30) == status_of_it, said
        finally:
            os.close(ours)
        text = said.decode()
        assert text.index("a.example") < text.index("Import 1 tenants? [y/N]")
        names = system.cli("tenants").stdout
        assert ("routed" in names) is created
