"""A Docker engine of the tests' own: dockerd and containerd with private sockets, folders, addresses and mounts.

It touches nothing of a Docker that may already be there: no firewall rule is written (containers are reached by their
address on the bridge, published ports go through docker-proxy), no forwarding is switched on, and all mounts live in a
mount namespace that disappears with its last process. Containers have no way out of this machine, by design.
"""

import contextlib
import ipaddress
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx

from tests.rig.images import PYTHON_IMAGE_CHANGES, NoStaticBusybox, busybox_image, python_image
from tests.rig.missing import missing
from tests.rig.ports import claim
from tests.rig.programs import Program, resolve
from tests.rig.run_folder import RunFolder, control_groups

BUSYBOX_IMAGE = "bb:1"
PYTHON_IMAGE = "py:1"

# Inside the engine's mount namespace: what docker and containerd write outside of their folders is written to memory,
# and a machine without control groups gets them (version 2, or version 1 where version 2 has no memory controller).
_NAMESPACE_SETUP = """
set -e
mount -t tmpfs tmpfs /run
[ ! -d /etc/docker ] || mount -t tmpfs tmpfs /etc/docker
if [ -z "$(ls /sys/fs/cgroup)" ]; then
  mount -t cgroup2 none /sys/fs/cgroup
  if ! grep -qw memory /sys/fs/cgroup/cgroup.controllers; then
    umount /sys/fs/cgroup
    mount -t tmpfs cgroup /sys/fs/cgroup
    awk '!/^#/ && $4 == 1 {print $1}' /proc/cgroups | while read -r controller; do
      mkdir "/sys/fs/cgroup/$controller"
      mount -t cgroup -o "$controller" cgroup "/sys/fs/cgroup/$controller"
    done
  fi
fi
exec sleep infinity
"""


class DockerRefused(RuntimeError):
    """The engine answered with an error."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status
        self.message = message


class DockerEngine:
    """dockerd with its containerd; `socket` stays the same over all restarts."""

    def __init__(self, run_folder: RunFolder) -> None:
        self.folder = run_folder.subfolder("docker")
        self.socket = self.folder / "docker.sock"
        self.network = _free_network()
        self.bridge = f"ggrig{self.network.network_address.packed[1]}"
        self.control_group = run_folder.path.name
        self._run_folder = run_folder
        self._environment = run_folder.environment()
        self._holder: Program | None = None
        self._containerd: Program | None = None
        self._dockerd: Program | None = None

    def __repr__(self) -> str:
        return f"<DockerEngine {self.url} {self._dockerd!r}>"

    @property
    def url(self) -> str:
        """The address as clients take it (DOCKER_HOST)."""
        return f"unix://{self.socket}"

    @property
    def running(self) -> bool:
        """Whether dockerd lives; a paused one does."""
        return self._dockerd is not None and self._dockerd.running

    @property
    def pid(self) -> int:
        """The process id of dockerd."""
        return self._started().pid

    # ------------------------------------------------------------------------------------------------ the engine itself

    def start(self, *, timeout: float = 30.0) -> None:
        """Start what does not run and wait until the engine answers."""
        if self._holder is None:
            self._make_ground()
        if not (self._containerd and self._containerd.running):
            self._containerd = self._start_inside("containerd", "--config", str(self.folder / "containerd.toml"))
            _wait_until((self.folder / "containerd.sock").exists, self._containerd, timeout)
        if not self.running:
            (self.folder / "docker.pid").unlink(missing_ok=True)
            self._dockerd = self._start_inside("dockerd", *self._dockerd_arguments())
        _wait_until(self._answers, self._started(), timeout)

    def _make_ground(self) -> None:
        self._run_folder.note_network(self.network)
        gateway = f"{self.network.network_address + 1}/24"
        for command in (
            f"link add {self.bridge} type bridge",
            f"address add {gateway} dev {self.bridge}",
            f"link set {self.bridge} up",
        ):
            subprocess.run([resolve("ip"), *command.split()], check=True, capture_output=True)
        (self.folder / "daemon.json").write_text("{}")
        (self.folder / "containerd.toml").write_text(self._containerd_settings())
        self._holder = Program(
            [resolve("unshare"), "--mount", "--propagation", "private", "sh", "-c", _NAMESPACE_SETUP],
            folder=self._run_folder.subfolder("mounts"),
            environment=self._environment,
        )
        _wait_until(lambda: "sleep" in _command_of(self._holder), self._holder, 5.0)

    def _containerd_settings(self) -> str:
        return f"""
version = 2
root = "{self.folder}/containerd"
state = "{self.folder}/containerd-state"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
  address = "{self.folder}/containerd.sock"
[ttrpc]
  address = "{self.folder}/containerd-ttrpc.sock"
[plugins."io.containerd.internal.v1.opt"]
  path = "{self.folder}/opt"
"""

    def _dockerd_arguments(self) -> list[str]:
        # The default bridge has the first 256 addresses of the range; later networks get 256 each of its upper half.
        upper_half = list(self.network.subnets(prefixlen_diff=1))[1]
        return [
            f"--host={self.url}",
            f"--containerd={self.folder}/containerd.sock",
            f"--data-root={self.folder}/data",
            f"--exec-root={self.folder}/exec",
            f"--pidfile={self.folder}/docker.pid",
            f"--config-file={self.folder}/daemon.json",
            f"--bridge={self.bridge}",
            f"--default-address-pool=base={upper_half},size=24",
            f"--cgroup-parent=/{self.control_group}",
            "--exec-opt=native.cgroupdriver=cgroupfs",
            "--iptables=false",
            "--ip6tables=false",
            "--ip-forward=false",
            "--ip-masq=false",
            f"--group={os.getgid()}",
        ]

    def _start_inside(self, program: str, *arguments: str) -> Program:
        assert self._holder
        folder = self.folder / f"{program}-output"
        folder.mkdir(exist_ok=True)
        return Program(
            [resolve("nsenter"), f"--mount=/proc/{self._holder.pid}/ns/mnt", resolve(program), *arguments],
            folder=folder,
            environment=self._environment,
            name=program,
        )

    def _answers(self) -> bool:
        try:
            with self._client(timeout=2) as client:
                return client.get("/_ping").text == "OK"
        except (OSError, httpx.HTTPError):
            return False

    def _started(self) -> Program:
        if self._dockerd is None:
            raise RuntimeError("the engine was not started")
        return self._dockerd

    def stop(self) -> None:
        """End dockerd in an orderly way (SIGTERM): containers without a restart policy stay stopped."""
        self._started().end(grace=20)

    def kill(self) -> None:
        """End dockerd as a crash would (SIGKILL); its containers run on until it is back."""
        self._started().kill()

    def pause(self) -> None:
        """Freeze dockerd (SIGSTOP): its socket accepts and stays silent."""
        self._started().pause()

    def resume(self) -> None:
        """Thaw dockerd (SIGCONT)."""
        self._started().resume()

    def restart(self) -> None:
        """Stop and start."""
        self.stop()
        self.start()

    def output(self) -> str:
        """What dockerd logged."""
        return self._started().output()

    def remove(self) -> None:
        """End the engine with all that it made."""
        if self.running:
            with contextlib.suppress(OSError, httpx.HTTPError, DockerRefused):
                self.resume()
                self.clear()
        for program in (self._dockerd, self._containerd):
            if program:
                program.end(grace=20)
        if self._holder:
            # From inside: where control groups were mounted for the engine only, they are not to be seen from here.
            inside = ["find", "/sys/fs/cgroup", "-depth", "-type", "d", "-path", f"*/{self.control_group}*", "-delete"]
            enter = [str(resolve("nsenter")), f"--mount=/proc/{self._holder.pid}/ns/mnt"]
            subprocess.run([*enter, *inside], check=False, capture_output=True)
            for group in control_groups(self._run_folder.path):
                with contextlib.suppress(OSError):
                    group.rmdir()
            self._holder.end()
        subprocess.run([resolve("ip"), "link", "delete", self.bridge], check=False, capture_output=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    # ---------------------------------------------------------------------------------- asking it, as nobody under test

    def _client(self, *, timeout: float = 30.0) -> httpx.Client:
        # Where nobody listens, httpx would leave its socket to the garbage collector, which is an error in tests.
        with socket.socket(socket.AF_UNIX) as probe:
            probe.connect(str(self.socket))
        return httpx.Client(
            transport=httpx.HTTPTransport(uds=str(self.socket)),
            base_url="http://docker",
            timeout=timeout,
            trust_env=False,
        )

    def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str | int | bool] | None = None,
        body: object = None,
        content: bytes | Iterator[bytes] | None = None,
    ) -> Any:  # noqa: ANN401  # the engine's JSON, whatever it is
        """One call of the engine's API; its decoded JSON, or its text where it is none."""
        with self._client() as client:
            if content is not None:
                headers = {"Content-Type": "application/x-tar"}
                answer = client.request(method, path, params=params, content=content, headers=headers)
            else:
                answer = client.request(method, path, params=params, json=body)
        if answer.is_error:
            with contextlib.suppress(ValueError):
                raise DockerRefused(answer.status_code, answer.json()["message"])
            raise DockerRefused(answer.status_code, answer.text)
        try:
            return answer.json()
        except ValueError:
            return answer.text

    def create(
        self,
        image: str,
        *command: str,
        name: str | None = None,
        options: Mapping[str, object] | None = None,
    ) -> str:
        """Create a container and give its id; `options` are fields of the API's request, HostConfig among them."""
        body = {"Image": image, "Cmd": list(command), **(options or {})}
        params = {"name": name} if name else {}
        return str(self.request("POST", "/containers/create", params=params, body=body)["Id"])

    def run(
        self,
        image: str,
        *command: str,
        name: str | None = None,
        options: Mapping[str, object] | None = None,
    ) -> str:
        """Create and start a container and give its id."""
        container = self.create(image, *command, name=name, options=options)
        self.start_container(container)
        return container

    def start_container(self, container: str) -> None:
        """Start it; no error when it runs."""
        self.request("POST", f"/containers/{container}/start")

    def stop_container(self, container: str, *, grace: int = 1) -> None:
        """Stop it, by force after the grace time in seconds."""
        self.request("POST", f"/containers/{container}/stop", params={"t": grace})

    def inspect(self, container: str) -> dict[str, Any]:
        """All that the engine says about it."""
        answer: dict[str, Any] = self.request("GET", f"/containers/{container}/json")
        return answer

    def state(self, container: str) -> str:
        """`created`, `running`, `paused`, `exited` ..."""
        return str(self.inspect(container)["State"]["Status"])

    def address(self, container: str) -> str:
        """Its address in its first network; empty while it does not run."""
        for network in self.inspect(container)["NetworkSettings"]["Networks"].values():
            return str(network["IPAddress"])
        return ""

    def logs(self, container: str) -> str:
        """What it wrote to both outputs."""
        with self._client() as client:
            params = {"stdout": True, "stderr": True}
            raw = client.get(f"/containers/{container}/logs", params=params).content
        text = b""
        # Frames: one byte for the stream, three of padding, four for the length, and as many of text.
        while raw:
            end = 8 + int.from_bytes(raw[4:8], "big")
            text, raw = text + raw[8:end], raw[end:]
        return text.decode(errors="replace")

    def containers(self) -> list[str]:
        """The names of all containers, stopped ones included."""
        return sorted(entry["Names"][0].lstrip("/") for entry in self._list("containers/json", all=True))

    def networks(self) -> list[str]:
        """The names of the networks that somebody made."""
        return sorted(
            entry["Name"] for entry in self._list("networks") if entry["Name"] not in {"bridge", "host", "none"}
        )

    def _list(self, what: str, **params: bool) -> list[dict[str, Any]]:
        answer: list[dict[str, Any]] = self.request("GET", f"/{what}", params=params) or []
        return answer

    def clear(self) -> None:
        """Remove all containers, networks, volumes, and the images that are not the rig's."""
        for container in self._list("containers/json", all=True):
            with contextlib.suppress(DockerRefused):
                params = {"force": True, "v": True}
                self.request("DELETE", f"/containers/{container['Id']}", params=params)
        for network in self.networks():
            with contextlib.suppress(DockerRefused):
                self.request("DELETE", f"/networks/{network}")
        for volume in self.request("GET", "/volumes").get("Volumes") or ():
            with contextlib.suppress(DockerRefused):
                self.request("DELETE", f"/volumes/{volume['Name']}", params={"force": True})
        for image in self._list("images/json"):
            if not {BUSYBOX_IMAGE, PYTHON_IMAGE} & set(image["RepoTags"] or ()):
                with contextlib.suppress(DockerRefused):
                    self.request("DELETE", f"/images/{image['Id']}", params={"force": True})

    # ------------------------------------------------------------------------------------------------------- its images

    def import_image(self, name: str, tar: bytes | Path, changes: tuple[str, ...] = ()) -> None:
        """Make an image of a tar of files; `changes` are words of a Dockerfile."""
        repository, _, tag = name.partition(":")
        query = httpx.QueryParams(
            [("fromSrc", "-"), ("repo", repository), ("tag", tag), *(("changes", c) for c in changes)]
        )
        content = tar if isinstance(tar, bytes) else _chunks(tar)
        answer = self.request("POST", f"/images/create?{query}", content=content)
        # The engine says 200 and then, maybe, that it failed.
        if "error" in str(answer):
            raise DockerRefused(200, str(answer))

    def make_images(self) -> None:
        """Make `bb:1`."""
        self.import_image(BUSYBOX_IMAGE, busybox_image(resolve("busybox")))

    def make_python_image(self) -> str:
        """Make `py:1`, unless it is there, and give its name."""
        if not any(PYTHON_IMAGE in (image["RepoTags"] or ()) for image in self._list("images/json")):
            self.import_image(PYTHON_IMAGE, python_image(resolve("busybox")), PYTHON_IMAGE_CHANGES)
        return PYTHON_IMAGE


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            yield chunk


def _command_of(program: Program | None) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{program.pid if program else 0}/comm").read_text()
    return ""


def _wait_until(ready: Callable[[], bool], program: Program, timeout: float) -> None:
    deadline = time.monotonic() + timeout
    while not ready():
        if not program.running:
            raise RuntimeError(f"{program.name} ended:\n{program.output()}")
        if time.monotonic() > deadline:
            raise TimeoutError(f"{program.name} is not ready after {timeout:g} s:\n{program.output()}")
        time.sleep(0.03)


def _free_network() -> ipaddress.IPv4Network:
    """A range of addresses that no interface and no route of this machine has, and no other run either."""
    listing = subprocess.run(
        [resolve("ip"), "-json", "-4", "route", "show", "table", "all"], check=True, capture_output=True, text=True
    )
    taken = {route["dst"] for route in json.loads(listing.stdout or "[]")} - {"default", "0.0.0.0/0"}
    used = [ipaddress.ip_network(destination, strict=False) for destination in taken if destination[0].isdigit()]
    for second in range(200, 250):
        network = ipaddress.IPv4Network(f"10.{second}.0.0/16")
        if not any(network.overlaps(other) for other in used) and claim(f"network-{second}"):
            return network
    raise RuntimeError("no free range of addresses for containers")


def make_engine(run_folder: RunFolder) -> DockerEngine:
    """A started engine with `bb:1`; skips the test where it cannot be had."""
    if os.geteuid() != 0:
        missing("docker", "running an engine takes root")
    for program, package in (
        ("dockerd", "docker.io"),
        ("containerd", "containerd"),
        ("busybox", "busybox-static"),
        ("ip", "iproute2"),
        ("unshare", "util-linux"),
    ):
        try:
            resolve(program)
        except FileNotFoundError:
            missing("docker", f"no program {program}; Debian has it in {package}")
    engine = DockerEngine(run_folder)
    try:
        engine.start()
        engine.make_images()
    except NoStaticBusybox as error:
        engine.remove()
        missing("docker", f"{error}; Debian has a static one in busybox-static")
    except (RuntimeError, OSError, subprocess.CalledProcessError) as error:
        engine.remove()
        missing("docker", f"the engine does not start here: {str(error).strip().splitlines()[-1][:300]}")
    return engine
