"""gogeta in front of real servers: nginx, Python on ASGI (uvicorn), and Node. All are routed-only tenants.

A tenant's name is its first label: `node` answers at `node.localhost`. `node6` (on [::1]) and `mortal` are Node too,
started by the tests that need them (`start_node`).
"""

import gzip
import hashlib
import random
import socket
import time
from pathlib import Path
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.system import Answer, System
from tests.rig.missing import missing
from tests.rig.ports import free_port
from tests.rig.programs import ProcessRack, Program, resolve

APPS = Path(__file__).parent / "apps"
CONTENT_SIZE = 20_000_000

_NGINX = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log stderr;
events {{}}
http {{
  access_log off;
  types {{ text/plain txt; }}
  default_type application/octet-stream;
  client_body_temp_path {folder}/bodies;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  client_max_body_size 30m;
  absolute_redirect off;
  server {{
    listen 127.0.0.1:{port};
    root {folder}/site;
    location /packed/ {{ gzip_static always; }}
    location /squeezed/ {{ alias {folder}/site/; gzip on; gzip_types text/plain; }}
    location /moved {{ return 301 /readme.txt; }}
    location /written/ {{ dav_methods PUT DELETE; create_full_put_path on; }}
  }}
}}
"""


class Served:
    """The running parts, and what a visitor does with them."""

    def __init__(self, processes: ProcessRack, folder: Path) -> None:
        self.folder = folder
        self.system = System(processes, f"embedded:{folder}/gogeta.db", folder)
        self.content = folder / "content"
        self.content.write_bytes(random.Random(1).randbytes(CONTENT_SIZE))
        self.digest = hashlib.sha256(self.content.read_bytes()).hexdigest()
        self.text = folder / "site" / "readme.txt"
        """What nginx has at /readme.txt, and compressed at /packed/readme.txt."""
        self.ports = {name: free_port() for name in ("nginx", "asgi", "node", "node6", "mortal")}
        self._processes = processes
        behind = {
            "nginx": self._start_nginx(),
            "asgi": self._start_asgi(),
            "node": self.start_node("node", wait=False),
        }
        serving = self.system.serve(wait=False)
        for name, program in behind.items():
            program.wait_for_port(self.ports[name])
        serving.wait_for_port(self.system.port)
        self._apply()

    # ---------------------------------------------------------------------------------------------------- the parts

    def _start_nginx(self) -> Program:
        site = self.folder / "site"
        (site / "packed").mkdir(parents=True)
        (site / "written").mkdir()
        self.text.write_text("".join(f"{number}: a line of text\n" for number in range(10_000)))
        (site / "packed" / "readme.txt.gz").write_bytes(gzip.compress(self.text.read_bytes(), mtime=0))
        (site / "content").symlink_to(self.content)
        config = self.folder / "nginx.conf"
        config.write_text(_NGINX.format(folder=self.folder, port=self.ports["nginx"]))
        return self._processes.start(need("nginx"), "-p", self.folder, "-c", config)

    def _start_asgi(self) -> Program:
        options = ["--host", "127.0.0.1", "--port", str(self.ports["asgi"]), "--app-dir", str(APPS)]
        quiet = ["--log-level", "warning", "--timeout-keep-alive", "600"]
        return self._processes.start(
            "uvicorn", "asgi:application", *options, *quiet, env={"CONTENT": str(self.content)}
        )

    def start_node(
        self, name: str, processes: ProcessRack | None = None, *, host: str = "127.0.0.1", wait: bool = True
    ) -> Program:
        """Node as this tenant's application; ended with `processes`, else with the rest."""
        environment = {"PORT": str(self.ports[name]), "HOST": host, "NAME": name, "CONTENT": str(self.content)}
        node = (processes or self._processes).start(need("node"), APPS / "node.mjs", env=environment)
        if wait:
            node.wait_for_port(self.ports[name], host)
        return node

    def serve_ipv6(self, processes: ProcessRack) -> str:
        """Another gogeta on the same registry, listening on [::1]; where."""
        port = free_port()
        addresses = ["--listen", f"[::1]:{port}", "--admin", f"127.0.0.1:{free_port()}"]
        gogeta = processes.start("gogeta", "serve", *addresses, "--registry", self.system.registry)
        gogeta.wait_for_port(port, "::1")
        return f"[::1]:{port}"

    def _apply(self) -> None:
        file = self.folder / "tenants.yaml"
        hosts = {"node6": "[::1]"}
        file.write_text(
            "tenants:\n"
            + "".join(
                f"  - name: {name}\n    hosts: [{name}.localhost]\n"
                f'    upstreams: ["http://{hosts.get(name, "127.0.0.1")}:{port}"]\n'
                for name, port in self.ports.items()
            )
        )
        applied = self.system.cli("apply", "-f", file)
        assert applied.returncode == 0, applied.stderr
        deadline = time.monotonic() + 10
        for name in self.ports:
            # The routes reach the proxy a moment after they are written.
            while self.curl(name, "/readme.txt").status == 404:
                assert time.monotonic() < deadline, f"no route to {name}"

    # -------------------------------------------------------------------------------------------------- the visitor

    @property
    def port(self) -> int:
        """Where gogeta listens on 127.0.0.1."""
        return self.system.port

    def curl(self, name: str, path: str = "/", *options: str | Path, at: str | None = None) -> Answer:
        """Ask a tenant with curl; `options` are curl's own."""
        return self.system.curl(f"{name}.localhost", path, *options, timeout=20, at=at)

    def client(self, name: str, **options: Any) -> httpx.Client:  # noqa: ANN401  # httpx's own
        """An httpx client whose relative URLs lead to a tenant."""
        base = f"http://{name}.localhost:{self.port}"
        return httpx.Client(base_url=base, trust_env=False, timeout=20, transport=_Loopback(), **options)

    def visitor(self) -> socket.socket:
        """A bare connection to gogeta."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=15)

    def socket_url(self, name: str, path: str = "/socket") -> str:
        """A tenant's WebSocket, for a client that is told where to connect."""
        return f"ws://{name}.localhost:{self.port}{path}"

    def metric(self, name: str) -> float:
        """A value of gogeta's without labels, by the sample's name."""
        text = httpx.get(f"http://127.0.0.1:{self.system.admin}/metrics", trust_env=False).text
        samples = (sample for family in text_string_to_metric_families(text) for sample in family.samples)
        return sum(sample.value for sample in samples if sample.name == name)


class _Loopback(httpx.HTTPTransport):
    """Leads every name to 127.0.0.1, and leaves the Host field as it is."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.url = request.url.copy_with(host="127.0.0.1")
        return super().handle_request(request)


def everything(visitor: socket.socket) -> bytes:
    """All that a bare connection gets until its end."""
    pieces = []
    while piece := visitor.recv(1 << 20):
        pieces.append(piece)
    return b"".join(pieces)


def need(program: str) -> Path:
    """Where a server's program is; skips the tests where there is none."""
    try:
        return resolve(program)
    except FileNotFoundError as error:
        missing(program, str(error))
