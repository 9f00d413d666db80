"""Real child processes with captured output, and the rack that ends them with the test.

A program must not die unasked and must not leave a Python traceback: where one does, the test fails with its output.
"""

import contextlib
import dataclasses
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tests.rig.ports import accepts
from tests.rig.run_folder import RunFolder

TRACEBACK = "Traceback (most recent call last)"


class ProgramFailed(AssertionError):
    """A program under test did what it must not; the message carries its output."""


@dataclasses.dataclass(frozen=True)
class Finished:
    """What became of a program that was run to its end."""

    returncode: int
    stdout: str
    stderr: str


class Program:
    """One started process, in a session of its own, its output in files (so that a paused one blocks nobody)."""

    def __init__(
        self,
        argv: Sequence[str | Path],
        *,
        folder: Path,
        environment: Mapping[str, str],
        cwd: Path | str | None = None,
        name: str | None = None,
        pass_fds: Sequence[int] = (),
    ) -> None:
        self.argv = [str(part) for part in argv]
        self.name = name or Path(self.argv[0]).name
        self._stdout = folder / "stdout"
        self._stderr = folder / "stderr"
        with self._stdout.open("ab") as stdout, self._stderr.open("ab") as stderr:
            self._process = subprocess.Popen(
                self.argv,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                cwd=cwd,
                env=dict(environment),
                start_new_session=True,
                pass_fds=pass_fds,
            )
        self.pid = self._process.pid
        self.asked_to_end = False

    def __repr__(self) -> str:
        state = "running" if self.running else f"ended with {self._process.returncode}"
        return f"<Program {self.name} pid={self.pid} {state}>"

    @property
    def running(self) -> bool:
        """Whether the process lives; a paused one does."""
        return self._process.poll() is None

    def stdout(self) -> str:
        """All it has written to its standard output."""
        return self._stdout.read_text(errors="replace")

    def stderr(self) -> str:
        """All it has written to its standard error."""
        return self._stderr.read_text(errors="replace")

    def output(self) -> str:
        """Both outputs, for a person to read and for `wait_for_line` to search."""
        return self.stdout() + self.stderr()

    def wait_for_line(self, pattern: str, *, timeout: float = 10.0) -> re.Match[str]:
        """The first place in the output that matches the regular expression, as soon as it is there."""
        expression = re.compile(pattern, re.MULTILINE)
        deadline = time.monotonic() + timeout
        while True:
            running = self.running
            if match := expression.search(self.output()):
                return match
            if not running:
                raise ProgramFailed(self._report(f"ended before it wrote {pattern!r}"))
            if time.monotonic() > deadline:
                raise ProgramFailed(self._report(f"did not write {pattern!r} within {timeout:g} s"))
            time.sleep(0.02)

    def wait_for_port(self, port: int, host: str = "127.0.0.1", *, timeout: float = 10.0) -> None:
        """Return as soon as something accepts there."""
        deadline = time.monotonic() + timeout
        while not accepts(port, host):
            if not self.running:
                raise ProgramFailed(self._report(f"ended before anything accepted on {host}:{port}"))
            if time.monotonic() > deadline:
                raise ProgramFailed(self._report(f"nothing accepts on {host}:{port} after {timeout:g} s"))
            time.sleep(0.02)

    def wait(self, *, timeout: float = 10.0) -> int:
        """The exit status (negative: the signal that ended it), as soon as it has ended."""
        self.asked_to_end = True
        try:
            return self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise ProgramFailed(self._report(f"still runs after {timeout:g} s")) from None

    def signal(self, number: signal.Signals) -> None:
        """Send the process (not its children) a signal; nothing happens when it has ended."""
        self._process.send_signal(number)

    def terminate(self) -> None:
        """Ask it to end (SIGTERM)."""
        self.asked_to_end = True
        self.signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a crash would (SIGKILL), and wait until it is gone."""
        self.asked_to_end = True
        self.signal(signal.SIGKILL)
        self._process.wait(10)

    def pause(self) -> None:
        """Freeze it (SIGSTOP), and wait until all its threads are: its sockets stay open and silent."""
        self.signal(signal.SIGSTOP)
        deadline = time.monotonic() + 5
        while set(self._thread_states()) - {"T"}:
            if time.monotonic() > deadline:
                raise ProgramFailed(self._report("does not freeze"))
            time.sleep(0.002)

    def _thread_states(self) -> Iterator[str]:
        for thread in Path(f"/proc/{self.pid}/task").glob("*/stat"):
            # A thread may end while it is looked at.
            with contextlib.suppress(OSError):
                yield thread.read_text().rpartition(")")[2].split()[0]

    def resume(self) -> None:
        """Thaw it (SIGCONT)."""
        self.signal(signal.SIGCONT)

    def end(self, *, grace: float = 5.0) -> None:
        """Make sure that it and what is left of its session are gone."""
        self.asked_to_end = True
        if self.running:
            self._process.terminate()
            self.resume()
            try:
                self._process.wait(grace)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(10)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
            deadline = time.monotonic() + 5
            while session_lives(self.pid) and time.monotonic() < deadline:
                time.sleep(0.02)

    def _report(self, complaint: str) -> str:
        state = "running" if self.running else f"exit status {self._process.returncode}"
        return (
            f"{' '.join(self.argv)} (pid {self.pid}, {state}): {complaint}\n"
            f"--- stdout ---\n{self.stdout()}\n--- stderr ---\n{self.stderr()}"
        )

    def complaint(self) -> str | None:
        """What it did that it must not, with its output; None if it behaved."""
        if not self.running and not self.asked_to_end:
            return self._report("ended unasked")
        if TRACEBACK in self.output():
            return self._report("left a traceback")
        return None


def session_lives(pid: int) -> bool:
    """Whether a process of this session is there and no zombie: a zombie is its parent's to collect."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, _, session = stat.read_text().rpartition(")")[2].split()[:4]
            if int(session) == pid and state != "Z":
                return True
    return False


class ProcessRack:
    """Starts programs and remembers them; the fixture `processes` ends them with the test."""

    def __init__(self, run_folder: RunFolder) -> None:
        self._run_folder = run_folder
        self._programs: list[tuple[Program, bool]] = []

    def start(
        self,
        program: str | Path,
        *args: str | Path | int,
        env: Mapping[str, str] | None = None,
        cwd: Path | str | None = None,
        may_fail: bool = False,
        pass_fds: Sequence[int] = (),
    ) -> Program:
        """Start a console script of ours by its name, or any program by its path or by its name on PATH.

        `env` is added to this process's environment. With `may_fail` it may die early or leave a traceback. `pass_fds`
        are descriptors that it inherits under the same numbers.
        """
        started = Program(
            [resolve(program), *(str(arg) for arg in args)],
            folder=self._run_folder.subfolder(Path(program).name),
            environment={**self._run_folder.environment(), "PYTHONUNBUFFERED": "1", **(env or {})},
            cwd=cwd,
            name=Path(program).name,
            pass_fds=pass_fds,
        )
        self._programs.append((started, may_fail))
        return started

    def python(
        self,
        *args: str | Path | int,
        env: Mapping[str, str] | None = None,
        cwd: Path | str | None = None,
        may_fail: bool = False,
    ) -> Program:
        """Start this Python with these arguments."""
        return self.start(sys.executable, *args, env=env, cwd=cwd, may_fail=may_fail)

    def run(
        self,
        program: str | Path,
        *args: str | Path | int,
        env: Mapping[str, str] | None = None,
        cwd: Path | str | None = None,
        timeout: float = 20.0,
    ) -> Finished:
        """Run a program to its end, whatever its exit status; a traceback fails the test."""
        started = self.start(program, *args, env=env, cwd=cwd)
        returncode = started.wait(timeout=timeout)
        return Finished(returncode, started.stdout(), started.stderr())

    def end(self) -> None:
        """End all, print their output for a failed test's report, and fail if one misbehaved."""
        complaints = [program.complaint() for program, may_fail in self._programs if not may_fail]
        for program, _ in reversed(self._programs):
            program.end()
        for program, _ in self._programs:
            print(f"=== {' '.join(program.argv)} (pid {program.pid})\n{program.output()}")  # noqa: T201  # pytest shows it
        # Looked at again: some misbehave only while they shut down.
        complaints += [
            program.complaint()
            for program, may_fail in self._programs
            if not may_fail and TRACEBACK in program.output()
        ]
        if told := sorted({complaint for complaint in complaints if complaint}):
            raise ProgramFailed("\n".join(told))


def resolve(program: str | Path) -> Path:
    """Where a program is: beside this Python, at its path, or on PATH and in the system's own folders."""
    # Joining an absolute path yields that path.
    beside = Path(sys.executable).parent / program
    if beside.exists():
        return beside
    search = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"])
    found = shutil.which(str(program), path=search)
    if not found:
        raise FileNotFoundError(f"no program {str(program)!r}")
    return Path(found)
