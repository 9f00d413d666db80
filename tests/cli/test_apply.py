import asyncio
import re

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gogeta.domain.state import Member
from gogeta.domain.upstreams import Endpoint
from gogeta.kit.exits import ExitStatus
from gogeta.kit.local_addresses import local_addresses
from gogeta.kit.tasks import Tasks
from gogeta.registry.registry import Registry
from tests.cli.conftest import Cli

ACME = """
tenants:
  - name: acme
    hosts: [acme.localhost]
    process: {command: [app], cwd: site}
"""


def test_it_creates_and_changes_tenants_and_says_what_changed(cli: Cli) -> None:
    cli.have("acme", "other")
    cli.write("""
tenants:
  - name: beta
    hosts: [beta.localhost]
    docker: {image: "beta:1"}
  - name: acme
    hosts: [acme.localhost]
    idle_timeout: 5m
    process: {command: [app], cwd: site}
  - name: other
    hosts: [other.localhost]
    process: {command: [app]}
""")
    done = cli("apply", "-f", "tenants.yaml")
    assert (done.status, done.err) == (0, "")
    assert done.out.splitlines() == [
        "created    beta",
        "changed    acme  (process.cwd, idle_timeout)",
        "unchanged  other",
    ]
    assert cli.names() == ["acme", "beta", "other"]
    again = cli("apply", "-f", "tenants.yaml", "-o", "json")
    assert [(item["name"], item["result"], item["fields"]) for item in again.json["tenants"]] == [
        ("beta", "unchanged", []),
        ("acme", "unchanged", []),
        ("other", "unchanged", []),
    ]


def test_a_dry_run_says_the_same_and_changes_nothing(cli: Cli) -> None:
    cli.have("other")
    cli.write(ACME)
    done = cli("apply", "-f", "tenants.yaml", "--dry-run")
    assert done.status == 0
    assert done.out.splitlines() == ["created    acme", "dry run: nothing was changed"]
    assert cli.names() == ["other"]
    assert cli("apply", "-f", "tenants.yaml", "--dry-run", "-o", "json").json["dry_run"] is True


def test_it_reads_standard_input(cli: Cli) -> None:
    cli.have("other")
    assert cli("apply", "-f", "-", stdin=ACME).status == 0
    assert cli.names() == ["acme", "other"]
    broken = cli("apply", "-f", "-", stdin="tenants: [")
    assert broken.status == ExitStatus.USAGE
    assert broken.err.startswith("error: standard input:")


def test_a_relative_folder_is_meant_from_the_file(cli: Cli) -> None:
    cli.have("other")
    (cli.folder / "sub").mkdir()
    cli.write(ACME, "sub/tenants.yaml")
    assert cli("apply", "-f", "sub/tenants.yaml").status == 0
    tenant = cli("tenants", "acme", "-o", "json").json["declaration"]
    assert tenant["process"]["cwd"] == str(cli.folder / "sub" / "site")


def test_every_problem_is_told_with_line_column_field_and_the_nearest_name_and_nothing_is_applied(cli: Cli) -> None:
    cli.have("other")
    cli.write("""tenants:
  - name: good
    hosts: [good.localhost]
    process: {command: [app]}
  - name: acme
    hosts: [acme.localhost, "bad host"]
    proces: {command: [app]}
    idle_timeout: soon
  - name: beta
    hosts: [good.localhost]
    docker:
      image: "b:1"
      memory: lots
      imgae: x
  - name: good
    hosts: [third.localhost]
    upstreams: ["http://10.0.0.1:2379", "ftp://x"]
""")
    done = cli("apply", "-f", "tenants.yaml")
    assert (done.status, done.out) == (ExitStatus.USAGE, "")
    told = done.err.splitlines()
    for line in (
        r"error: tenants\.yaml:6:29: tenants\[1\]\.hosts\[1\]: expected a host",
        r"error: tenants\.yaml:7:5: tenants\[1\]\.proces: is not a field here; did you mean 'process'\?",
        r"error: tenants\.yaml:8:5: tenants\[1\]\.idle_timeout: expected a duration such as .*, not 'soon'",
        r"error: tenants\.yaml:13:7: tenants\[2\]\.docker\.memory: expected a size such as",
        r"error: tenants\.yaml:14:7: tenants\[2\]\.docker\.imgae: is not a field here; did you mean 'image'\?",
        r"error: tenants\.yaml:17:17: tenants\[3\]\.upstreams\[0\]: .* may not be the registry",
        r"error: tenants\.yaml:17:41: tenants\[3\]\.upstreams\[1\]: an upstream is a plain http URL",
    ):
        assert any(re.match(line, item) for item in told), (line, told)
    assert [int(item.split(":")[2]) for item in told] == sorted(int(item.split(":")[2]) for item in told)
    assert cli.names() == ["other"]


def test_one_bad_tenant_does_not_hide_clashes_between_the_others(cli: Cli) -> None:
    cli.have("other")
    cli.write("""tenants:
  - {name: one, hosts: [same.localhost], process: {command: [a]}}
  - {name: broken}
  - {name: two, hosts: [SAME.localhost.], process: {command: [a]}}
  - {name: one, hosts: [x.localhost], process: {command: [a]}}
""")
    told = cli("apply", "-f", "tenants.yaml").err
    assert "tenants.yaml:3:5: tenants[1].hosts: is missing" in told
    assert "4:25: tenants[2].hosts[0]: host 'same.localhost' of tenant 'two' is already claimed by tenant 'one'" in told
    assert "5:6: tenants[3].name: 'one' is already the name of tenants[0]" in told


def test_a_host_of_a_tenant_in_the_registry_is_refused_naming_both(cli: Cli) -> None:
    cli.have("acme")
    cli.write("""tenants:
  - name: fine
    hosts: [fine.localhost]
    process: {command: [app]}
  - name: beta
    hosts:
      - beta.localhost
      - acme.localhost
    process: {command: [app]}
""")
    done = cli("apply", "-f", "tenants.yaml")
    assert done.status == ExitStatus.USAGE
    assert done.err.splitlines()[0] == (
        "error: tenants.yaml:8:9: tenants[1].hosts[1]: "
        "host 'acme.localhost' of tenant 'beta' is already claimed by tenant 'acme'"
    )
    assert cli.names() == ["acme"]


def test_a_host_may_move_between_tenants_of_one_file(cli: Cli) -> None:
    cli.have("acme")
    cli.write("""tenants:
  - {name: acme, hosts: [new.localhost], process: {command: [app]}}
  - {name: beta, hosts: [acme.localhost], process: {command: [app]}}
""")
    assert cli("apply", "-f", "tenants.yaml").status == 0


def _upstreams(*urls: str) -> str:
    listed = "".join(f"\n      - {url}" for url in urls)
    return f"tenants:\n  - name: out\n    hosts: [out.localhost]\n    upstreams:{listed}\n"


def test_upstreams_that_point_at_ourselves_are_refused_naming_rule_and_line(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    cli.have("other")
    monkeypatch.setenv("GOGETA_ADMIN", "10.1.1.1:9901")
    cli.write(
        _upstreams(
            "http://10.0.0.7:8080",
            "http://10.0.0.7:2375",
            "http://10.0.0.7:2379",
            "http://169.254.169.254",
            "http://10.1.1.1:9901",
            "unix:/var/run/docker.sock",
        )
    )
    done = cli("apply", "-f", "tenants.yaml")
    assert done.status == ExitStatus.USAGE
    told = [line.removeprefix("error: tenants.yaml:") for line in done.err.splitlines()]
    assert told == [
        f"{line}:9: tenants[0].upstreams[{line - 5}]: {address} is refused: an upstream may not be {what}"
        for line, address, what in (
            (6, "10.0.0.7:2375", "the container runtime"),
            (7, "10.0.0.7:2379", "the registry"),
            (8, "169.254.169.254:80", "a link-local, multicast or unspecified address"),
            (9, "10.1.1.1:9901", "one of gogeta's own listeners"),
            (10, "unix:/var/run/docker.sock", "the container runtime"),
        )
    ]
    assert cli.names() == ["other"]


def test_listeners_announced_in_the_registry_are_refused_too(cli: Cli) -> None:
    cli.have("other")
    cli.write(_upstreams("http://127.0.0.1:18080", "http://10.9.9.9:5555", *(f"http://{a}:80" for a in ("127.0.0.1",))))
    member = Member(
        kind="gogeta",
        id="somewhere",
        listeners=(Endpoint("0.0.0.0", 18080),),
        runtime=(Endpoint("10.9.9.9", 5555),),
    )

    async def announced(registry: Registry) -> list[str]:
        async with Tasks("test") as tasks:
            tasks.start(registry.announce(member), "announce")
            while not await registry.members():  # noqa: ASYNC110 - the store tells of members only when asked
                await asyncio.sleep(0.01)
            # Another process would do this; here, another thread with a loop of its own.
            done = await asyncio.to_thread(cli, "apply", "-f", "tenants.yaml")
        return done.err.splitlines()

    told = cli.on_registry(announced)
    assert [line.split("tenants[0].")[1] for line in told] == [
        "upstreams[0]: 127.0.0.1:18080 is refused: an upstream may not be one of gogeta's own listeners",
        "upstreams[1]: 10.9.9.9:5555 is refused: an upstream may not be the container runtime",
    ]


def test_a_default_listener_forbids_nothing(cli: Cli) -> None:
    cli.have("other")
    cli.write(_upstreams("http://127.0.0.1:8080", "http://127.0.0.1:9901"))
    assert cli("apply", "-f", "tenants.yaml").status == 0


def test_a_wrong_listener_setting_is_told_with_its_source(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    cli.have("other")
    cli.write(ACME)
    monkeypatch.setenv("GOGETA_LISTEN", "nonsense")
    done = cli("apply", "-f", "tenants.yaml")
    assert done.status == ExitStatus.USAGE
    assert done.err.startswith("error: GOGETA_LISTEN: expected an address")


def test_without_a_registry_file_the_default_is_not_made(cli: Cli) -> None:
    cli.write(ACME)
    done = cli("apply", "-f", "tenants.yaml")
    assert done.status == ExitStatus.REGISTRY
    assert "there is no registry gogeta.db in" in done.err
    assert "hint: `gogeta up`" in done.err
    assert not cli.registry.exists()


def test_a_registry_named_on_purpose_is_made_by_apply_but_not_by_a_dry_run(cli: Cli) -> None:
    cli.write(ACME)
    url = f"embedded:{cli.registry}"
    assert cli("apply", "-f", "tenants.yaml", "--registry", url, "--dry-run").status == ExitStatus.REGISTRY
    assert not cli.registry.exists()
    assert cli("apply", "-f", "tenants.yaml", "--registry", url).status == 0
    assert cli.names() == ["acme"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "tenants.yaml: is empty"),
        ("{}", "tenants.yaml: is empty"),
        ("tenant: []", "did you mean 'tenants'?"),
        ("- a", "expected a mapping of fields"),
        ("tenants: {a: b}", "tenants.yaml:1:1: tenants: expected a list"),
        ("tenants: [1]", "tenants.yaml:1:11: tenants[0]: expected a mapping of fields, not 1"),
        ("tenants:\n  - name: a\n    name: b", "tenants.yaml:3:5: 'name' is there already, in line 2"),
        ("tenants:\n  - 1: 2", "tenants.yaml:2:"),
    ],
)
def test_files_that_are_no_list_of_tenants(cli: Cli, content: str, message: str) -> None:
    cli.have("other")
    cli.write(content)
    done = cli("apply", "-f", "tenants.yaml")
    assert done.status == ExitStatus.USAGE
    assert message in done.err


def test_a_file_that_cannot_be_read(cli: Cli) -> None:
    missing, folder = cli("apply", "-f", "nowhere.yaml"), cli("apply", "-f", ".")
    assert (missing.status, missing.err) == (2, "error: nowhere.yaml: cannot be read: no such file or directory\n")
    assert (folder.status, folder.err) == (2, "error: .: cannot be read: is a directory\n")


def test_an_error_is_json_too(cli: Cli) -> None:
    error = cli("apply", "-f", "nowhere.yaml", "-o", "json").error
    assert (error["kind"], error["exit_status"]) == ("usage", 2)
    assert error["messages"] == ["nowhere.yaml: cannot be read: no such file or directory"]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(["name", "hosts", "port", "docker", "process", "upstreams", "idle_timeout", "ready", "x"]),
            st.sampled_from(
                ["a", 1, -1, None, [], ["a.localhost"], {"command": ["x"]}, {"image": 1}, [[]], {1: 2}, 1e400]
            ),
        ),
        max_size=4,
    )
)
def test_any_shape_is_applied_or_refused_with_lines_and_never_ends_in_a_traceback(
    cli: Cli, tenants: list[dict[str, object]]
) -> None:
    cli.have("other")
    cli.write(yaml.safe_dump({"tenants": tenants}))
    done = cli("apply", "-f", "tenants.yaml")
    assert done.status in (0, 2)
    assert all(re.match(r"(error: tenants\.yaml:\d+:\d+: |hint: )", line) for line in done.err.splitlines())


def test_this_machines_addresses_are_found() -> None:
    assert "127.0.0.1" in local_addresses()
