"""TLS, redirects and the PROXY protocol as visitors and operators meet them: curl and HAProxy before `gogeta serve`."""

import hashlib
import http.client
import json
import ssl
import subprocess
import time
from pathlib import Path

import pytest
import trustme

from tests.e2e.system import System
from tests.rig.missing import missing
from tests.rig.ports import free_port, wait_for_port
from tests.rig.programs import ProcessRack, resolve

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]


class Authority:
    """An authority of its own, so that a visitor who trusts it alone tells whose certificate it was shown."""

    def __init__(self, folder: Path, name: str) -> None:
        self._authority = trustme.CA(key_type=trustme.KeyType.ECDSA)
        self.file = folder / f"{name}.authority"
        self._authority.cert_pem.write_to_path(self.file)

    def put(self, folder: Path, name: str, *hosts: str) -> None:
        """A certificate with its key, each file replaced at once."""
        leaf = self._authority.issue_cert(*hosts)
        chain = b"".join(part.bytes() for part in leaf.cert_chain_pems)
        for ending, data in (("crt", chain), ("key", leaf.private_key_pem.bytes())):
            fresh = folder / f".{name}.{ending}"
            fresh.write_bytes(data)
            fresh.replace(folder / f"{name}.{ending}")


def curl(*arguments: str | Path) -> tuple[int, str]:
    """The status of curl, and what it printed."""
    command = [resolve("curl"), "--silent", "--show-error", "--max-time", "30", *arguments]
    ended = subprocess.run(command, check=False, capture_output=True, text=True, timeout=40)
    return ended.returncode, ended.stdout + ended.stderr


def here(port: int) -> list[str]:
    """Every host is on this machine, at that port."""
    return ["--connect-to", f"::127.0.0.1:{port}"]


def metric(system: System, name: str) -> float:
    """The sum of a metric over its labels."""
    status, text = curl(f"http://127.0.0.1:{system.admin}/metrics")
    assert status == 0, text
    lines = [line for line in text.splitlines() if line.startswith((f"{name} ", f"{name}{{"))]
    return sum(float(line.rpartition(" ")[2]) for line in lines)


def until_metric(system: System, name: str, value: float) -> None:
    """Wait until a metric is so."""
    deadline = time.monotonic() + 20
    while (now := metric(system, name)) != value:
        assert time.monotonic() < deadline, f"{name} is {now}, not {value}"
        time.sleep(0.2)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_certificates_by_host_and_a_change_of_one(local_system: System, tmp_path: Path, workers: str) -> None:
    old, new = Authority(tmp_path, "old"), Authority(tmp_path, "new")
    folder = tmp_path / "certificates"
    folder.mkdir()
    old.put(folder, "acme", "acme.localhost")
    new.put(folder, "others", "beta.localhost", "*.other.localhost")
    secure = free_port()
    for name in ("acme", "beta"):
        local_system.declare(name, idle="never")
    gogeta = local_system.serve(
        *("--tls-dir", str(folder), "--tls-listen", f"127.0.0.1:{secure}", "--https-redirect", "--workers", workers)
    )
    local_system.control()
    local_system.apply()
    wait_for_port(secure)

    def visit(host: str, authority: Authority, *more: str) -> tuple[int, str]:
        return curl(*here(secure), "--cacert", authority.file, *more, f"https://{host}.localhost:{secure}/")

    # Each host has its own certificate, and both tenants are woken through TLS.
    assert "The application answers" in visit("acme", old)[1]
    assert "The application answers" in visit("beta", new)[1]
    assert (visit("acme", new)[0], visit("beta", old)[0]) == (60, 60)
    assert "The application answers" in visit("acme", old, "--tls-max", "1.2")[1]
    # A host without a certificate gets an alert, not somebody else's name.
    status, said = curl(*here(secure), "--insecure", "https://nobody.example/")
    assert (status, "unrecognized name" in said) == (35, True)

    # From plain text to TLS with method and body kept.
    body = b"hello" * 1000
    (tmp_path / "body").write_bytes(body)
    plain = f"http://acme.localhost:{local_system.port}/digest"
    both = ["--connect-to", f"acme.localhost:{local_system.port}:127.0.0.1:{local_system.port}"]
    status, said = curl(
        *both, *here(secure), "--cacert", old.file, "--location", "--data-binary", f"@{tmp_path / 'body'}", plain
    )
    assert json.loads(said)["sha256"] == hashlib.sha256(body).hexdigest(), said
    status, said = curl(*here(local_system.port), "--output", "/dev/null", "--write-out", "%{redirect_url}", plain)
    assert said == f"https://acme.localhost:{secure}/digest"

    # A certificate is changed under a connection that is open: the connection stays, new ones get the new one.
    trusting = ssl.create_default_context(cafile=str(old.file))
    kept = http.client.HTTPSConnection("127.0.0.1", secure, timeout=30, context=trusting)
    plain_socket = http.client.socket.create_connection(("127.0.0.1", secure), timeout=30)  # type: ignore[attr-defined]
    kept.sock = trusting.wrap_socket(plain_socket, server_hostname="acme.localhost")
    kept.request("GET", "/", headers={"Host": "acme.localhost"})
    assert b"The application answers" in kept.getresponse().read()
    new.put(folder, "acme", "acme.localhost")
    until_metric(local_system, "gogeta_tls_certificate_reloads_total", int(workers))
    assert "The application answers" in visit("acme", new)[1]
    assert visit("acme", old)[0] == 60
    kept.request("GET", "/", headers={"Host": "acme.localhost"})
    assert b"The application answers" in kept.getresponse().read()
    kept.close()

    # A key that does not fit changes nothing, and is told.
    (folder / "acme.key").write_bytes((folder / "others.key").read_bytes())
    until_metric(local_system, "gogeta_tls_certificate_reload_failures_total", int(workers))
    assert "The application answers" in visit("acme", new)[1]
    gogeta.wait_for_line("the key is not that of the certificate")
    assert metric(local_system, "gogeta_tls_certificates") == 2
    assert metric(local_system, "gogeta_tls_certificate_expiry_timestamp_seconds") > time.time()
    assert metric(local_system, "gogeta_connections_turned_away_total") >= 1
    gogeta.terminate()
    assert gogeta.wait() == 0


@pytest.mark.parametrize("workers", ["1", "2"])
def test_mistakes_with_certificates_end_the_start_with_a_message(
    processes: ProcessRack, tmp_path: Path, workers: str
) -> None:
    authority = Authority(tmp_path, "any")
    authority.put(tmp_path, "a", "a.test")
    authority.put(tmp_path, "b", "b.test")
    cert, key, other = tmp_path / "a.crt", tmp_path / "a.key", tmp_path / "b.key"
    mistakes: list[tuple[list[str | Path], str, str]] = [
        (["--tls-cert", cert, "--tls-key", other], "--tls-cert: ", "not that of the certificate"),
        (["--tls-cert", tmp_path / "none", "--tls-key", key], "--tls-cert: ", "no such file"),
        (["--tls-cert", cert, "--tls-key", tmp_path / "none"], "--tls-key: ", "no such file"),
        (["--tls-dir", tmp_path / "none"], "--tls-dir: ", "No such file"),
        (["--tls-listen", "127.0.0.1:0"], "--tls-listen: ", "needs a certificate"),
    ]
    for arguments, setting, said in mistakes:
        refused = processes.run(
            "gogeta",
            "serve",
            *("--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--registry", f"embedded:{tmp_path}/db"),
            *("--workers", workers, *arguments),
        )
        assert refused.returncode == 2, refused
        assert setting in refused.stderr
        assert said in refused.stderr


def test_listen_itself_speaks_tls_when_it_is_the_only_listener(local_system: System, tmp_path: Path) -> None:
    authority = Authority(tmp_path, "any")
    authority.put(tmp_path, "a", "acme.localhost")
    local_system.declare("acme", idle="never")
    gogeta = local_system.up("--tls-cert", str(tmp_path / "a.crt"), "--tls-key", str(tmp_path / "a.key"))
    gogeta.wait_for_line(f"https://acme.localhost:{local_system.port}/")
    address = f"acme.localhost:{local_system.port}/"
    status, said = curl(*here(local_system.port), "--cacert", authority.file, f"https://{address}")
    assert "The application answers" in said, status
    status, said = curl(*here(local_system.port), f"http://{address}")
    assert said == "This port speaks TLS: ask with https.\n"


HAPROXY = """
defaults
  mode tcp
  timeout connect 5s
  timeout client 30s
  timeout server 30s
listen v1
  bind 127.0.0.1:{v1}
  server gogeta 127.0.0.1:{gogeta} send-proxy
listen v2
  bind 127.0.0.1:{v2}
  server gogeta 127.0.0.1:{gogeta} send-proxy-v2 proxy-v2-options unique-id,crc32c
  unique-id-format %[uuid()]
"""


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_real_senders_of_the_proxy_protocol(
    local_system: System, processes: ProcessRack, tmp_path: Path, scheme: str
) -> None:
    try:
        resolve("haproxy")
    except FileNotFoundError as error:
        missing("haproxy", str(error))
    authority = Authority(tmp_path, "any")
    authority.put(tmp_path, "a", "acme.localhost")
    secure = ["--tls-cert", str(tmp_path / "a.crt"), "--tls-key", str(tmp_path / "a.key")] if scheme == "https" else []
    local_system.declare("acme", idle="never")
    gogeta = local_system.up("--proxy-protocol", "--trusted-proxies", "127.0.0.0/8", *secure)
    ports = {"v1": free_port(), "v2": free_port()}
    config = tmp_path / "haproxy.cfg"
    config.write_text(HAPROXY.format(gogeta=local_system.port, **ports))
    processes.start("haproxy", "-db", "-f", config)
    for port in ports.values():
        wait_for_port(port)
        url = f"{scheme}://acme.localhost:{port}/"
        status, said = curl(*here(port), "--cacert", authority.file, url)
        assert "The application answers" in said, (status, said)
    direct: list[str | Path] = [*here(local_system.port), "--cacert", authority.file]
    url = f"{scheme}://acme.localhost:{local_system.port}/"
    assert "The application answers" in curl(*direct, "--haproxy-protocol", url)[1]
    assert curl(*direct, url)[0] in (35, 52, 56), "without a header nobody comes in"
    assert metric(local_system, "gogeta_connections_turned_away_total") >= 1
    gogeta.terminate()
    assert gogeta.wait() == 0
