"""etcd servers of the tests' own: one node, three nodes, with TLS, with users; killed, paused and started at will."""

import base64
import contextlib
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx

from tests.rig.certificates import CertificateAuthority, KeyPair
from tests.rig.missing import missing
from tests.rig.ports import free_port
from tests.rig.programs import Program, resolve
from tests.rig.run_folder import RunFolder

# A key of one zero byte with the same range end means "all keys" to etcd.
_ALL = base64.b64encode(b"\0").decode()


def _text64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


class EtcdServer:
    """One etcd process with ports, a folder and, if asked for, certificates and users of its own.

    `pid` and friends change with every `start`; endpoint, data and certificates stay.
    """

    def __init__(
        self,
        run_folder: RunFolder,
        *,
        name: str = "node",
        authority: CertificateAuthority | None = None,
        client_auth: bool = False,
        extra_args: Sequence[str] = (),
    ) -> None:
        self.name = name
        self.port = free_port()
        self.peer_port = free_port()
        self.folder = run_folder.subfolder("etcd")
        self._environment = run_folder.environment()
        self._extra_args = list(extra_args)
        self._authority = authority
        self._client_auth = client_auth
        self._server_pair = authority.issue("127.0.0.1", "localhost") if authority else None
        self.client_certificate: KeyPair | None = authority.issue("client") if authority and client_auth else None
        self._initial_cluster = f"{name}={self.peer_url}"
        self._process: Program | None = None
        self._root_password: str | None = None
        self._token: str | None = None

    def __repr__(self) -> str:
        return f"<EtcdServer {self.name} {self.url} {self._process!r}>"

    @property
    def url(self) -> str:
        """Where clients connect, as etcd itself writes it."""
        return f"{'https' if self._authority else 'http'}://127.0.0.1:{self.port}"

    @property
    def peer_url(self) -> str:
        """Where the other members connect."""
        return f"http://127.0.0.1:{self.peer_port}"

    @property
    def endpoint(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.port}"

    @property
    def registry_url(self) -> str:
        """The address as our programs take it."""
        return f"{'etcds' if self._authority else 'etcd'}://{self.endpoint}"

    @property
    def ca_file(self) -> Path | None:
        """The authority that signed its certificate, if it speaks TLS."""
        return self._authority.ca_file if self._authority else None

    @property
    def running(self) -> bool:
        """Whether the process lives; a paused one does."""
        return self._process is not None and self._process.running

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._started().pid

    def join(self, initial_cluster: str) -> None:
        """Make it a member of a cluster; before its first start."""
        self._initial_cluster = initial_cluster

    def start(self, *, wait: bool = True) -> None:
        """Start the process, unless it runs, and wait until it is healthy."""
        if not self.running:
            self._process = Program(
                [resolve("etcd"), *self._arguments()], folder=self.folder, environment=self._environment
            )
        if wait:
            self.wait_healthy()

    def _arguments(self) -> list[str]:
        arguments = [
            f"--name={self.name}",
            f"--data-dir={self.folder / 'data'}",
            f"--listen-client-urls={self.url}",
            f"--advertise-client-urls={self.url}",
            f"--listen-peer-urls={self.peer_url}",
            f"--initial-advertise-peer-urls={self.peer_url}",
            f"--initial-cluster={self._initial_cluster}",
            f"--initial-cluster-token={self.folder.parent.name}",
            "--logger=zap",
        ]
        if self._authority and self._server_pair:
            arguments += [f"--cert-file={self._server_pair.cert_file}", f"--key-file={self._server_pair.key_file}"]
            if self._client_auth:
                arguments += [f"--trusted-ca-file={self._authority.ca_file}", "--client-cert-auth"]
        return arguments + self._extra_args

    def wait_healthy(self, *, timeout: float = 20.0) -> None:
        """Return as soon as it serves reads and writes (which takes a leader)."""
        deadline = time.monotonic() + timeout
        while True:
            if not self.running:
                raise RuntimeError(f"etcd ended:\n{self.output()}")
            with contextlib.suppress(httpx.HTTPError, ValueError), self._client(timeout=1) as client:
                answer = client.get("/health").json()
                if str(answer.get("health")) == "true":
                    return
            if time.monotonic() > deadline:
                raise TimeoutError(f"etcd is not healthy after {timeout:g} s:\n{self.output()}")
            time.sleep(0.03)

    def stop(self) -> None:
        """End it in an orderly way (SIGTERM)."""
        if self._process:
            self._process.end()

    def kill(self) -> None:
        """End it as a crash would (SIGKILL)."""
        self._started().kill()

    def pause(self) -> None:
        """Freeze it (SIGSTOP): connections stay open and silent."""
        self._started().pause()

    def resume(self) -> None:
        """Thaw it (SIGCONT)."""
        self._started().resume()

    def restart(self) -> None:
        """Stop and start, with the same data."""
        self.stop()
        self.start()

    def remove(self) -> None:
        """End it and remove its data."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def output(self) -> str:
        """All that it logged, over all its starts."""
        return self._process.output() if self._process else ""

    def _started(self) -> Program:
        if self._process is None:
            raise RuntimeError("etcd was not started")
        return self._process

    # ------------------------------------------------------------------ asking it something, as nobody under test does

    def _client(self, *, timeout: float = 5.0) -> httpx.Client:
        if self._authority is None:
            return httpx.Client(base_url=self.url, timeout=timeout, trust_env=False)
        import ssl  # noqa: PLC0415  # only servers with TLS need it

        context = ssl.create_default_context(cafile=self._authority.ca_file)
        if self.client_certificate:
            context.load_cert_chain(self.client_certificate.cert_file, self.client_certificate.key_file)
        return httpx.Client(base_url=self.url, timeout=timeout, trust_env=False, verify=context)

    def call(self, path: str, body: Mapping[str, object] | None = None) -> dict[str, Any]:
        """POST to the JSON gateway, as root where there are users, and give back the answer."""
        headers = {"Authorization": self._token} if self._token else {}
        with self._client() as client:
            answer = client.post(path, json=body or {}, headers=headers)
            if self._root_password and "invalid auth token" in answer.text:
                self._log_in()
                answer = client.post(path, json=body or {}, headers={"Authorization": self._token or ""})
        if answer.is_error:
            raise RuntimeError(f"etcd answers {path} with {answer.status_code}: {answer.text}")
        decoded: dict[str, Any] = answer.json()
        return decoded

    def put(self, key: str, value: str) -> int:
        """Write a key; the revision it got."""
        answer = self.call("/v3/kv/put", {"key": _text64(key), "value": _text64(value)})
        return int(answer["header"]["revision"])

    def get(self, key: str) -> str | None:
        """The value of a key; None when there is no such key."""
        for entry in self.call("/v3/kv/range", {"key": _text64(key)}).get("kvs", []):
            return base64.b64decode(entry.get("value", "")).decode()
        return None

    def delete(self, key: str) -> None:
        """Remove a key."""
        self.call("/v3/kv/deleterange", {"key": _text64(key)})

    def items(self, prefix: str = "") -> dict[str, str]:
        """All keys that start with the prefix, and their values."""
        answer = self.call("/v3/kv/range", {"key": _ALL, "range_end": _ALL})
        pairs = (
            (base64.b64decode(entry["key"]).decode(), base64.b64decode(entry.get("value", "")).decode())
            for entry in answer.get("kvs", [])
        )
        return {key: value for key, value in pairs if key.startswith(prefix)}

    def compact(self) -> int:
        """Forget all history up to now; the revision that still is there."""
        revision = int(self.call("/v3/kv/range", {"key": _ALL})["header"]["revision"])
        self.call("/v3/kv/compaction", {"revision": revision, "physical": True})
        return revision

    def wipe(self) -> None:
        """Remove all keys and leases. Revisions go on, as they do in etcd."""
        for lease in self.call("/v3/lease/leases").get("leases", []):
            try:
                self.call("/v3/lease/revoke", {"ID": lease["ID"]})
            except RuntimeError as error:
                # It may have ended since it was listed.
                if "lease not found" not in str(error):
                    raise
        self.call("/v3/kv/deleterange", {"key": _ALL, "range_end": _ALL})

    def is_leader(self) -> bool:
        """Whether it leads its cluster, by its own word."""
        status = self.call("/v3/maintenance/status")
        return bool(status.get("leader") == status["header"]["member_id"])

    def add_users(self, users: Mapping[str, str]) -> None:
        """Add users with their passwords and switch authentication on; `root` must be among them.

        Each user other than root gets a role of the same name with no rights yet: see `grant`.
        """
        for user, password in users.items():
            self.call("/v3/auth/user/add", {"name": user, "password": password})
            self.call("/v3/auth/role/add", {"name": user})
            self.call("/v3/auth/user/grant", {"user": user, "role": user})
        self.call("/v3/auth/enable")
        self._root_password = users["root"]
        self._log_in()

    def grant(self, user: str, prefix: str, permission: str = "READWRITE") -> None:
        """Let a user READ, WRITE or READWRITE all keys with this prefix."""
        end = prefix[:-1] + chr(ord(prefix[-1]) + 1)
        permitted = {"permType": permission, "key": _text64(prefix), "range_end": _text64(end)}
        self.call("/v3/auth/role/grant", {"name": user, "perm": permitted})

    def _log_in(self) -> None:
        self._token = None
        self._token = str(
            self.call("/v3/auth/authenticate", {"name": "root", "password": self._root_password})["token"]
        )


class EtcdCluster:
    """Several members, started and wiped together."""

    def __init__(self, run_folder: RunFolder, size: int = 3) -> None:
        self.members = [EtcdServer(run_folder, name=f"node{number}") for number in range(size)]
        together = ",".join(f"{member.name}={member.peer_url}" for member in self.members)
        for member in self.members:
            member.join(together)

    @property
    def registry_url(self) -> str:
        """All members in one address, as our programs take it."""
        return "etcd://" + ",".join(member.endpoint for member in self.members)

    def start(self) -> None:
        """Start and thaw whatever does not run, and wait until all are healthy."""
        for member in self.members:
            member.start(wait=False)
            member.resume()
        for member in self.members:
            member.wait_healthy()

    def leader(self, *, timeout: float = 10.0) -> EtcdServer:
        """The member that leads, as soon as there is one among those that answer."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            for member in self.members:
                with contextlib.suppress(httpx.HTTPError, RuntimeError):
                    if member.running and member.is_leader():
                        return member
            time.sleep(0.05)
        raise TimeoutError(f"no leader after {timeout:g} s")

    def wipe(self) -> None:
        """Remove all keys and leases."""
        self.members[0].wipe()

    def remove(self) -> None:
        """End all and remove their data."""
        for member in self.members:
            member.remove()


class EtcdFactory:
    """Makes servers of a test's own."""

    def __init__(self, run_folder: RunFolder, authority: CertificateAuthority) -> None:
        self._run_folder = run_folder
        self._authority = authority
        self._servers: list[EtcdServer] = []

    def __call__(
        self,
        *,
        tls: bool = False,
        client_auth: bool = False,
        users: Mapping[str, str] | None = None,
        extra_args: Sequence[str] = (),
    ) -> EtcdServer:
        """A started, healthy, empty server; `client_auth` demands a certificate of its clients."""
        server = EtcdServer(
            self._run_folder,
            authority=self._authority if tls else None,
            client_auth=client_auth,
            extra_args=extra_args,
        )
        self._servers.append(server)
        server.start()
        if users:
            server.add_users(users)
        return server

    def remove(self) -> None:
        """End all that were made."""
        for server in self._servers:
            server.remove()


def need_etcd() -> None:
    """Skip the test where there is no etcd."""
    try:
        resolve("etcd")
    except FileNotFoundError:
        missing("etcd", "no program etcd; Debian has it in etcd-server")
