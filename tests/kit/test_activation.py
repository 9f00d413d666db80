"""What a service manager passes is read as sd_listen_fds(3) says, and refused where it cannot be used."""

from __future__ import annotations

import ast
import re
import subprocess
import sys

import pytest

# In a process of its own: descriptors from 3 on are another one's to choose.
_PROGRAM = """
import os, socket, sys
from gogeta.kit.activation import ActivationError, passed_sockets
kinds, variables = eval(sys.argv[1])
made = []
for kind in kinds:
    if kind == "tcp":
        made.append(socket.create_server(("127.0.0.1", 0)))
    elif kind == "silent":
        made.append(socket.socket())
    elif kind == "udp":
        made.append(socket.socket(type=socket.SOCK_DGRAM))
    else:
        made.append(open(os.devnull))
for number, each in enumerate(made):
    os.dup2(each.fileno(), 200 + number)
for number in range(len(made)):
    os.dup2(200 + number, 3 + number)
environment = {name: str(value).replace("PID", str(os.getpid())) for name, value in variables.items()}
try:
    found = passed_sockets(("http", "https", "admin"), ("http", "admin"), environment)
    print({name: [each.fileno() for each in sockets] for name, sockets in found.items()}, sorted(environment))
    assert not any(os.get_inheritable(each.fileno()) for sockets in found.values() for each in sockets)
except ActivationError as error:
    print(error)
sys.stdout.flush()
os._exit(0)
"""


def passed(*kinds: str, **variables: object) -> str:
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, repr((kinds, variables))], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("http:admin", {"http": [3], "admin": [4]}),
        ("admin:http", {"admin": [3], "http": [4]}),
        ("a.socket:a.socket", {"http": [3], "admin": [4]}),
        ("unknown:http", {"admin": [3], "http": [4]}),
        ("http:http", {"http": [3, 4]}),
        ("https:other", {"https": [3], "http": [4]}),
        ("", {"http": [3], "admin": [4]}),
    ],
)
def test_names(names: str, expected: dict[str, list[int]]) -> None:
    told = passed("tcp", "tcp", LISTEN_PID="PID", LISTEN_FDS=2, LISTEN_FDNAMES=names)
    found, variables = re.fullmatch(r"(\{.*\}) (\[.*\])", told).groups()  # type: ignore[union-attr]
    assert ast.literal_eval(found) == expected
    assert variables == "[]", "no child takes them for its own"


@pytest.mark.parametrize(
    "variables",
    [{}, {"LISTEN_PID": 1, "LISTEN_FDS": 1}, {"LISTEN_PID": "PID", "LISTEN_FDS": "many"}, {"LISTEN_PID": "PID"}],
)
def test_what_is_not_for_us_is_left_alone(variables: dict[str, object]) -> None:
    assert passed("tcp", **variables) == "{} []"


@pytest.mark.parametrize(
    ("kinds", "names", "told"),
    [
        (("file",), "http", "descriptor 3 ('http'), passed by the service manager, is no socket"),
        (("udp",), "http", "is no listening TCP socket"),
        (("tcp", "silent"), "http:admin", "descriptor 4 ('admin'), passed by the service manager, is no listening TCP"),
        (("tcp", "tcp", "tcp"), "a:b:c", "passed 3 sockets, and 'c' is none of: http, https, admin"),
    ],
)
def test_what_cannot_be_used_is_refused(kinds: tuple[str, ...], names: str, told: str) -> None:
    assert told in passed(*kinds, LISTEN_PID="PID", LISTEN_FDS=len(kinds), LISTEN_FDNAMES=names)
