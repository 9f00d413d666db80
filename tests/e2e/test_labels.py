"""Tenants by labels, with a real engine, etcd and both programs: they come with containers, sleep, wake, and leave."""

import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.system import System
from tests.rig.docker import DockerEngine
from tests.rig.missing import missing
from tests.rig.programs import resolve

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

SECOND = 1_000_000_000
SERVE = "mkdir -p /tmp/www; echo {} > /tmp/www/index.html; exec httpd -f -p 80 -h /tmp/www"
DB = "trap 'exit 0' TERM; sleep 1; touch /tmp/ready; while :; do sleep 0.05; done"
SETTLE = 2.0


@pytest.fixture
def system(docker_system: System) -> System:
    """Both programs, passivator with --discover; no tenant yet."""
    docker_system.serve()
    docker_system.control("--discover", "--discover-settle", f"{SETTLE:g}s")
    return docker_system


@pytest.fixture
def engine(system: System) -> DockerEngine:
    """Its engine."""
    assert system.docker is not None
    return system.docker


def labelled(name: str, **more: str) -> dict[str, str]:
    """The labels of one that sleeps after three seconds; underscores stand for the dots and hyphens of names."""
    given = {"gogeta.enable": "true", "gogeta.host": f"{name}.localhost", "gogeta.idle-timeout": "3s"}
    return {**given, "gogeta.stop-grace": "3s", **{f"gogeta.{key.replace('_', '-')}": more[key] for key in more}}


def run(engine: DockerEngine, name: str, labels: dict[str, str], text: str = "") -> str:
    """A container that serves its name."""
    return engine.run("bb:1", "sh", "-c", SERVE.format(text or name), name=name, options={"Labels": labels})


def make_shop(engine: DockerEngine, **more: str) -> None:
    """A project as Compose 2 makes it: web waits until db is healthy, and answers."""
    for service, needs, script in (("web", "db:service_healthy:false", SERVE.format("shop")), ("db", "", DB)):
        labels = {"project": "shop", "service": service, "container-number": "1", "oneoff": "False"}
        ours = {f"com.docker.compose.{key}": value for key, value in {**labels, "depends_on": needs}.items()}
        options: dict[str, Any] = {"Labels": {**ours, **(labelled("shop", **more) if service == "web" else {})}}
        if service == "db":
            test = ["CMD-SHELL", "test -e /tmp/ready"]
            options["Healthcheck"] = {"Test": test, "Interval": SECOND // 5, "Timeout": SECOND, "Retries": 50}
        engine.create("bb:1", "sh", "-c", script, name=f"shop-{service}-1", options=options)


def eventually(reached: Callable[[], object], what: str, within: float = 20.0) -> None:
    deadline = time.monotonic() + within
    while not reached():
        assert time.monotonic() < deadline, f"not in {within:g} s: {what}"
        time.sleep(0.2)


def states(engine: DockerEngine, *names: str) -> list[str]:
    return [engine.state(name) for name in names]


def tenants(system: System) -> list[str]:
    return [each["name"] for each in json.loads(system.cli("tenants", "-o", "json").stdout)["tenants"]]


def answers(system: System, host: str, text: str) -> bool:
    answer = system.curl(host)
    return (answer.status, answer.body.strip()) == (200, text.encode())


def moment(engine: DockerEngine, name: str, what: str) -> str:
    return str(engine.inspect(name)["State"][what])


def test_a_labelled_container_answers_sleeps_wakes_and_leaves(system: System, engine: DockerEngine) -> None:
    run(engine, "blog", labelled("blog"))
    # It runs, so it is up, without a wake by anybody.
    record = system.until("blog", "started")
    assert record["declaration"]["discovered"] is True
    assert (record["desired"]["cause"], record["desired"]["wakes"]) == ("start", 1)
    assert answers(system, "blog.localhost", "blog")
    first = moment(engine, "blog", "StartedAt")

    system.until("blog", "passivated")
    assert engine.state("blog") == "exited"
    assert answers(system, "blog.localhost", "blog")
    assert moment(engine, "blog", "StartedAt") != first
    assert system.tenant("blog")["desired"]["wakes"] == 2

    # Made anew with another label: the tenant is the same, and the label counts.
    engine.request("DELETE", "/containers/blog", params={"force": True})
    run(engine, "blog", labelled("blog", host="new.localhost"), "anew")
    eventually(lambda: answers(system, "new.localhost", "anew"), "its new host answers")
    assert system.curl("blog.localhost").status == 404
    assert system.tenant("blog")["desired"]["wakes"] >= 2

    # Started by hand while asleep: as a wake by an operator. Stopped by hand: the next request finds it up again.
    system.until("blog", "passivated")
    engine.start_container("blog")
    assert system.until("blog", "started")["desired"]["cause"] == "start"
    engine.stop_container("blog")
    eventually(lambda: answers(system, "new.localhost", "anew"), "it answers again")

    engine.request("DELETE", "/containers/blog", params={"force": True})
    eventually(lambda: tenants(system) == [], "it is withdrawn")
    assert system.curl("new.localhost").status == 404
    admin = system.passivator_admin
    assert system.metric('passivator_discovered_total{change="withdrawn"}', admin) == 1


def test_a_project_starts_in_order_stops_in_reverse_and_survives_being_made_anew(
    system: System, engine: DockerEngine
) -> None:
    make_shop(engine, idle_timeout="6s")
    eventually(lambda: tenants(system) == ["shop"], "it is a tenant")
    assert system.tenant("shop")["state"] == "passivated"
    assert states(engine, "shop-web-1", "shop-db-1") == ["created", "created"]

    assert answers(system, "shop.localhost", "shop")
    healthy = [check for check in engine.inspect("shop-db-1")["State"]["Health"]["Log"] if not check["ExitCode"]]
    assert moment(engine, "shop-web-1", "StartedAt")[:23] >= healthy[0]["End"][:23]

    system.until("shop", "passivated")
    assert states(engine, "shop-web-1", "shop-db-1") == ["exited", "exited"]
    assert moment(engine, "shop-web-1", "FinishedAt") <= moment(engine, "shop-db-1", "FinishedAt")

    # A service that is needed dies: a crash of the tenant, which is started anew as a whole.
    assert answers(system, "shop.localhost", "shop")
    web = moment(engine, "shop-web-1", "StartedAt")
    engine.request("POST", "/containers/shop-db-1/kill")
    eventually(
        lambda: answers(system, "shop.localhost", "shop") and moment(engine, "shop-web-1", "StartedAt") != web,
        "all of it was started anew, and answers again",
    )
    explained = json.loads(system.cli("explain", "shop", "-o", "json").stdout)
    crashes = [event["text"] for event in explained["timeline"]["events"] if event["kind"] == "crashed"]
    assert crashes == ["ended with exit code 137: service db"]

    created = system.tenant("shop")["desired"]["wakes"]
    for name in ("shop-web-1", "shop-db-1"):
        engine.request("DELETE", f"/containers/{name}", params={"force": True})
    make_shop(engine, idle_timeout="4s")
    time.sleep(SETTLE + 1)
    record = system.tenant("shop")
    assert (record["idle_timeout"], record["desired"]["wakes"] >= created) == (4.0, True)
    eventually(lambda: answers(system, "shop.localhost", "shop"), "it answers again")


def test_wrong_labels_and_conflicts_are_shown_and_the_file_wins(system: System, engine: DockerEngine) -> None:
    run(engine, "good", labelled("good"))
    run(engine, "bad", labelled("bad", port="http", colour="blue"))
    run(engine, "newer", labelled("newer", host="good.localhost"))
    eventually(lambda: tenants(system) == ["good"], "the right one is a tenant")
    wrong = "gogeta.port: expected a whole number, not 'http'"
    taken = "host good.localhost is tenant good's (container good), which keeps it"

    def shown() -> str:
        return system.cli("tenants").stderr

    eventually(lambda: taken in shown() and wrong in shown(), "both are shown")
    assert "the labels of container bad are not in force" in shown()
    assert engine.state("bad") == "running"
    assert taken in system.cli("explain", "good").stdout
    for admin in (system.passivator_admin, system.admin):
        told = httpx.get(f"http://127.0.0.1:{admin}/api/v1/discovery", trust_env=False).json()
        assert {(each["source"], each["why"]) for each in told["items"]} == {
            ("container bad", "invalid"), ("container newer", "conflict"),
        }  # fmt: skip
        assert told["total"] == 2
    assert system.metric('passivator_refused_labels{why="conflict"}', system.passivator_admin) == 1
    assert system.passivator.output().count(taken) == 1

    # The file claims the host: what labels had declared gives way, and says so.
    system.declare("file", docker='{image: "bb:1", command: [httpd, -f, -p, "80", -h, /www]}', port=80)
    text = system.write_tenants().read_text().replace("file.localhost", "good.localhost")
    (system.folder / "tenants.yaml").write_text(text)
    applied = system.cli("apply", "-f", system.folder / "tenants.yaml")
    assert applied.stdout.split() == ["created", "file", "withdrawn", "good"], applied.stderr
    eventually(lambda: "host good.localhost is tenant file's (declared by hand)" in shown(), "that is shown")
    assert tenants(system) == ["file"]
    assert b"Hello from busybox" in system.curl("good.localhost").body


def test_while_the_engine_or_passivator_is_away_nobody_is_withdrawn(system: System, engine: DockerEngine) -> None:
    run(engine, "blog", labelled("blog", idle_timeout="never"))
    eventually(lambda: answers(system, "blog.localhost", "blog"), "it answers")
    engine.pause()
    time.sleep(SETTLE + 12)
    engine.resume()
    assert tenants(system) == ["blog"]
    system.passivator.kill()
    time.sleep(SETTLE + 1)
    system.control("--discover", "--discover-settle", f"{SETTLE:g}s")
    time.sleep(SETTLE + 2)
    assert tenants(system) == ["blog"]
    assert answers(system, "blog.localhost", "blog")


COMPOSE = """
version: "2.4"
services:
  web:
    image: bb:1
    command: ["sh", "-c", "{serve}"]
    networks: [inner]
    labels:
      gogeta.enable: "true"
      gogeta.host: shop.localhost
      gogeta.idle-timeout: 3s
      gogeta.stop-grace: 3s
      gogeta.depends-on: "db:service_healthy"
    depends_on: [db]
  db:
    image: bb:1
    command: ["sh", "-c", "{db}"]
    networks: [inner]
    healthcheck: {{test: "test -e /tmp/ready", interval: 200ms, retries: 50}}
networks:
  inner: {{}}
"""


def test_a_project_of_docker_compose(system: System, engine: DockerEngine, tmp_path: Path) -> None:
    try:
        compose = resolve("docker-compose")
    except FileNotFoundError:
        missing("docker-compose", "no program docker-compose; Debian has it in docker-compose")
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "docker-compose.yml").write_text(COMPOSE.format(serve=SERVE.format("shop"), db=DB))

    def command(*words: str) -> None:
        environment = {**os.environ, "DOCKER_HOST": engine.url, "COMPOSE_PROJECT_NAME": "shop"}
        environment.pop("PYTHONPATH", None)
        done = subprocess.run(
            [compose, *words], cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=90
        )
        assert done.returncode == 0, done.stderr

    command("up", "-d")
    eventually(lambda: answers(system, "shop.localhost", "shop"), "it answers")
    record = system.tenant("shop")
    assert record["declaration"]["docker"] == {"compose": "shop", "service": "web"}
    system.until("shop", "passivated")
    assert answers(system, "shop.localhost", "shop")
    assert len([name for name in engine.containers() if engine.state(name) == "running"]) == 2
    command("up", "-d", "--force-recreate")
    eventually(lambda: answers(system, "shop.localhost", "shop"), "it answers when it was made anew")
    assert system.tenant("shop")["desired"]["wakes"] >= 2
    command("down", "-t", "1")
    eventually(lambda: tenants(system) == [], "it is withdrawn")
