"""Servers that refuse early, hang, die, come back and close kept connections; visitors that leave.

Nothing is done twice, nothing broken looks whole, and nobody works for a visitor who has gone.
"""

import contextlib
import os
import signal
import socket
import struct
import subprocess
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.served import Served, everything
from tests.rig.programs import ProcessRack, Program, resolve

pytestmark = pytest.mark.e2e

both = pytest.mark.parametrize("app", ["asgi", "node"])
TRANSFER_CLOSED_EARLY = (18, 56)
"""curl's exit statuses for an answer without its end: closed, or reset."""


@pytest.fixture
def mortal(served: Served, processes: ProcessRack) -> Program:
    """Node as the tenant `mortal`."""
    return served.start_node("mortal", processes)


def until(condition: Callable[[], Any], what: str, *, limit: float = 10.0) -> Any:  # noqa: ANN401  # the condition's
    """Wait until something is so."""
    deadline = time.monotonic() + limit
    while not (found := condition()):
        assert time.monotonic() < deadline, what
        time.sleep(0.005)
    return found


# ---------------------------------------------------------------------------------------------- Expect: 100-continue


@both
def test_an_upload_goes_on_when_the_application_says_so(served: Served, app: str) -> None:
    # curl would wait for as long as that, and the application's word is quicker.
    options: list[str | Path] = [
        "--upload-file",
        served.content,
        "--header",
        "Expect: 100-continue",
        "--expect100-timeout",
        "15",
    ]
    answer = served.curl(app, "/seen", *options)
    assert answer.heads.startswith("HTTP/1.1 100 Continue\n")
    assert (answer.status, answer.json["sha256"]) == (200, served.digest)
    assert answer.took < 10


def test_an_upload_that_is_refused_is_not_sent(served: Served) -> None:
    before = arrivals(served, "expect")
    with served.visitor() as visitor:
        visitor.sendall(
            b"PUT /expect/417 HTTP/1.1\r\nHost: node.localhost\r\nExpect: 100-continue\r\n"
            b"Content-Length: 20000000\r\n\r\n"
        )
        answer = everything(visitor)
    assert answer.startswith(b"HTTP/1.1 417 ")
    assert b"100 Continue" not in answer
    assert answer.endswith(b"\r\n\r\nno\n")
    assert arrivals(served, "expect") == before + 1

    ended = served.curl(
        "node",
        "/expect/413",
        *("--upload-file", served.content, "--header", "Expect: 100-continue", "--expect100-timeout", "15"),
    )
    assert (ended.status, ended.text) == (413, "no\n")
    assert "100 Continue" not in ended.heads
    assert arrivals(served, "expect") == before + 2


def test_an_answer_in_the_middle_of_an_upload_arrives(served: Served) -> None:
    answer = served.curl("node", "/early", "--upload-file", served.content, "--header", "Expect:")
    assert (answer.status, answer.text) == (413, "too big\n")

    # Also to a client that reads only when it has sent, and sends for long.
    with served.visitor() as visitor:
        visitor.sendall(b"POST /early HTTP/1.1\r\nHost: node.localhost\r\nContent-Length: 20000000\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            for _ in range(20):
                visitor.sendall(b"x" * 10_000)
        assert everything(visitor).endswith(b"too big\n")


# --------------------------------------------------------------------------------------------- visitors that leave


@both
@pytest.mark.parametrize("way", ["killed", "closed", "reset"])
def test_a_visitor_who_leaves_ends_the_work_for_him(served: Served, app: str, way: str) -> None:
    # The best of three, so that a busy machine is no fault of ours: it is promised within half a second.
    assert min(seconds_to_hear_of_the_end(served, app, way) for _ in range(3)) < 0.5


def seconds_to_hear_of_the_end(served: Served, app: str, way: str) -> float:
    """From a visitor's leaving in the middle of an answer until the application has been told."""
    before = len(served.curl(app, "/ends").json)
    if way == "killed":
        left = killed_curl(served, app)
    else:
        with served.visitor() as visitor:
            visitor.sendall(f"GET /hang HTTP/1.1\r\nHost: {app}.localhost\r\n\r\n".encode())
            got = b""
            while b"begun" not in got:
                got += visitor.recv(1000)
            if way == "reset":
                visitor.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            left = time.time()
    ends = until(lambda: served.curl(app, "/ends").json[before:], "the application still works for nobody", limit=3)
    return float(ends[0]) / 1000 - left


def killed_curl(served: Served, app: str) -> float:
    """Kill curl in the middle of an answer; the time of it."""
    url = f"http://127.0.0.1:{served.port}/hang"
    command = [str(resolve("curl")), "--silent", "--no-buffer", "--header", f"Host: {app}.localhost", url]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as curl:
        assert curl.stdout
        assert os.read(curl.stdout.fileno(), 100) == b"begun"
        curl.send_signal(signal.SIGKILL)
        curl.wait()
        return time.time()


def test_a_visitor_who_leaves_in_the_middle_of_an_upload_is_not_taken_for_done(served: Served) -> None:
    name = uuid.uuid4().hex
    before = served.metric("gogeta_in_flight")
    with served.visitor() as visitor:
        head = f"POST /seen?id={name} HTTP/1.1\r\nHost: node.localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        visitor.sendall(head.encode() + b"5\r\nhello\r\n")
        until(lambda: arrivals(served, name), "the request did not arrive")
        visitor.shutdown(socket.SHUT_WR)
        assert everything(visitor) == b"", "no answer: the application has not got a request"
    until(lambda: served.metric("gogeta_in_flight") == before, "the exchange goes on")


# ------------------------------------------------------------------------------------------------ servers that die


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_an_answer_whose_server_dies_is_visibly_broken(served: Served, mortal: Program, framing: str) -> None:
    url = f"http://127.0.0.1:{served.port}/half?{framing}"
    command = [str(resolve("curl")), "--silent", "--no-buffer", "--header", "Host: mortal.localhost", url]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as curl:
        assert curl.stdout
        got = os.read(curl.stdout.fileno(), 1000)
        mortal.kill()
        got += curl.stdout.read()
        assert curl.wait(10) in TRANSFER_CLOSED_EARLY
    assert got == b"x" * 500


def test_a_server_that_is_away_is_told_as_502(served: Served) -> None:
    answer = served.curl("mortal", "/name")
    assert (answer.status, answer.json["code"]) == (502, "upstream-connect")
    person = served.curl("mortal", "/name", "--header", "Accept: text/html")
    assert person.status == 502
    assert person.headers["content-type"].startswith("text/html")


def test_a_restarted_server_is_asked_again_without_an_error(
    served: Served, mortal: Program, processes: ProcessRack
) -> None:
    with served.client("mortal") as client:
        assert client.get("/name").text == "mortal"
        mortal.kill()
        served.start_node("mortal", processes)
        assert client.get("/name").text == "mortal"
        answer = client.post("/seen", params={"id": "after"}, content=b"words")
        assert (answer.status_code, answer.json()["length"]) == (200, 5)
        assert client.get("/arrivals").json()["after"] == 1


def test_a_kept_connection_that_dies_costs_a_get_nothing_and_a_post_is_not_repeated(served: Served) -> None:
    retries = served.metric("gogeta_retries_total")
    name = uuid.uuid4().hex
    with served.client("node") as client:
        # The application drops the connection as soon as it has read the next request, before any answer.
        client.get("/poison")
        assert client.get("/name", params={"id": f"get-{name}"}).text == "node"
        assert served.metric("gogeta_retries_total") == retries + 1
        client.get("/poison")
        refused = client.post("/name", params={"id": f"post-{name}"}, content=b"pay")
        assert (refused.status_code, refused.json()["code"]) == (502, "upstream-lost")
        client.get("/poison")
        empty = client.post("/name", params={"id": f"empty-{name}"})
        assert empty.status_code == 502
    assert arrivals(served, f"get-{name}") == 2
    assert arrivals(served, f"post-{name}") == 1
    assert arrivals(served, f"empty-{name}") == 1
    assert served.metric("gogeta_retries_total") == retries + 1


def test_who_is_asked_again_is_asked_on_a_fresh_connection(served: Served) -> None:
    # Several kept connections that die the same way: the second try must not go to another of them.
    with ThreadPoolExecutor(3) as threads:
        poisonings = [threads.submit(served.curl, "node", "/poison?together=3") for _ in range(3)]
        assert [poisoning.result().status for poisoning in poisonings] == [200, 200, 200]
    assert served.curl("node", "/name").text == "node"


def arrivals(served: Served, name: str) -> int:
    """How often Node got a request with that id."""
    return int(served.curl("node", "/arrivals").json.get(name, 0))
