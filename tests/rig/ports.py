"""Free ports for servers under test, and waiting until one accepts.

The kernel's "port 0" cannot be used for a server that takes its port as an option: between asking and binding,
anybody may get it. So ports come from a range outside the kernel's ephemeral one, and each is claimed by an abstract
unix socket, which other runs on this machine respect and which goes away with this process, however it ends.
"""

import contextlib
import os
import random
import socket
import time

# Below the usual ephemeral range (32768 and up), above the well-known servers.
FIRST_PORT = 20000
LAST_PORT = 29999

_claims: dict[str, socket.socket] = {}
_candidates = random.Random(os.getpid()).sample(range(FIRST_PORT, LAST_PORT + 1), k=LAST_PORT - FIRST_PORT + 1)


def free_port() -> int:
    """A TCP port that nobody uses, never handed out twice, also not by other runs on this machine."""
    while _candidates:
        port = _candidates.pop()
        if _claim(port):
            return port
    raise RuntimeError(f"no free port between {FIRST_PORT} and {LAST_PORT}")


def claim(name: str) -> bool:
    """Claim a name for this process among all runs on this machine; False when another one, or this one, has it."""
    holder = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        holder.bind(f"\0gogeta-rig-{name}")
    except OSError:
        holder.close()
        return False
    _claims[name] = holder
    return True


def release(name: str) -> None:
    """Give a claimed name back."""
    _claims.pop(name).close()


def _claim(port: int) -> bool:
    if not claim(f"port-{port}"):
        return False
    # Bound on all addresses and without SO_REUSEADDR: refuses also a port in TIME_WAIT or bound on one address only.
    with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as probe:
        try:
            probe.bind(("0.0.0.0", port))
        except OSError:
            release(f"port-{port}")
            return False
    return True


def accepts(port: int, host: str = "127.0.0.1", *, timeout: float = 1.0) -> bool:
    """Whether something accepts a connection there now."""
    try:
        with socket.create_connection((host, port), timeout=timeout):
            return True
    except OSError:
        return False


def wait_for_port(port: int, host: str = "127.0.0.1", *, timeout: float = 10.0) -> None:
    """Return as soon as something accepts there; TimeoutError otherwise."""
    deadline = time.monotonic() + timeout
    while not accepts(port, host):
        if time.monotonic() > deadline:
            raise TimeoutError(f"nothing accepts on {host}:{port} after {timeout:g} s")
        time.sleep(0.02)
