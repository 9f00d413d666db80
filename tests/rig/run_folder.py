"""One folder for all that a run makes, and the proof that nothing of it stays behind.

Every process that the rig starts carries the folder's path in its environment, and so do its descendants. That is how
what was left over is found: by this run at its end, and, should this run be killed, by the next one at its start.
"""

import contextlib
import fcntl
import ipaddress
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

MARK = "TEST_RIG_RUN"
"""Environment variable with the folder of the run that started a process."""

_PREFIX = "gogeta-rig-"
_LOCK = "lock"
_NETWORK = "network"


class RunFolder:
    """A private folder below /tmp, with a short path because unix sockets go into it."""

    def __init__(self) -> None:
        unlocked = Path(tempfile.mkdtemp(prefix="gogeta-new-", dir="/tmp"))
        self._lock = (unlocked / _LOCK).open("w")
        # Held as long as this process lives: how another run knows that this one does.
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Only now under the name that other runs look for: unlocked, it would be taken for a dead run's.
        self.path = unlocked.rename(unlocked.with_name(_PREFIX + unlocked.name.removeprefix("gogeta-new-")))

    def subfolder(self, name: str) -> Path:
        """A new empty folder with a telling, unique name."""
        return Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self.path))

    def environment(self) -> dict[str, str]:
        """This process's environment, with the mark."""
        return {**os.environ, MARK: str(self.path)}

    def note_network(self, network: ipaddress.IPv4Network) -> None:
        """Remember a range of addresses whose network interfaces have to go with the run."""
        (self.path / _NETWORK).write_text(str(network))

    def clear(self) -> list[str]:
        """End and remove all that is left, and say what it was: nothing, if every fixture did its work."""
        left = clear_folder(self.path)
        self._lock.close()
        return left


def clear_folder(path: Path) -> list[str]:
    """End and remove all that a run left in and around its folder, and say what it was."""
    processes = list(marked_processes(path))
    left = [f"process {pid}: {_command_line(pid)}" for pid in processes]
    _end(processes)
    with contextlib.suppress(OSError):
        for link in _links_in(ipaddress.IPv4Network((path / _NETWORK).read_text())):
            left.append(f"network interface {link}")
            subprocess.run(["ip", "link", "delete", link], check=False, capture_output=True)
    for mount_point in mounts_below(path):
        left.append(f"mount {mount_point}")
        subprocess.run(["umount", "--lazy", mount_point], check=False, capture_output=True)
    for group in control_groups(path):
        left.append(f"control group {group}")
        with contextlib.suppress(OSError):
            group.rmdir()
    shutil.rmtree(path, ignore_errors=True)
    if path.exists():
        left.append(f"folder {path}")
    return left


def clear_dead_runs() -> None:
    """Remove what killed runs left behind; runs that live are left alone."""
    for path in Path("/tmp").glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError), (path / _LOCK).open("r") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            clear_folder(path)


def marked_processes(path: Path) -> Iterator[int]:
    """The ids of the processes that the run with this folder started, and of their descendants."""
    mark, inside = f"{MARK}={path}".encode(), f"{path}/".encode()
    parents: dict[int, int] = {}
    marked: set[int] = set()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError, IndexError, ValueError):
            parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            environment = (entry / "environ").read_bytes()
            # nginx writes its title over its environment; the files that it was started with are in the title.
            titled = b"=" not in environment and inside in (entry / "cmdline").read_bytes()
            if titled or mark in environment.split(b"\0"):
                marked.add(int(entry.name))
    # A container's processes have an environment of their own: they are found by their parent, the shim.
    for pid in parents:
        ancestor = pid
        while ancestor in parents and ancestor not in marked:
            ancestor = parents[ancestor]
        if ancestor in marked:
            yield pid


def control_groups(path: Path) -> list[Path]:
    """The control groups of a run's containers, innermost first. They are named after the run's folder."""
    tops = [top for pattern in (path.name, f"*/{path.name}") for top in Path("/sys/fs/cgroup").glob(pattern)]
    groups = [group for top in tops for group in (top, *top.rglob("*")) if group.is_dir()]
    return sorted(groups, key=lambda group: len(group.parts), reverse=True)


def _links_in(network: ipaddress.IPv4Network) -> list[str]:
    listing = subprocess.run(["ip", "-json", "-4", "address"], check=False, capture_output=True, text=True).stdout
    return [
        link["ifname"]
        for link in json.loads(listing or "[]")
        if any(ipaddress.IPv4Address(address["local"]) in network for address in link.get("addr_info", ()))
    ]


def mounts_below(path: Path) -> list[str]:
    """Mount points in the folder, innermost first."""
    with contextlib.suppress(OSError):
        points = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
        return sorted((point for point in points if point.startswith(f"{path}/")), reverse=True)
    return []


def _command_line(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    return "(gone)"


def _end(pids: Iterable[int]) -> None:
    alive = list(pids)
    for pid in alive:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 5
    while alive and time.monotonic() < deadline:
        alive = [pid for pid in alive if _runs(pid)]
        time.sleep(0.02)


def _runs(pid: int) -> bool:
    """Whether it is there and no zombie: a zombie is its parent's to collect."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False
