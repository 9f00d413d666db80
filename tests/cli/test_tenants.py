import pytest

from gogeta.api.representations import STATES, state_of
from gogeta.cli import showing
from gogeta.domain.lifecycle import Cause, Desired, Observed
from gogeta.domain.state import (
    DesiredState,
    LastAccess,
    ObservedState,
    Phase,
    Reason,
    ReasonCode,
    TenantRecord,
)
from gogeta.domain.tenant import read_tenant
from gogeta.domain.upstreams import Endpoint
from gogeta.kit.exits import ExitStatus
from gogeta.registry import keys
from gogeta.registry.registry import Registry
from gogeta.registry.store import Put
from tests.cli.conftest import Cli

MINUTE = 60_000


def observe(cli: Cli, name: str, observed: ObservedState) -> None:
    async def work(registry: Registry) -> None:
        await registry.observe(name, observed, 0)

    cli.on_registry(work)


def test_a_list_is_sorted_plain_and_whole_when_piped(cli: Cli) -> None:
    cli.have("beta", "acme", "a-tenant-with-quite-a-long-name-as-names-go")
    observe(
        cli,
        "beta",
        ObservedState(
            state=Observed.FAILED,
            since=1,
            reason=Reason(ReasonCode.EXITED, "ended with \x1b[31mstatus 3\n" + "x" * 200),
        ),
    )
    done = cli("tenants")
    assert done.status == 0
    lines = done.out.splitlines()
    assert lines[0].split() == ["NAME", "STATE", "FOR", "LAST", "ACCESS", "IDLE", "AFTER", "HOSTS", "REASON"]
    assert [line.split()[0] for line in lines[1:]] == ["a-tenant-with-quite-a-long-name-as-names-go", "acme", "beta"]
    assert r"exited: ended with \x1b[31mstatus 3\n" + "x" * 200 in lines[3]
    assert "\x1b" not in done.out


def test_the_list_can_be_cut_to_states(cli: Cli) -> None:
    cli.have("acme", "beta", "gamma")
    observe(cli, "beta", ObservedState(state=Observed.STARTING))
    assert [item["name"] for item in cli("tenants", "--state", "starting", "-o", "json").json["tenants"]] == ["beta"]
    both = cli("tenants", "--state", "starting", "--state", "passivated", "-o", "json").json["tenants"]
    assert [item["name"] for item in both] == ["acme", "beta", "gamma"]
    none = cli("tenants", "--state", "failed")
    assert (none.status, none.out, none.err) == (0, "", "no tenant is failed\n")
    wrong = cli("tenants", "--state", "fialed")
    assert wrong.status == ExitStatus.USAGE
    assert "'failed'" in wrong.err


def test_an_empty_registry_says_what_to_do(cli: Cli) -> None:
    cli.on_registry(lambda registry: registry.load())
    done = cli("tenants")
    assert (done.status, done.out) == (0, "")
    assert "gogeta apply" in done.err
    assert cli("tenants", "-o", "json").json == {"tenants": []}


def test_one_tenant_in_full(cli: Cli) -> None:
    cli.have("acme")
    observe(
        cli,
        "acme",
        ObservedState(
            state=Observed.STARTED,
            since=1_700_000_000_000,
            endpoints=(Endpoint("10.0.0.9", 80),),
            wakes=1,
            phases=(Phase("queued", 1.0), Phase("started", 250.0), Phase("ready", 1249.0)),
        ),
    )

    async def use(registry: Registry) -> None:
        await registry.change_desired("acme", Cause.WAKE)
        await registry.record_accesses({"acme": LastAccess(at=1_700_000_001_000, by="gogeta/one", in_flight=2)})

    cli.on_registry(use)
    shown = cli("tenants", "acme").out
    for words in (
        "state        started",
        "observed     started, for ",
        "(2023-11-14T22:13:20.000Z)",
        "desired      started, for 0s",
        "wake, by test",
        "endpoints    10.0.0.9:80",
        "through gogeta/one, 2 open",
        "last start   1.50 s: queued 1 ms, started 250 ms, ready 1.25 s",
        "idle after   30m",
    ):
        assert words in shown
    data = cli("tenants", "acme", "-o", "json").json
    assert data["meets"] == "forward"
    assert data["endpoints"] == ["10.0.0.9:80"]
    assert data["last_access"] == {"at": "2023-11-14T22:13:21.000Z", "by": "gogeta/one", "in_flight": 2, "tunnels": 0}
    assert data["observed"]["phases"][1] == {"name": "started", "ms": 250.0}
    assert (data["desired"]["state"], data["desired"]["cause"], data["desired"]["wakes"]) == ("started", "wake", 1)


def test_the_json_shape_is_the_documented_one(cli: Cli) -> None:
    cli.have("acme")
    item = cli("tenants", "acme", "-o", "json").json
    assert sorted(item) == [
        "declaration",
        "desired",
        "endpoints",
        "etag",
        "group",
        "hosts",
        "idle_timeout",
        "last_access",
        "meets",
        "name",
        "observed",
        "policy",
        "revision",
        "runs",
        "since",
        "state",
    ]
    assert sorted(item["desired"]) == ["by", "cause", "since", "state", "wakes"]
    assert sorted(item["observed"]) == [
        "ahead",
        "instance",
        "past_starts",
        "phase",
        "phases",
        "reason",
        "since",
        "state",
        "wakes",
    ]
    assert cli("tenants", "-o", "json").json == {"tenants": [item]}


def test_an_unknown_tenant_is_answered_with_the_nearest(cli: Cli) -> None:
    cli.have("acme")
    done = cli("tenants", "acmee")
    assert done.status == ExitStatus.UNKNOWN
    assert done.err == "error: there is no tenant 'acmee'\nhint: did you mean 'acme'?\n"
    assert cli("tenants", "acmee", "-o", "json").error["kind"] == "unknown"


def test_what_cannot_be_read_is_named_and_the_rest_is_shown(cli: Cli) -> None:
    cli.have("acme")

    async def spoil(registry: Registry) -> None:
        await registry.store.commit(
            [
                Put(keys.tenant_key("bad"), b'{"version": 99}'),
                Put(keys.access_key("acme"), b"\x00 not json"),
                Put(keys.observed_key("acme"), b"[]"),
            ]
        )

    cli.on_registry(spoil)
    done = cli("tenants")
    assert done.status == 0
    assert "acme" in done.out
    assert "warning: /gogeta/v1/state/tenants/bad cannot be read and is passed over" in done.err
    assert "warning: /gogeta/v1/state/observed/acme" in done.err
    assert "warning: /gogeta/v1/access/acme" in done.err
    one = cli("tenants", "acme")
    assert one.status == 0
    assert "warning: /gogeta/v1/state/observed/acme" in one.err
    bad = cli("tenants", "bad")
    assert bad.status == ExitStatus.FAILED
    assert "the declaration of tenant 'bad' in the registry cannot be read" in bad.err


def test_a_registry_that_does_not_answer(cli: Cli) -> None:
    done = cli("tenants", "--registry", "etcd://127.0.0.1:1", "--registry-timeout", "500ms")
    assert done.status == ExitStatus.REGISTRY
    waiting, error = done.err.splitlines()
    assert waiting == "warning: the registry etcd://127.0.0.1:1 does not answer yet, trying on"
    assert error.startswith("error: ")


def test_a_file_that_is_no_registry(cli: Cli) -> None:
    cli.registry.write_bytes(b"this is no database, " * 100)
    done = cli("tenants")
    assert done.status in (ExitStatus.REGISTRY, ExitStatus.USAGE)
    assert done.err.startswith("error: ")


PROCESS = read_tenant({"name": "a", "hosts": ["a.x"], "process": {"command": ["a"]}}, what="test")
ROUTED = read_tenant({"name": "a", "hosts": ["a.x"], "upstreams": ["http://10.0.0.1"]}, what="test")


@pytest.mark.parametrize("desired", list(Desired))
@pytest.mark.parametrize("observed", list(Observed))
def test_every_pair_of_states_has_a_word_of_the_list(desired: Desired, observed: Observed) -> None:
    record = TenantRecord(tenant=PROCESS, desired=DesiredState(state=desired), observed=ObservedState(state=observed))
    word = state_of(record)
    assert word in STATES
    if observed is not Observed.STOPPED:
        assert word == observed.value


def test_a_routed_tenant_has_a_word_of_its_own() -> None:
    assert state_of(TenantRecord(tenant=ROUTED)) == "routed"
    data = showing.to_data(TenantRecord(tenant=ROUTED), None)
    assert (data["desired"], data["observed"], data["endpoints"]) == (None, None, ["10.0.0.1:80"])


@pytest.mark.parametrize(
    ("then", "text"),
    [
        (0, "-"),
        (100 * MINUTE, "0s"),
        (101 * MINUTE, "0s"),
        (100 * MINUTE - 59_000, "59s"),
        (97 * MINUTE, "3m"),
        (10 * MINUTE, "1h30m"),
    ],
)
def test_ages_are_short(then: int, text: str) -> None:
    assert showing.age(100 * MINUTE, then) == text
    assert showing.age(10**12 + 5 * 86_400_000, 10**12) == "5d"
