"""The engine fixture does what its documentation says."""

import socket
import time

import httpx
import pytest

from tests.rig.docker import DockerEngine, DockerRefused
from tests.rig.ports import accepts, free_port, wait_for_port

INIT = {"HostConfig": {"Init": True}}


def test_a_container_is_reached_by_its_address(docker: DockerEngine) -> None:
    docker.run("bb:1", "httpd", "-f", "-p", "80", "-h", "/www", name="t1", options=INIT)
    address = docker.address("t1")
    wait_for_port(80, address)
    assert "Hello from busybox" in httpx.get(f"http://{address}/", trust_env=False).text


def test_nothing_of_the_last_test_is_there(docker: DockerEngine) -> None:
    assert docker.containers() == []
    assert docker.networks() == []


def test_a_container_in_a_network_of_its_own_has_a_published_port_on_loopback(docker: DockerEngine) -> None:
    docker.request("POST", "/networks/create", body={"Name": "n1", "Driver": "bridge"})
    port = free_port()
    host = {
        "Init": True,
        "NetworkMode": "n1",
        "Memory": 64 << 20,
        "NanoCpus": 500_000_000,
        "PidsLimit": 50,
        "PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(port)}]},
    }
    options = {"ExposedPorts": {"80/tcp": {}}, "HostConfig": host}
    docker.run("bb:1", "httpd", "-f", "-p", "80", "-h", "/www", name="t1", options=options)
    wait_for_port(port)
    wait_for_port(80, docker.address("t1"))
    assert httpx.get(f"http://127.0.0.1:{port}/", trust_env=False).status_code == 200


def test_logs_are_text(docker: DockerEngine) -> None:
    docker.run("bb:1", "sh", "-c", "echo out; echo err >&2", name="t1")
    docker.request("POST", "/containers/t1/wait")
    assert sorted(docker.logs("t1").splitlines()) == ["err", "out"]


def test_refusals_say_why(docker: DockerEngine) -> None:
    with pytest.raises(DockerRefused, match="No such image"):
        docker.run("none:1", "sh")


def test_an_engine_that_was_killed_comes_back(docker: DockerEngine) -> None:
    docker.run("bb:1", "sleep", "1000", name="t1", options=INIT)
    docker.kill()
    docker.start()
    assert docker.containers() == ["t1"]


def test_a_frozen_engine_accepts_and_stays_silent(docker: DockerEngine) -> None:
    docker.pause()
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(0.3)
        client.connect(str(docker.socket))
        client.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
        with pytest.raises(TimeoutError):
            client.recv(1)


def test_the_python_image_runs_an_application(docker: DockerEngine, python_image: str) -> None:
    application = (
        "from aiohttp import web\n"
        "async def hello(request): return web.Response(text='hello from python')\n"
        "app = web.Application(); app.router.add_get('/', hello); web.run_app(app, port=80)\n"
    )
    docker.run(python_image, "python", "-c", application, name="t1", options=INIT)
    address = docker.address("t1")
    deadline = time.monotonic() + 15
    while not accepts(80, address) and time.monotonic() < deadline:
        assert docker.state("t1") == "running", docker.logs("t1")
        time.sleep(0.05)
    assert httpx.get(f"http://{address}/", trust_env=False).text == "hello from python"
