"""Other proxies in front of gogeta, configured as deploy/in-front and deploy/compose say, for real."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from websockets.sync.client import connect

from tests.e2e.system import System
from tests.rig.missing import missing
from tests.rig.ports import free_port
from tests.rig.programs import ProcessRack, resolve

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"


def _there(program: str, package: str) -> None:
    try:
        resolve(program)
    except FileNotFoundError:
        missing(program, f"Debian has it in {package}")


SEES = """
import json, os, http.server
class Seen(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps({name.lower(): value for name, value in self.headers.items()}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *words): pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Seen).serve_forever()
"""


@pytest.fixture
def system(local_system: System, tmp_path: Path) -> System:
    """Two tenants: one tells what reached it, the other talks over a WebSocket."""
    program = tmp_path / "sees.py"
    program.write_text(SEES)
    local_system.declare("sees", command=f"[python3, {program}]", idle="60s")
    local_system.declare("talks", idle="60s")
    return local_system


def _nginx(system: System, folder: Path, port: int) -> list[str | Path]:
    _there("nginx", "nginx-light")
    given = (DEPLOY / "in-front" / "nginx.conf").read_text()
    given = given.replace("127.0.0.1:8080", f"127.0.0.1:{system.port}").replace("listen 80", f"listen 127.0.0.1:{port}")
    temporary = "".join(
        f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"pid {folder}/nginx.pid; error_log {folder}/error.log; daemon off;\n"
        f"events {{}}\nhttp {{ access_log off; {temporary}\n{given}\n}}\n"
    )
    return ["nginx", "-e", folder / "error.log", "-c", folder / "nginx.conf"]


def _haproxy(system: System, folder: Path, port: int) -> list[str | Path]:
    _there("haproxy", "haproxy")
    given = (DEPLOY / "in-front" / "haproxy-http.cfg").read_text()
    given = given.replace("127.0.0.1:8080", f"127.0.0.1:{system.port}").replace("bind :80", f"bind 127.0.0.1:{port}")
    given = given.replace("port 9901", f"port {system.admin}")
    (folder / "haproxy.cfg").write_text(given)
    return ["haproxy", "-f", folder / "haproxy.cfg"]


@pytest.mark.parametrize("configured", [_nginx, _haproxy], ids=["nginx", "haproxy"])
def test_a_proxy_that_speaks_http(
    system: System,
    processes: ProcessRack,
    tmp_path: Path,
    configured: Callable[[System, Path, int], list[str | Path]],
) -> None:
    port = free_port()
    command = configured(system, tmp_path, port)
    system.serve("--trusted-proxies", "127.0.0.1")
    system.control()
    system.apply()
    front = processes.start(*command)
    front.wait_for_port(port, timeout=20)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False) as visitor:
        claims = {"Host": "sees.localhost", "X-Forwarded-For": "192.0.2.66", "X-Forwarded-Proto": "https"}
        answer = visitor.get("/", headers=claims)
        assert answer.status_code == 200, answer.text
        seen = answer.json()
        assert seen["host"] == "sees.localhost"
        assert "192.0.2.66" not in str(seen), "what a visitor says of himself is not believed"
        assert seen["x-forwarded-for"].split(",")[0].strip() == "127.0.0.1"
        assert seen["x-forwarded-proto"] == "http"
        assert visitor.get("/", headers={"Host": "nobody.localhost"}).status_code == 404
    with (
        socket.create_connection(("127.0.0.1", port)) as connection,
        connect(f"ws://talks.localhost:{port}/echo", sock=connection, open_timeout=60) as talk,
    ):
        talk.send("hello")
        assert str(talk.recv(timeout=30)).endswith("hello")
    front.terminate()
    front.wait()


def test_one_address_for_two_gogetas(system: System, processes: ProcessRack) -> None:
    _there("haproxy", "haproxy")
    other = system.beside()
    for each in (system, other):
        each.serve("--proxy-protocol", "--trusted-proxies", "127.0.0.1", "--drain-delay", "3s")
    system.control()
    system.apply()
    port = free_port()
    front = processes.start(
        "haproxy",
        "-f",
        DEPLOY / "compose" / "front.cfg",
        env={
            "FRONT_LISTEN": f"127.0.0.1:{port}",
            "GOGETA_ONE": f"127.0.0.1:{system.port}",
            "GOGETA_ONE_ADMIN": str(system.admin),
            "GOGETA_TWO": f"127.0.0.1:{other.port}",
            "GOGETA_TWO_ADMIN": str(other.admin),
        },
    )
    front.wait_for_port(port, timeout=20)

    def ask() -> int:
        # A connection of its own each time: it may go to either.
        url = f"http://127.0.0.1:{port}/"
        answer = httpx.get(url, headers={"Host": "sees.localhost"}, timeout=60, trust_env=False)
        return answer.status_code

    assert ask() == 200
    # One is told to go. Whoever comes before the balancer has noticed is served all the same.
    system.gogeta.terminate()
    deadline = time.monotonic() + 60
    answers = []
    while system.gogeta.running:
        assert time.monotonic() < deadline
        answers.append(ask())
        time.sleep(0.05)
    answers += [ask() for _ in range(10)]
    assert set(answers) == {200}
    assert system.gogeta.wait() == 0
    front.terminate()
    front.wait()
