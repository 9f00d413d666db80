"""Arken trees as the older programs left them, and how they get into an etcd."""

import base64
import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx

from gogeta.cli.arken.keys import Bounds, Folder, Gathering
from gogeta.cli.arken.planning import Plan, Wishes, make_plan
from gogeta.cli.arken.reading import Reading, read_heritage
from tests.rig.etcd import EtcdServer
from tests.rig.programs import resolve

ROBOTS = "User-Agent: *\nDisallow: /truc"


def service(name: str, *locations: str, **members: str) -> dict[str, str]:
    """A service's keys: an index for each `host:port`, from 1 or that of `NAME/INDEX` on.

    `members` are further ones of all these indexes, `__` for a slash in them.
    """
    keys = {}
    name, _, first = name.partition("/")
    for place, location in enumerate(locations, start=int(first or 1)):
        host, _, port = location.rpartition(":")
        keys[f"/services/{name}/{place}/location"] = json.dumps({"host": host, "port": int(port)})
        for member, value in members.items():
            keys[f"/services/{name}/{place}/{member.replace('__', '/')}"] = value
    return keys


def status(expected: str, current: str | None = None) -> dict[str, str]:
    """Members of a service, as passivator and the units wrote them."""
    return {"status__expected": expected, "status__current": current or expected, "status__alive": "1"}


def domain(host: str, value: str, kind: str = "service") -> dict[str, str]:
    """A domain's keys."""
    return {f"/domains/{host}/type": kind, f"/domains/{host}/value": value}


def real_tree() -> dict[str, str]:
    """Three services as a factory had them, an address of somebody else's, and what lies about besides."""
    return {
        **domain("bla.example", "nxio_000001"),
        **domain("blub.example", "nxio_000001"),
        **service(
            "nxio_000001",
            "172.17.0.5:8080",
            "172.17.0.6:8080",
            domain="bla.example",
            lastAccess="2014-11-03 15:04:05",
            config__gogeta=json.dumps({"robots": ROBOTS}),
            **status("started"),
        ),
        "/services/nxio_000001/2/lastAccess": "2014-11-04 15:04:05",
        **domain("dormant.example", "nxio_000002"),
        **service("nxio_000002", "172.17.0.7:49153", lastAccess="2015-01-31 12:00:00", **status("passivated")),
        **domain("halted.example", "nxio_000003"),
        **service("nxio_000003", "172.17.0.8:49154", **status("stopped")),
        **domain("elsewhere.example", "http://10.9.8.7:8081/", "uri"),
        "/services/nxio_000003/config/env": "A=b",
        **service("orphan", "172.17.0.9:1"),
    }


def plan_of(keys: Mapping[str, str], reading: Reading | None = None, **wishes: Any) -> Plan:  # noqa: ANN401
    """What becomes of these keys."""
    reading = reading or Reading()
    gathering, folders = Gathering("test", Bounds()), []
    for root in (reading.domain_dir, reading.service_dir):
        folder: Folder = {}
        gathering.add(folder, ((key, value) for key, value in keys.items() if key.startswith(root + "/")), root)
        folders.append(folder)
    wishes.setdefault("now", 2_000_000_000_000)
    return make_plan(read_heritage(folders[0], folders[1], reading), Wishes(**wishes))


def write_v2(etcd: EtcdServer, keys: Mapping[str, str | bytes]) -> None:
    """By the API that the older programs used."""
    with httpx.Client(base_url=etcd.url, trust_env=False) as client:
        for key, value in keys.items():
            # Bytes that are no text go as they are.
            form = {"Content-Type": "application/x-www-form-urlencoded"}
            answer = client.put(f"/v2/keys{key}", content=urlencode({"value": value}), headers=form)
            assert answer.status_code in (200, 201), answer.text


def write_v3(etcd: EtcdServer, keys: Mapping[str, str | bytes]) -> None:
    """As a migration leaves them: the same paths and values."""
    puts: list[dict[str, object]] = []
    size = 0
    for key, value in keys.items():
        content = value if isinstance(value, bytes) else value.encode()
        pair = {"key": base64.b64encode(key.encode()).decode(), "value": base64.b64encode(content).decode()}
        if puts and (len(puts) == 100 or size + len(content) > 500_000):
            etcd.call("/v3/kv/txn", {"success": puts})
            puts, size = [], 0
        puts.append({"request_put": pair})
        size += len(content)
    etcd.call("/v3/kv/txn", {"success": puts})


def read_v2(etcd: EtcdServer) -> Any:  # noqa: ANN401 - JSON
    """All that is there, with the indexes of every change."""
    return httpx.get(f"{etcd.url}/v2/keys/?recursive=true&sorted=true", trust_env=False).json()


def migrate(etcd: EtcdServer) -> None:
    """Migrate v2 keys to v3 with etcd's own program, for which the server has to be down."""
    etcd.stop()
    data: Path = etcd.folder / "data"
    done = subprocess.run(
        [resolve("etcdctl"), "migrate", f"--data-dir={data}"],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        env={"ETCDCTL_API": "3"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    etcd.start()
