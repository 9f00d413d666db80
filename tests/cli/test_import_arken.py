"""`gogeta import-arken` on real trees in a real etcd, by both of its APIs, into real registries."""

import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import httpx
import pytest
import yaml

from gogeta.cli.arken import keys as arken_keys
from gogeta.cli.import_arken import import_arken as command
from gogeta.domain.lifecycle import Desired
from gogeta.kit.clock import wall_ms
from gogeta.kit.exits import ExitStatus
from tests.cli.arken_tree import ROBOTS, domain, migrate, read_v2, real_tree, service, status, write_v2, write_v3
from tests.cli.conftest import Cli, Ended
from tests.rig.etcd import EtcdFactory, EtcdServer
from tests.rig.run_folder import RunFolder

ENABLE_V2 = ("--enable-v2=true",)
HOSTS = {"nxio-000001": 4, "nxio-000002": 2, "nxio-000003": 2, "elsewhere-example": 2}


@pytest.fixture(scope="module")
def old_of_the_file(run_folder: RunFolder) -> Iterator[EtcdServer]:
    """An etcd with both APIs and a real tree in v2, for tests that only read it."""
    server = EtcdServer(run_folder, extra_args=ENABLE_V2)
    server.start()
    write_v2(server, real_tree())
    yield server
    server.remove()


@pytest.fixture
def old(etcd: EtcdServer, old_of_the_file: EtcdServer) -> EtcdServer:
    """That server; `etcd` skips the test where there is none."""
    return old_of_the_file


@pytest.fixture
def import_arken(cli: Cli) -> "Import":
    cli.have("other")
    return Import(cli)


class Import:
    """The command, on the registry of `cli`."""

    def __init__(self, cli: Cli) -> None:
        self.cli = cli

    def __call__(self, source: EtcdServer | str, *options: str, stdin: str = "") -> Ended:
        url = source if isinstance(source, str) else source.url
        return self.cli("import-arken", "--etcd", url, *options, stdin=stdin)

    def refused(self, source: EtcdServer | str, *options: str, status: ExitStatus = ExitStatus.USAGE) -> str:
        """What it said when it refused; nothing is changed then."""
        before = self.cli("tenants", "-o", "json").out
        done = self(source, "--yes", *options)
        assert (done.status, done.out) == (status, ""), (done.out, done.err)
        assert self.cli("tenants", "-o", "json").out == before
        return done.err


def test_it_shows_the_plan_changes_nothing_in_a_dry_run_and_then_applies_it(
    import_arken: Import, old: EtcdServer
) -> None:
    cli, tree = import_arken.cli, read_v2(old)
    shown = import_arken(old, "--dry-run")
    assert (shown.status, shown.err) == (0, "")
    what, *lines = shown.out.splitlines()
    assert what == f"Arken tree at {old.url} ({len(real_tree())} keys, v2)"
    assert lines[0].split() == ["RESULT", "TENANT", "FROM", "BEGINS", "LAST", "ACCESS", "RUNS", "HOSTS"]
    assert lines[1].split() == [
        *("created", "nxio-000001", "/services/nxio_000001", "routed", "2014-11-04T15:04:05.000Z"),
        "172.17.0.5:8080,172.17.0.6:8080",
        "bla.example,www.bla.example,blub.example,www.blub.example",
    ]
    assert any(line.startswith("note: nxio-000002: was passivated, which cannot be kept") for line in lines)
    assert lines[-1] == "dry run: nothing was changed"
    assert cli.names() == ["other"]

    done = import_arken(old, "--yes")
    assert (done.status, done.err) == (0, "")
    assert done.out.splitlines()[1:-1] == lines[:-1], "what was shown is what is done"
    assert done.out.splitlines()[-1] == "4 created, 0 changed, 0 unchanged"
    assert cli.names() == ["elsewhere-example", "nxio-000001", "nxio-000002", "nxio-000003", "other"]
    record = cli("tenants", "nxio-000001", "-o", "json").json
    assert record["endpoints"] == ["172.17.0.5:8080", "172.17.0.6:8080"]
    assert record["declaration"]["wake"] == {"robots": ROBOTS}
    assert record["last_access"]["at"] == "2014-11-04T15:04:05.000Z"
    assert read_v2(old) == tree, "the old tree is as it was, to the last index"

    again = import_arken(old, "--yes")
    assert again.out.splitlines()[-2:] == [
        "note: 4 of them exist already: their states and last accesses stay as they are",
        "0 created, 0 changed, 4 unchanged",
    ]


def test_the_same_tree_is_read_from_v3_keys(import_arken: Import, etcd: EtcdServer) -> None:
    write_v3(etcd, {**real_tree(), "/elsewhere/key": "not ours", "/services2/x/1/location": "{"})
    before = etcd.items()
    shown = import_arken(etcd, "--yes", "-o", "json").json
    assert {item["name"]: len(item["declaration"]["hosts"]) for item in shown["tenants"]} == HOSTS
    assert etcd.items() == before
    assert import_arken(etcd, "--dry-run", "--etcd-api", "v3").status == 0
    assert "does not serve the v2 API" in import_arken.refused(etcd, "--etcd-api", "v2", status=ExitStatus.REGISTRY)


def test_a_tree_that_etcd_itself_migrated_says_the_same_by_v2_and_v3(
    import_arken: Import, make_etcd: EtcdFactory
) -> None:
    server = make_etcd(extra_args=ENABLE_V2)
    write_v2(server, real_tree())
    before = import_arken(server, "--dry-run", "--etcd-api", "v2", "-o", "json").json
    assert import_arken(server, "--dry-run", "--etcd-api", "v3").status == ExitStatus.REGISTRY, "not migrated yet"
    migrate(server)
    assert server.items("/domains/") != {}
    after = import_arken(server, "--dry-run", "--etcd-api", "v3", "-o", "json").json
    assert "v3)" in after.pop("source")
    assert "v2)" in before.pop("source")
    assert after == before
    assert len(after["tenants"]) == 4


def test_more_keys_than_a_page_and_a_commit_hold_are_all_imported(import_arken: Import, etcd: EtcdServer) -> None:
    keys: dict[str, str] = {}
    for number in range(300):
        keys |= {**domain(f"h{number}.example", f"s_{number}"), **service(f"s_{number}", f"10.0.0.1:{1000 + number}")}
    write_v3(etcd, keys)
    assert import_arken(etcd, "--yes").out.splitlines()[-1] == "300 created, 0 changed, 0 unchanged"
    assert len(import_arken.cli.names()) == 301


def test_adopted_containers_begin_as_they_were_and_when_they_were_used(import_arken: Import, old: EtcdServer) -> None:
    options = ("--container-name", "nuxeo-{service}", "--container-port", "8080", "--skip", "/services/nxio_000001/2")
    done = import_arken(old, *options, "--timezone", "Europe/Paris", "--yes")
    assert done.status == 0, done.err
    cli = import_arken.cli
    for number, desired, access in (
        (1, Desired.STARTED, "2014-11-03T14:04:05.000Z"),
        (2, Desired.PASSIVATED, "2015-01-31T11:00:00.000Z"),
        (3, Desired.STOPPED, None),
    ):
        record = cli("tenants", f"nxio-00000{number}", "-o", "json").json
        assert record["declaration"]["docker"] == {"container": f"nuxeo-nxio_00000{number}"}
        assert record["declaration"]["port"] == 8080
        assert record["desired"]["state"] == desired
        assert (record["last_access"] and record["last_access"]["at"]) == access
    woken = cli.on_registry(lambda registry: registry.record("nxio-000001"))
    assert woken.desired.wakes == 1


def test_what_exists_keeps_its_state_and_its_last_access(import_arken: Import, old: EtcdServer) -> None:
    options = ("--container-label", "arken={service}", "--skip", "/services/nxio_000001/2")
    assert import_arken(old, *options, "--yes").status == 0
    cli = import_arken.cli
    assert cli("start", "nxio-000003", "--no-wait").status == 0
    before = cli("tenants", "nxio-000003", "-o", "json").json
    changed = import_arken(old, *options, "--container-port", "81", "--no-www", "--yes")
    assert "note: nxio-000003: what changes is hosts, port" in changed.out
    assert changed.out.splitlines()[-1] == "0 created, 4 changed, 0 unchanged"
    after = cli("tenants", "nxio-000003", "-o", "json").json
    assert after["declaration"]["port"] == 81
    assert (after["desired"], after["last_access"]) == (before["desired"], before["last_access"])


def test_a_file_says_how_tenants_are_run_and_the_tree_what_they_were(import_arken: Import, old: EtcdServer) -> None:
    cli = import_arken.cli
    made = import_arken(old, "-o", "yaml")
    assert (made.status, made.err) == (0, "")
    assert cli.names() == ["other"], "a file is written, and nothing else"
    assert "# /services/nxio_000002: was passivated, last access 2015-01-31T12:00:00.000Z" in made.out
    cli.write(made.out)
    assert cli("apply", "-f", "tenants.yaml", "--dry-run").out.splitlines()[0].split() == ["created", "nxio-000001"]
    content = yaml.safe_load(made.out)
    assert [tenant["name"] for tenant in content["tenants"]] == list(HOSTS)
    for tenant in content["tenants"][1:3]:
        del tenant["upstreams"]
        tenant["docker"] = {"image": "nuxeo:1"}
    content["tenants"].pop(0)
    cli.write(yaml.safe_dump(content))
    done = import_arken(old, "-f", "tenants.yaml", "--yes")
    assert done.status == 0, done.err
    assert "note: /services/nxio_000001: is left out: the file has no tenant nxio-000001" in done.out
    assert cli.names() == ["elsewhere-example", "nxio-000002", "nxio-000003", "other"]
    assert cli("tenants", "nxio-000002", "-o", "json").json["desired"]["state"] == "passivated"
    assert cli("tenants", "nxio-000003", "-o", "json").json["desired"]["state"] == "stopped"
    assert cli("tenants", "nxio-000002", "-o", "json").json["last_access"]["by"] == "import-arken"


def test_a_file_with_a_tenant_that_nothing_becomes_is_refused_with_its_line(
    import_arken: Import, old: EtcdServer
) -> None:
    import_arken.cli.write("tenants:\n  - name: stranger\n    hosts: [x.example]\n    upstreams: ['http://10.0.0.1']\n")
    told = import_arken.refused(old, "-f", "tenants.yaml")
    assert "error: tenants.yaml:2:5: tenants[0].name: nothing in the Arken tree at" in told
    assert "becomes tenant 'stranger'" in told


def test_other_folders_are_read_when_named(import_arken: Import, etcd: EtcdServer) -> None:
    write_v3(etcd, {f"/nuxeo.io{key}": value for key, value in real_tree().items()})
    told = import_arken.refused(etcd, status=ExitStatus.REGISTRY)
    assert "there is nothing under /domains and /services, looked at v2 and v3 keys" in told
    assert "--domain-dir and --service-dir" in told
    done = import_arken(etcd, "--domain-dir", "/nuxeo.io/domains", "--service-dir", "nuxeo.io/services/", "--dry-run")
    assert "/nuxeo.io/services/nxio_000001" in done.out


# -------------------------------------------------------------------------------------------------------- hostile trees


def test_everything_wrong_is_listed_with_its_key_and_nothing_is_applied(import_arken: Import, etcd: EtcdServer) -> None:
    bad: Mapping[str, str | bytes] = {
        **real_tree(),
        "/services/nxio_000001/1/location": '{"host":',
        "/services/nxio_000002/1/domain": b"\xff\xfe",
        "/services/nxio_000003/1/lastAccess": "2014-11-03 15:04:05 CST",
        **domain("ghost.example", "nobody"),
        **domain("path.example", "http://10.0.0.1/app", "uri"),
    }
    write_v3(etcd, bad)
    what = f"error: Arken tree at {etcd.url}: "
    told = import_arken.refused(etcd).splitlines()
    assert [line.removeprefix(what).partition(":")[0] for line in told[:-1]] == [
        "/domains/path.example/value",
        "/services/nxio_000001/1/location",
        "/services/nxio_000002/1/domain",
        "/services/nxio_000003/1/lastAccess",
        "/domains/ghost.example/value",
    ]
    assert told[-1] == "hint: mend them there, or leave them out by --skip PATTERN; nothing was changed"
    assert import_arken(etcd, "-o", "yaml").status == ExitStatus.USAGE


def test_bytes_that_are_no_text_are_refused_through_v2_as_well(import_arken: Import, make_etcd: EtcdFactory) -> None:
    server = make_etcd(extra_args=ENABLE_V2)
    write_v2(server, {**real_tree(), "/services/nxio_000002/1/domain": b"\xff\xfe"})
    assert "/services/nxio_000002/1/domain: holds bytes that are not UTF-8" in import_arken.refused(server)


def test_hundreds_of_problems_are_told_by_the_hundred(import_arken: Import, etcd: EtcdServer) -> None:
    write_v3(etcd, {f"/services/s{number}/1/location": "{" for number in range(150)})
    told = import_arken.refused(etcd).splitlines()
    assert len(told) == 102
    assert told[100].endswith("and 50 more problems")


def test_a_tree_that_is_too_large_is_refused(import_arken: Import, etcd: EtcdServer, old: EtcdServer) -> None:
    write_v3(etcd, {f"/services/s/{number}/location": "x" * 1_400_000 for number in range(25)})
    assert "the tree is too large: at most 200000 keys and 32 MiB" in import_arken.refused(etcd)
    etcd.wipe()
    write_v3(etcd, real_tree())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arken_keys.Bounds.__init__, "__defaults__", (10, 1 << 20))
        for server in (etcd, old):
            assert "the tree is too large: at most 10 keys" in import_arken.refused(server)
        patch.setattr(arken_keys.Bounds.__init__, "__defaults__", (1000, 500))
        assert "the tree is too large" in import_arken.refused(old, "--etcd-api", "v2")


def test_a_host_that_another_tenant_has_is_refused(import_arken: Import, old: EtcdServer) -> None:
    cli = import_arken.cli
    cli.write("tenants: [{name: rival, hosts: [www.blub.example], upstreams: ['http://10.0.0.1']}]")
    assert cli("apply", "-f", "tenants.yaml").status == 0
    told = import_arken.refused(old)
    assert "/services/nxio_000001.hosts[3]: host 'www.blub.example' of tenant 'nxio-000001' is already claimed" in told
    assert "'rival'" in told


def test_an_address_that_no_upstream_may_have_is_refused(import_arken: Import, etcd: EtcdServer) -> None:
    write_v3(etcd, {**domain("a.example", "a"), **service("a", "10.0.0.1:80", "127.0.0.1:2379")})
    told = import_arken.refused(etcd)
    assert "/services/a.upstreams[1]: 127.0.0.1:2379 is refused: an upstream may not be the registry" in told


def test_a_value_where_a_folder_is_meant_is_refused(import_arken: Import, make_etcd: EtcdFactory) -> None:
    server = make_etcd(extra_args=ENABLE_V2)
    write_v2(server, {"/domains": "x"})
    assert "/domains is a value, expected a folder" in import_arken.refused(server)


# -------------------------------------------------------------------------------------------------- an etcd in trouble


def test_an_etcd_that_is_away_is_told_at_once(import_arken: Import, make_etcd: EtcdFactory) -> None:
    server = make_etcd()
    server.stop()
    began = wall_ms()
    told = import_arken.refused(server, status=ExitStatus.REGISTRY)
    assert f"error: Arken tree at {server.url}: etcd at {server.endpoint} does not answer" in told
    assert "hint: look whether etcd runs and can be reached from here" in told
    assert wall_ms() - began < 3000
    other = make_etcd()
    write_v3(other, real_tree())
    both = f"{server.url},{other.endpoint}"
    assert import_arken(both, "--dry-run").status == 0, "another member does"


def test_an_etcd_that_says_nothing_is_given_up(import_arken: Import, make_etcd: EtcdFactory) -> None:
    server = make_etcd()
    server.pause()
    told = import_arken.refused(server, "--registry-timeout", "500ms", status=ExitStatus.REGISTRY)
    assert "does not answer" in told
    server.resume()


@pytest.mark.parametrize("url", ["10.0.0.1:2379", "ftp://x", "embedded:x", "http://", "http://x:y", "http://x/v2/keys"])
def test_what_is_no_address_of_an_etcd_is_refused(import_arken: Import, url: str) -> None:
    told = import_arken.refused(url)
    assert f"'--etcd': expected etcd's address such as http://10.0.0.5:2379 or https://..., not {url!r}" in told
    assert "secret" not in import_arken.refused("http://user:secret@x:y")


class Quiet(BaseHTTPRequestHandler):
    """Answers one thing; other methods and paths are not there."""

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its base's
        pass


@contextmanager
def answering(handler: type[Quiet]) -> Iterator[str]:
    """A server with this handler; its URL."""
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_what_answers_and_is_no_etcd_is_told(import_arken: Import) -> None:
    class NoEtcd(Quiet):
        def do_GET(self) -> None:
            self.answer(200, b"<html>hello</html>")

    with answering(NoEtcd) as url:
        assert "is no etcd (HTTP status 200)" in import_arken.refused(url, status=ExitStatus.REGISTRY)


def test_an_etcd_from_before_the_v3_api_is_asked_for_v2_alone(import_arken: Import, old: EtcdServer) -> None:
    """A real server's answers; it is the version alone that is another."""

    class Etcd2(Quiet):
        def do_GET(self) -> None:
            if self.path == "/version":
                self.answer(200, b'{"etcdserver":"2.3.8","etcdcluster":"2.3.0"}')
            else:
                answer = httpx.get(old.url + self.path, trust_env=False)
                self.answer(answer.status_code, answer.content)

    with answering(Etcd2) as url:
        here, there = (import_arken(each, "--dry-run", "-o", "json").json for each in (url, old))
        assert here["tenants"] == there["tenants"]
        told = import_arken.refused(url, "--etcd-api", "v3", status=ExitStatus.REGISTRY)
        assert "etcd 2.3 has no v3 API that is read here" in told
        empty = import_arken.refused(url, "--domain-dir", "/x", "--service-dir", "/y", status=ExitStatus.REGISTRY)
        assert "there is nothing under /x and /y, looked at v2 keys" in empty


def test_a_web_server_in_front_of_an_etcd_that_hides_its_keys_is_told(import_arken: Import) -> None:
    class Front(Quiet):
        def do_GET(self) -> None:
            if self.path == "/version":
                self.answer(200, b'{"etcdserver":"2.3.8"}')
            else:
                self.answer(302, b"log in first")

    with answering(Front) as url:
        told = import_arken.refused(url, status=ExitStatus.REGISTRY)
    assert "does not speak etcd's v2 API (HTTP status 302)" in told


def test_the_how_to_names_only_options_that_there_are() -> None:
    page = (Path(__file__).parents[2] / "docs" / "migrate-from-arken.md").read_text(encoding="utf-8")
    there = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]+", page)) - {"--connect-to", "--enable-v2"}
    assert named - there == set()
    assert len(named) > 12


def test_users_of_v3_are_asked_for_their_password_and_their_rights(
    import_arken: Import, make_etcd: EtcdFactory
) -> None:
    server = make_etcd(users={"root": "r", "reader": "s3cret", "blind": "b"})
    write_v3(server, real_tree())
    for prefix in ("/domains/", "/services/"):
        server.grant("reader", prefix, "READ")
    cli, at = import_arken.cli, server.endpoint
    told = import_arken.refused(server, status=ExitStatus.REGISTRY)
    assert "user name is empty" in told
    assert "hint: look at the user and the password in --etcd" in told
    wrong = import_arken.refused(f"http://reader:wrong@{at}", status=ExitStatus.REGISTRY)
    assert "authentication failed" in wrong
    assert "wrong" not in wrong
    blind = import_arken.refused(f"http://blind:b@{at}", status=ExitStatus.REGISTRY)
    assert "permission denied" in blind
    assert "hint: let the user read /domains/ and /services/" in blind
    assert import_arken(f"http://reader:s3cret@{at}", "--dry-run").status == 0
    cli.write("s3cret\n", "password")
    assert import_arken(f"etcd://reader@{at}", "--etcd-password-file", "password", "--dry-run").status == 0
    missing = import_arken.refused(f"http://reader@{at}", "--etcd-password-file", "nowhere")
    assert "--etcd-password-file: nowhere cannot be read" in missing


def test_users_of_v2_are_told_apart_from_those_of_v3(import_arken: Import, make_etcd: EtcdFactory) -> None:
    server = make_etcd(extra_args=ENABLE_V2)
    write_v2(server, real_tree())
    with httpx.Client(base_url=server.url, trust_env=False, auth=("root", "r")) as client:
        assert client.put("/v2/auth/users/root", json={"user": "root", "password": "r"}).is_success
        assert client.put("/v2/auth/enable").is_success
        guest = {"role": "guest", "revoke": {"kv": {"read": ["/*"], "write": ["/*"]}}}
        assert client.put("/v2/auth/roles/guest", json=guest).is_success
    told = import_arken.refused(server, "--etcd-api", "v2", status=ExitStatus.REGISTRY)
    assert "refuses to show it" in told
    assert "hint: name a user of its v2 API who may read it" in told
    write_v3(server, real_tree())
    assert "refuses to show it" in import_arken.refused(server, status=ExitStatus.REGISTRY), "v3 may be of long ago"
    assert import_arken(server, "--etcd-api", "v3", "--dry-run").status == 0
    assert import_arken(f"http://root:r@{server.endpoint}", "--etcd-api", "v2", "--dry-run").status == 0


def test_an_etcd_with_tls_is_read_when_its_authority_is_known(import_arken: Import, make_etcd: EtcdFactory) -> None:
    server = make_etcd(tls=True, client_auth=True, extra_args=ENABLE_V2)
    assert server.client_certificate is not None
    write_v3(server, real_tree())
    pair = server.client_certificate
    options = ("--etcd-ca", str(server.ca_file), "--etcd-cert", str(pair.cert_file), "--etcd-key", str(pair.key_file))
    assert import_arken(server, *options, "--dry-run").status == 0
    assert "does not answer" in import_arken.refused(server, status=ExitStatus.REGISTRY)
    told = import_arken.refused(f"http://{server.endpoint}", *options)
    assert "--etcd-ca: is given, but the registry URL is without TLS" in told
    assert "--etcd-key: is missing" in import_arken.refused(server, *options[:4])


# ----------------------------------------------------------------------------------------------------------- the asking


def test_without_a_terminal_it_needs_a_yes(import_arken: Import, old: EtcdServer) -> None:
    for options, why in (((), "there is no terminal to ask on"), (("-o", "json"), "with -o json nobody is asked")):
        done = import_arken(old, *options)
        assert (done.status, done.out) == (ExitStatus.USAGE, "")
        assert f"importing needs a yes, and {why}" in done.err
    assert import_arken.cli.names() == ["other"]


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("--container-name", "nuxeo"), "expected {service} or {tenant} in it"),
        (("--container-name", "{service}", "--container-label", "a={service}"), "give one of them"),
        (("--container-label", "a={service}", "-f", "tenants.yaml"), "give one of them"),
        (("--container-port", "80"), "--container-port needs --container-name or --container-label"),
        (("-o", "yaml", "-f", "tenants.yaml"), "-o yaml makes the file that -f reads"),
        (("--timezone", "Mars/Base"), "expected a zone such as UTC, Europe/Paris or +02:00, not 'Mars/Base'"),
        (("--timezone", "+99:00"), "no place is +99:00 from UTC"),
        (("--domain-dir", "/"), "expected a folder such as /domains"),
        (("-f", "nowhere.yaml"), "nowhere.yaml: cannot be read"),
    ],
)
def test_options_that_do_not_fit_are_refused(import_arken: Import, options: tuple[str, ...], why: str) -> None:
    assert why in import_arken.refused("http://127.0.0.1:1", *options)


def test_the_json_says_what_was_done_and_errors_come_as_json(import_arken: Import, old: EtcdServer) -> None:
    done = import_arken(old, "--yes", "-o", "json")
    assert done.json["dry_run"] is False
    first = done.json["tenants"][1]
    assert {key: first[key] for key in ("name", "result", "from", "begins", "last_access")} == {
        "name": "nxio-000002",
        "result": "created",
        "from": "/services/nxio_000002",
        "begins": "routed",
        "last_access": "2015-01-31T12:00:00.000Z",
    }
    assert {"key": "/services/orphan", "message": "is left out: no domain leads to it"} in done.json["notes"]
    broken = import_arken("http://127.0.0.1:1", "--yes", "-o", "json")
    assert broken.error["kind"] == "registry"
    assert broken.error["exit_status"] == ExitStatus.REGISTRY


def test_the_registry_may_be_the_very_etcd_that_the_tree_is_in(cli: Cli, etcd: EtcdServer) -> None:
    write_v3(etcd, {**domain("a.example", "a"), **service("a", "10.0.0.1:80", **status("stopped"))})
    options = ("--registry", etcd.registry_url)
    done = cli("import-arken", "--etcd", etcd.url, "--container-name", "{tenant}", "--yes", *options)
    assert done.status == 0, done.err
    assert json.loads(etcd.items("/gogeta/v1/state/desired/")["/gogeta/v1/state/desired/a"])["state"] == "stopped"
