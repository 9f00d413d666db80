"""One folder for all that a run makes, and the proof that nothing of it stays behind.

Every process that the rig starts carries the folder's path in its environment, and so do its descendants. That is how
what was left over is found: by this run at its end, and, should this run be killed, by the next one at its start.
"""

import contextlib
import fcntl
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
_LINKS = "links"


class RunFolder:
    """A private folder below /tmp, with a short path because unix sockets go into it."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir="/tmp"))
        self._lock = (self.path / _LOCK).open("w")
        # Held as long as this process lives: how another run knows that this one does.
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def subfolder(self, name: str) -> Path:
        """A new empty folder with a telling, unique name."""
        return Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self.path))

    def environment(self) -> dict[str, str]:
        """This process's environment, with the mark."""
        return {**os.environ, MARK: str(self.path)}

    def note_link(self, name: str) -> None:
        """Remember a network interface that has to go with the run."""
        with (self.path / _LINKS).open("a") as notes:
            notes.write(f"{name}\n")

    def clear(self) -> list[str]:
        """End and remove all that is left, and say what it was: nothing, if every fixture did its work."""
        left = clear_folder(self.path)
        self._lock.close()
        return left


def clear_folder(path: Path) -> list[str]:
    """End and remove all that a run left in and around its folder, and say what it was."""
    left = []
    with contextlib.suppress(OSError):
        for link in (path / _LINKS).read_text().split():
            if Path("/sys/class/net", link).exists():
                left.append(f"network interface {link}")
                subprocess.run(["ip", "link", "delete", link], check=False, capture_output=True)
    processes = list(marked_processes(path))
    left += [f"process {pid}: {_command_line(pid)}" for pid in processes]
    _end(processes)
    for mount_point in mounts_below(path):
        left.append(f"mount {mount_point}")
        subprocess.run(["umount", "--lazy", mount_point], check=False, capture_output=True)
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
    mark = f"{MARK}={path}".encode()
    parents: dict[int, int] = {}
    marked: set[int] = set()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError, IndexError, ValueError):
            parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            if mark in (entry / "environ").read_bytes().split(b"\0"):
                marked.add(int(entry.name))
    # A container's processes have an environment of their own: they are found by their parent, the shim.
    for pid in parents:
        ancestor = pid
        while ancestor in parents and ancestor not in marked:
            ancestor = parents[ancestor]
        if ancestor in marked:
            yield pid


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
