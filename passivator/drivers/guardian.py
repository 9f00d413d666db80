"""The program that starts local tenants and lets none of their processes outlive passivator.

Started once per process driver as ``python -I -S guardian.py FD``; standard library only, no import of ours: it has to
start in a few milliseconds, stay small and never fail for somebody else's reason. It must not know the driver, the
registry or any policy.

Two roles in one file. The *guardian* waits for the driver to hand it a socket, and forks a *keeper* for each. A keeper
runs one command once: it gets the declaration as the first JSON line of its socket, starts the command, keeps its
output, and reports. Nothing survives, because whoever dies is noticed by somebody who can still act:

- passivator dies: every socket ends, and each keeper ends all below it;
- the guardian dies: the kernel sends each keeper SIGTERM (PR_SET_PDEATHSIG), and each ends all below it;
- a keeper dies: the kernel kills its command, and what that had started falls to the guardian, which kills it.

Descendants that leave the process group or detach twice stay below their keeper, which is a child subreaper: whatever
is below it, and nothing else, is this tenant.

From the driver: ``{"argv", "env", "cwd", "memory", "open_files", "log", "log_limit"}`` first, then any of
``{"do": "stop", "grace": SECONDS}``, ``{"do": "pause"}``, ``{"do": "resume"}``.
To the driver: ``{"is": "started", "pid": N}``, or ``{"is": "failed", "what": WHAT, "error": TEXT}`` where WHAT is cwd,
limit, command or log; then ``paused``, ``resumed``, ``unlogged`` (with an error) as they come; last
``{"is": "exited", "code": N, "tail": TEXT}``.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import select
import signal
import socket
import subprocess
import sys
import time
from typing import Any, Final

PR_SET_PDEATHSIG: Final = 1
PR_SET_CHILD_SUBREAPER: Final = 36
MAX_LINE: Final = 1 << 20
"""Most bytes of one message."""
TAIL: Final = 4096
"""Bytes of the last output that are told with the exit."""
FAREWELL: Final = 0.5
"""Seconds that commands get between SIGTERM and SIGKILL when passivator is gone."""
SWEEP: Final = 0.02
"""Seconds between two rounds of killing what is still there."""
LOOK: Final = 1.0
"""Seconds between two looks at whether the parent is still the parent."""

_libc = ctypes.CDLL(None, use_errno=True)


def prctl(option: int, value: int) -> None:
    """The system call; OSError when it is refused."""
    if _libc.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


def read(path: str) -> bytes:
    """A small file of /proc, empty when its process is gone."""
    with contextlib.suppress(OSError), open(path, "rb") as file:  # noqa: PTH123 - pathlib costs start-up time
        return file.read()
    return b""


def families() -> dict[int, list[int]]:
    """Parents and their children, of all processes that live."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):  # noqa: PTH208 - pathlib costs start-up time
        if entry.isdigit() and (stat := read(f"/proc/{entry}/stat")):
            state, parent = stat.rpartition(b")")[2].split()[:2]
            if state != b"Z":
                children.setdefault(int(parent), []).append(int(entry))
    return children


def below(*roots: int) -> list[int]:
    """All living processes that descend from ``roots``, parents before children."""
    children = families()
    found = list(roots)
    for pid in found:
        found.extend(children.get(pid, ()))
    return found[len(roots) :]


def processor_seconds(command: int) -> float | None:
    """What a keeper's ``command`` and all beside and below it have used so far; None when it is gone.

    From outside of the keeper: it is the command's parent, and what ends is accounted to whoever it was a child of.
    """
    parent = read(f"/proc/{command}/stat").rpartition(b")")[2].split()[1:2]
    if not parent:
        return None
    ticks = 0
    for pid in (int(parent[0]), *below(int(parent[0]))):
        fields = read(f"/proc/{pid}/stat").rpartition(b")")[2].split()
        # utime, stime, and those of its children that were waited for (proc(5), fields 14 to 17).
        ticks += sum(int(field) for field in fields[11:15])
    return ticks / os.sysconf("SC_CLK_TCK")


def group_of(pid: int) -> int:
    """Its process group, 0 when it is gone."""
    with contextlib.suppress(ProcessLookupError):
        return os.getpgid(pid)
    return 0


def signal_all(pids: list[int], number: signal.Signals) -> None:
    """Send all of them a signal; those that are gone meanwhile do not matter."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def catch_signals() -> int:
    """Make SIGCHLD and SIGTERM readable: one byte each, its number, from the returned descriptor."""
    read, write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    for number in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    return read


def caught(descriptor: int) -> bytes:
    """The numbers of the signals that came since the last time."""
    with contextlib.suppress(BlockingIOError):
        return os.read(descriptor, 512)
    return b""


class Log:
    """A file that never grows past its limit: the older half of what is kept is in ``PATH.1``."""

    def __init__(self, path: str, limit: int) -> None:
        """``limit`` in bytes, of each of the two files."""
        self._path = path
        self._limit = limit
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._size = os.fstat(self._file).st_size
        self.tail = b""

    def write(self, data: bytes) -> None:
        """Keep it. Raises OSError when the disk does not take it; the tail has it all the same."""
        self.tail = (self.tail + data)[-TAIL:]
        if self._size + len(data) > self._limit and self._size:
            os.replace(self._path, f"{self._path}.1")  # noqa: PTH105 - pathlib costs start-up time
            replacement = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            os.close(self._file)
            self._file, self._size = replacement, 0
        self._size += os.write(self._file, data)


def tell(link: socket.socket, message: dict[str, Any]) -> None:
    """Send one message to the driver. One that does not read its few lines in a second is as good as gone."""
    link.settimeout(1.0)
    with contextlib.suppress(OSError):
        link.sendall(json.dumps(message).encode() + b"\n")
    link.settimeout(0.0)


def receive(link: socket.socket) -> bytes:
    """What the driver sent; nothing when its end of the socket is gone, and so is the driver."""
    with contextlib.suppress(ConnectionError):
        return link.recv(65536)
    return b""


def wanted_limits(order: dict[str, Any]) -> list[tuple[int, int]]:
    """The limits to set. ValueError when one is more than this user may have."""
    limits = [(resource.RLIMIT_CORE, 0)]
    for kind, value in ((resource.RLIMIT_AS, order["memory"]), (resource.RLIMIT_NOFILE, order["open_files"])):
        if value is not None:
            hard = resource.getrlimit(kind)[1]
            if hard != resource.RLIM_INFINITY and value > hard and os.geteuid() != 0:
                raise ValueError(f"{value} is more than this user's limit, {hard}")
            limits.append((kind, value))
    return limits


def start(order: dict[str, Any], limits: list[tuple[int, int]], output: int) -> subprocess.Popen[bytes]:
    """Start the command, leader of a session of its own. OSError, SubprocessError, ValueError as Popen."""

    def prepare() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        for kind, value in limits:
            resource.setrlimit(kind, (value, value))

    return subprocess.Popen(  # noqa: S603 - running the declared command is the purpose
        order["argv"],
        env=order["env"],
        cwd=order["cwd"],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        start_new_session=True,
        preexec_fn=prepare,  # noqa: PLW1509 - there are no threads here
    )


class Keeper:
    """Runs one started command to its end, and ends when nothing of it is left."""

    def __init__(
        self, link: socket.socket, signals: int, command: subprocess.Popen[bytes], output: int, log: Log
    ) -> None:
        """``link`` leads to the driver, ``signals`` is what ``catch_signals`` gave, ``output`` is what it writes."""
        self.link: socket.socket | None = link
        self.signals = signals
        self.command = command
        self.output = output
        self.log = log
        self.logging = True
        self.received = b""
        self.code: int | None = None
        self.kill_at: float | None = None
        self.childless = False
        self.poll = select.poll()
        for descriptor in (link.fileno(), signals, output):
            self.poll.register(descriptor, select.POLLIN)

    def run(self) -> None:
        """Until the end."""
        while not self.childless:
            self.turn()
        while self.keep_output():  # ends: all who could write more are gone
            pass
        self.tell({"is": "exited", "code": self.code, "tail": self.log.tail.decode(errors="replace")})

    def tell(self, message: dict[str, Any]) -> None:
        """To the driver, if it is still there."""
        if self.link is not None:
            tell(self.link, message)

    def turn(self) -> None:
        """Wait for one thing to happen, and see to it."""
        timeout = None if self.kill_at is None else max(0.0, self.kill_at - time.monotonic()) * 1000
        ready = {descriptor for descriptor, _ in self.poll.poll(timeout)}
        if self.output in ready:
            self.keep_output()
        if self.link is not None and self.link.fileno() in ready:
            self.listen(self.link)
        if self.signals in ready:
            if signal.SIGTERM in caught(self.signals):
                self.end(FAREWELL)
            self.reap()
        if self.kill_at is not None and not self.childless and time.monotonic() >= self.kill_at:
            # Again and again: between the look and the kill, something may have been forked.
            signal_all(below(os.getpid()), signal.SIGKILL)
            self.kill_at = time.monotonic() + SWEEP
            self.reap()

    def listen(self, link: socket.socket) -> None:
        """Take what the driver sent; without a driver, end."""
        piece = receive(link)
        if piece and len(self.received) <= MAX_LINE:
            self.obey(piece)
            return
        self.poll.unregister(link)
        link.close()
        self.link = None
        self.end(FAREWELL)

    def obey(self, piece: bytes) -> None:
        """Do what the driver asks for, line by line."""
        *lines, self.received = (self.received + piece).split(b"\n")
        for line in lines:
            order = json.loads(line)
            if order["do"] == "stop":
                self.end(order["grace"])
            elif self.kill_at is None:
                self.send(signal.SIGSTOP if order["do"] == "pause" else signal.SIGCONT)

    def end(self, grace: float) -> None:
        """SIGTERM now, SIGKILL to whatever is left after ``grace`` seconds. A second call can only make it shorter."""
        kill_at = time.monotonic() + grace
        if self.kill_at is None:
            self.kill_at = kill_at
            self.send(signal.SIGTERM)
            # A frozen process takes no SIGTERM before it goes on.
            self.send(signal.SIGCONT)
        self.kill_at = min(self.kill_at, kill_at)

    def send(self, number: signal.Signals) -> None:
        """To the command's group at once, then to what has left it."""
        group = self.command.pid
        if self.code is None:  # not reaped yet: the number is still its own
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(group, number)
        signal_all([pid for pid in below(os.getpid()) if group_of(pid) != group], number)

    def reap(self) -> None:
        """Collect what has ended; the end of the command is the end of all that it started."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG | os.WUNTRACED | os.WCONTINUED)
            except ChildProcessError:
                self.childless = True
                return
            if pid == 0:
                return
            if pid != self.command.pid:
                continue
            if os.WIFSTOPPED(status):
                self.tell({"is": "paused"})
            elif os.WIFCONTINUED(status):
                self.tell({"is": "resumed"})
            else:
                self.code = self.command.returncode = os.waitstatus_to_exitcode(status)
                if self.kill_at is None:
                    self.kill_at = time.monotonic()

    def keep_output(self) -> bool:
        """Take one piece of output; False when there is none now."""
        if self.output < 0:
            return False
        try:
            piece = os.read(self.output, 65536)
        except BlockingIOError:
            return False
        if not piece:
            self.poll.unregister(self.output)
            os.close(self.output)
            self.output = -1
            return False
        try:
            self.log.write(piece)
        except OSError as error:
            if self.logging:
                self.tell({"is": "unlogged", "error": str(error)})
            self.logging = False
        return True


def keep(link: socket.socket, guardian: int) -> None:
    """The life of a keeper, right after the fork."""
    signals = catch_signals()
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != guardian:  # it died before the line above
        return
    received = b""
    while b"\n" not in received:
        piece = receive(link)
        received += piece
        if not piece or len(received) > MAX_LINE:
            return
    line, _, received = received.partition(b"\n")
    order = json.loads(line)
    what = "limit"
    try:
        limits = wanted_limits(order)
        what = "log"
        log = Log(order["log"], order["log_limit"])
        what = "command"
        output, theirs = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(output, False)
        command = start(order, limits, theirs)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        if what == "command" and order["cwd"] is not None and getattr(error, "filename", None) == order["cwd"]:
            what = "cwd"
        tell(link, {"is": "failed", "what": what, "error": getattr(error, "strerror", None) or str(error)})
        return
    os.close(theirs)
    tell(link, {"is": "started", "pid": command.pid})
    keeper = Keeper(link, signals, command, output, log)
    keeper.obey(received)
    keeper.run()


def guard(doors: socket.socket) -> None:
    """The life of the guardian: fork a keeper for each socket that comes, and see that nothing is left behind."""
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    signals = catch_signals()
    me, parent = os.getpid(), os.getppid()
    keepers: set[int] = set()
    ending: float | None = None
    strays: list[int] = []
    while ending is None or (time.monotonic() < ending and (keepers or strays)):
        watched = [signals] if ending else [signals, doors.fileno()]
        ready, _, _ = select.select(watched, [], [], SWEEP if ending else LOOK)
        terminated = signals in ready and signal.SIGTERM in caught(signals)
        if doors.fileno() in ready:
            data, descriptors, _, _ = socket.recv_fds(doors, 1, 1)
            terminated = terminated or not data
            for descriptor in descriptors:
                keepers.add(fork_keeper(doors, descriptor, me))
        # The socket may be held open by a forgotten fork of passivator: a parent that is gone is gone all the same.
        if ending is None and (terminated or os.getppid() != parent):
            # The keepers notice it too: this is a little longer than they give their commands.
            ending = time.monotonic() + 2 * FAREWELL
            signal_all(list(keepers), signal.SIGTERM)
        if ending or signals in ready:
            with contextlib.suppress(ChildProcessError):
                while (pid := os.waitpid(-1, os.WNOHANG)[0]) != 0:
                    keepers.discard(pid)
            # What a dead keeper left behind. Each death brings us the next generation, and the signal to look again.
            strays = [pid for pid in families().get(me, ()) if pid not in keepers]
            signal_all([*strays, *below(*strays)], signal.SIGKILL)
    signal_all(below(me), signal.SIGKILL)


def fork_keeper(doors: socket.socket, descriptor: int, guardian: int) -> int:
    """A new keeper that has the socket ``descriptor`` to itself; its process id."""
    link = socket.socket(fileno=descriptor)
    pid = os.fork()
    if pid == 0:
        doors.close()
        keep(link, guardian)
        os._exit(0)
    link.close()
    return pid


if __name__ == "__main__":
    guard(socket.socket(fileno=int(sys.argv[1])))
