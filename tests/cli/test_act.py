import pytest

from gogeta.domain.lifecycle import Cause, Desired, Observed
from gogeta.domain.state import Member, ObservedState, TenantRecord
from gogeta.domain.upstreams import Endpoint
from gogeta.kit.exits import ExitStatus
from gogeta.registry.registry import Registry
from tests.cli.conftest import Cli, Ended


def desired(cli: Cli, name: str) -> Desired:
    return cli.on_registry(lambda registry: registry.record(name)).desired.state


def change(cli: Cli, name: str, cause: Cause) -> None:
    cli.on_registry(lambda registry: registry.change_desired(name, cause))


@pytest.mark.parametrize(
    ("command", "state"),
    [("wake", Desired.STARTED), ("start", Desired.STARTED), ("sleep", Desired.PASSIVATED), ("stop", Desired.STOPPED)],
)
def test_each_command_changes_what_the_tenant_should_be(cli: Cli, command: str, state: Desired) -> None:
    cli.have("acme")
    done = cli(command, "acme", "--no-wait")
    assert done.status == 0
    assert desired(cli, "acme") is state
    again = cli(command, "acme", "--no-wait", "-o", "json")
    assert again.json == {"name": "acme", "desired": state.value, "changed": False}


def test_a_stopped_tenant_is_not_woken_and_the_message_says_what_to_do(cli: Cli) -> None:
    cli.have("acme")
    change(cli, "acme", Cause.STOP)
    done = cli("wake", "acme")
    assert done.status == ExitStatus.REFUSED
    assert done.err == (
        "error: tenant 'acme' was stopped by an operator, and a wake does not end that\nhint: gogeta start acme\n"
    )
    assert desired(cli, "acme") is Desired.STOPPED
    assert cli("sleep", "acme", "--no-wait").status == 0
    assert cli("wake", "acme", "--no-wait").status == 0


def test_what_sleeps_already_needs_no_waiting_and_no_passivator(cli: Cli) -> None:
    cli.have("acme")
    done = cli("sleep", "acme")
    assert (done.status, done.out, done.err) == (0, "acme: going to sleep\nacme is asleep already\n", "")


def test_without_a_passivator_it_says_so_at_once_and_times_out(cli: Cli) -> None:
    cli.have("acme")
    done = cli("wake", "acme", "--timeout", "700ms")
    assert done.status == ExitStatus.TIMED_OUT
    assert done.out == "acme: waking\n"
    warning, error, hint = done.err.splitlines()
    assert warning.startswith("warning: no passivator is running, so nothing will start it")
    assert error == "error: tenant 'acme' is not started after 700ms: it is stopped"
    assert hint.startswith("hint: it stays asked for")
    asked = cli("stop", "acme", "--no-wait")
    assert "no passivator is running, so nothing will stop it" in asked.err


def test_one_that_is_up_already_is_told_with_its_address(cli: Cli) -> None:
    cli.have("acme")

    async def up(registry: Registry) -> None:
        await registry.change_desired("acme", Cause.WAKE)
        observed = ObservedState(state=Observed.STARTED, wakes=1, endpoints=(Endpoint("::1", 80),))
        await registry.observe("acme", observed, 0)

    cli.on_registry(up)
    assert cli("wake", "acme").out == "acme: waking\nacme is up already, at [::1]:80\n"
    data = cli("start", "acme", "-o", "json").json
    assert data.pop("took_ms") >= 0
    assert data == {
        "name": "acme",
        "desired": "started",
        "observed": "started",
        "changed": False,
        "endpoints": ["[::1]:80"],
        "phases": [],
    }


@pytest.mark.parametrize("command", ["wake", "start", "sleep", "stop"])
def test_a_routed_tenant_has_nothing_to_start_or_stop(cli: Cli, command: str) -> None:
    cli.have("other")
    cli.write('tenants: [{name: out, hosts: [out.localhost], upstreams: ["http://10.0.0.7:80"]}]')
    assert cli("apply", "-f", "tenants.yaml").status == 0
    done = cli(command, "out")
    assert done.status == ExitStatus.REFUSED
    assert "routed only" in done.err


@pytest.mark.parametrize("command", ["wake", "start", "sleep", "stop", "rm"])
def test_an_unknown_tenant(cli: Cli, command: str) -> None:
    cli.have("acme")
    done = cli(command, "acmee")
    assert done.status == ExitStatus.UNKNOWN
    assert done.err == "error: there is no tenant 'acmee'\nhint: did you mean 'acme'?\n"


@pytest.mark.parametrize("command", ["wake", "start", "sleep", "stop", "rm"])
def test_a_name_that_is_no_name_and_a_missing_one(cli: Cli, command: str) -> None:
    wrong, missing = cli(command, "no name/../x"), cli(command)
    assert (wrong.status, missing.status) == (ExitStatus.USAGE, ExitStatus.USAGE)
    assert "expected a name of 1 to 63" in wrong.err
    assert "NAME" in missing.err


def test_a_name_is_taken_in_any_case(cli: Cli) -> None:
    cli.have("acme")
    assert cli("wake", "ACME", "--no-wait").status == 0


def test_a_wrong_duration(cli: Cli) -> None:
    cli.have("acme")
    done = cli("wake", "acme", "--timeout", "soon")
    assert done.status == ExitStatus.USAGE
    assert "--timeout" in done.err
    assert "expected a duration" in done.err


def test_removing_needs_a_yes(cli: Cli) -> None:
    cli.have("acme", "beta")
    refused = cli("rm", "acme")
    assert refused.status == ExitStatus.USAGE
    assert refused.err.splitlines()[1] == "hint: gogeta rm acme --yes"
    assert cli.names() == ["acme", "beta"]
    done = cli("rm", "acme", "--yes")
    assert (done.status, done.out) == (0, "acme is removed\n")
    assert "no passivator is running, so nothing will end what runs for it" in done.err
    assert cli("rm", "beta", "-y", "-o", "json").json == {"name": "beta", "removed": True}
    assert cli.names() == []


def test_a_tenant_that_somebody_takes_back_is_told(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    cli.have("acme")

    async def up(registry: Registry) -> None:
        await registry.change_desired("acme", Cause.WAKE)
        observed = ObservedState(state=Observed.STARTED, wakes=1, endpoints=(Endpoint("10.0.0.9", 80),))
        await registry.observe("acme", observed, 0)

    cli.on_registry(up)
    members = Registry.members

    async def in_use(registry: Registry) -> tuple[Member, ...]:
        # The command looks for a passivator while it waits: just then, a proxy takes the tenant back.
        await Registry(registry.store, "gogeta/one").change_desired("acme", Cause.IN_USE)
        return await members(registry)

    monkeypatch.setattr(Registry, "members", in_use)
    done: Ended = cli("sleep", "acme", "--timeout", "5s")
    assert done.status == ExitStatus.REFUSED
    assert "is to be started now: gogeta/one (in-use) changed it meanwhile" in done.err


def test_a_record_read_for_a_removed_tenant_is_not_needed(cli: Cli) -> None:
    cli.have("acme")
    record: TenantRecord = cli.on_registry(lambda registry: registry.record("acme"))
    assert record.name == "acme"
    cli("rm", "acme", "--yes")
    assert cli("tenants", "acme").status == ExitStatus.UNKNOWN
