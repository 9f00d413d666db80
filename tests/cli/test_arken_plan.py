"""What becomes of an Arken tree, decided without an etcd."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gogeta.cli.arken.keys import OWN_VALUE, Bounds, Folder, Gathering
from gogeta.cli.arken.naming import tenant_names
from gogeta.cli.arken.planning import Container, Imported, Plan, Wishes, make_plan
from gogeta.cli.arken.reading import Reading, read_heritage
from gogeta.domain.errors import InvalidInputError
from gogeta.domain.hosts import normalise_tenant_name
from gogeta.domain.lifecycle import Desired
from gogeta.domain.tenant import read_tenant, read_tenants, tenant_to_data
from gogeta.domain.upstreams import Endpoint
from tests.cli.arken_tree import ROBOTS, domain, plan_of, real_tree, service, status

BY_NAME = Container("container", "nuxeo-{service}")


def by_name(plan: Plan) -> dict[str, Imported]:
    assert plan.problems == ()
    return {item.tenant.name: item for item in plan.tenants}


def problems(plan: Plan) -> dict[str, str]:
    return {problem.field: problem.message for problem in plan.problems}


def notes(plan: Plan) -> list[str]:
    return [f"{item.tenant.name}: {note}" for item in plan.tenants for note in item.notes] + [
        str(note) for note in plan.notes
    ]


def test_a_real_tree_becomes_tenants_with_hosts_and_endpoints() -> None:
    plan = plan_of(real_tree())
    found = by_name(plan)
    assert list(found) == ["nxio-000001", "nxio-000002", "nxio-000003", "elsewhere-example"]
    first = found["nxio-000001"]
    assert first.source == "/services/nxio_000001"
    assert first.tenant.hosts == ("bla.example", "www.bla.example", "blub.example", "www.blub.example")
    assert first.tenant.upstreams == (Endpoint("172.17.0.5", 8080), Endpoint("172.17.0.6", 8080))
    assert first.tenant.wake.robots == ROBOTS
    assert first.last_access == 1415113445000, "the latest of its indexes"
    elsewhere = found["elsewhere-example"]
    assert (elsewhere.tenant.hosts, elsewhere.tenant.upstreams) == (
        ("elsewhere.example", "www.elsewhere.example"),
        (Endpoint("10.9.8.7", 8081),),
    )
    assert all(item.desired is None for item in plan.tenants), "routed only"


def test_what_cannot_be_kept_of_what_is_routed_only_is_said() -> None:
    told = notes(plan_of(real_tree()))
    assert "nxio-000001: the service's name was nxio_000001" in told
    assert any(line.startswith("nxio-000001: robots is kept, and has no effect") for line in told)
    assert any(line.startswith("nxio-000002: was passivated, which cannot be kept") for line in told)
    assert any(line.startswith("nxio-000003: was stopped, which cannot be kept") for line in told)
    assert "/services/orphan: is left out: no domain leads to it" in told
    assert "/services/nxio_000003/config: is no index of the service: passed over" in told


def test_adopted_containers_keep_state_and_last_access() -> None:
    reading = Reading(skip=("/services/nxio_000001/2",))
    found = by_name(plan_of(real_tree(), reading, container=Container("container", "nuxeo-{service}-{tenant}", 8080)))
    first, second, third = (found[f"nxio-00000{number}"] for number in (1, 2, 3))
    assert first.tenant.docker is not None
    assert (first.tenant.docker.container, first.tenant.port) == ("nuxeo-nxio_000001-nxio-000001", 8080)
    assert [item.desired for item in (first, second, third)] == [
        Desired.STARTED,
        Desired.PASSIVATED,
        Desired.STOPPED,
    ]
    assert second.last_access == 1422705600000
    assert first.tenant.wake.robots == ROBOTS
    assert found["elsewhere-example"].tenant.routed_only, "an address is nobody's container"
    labelled = by_name(plan_of(real_tree(), reading, container=Container("label", "arken={service}")))
    assert labelled["nxio-000002"].tenant.docker is not None
    assert labelled["nxio-000002"].tenant.docker.label == "arken=nxio_000002"


def test_several_indexes_are_not_one_container() -> None:
    message = problems(plan_of(real_tree(), container=BY_NAME))["/services/nxio_000001"]
    assert "has 2 indexes, and a tenant has one container" in message
    assert "--skip /services/nxio_000001/2 keeps 1" in message


def test_tenants_of_a_file_take_the_place_and_keep_the_states() -> None:
    file = {
        name: read_tenant({"name": name, "hosts": [f"{name}.example"], "docker": {"image": "nuxeo:1"}}, what="test")
        for name in ("nxio-000002", "nxio-000003", "stranger")
    }
    plan = plan_of(real_tree(), declared=file)
    found = by_name(plan)
    assert [(name, item.desired) for name, item in found.items()] == [
        ("nxio-000002", Desired.PASSIVATED),
        ("nxio-000003", Desired.STOPPED),
    ]
    assert found["nxio-000002"].tenant == file["nxio-000002"]
    assert found["nxio-000002"].last_access == 1422705600000
    assert plan.strangers == ("stranger",)
    assert "/services/nxio_000001: is left out: the file has no tenant nxio-000001" in notes(plan)


@pytest.mark.parametrize(
    ("expected", "current", "desired"),
    [
        ("started", "started", Desired.STARTED),
        ("started", "stopped", Desired.STARTED),
        ("passivated", "stopped", Desired.PASSIVATED),
        ("passivated", "started", Desired.PASSIVATED),
        ("stopped", "stopping", Desired.STOPPED),
        ("stopped", "error", Desired.STOPPED),
        ("", "starting", Desired.STARTED),
        ("", "stopping", Desired.STOPPED),
        ("", "passivated", Desired.PASSIVATED),
        ("starting", "starting", Desired.STARTED),
        ("error", "error", Desired.PASSIVATED),
        ("", "", Desired.PASSIVATED),
    ],
)
def test_what_was_expected_is_what_is_desired(expected: str, current: str, desired: Desired) -> None:
    keys = {**domain("a.example", "a"), **service("a", "10.0.0.1:80", **status(expected, current))}
    assert by_name(plan_of(keys, container=BY_NAME))["a"].desired is desired


def test_a_service_without_a_status_was_taken_for_started() -> None:
    keys = {**domain("a.example", "a"), **service("a", "10.0.0.1:80")}
    assert by_name(plan_of(keys, container=BY_NAME))["a"].desired is Desired.STARTED


def test_one_index_that_runs_is_a_service_that_runs_and_the_others_are_told() -> None:
    keys = {
        **domain("a.example", "a"),
        **service("a", "10.0.0.1:80", **status("started")),
        **service("a/2", "10.0.0.2:80", **status("stopped")),
        **service("a/10", "10.0.0.2:80"),
        "/services/a/3/status/expected": "started",
    }
    plan = plan_of(keys)
    assert by_name(plan)["a"].tenant.upstreams == (Endpoint("10.0.0.1", 80), Endpoint("10.0.0.2", 80))
    assert notes(plan) == [
        "a: index 3 has no location, and is left out",
        "a: index 10 has the address of another, and counts once",
        "a: index 2 was stopped: its address is listed all the same",
    ]


def test_indexes_come_in_the_order_of_their_numbers() -> None:
    keys = {**domain("a.example", "a"), **service("a", *(f"10.0.0.{number}:80" for number in range(1, 13)))}
    assert [str(upstream) for upstream in by_name(plan_of(keys))["a"].tenant.upstreams] == [
        f"10.0.0.{number}:80" for number in range(1, 13)
    ]


def test_an_ipv6_location_and_gos_spelling_of_members_are_read() -> None:
    keys = {**domain("a.example", "a"), "/services/a/1/location": '{"Host":"2001:db8::1","PORT":8080}'}
    assert by_name(plan_of(keys))["a"].tenant.upstreams == (Endpoint("2001:db8::1", 8080),)


def test_www_leads_where_the_host_without_it_leads_unless_told_otherwise() -> None:
    keys = {
        **domain("a.example", "a"),
        **domain("www.a.example", "b"),
        **domain("b.example", "b"),
        **domain("www.c.example", "b"),
        **domain("10.0.0.1", "b"),
        **service("a", "10.0.0.1:80"),
        **service("b", "10.0.0.2:80"),
    }
    plan = plan_of(keys)
    found = by_name(plan)
    assert found["a"].tenant.hosts == ("a.example",)
    assert set(found["b"].tenant.hosts) == {
        "www.a.example",
        "b.example",
        "www.b.example",
        "www.c.example",
        "10.0.0.1",
    }
    assert "/domains/www.a.example: is routed as it says; the older gogeta answered it like a.example" in notes(plan)
    bare = by_name(plan_of(keys, www=False))["b"].tenant.hosts
    assert set(bare) == {"www.a.example", "b.example", "www.c.example", "10.0.0.1"}


def test_a_services_own_word_counts_only_where_no_domain_leads_to_it() -> None:
    keys = {
        **domain("a.example", "a"),
        **service("a", "10.0.0.1:80", domain="other.example"),
        **service("b", "10.0.0.2:80", domain="b.example"),
        **service("c", "10.0.0.3:80", domain="a.example"),
    }
    plan = plan_of(keys)
    found = by_name(plan)
    assert {name: item.tenant.hosts for name, item in found.items()} == {
        "a": ("a.example", "www.a.example"),
        "b": ("b.example",),
    }
    assert notes(plan) == [
        "/services/a/1/domain: other.example leads nowhere, since no domain says so",
        "/services/b/1/domain: b.example leads here by this key alone, since no domain leads here",
        "/services/c/1/domain: a.example does not lead here but where /domains/a.example says",
        "/services/c: is left out: no domain leads to it",
    ]


def test_a_last_access_in_the_future_counts_as_now() -> None:
    keys = {**domain("a.example", "a"), **service("a", "10.0.0.1:80", lastAccess="2099-01-01 00:00:00")}
    plan = plan_of(keys, now=1_000_000)
    assert by_name(plan)["a"].last_access == 1_000_000
    assert notes(plan) == ["a: its last access lies in the future, and counts as now"]


GOOD = {**domain("a.example", "a"), **service("a", "10.0.0.1:80")}

BAD: list[tuple[str, dict[str, str], str, str]] = [
    ("broken JSON", {"/services/a/1/location": '{"host":'}, "/services/a/1/location", "is not JSON"),
    ("JSON of another kind", {"/services/a/1/location": "[1]"}, "/services/a/1/location", "expected a JSON object"),
    ("deep JSON", {"/services/a/1/location": "[" * 60_000}, "/services/a/1/location", "is not JSON"),
    ("long JSON", {"/services/a/1/location": " " * 70_000}, "/services/a/1/location", "is longer than"),
    (
        "a port that is text",
        {"/services/a/1/location": '{"host":"h","port":"80"}'},
        "/services/a/1/location",
        "port: expected a whole number",
    ),
    (
        "a port too high",
        {"/services/a/1/location": '{"host":"h","port":70000}'},
        "/services/a/1/location",
        "1 to 65535",
    ),
    ("a host that is none", {"/services/a/1/location": '{"host":"a b","port":1}'}, "/services/a/1/location", "host: "),
    ("no location", {"/services/b/1/domain": "b.example"}, "/services/b", "has no location at any index"),
    ("an empty location", {**domain("b.example", "b"), **service("b", ":0")}, "/services/b", "has no location at any"),
    ("no index", {**domain("b.example", "b"), "/services/b/config/gogeta": "{}"}, "/services/b", "has no index"),
    ("a domain to nowhere", domain("b.example", "b"), "/domains/b.example/value", "there is no service 'b'"),
    ("a domain without a type", {"/domains/b.example/value": "a"}, "/domains/b.example", "has no type"),
    ("a domain of no known type", domain("b.example", "a", "redirect"), "/domains/b.example/type", "service or uri"),
    ("a domain that is no host", domain("b_!.example", "a"), "/domains/b_!.example", "expected a host"),
    ("a wildcard", domain("*.example", "a"), "/domains/*.example", "is a wildcard"),
    ("a host with a port", domain("b.example:80", "a"), "/domains/b.example:80", "has a port"),
    ("a host twice", domain("A.example", "a"), "/domains/a.example", "is the same host as /domains/A.example"),
    (
        "a uri with a path",
        domain("b.example", "http://10.0.0.1/app", "uri"),
        "/domains/b.example/value",
        "has a path, a query or a fragment",
    ),
    ("a uri with TLS", domain("b.example", "https://10.0.0.1", "uri"), "/domains/b.example/value", "is not http"),
    ("a uri that is a socket", domain("b.example", "unix:/run/x", "uri"), "/domains/b.example/value", "plain http URL"),
    ("an unknown time", {"/services/a/1/lastAccess": "last week"}, "/services/a/1/lastAccess", "expected a time"),
    (
        "an abbreviation for a zone",
        {"/services/a/1/lastAccess": "2014-11-03 15:04:05 CST"},
        "/services/a/1/lastAccess",
        "CST alone is no offset",
    ),
    ("an unknown status", {"/services/a/1/status/expected": "asleep"}, "/services/a/1/status/expected", "not 'asleep'"),
    (
        "robots that are none",
        {"/services/a/1/config/gogeta": '{"robots":"no"}'},
        "/services/a/1/config/gogeta",
        "robots",
    ),
    (
        "robots that mean something else here",
        {"/services/a/1/config/gogeta": '{"robots":"wake"}'},
        "/services/a/1/config/gogeta",
        "robots: expected the text",
    ),
    (
        "robots of another kind",
        {"/services/a/1/config/gogeta": '{"robots":[]}'},
        "/services/a/1/config/gogeta",
        "robots",
    ),
    ("bytes that v3 gives", {"/services/a/1/domain": "a\udcff"}, "/services/a/1/domain", "not UTF-8"),
    ("bytes that v2 replaced", {"/services/a/1/domain": "a\ufffd"}, "/services/a/1/domain", "not UTF-8"),
    ("a value for a folder", {"/services/b": "x"}, "/services/b", "is a value, expected a folder"),
    ("a folder for a value", {"/domains/a.example/type/x": "x"}, "/domains/a.example/type", "is a folder"),
    ("an empty name", {"/domains//type": "x"}, "/domains/", "has an empty name"),
    (
        "too many hosts",
        {key: value for number in range(70) for key, value in domain(f"h{number}.example", "a").items()},
        "/services/a.hosts",
        "64",
    ),
]


@pytest.mark.parametrize(("keys", "where", "message"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_bad_input_is_a_problem_with_its_key(keys: dict[str, str], where: str, message: str) -> None:
    tree = {**GOOD, **keys}
    if "/domains/a.example/type/x" in keys:
        del tree["/domains/a.example/type"]
    found = problems(plan_of(tree))
    assert message in found[where], found


def test_what_is_wrong_can_be_left_out_by_name_or_pattern() -> None:
    keys = {
        **GOOD,
        **domain("b.example", "bad_1"),
        "/services/bad_1/1/location": "{",
        "/services/bad_2/1/location": "{",
        "/domains/junk/x": "",
    }
    assert set(problems(plan_of(keys))) == {
        "/services/bad_1/1/location",
        "/services/bad_2/1/location",
        "/domains/junk",
    }
    plan = plan_of(keys, Reading(skip=("/services/bad_*", "/domains/junk")))
    assert list(by_name(plan)) == ["a"]
    assert "/domains/b.example: is left out with /services/bad_1" in notes(plan)
    assert "/services/bad_1: is left out, as --skip says" in notes(plan)


def test_names_that_had_to_change_stay_apart_and_are_the_same_each_time() -> None:
    services, hosts = ["a_b", "a-b", "a.b", "A-B", "_", "x" * 80], ["a.b", "c.d"]
    names = tenant_names(services, hosts)
    assert names["service", "a-b"] == "a-b"
    assert names["uri", "c.d"] == "c-d"
    assert names["service", "a_b"].startswith("a-b-")
    assert names == tenant_names(services, hosts)
    assert len(set(names.values())) == 8


@given(st.lists(st.text(max_size=90), unique=True), st.lists(st.text(max_size=90), unique=True))
def test_every_name_is_one_that_a_tenant_can_have_and_no_two_are_the_same(
    services: list[str], hosts: list[str]
) -> None:
    names = tenant_names(services, hosts)
    assert len(set(names.values())) == len(services) + len(hosts)
    assert all(normalise_tenant_name(name) == name for name in names.values())


# ------------------------------------------------------------------------------------------------------------ any tree

PARTS = [
    *("type", "value", "location", "domain", "lastAccess", "status", "config", "gogeta", "expected", "current"),
    *("alive", "1", "2", "a", "b_c", "a.example", "b.example", "www.a.example", "*", "", "a:1", "[::1]", "é.example"),
]
TEXTS = [
    *("service", "uri", "a", "b_c", "http://10.0.0.1:80", "http://h/p", "started", "passivated", "stopped", "error"),
    *('{"host":"10.0.0.1","port":80}', '{"host":"","port":0}', '{"robots":"A: b"}', '{"robots":1}', "{", "[]", "null"),
    *("2014-11-03 15:04:05", "2014-11-03 15:04:05 MST", "a.example", "*", '{"host":"\\ud800","port":1e999}', "\udcff"),
]
VALUES = st.one_of(st.sampled_from(TEXTS), st.text())
FOLDERS = st.recursive(
    VALUES,
    lambda inner: st.dictionaries(st.one_of(st.sampled_from(PARTS), st.text()), inner, max_size=5),
    max_leaves=30,
)


def shaped(folder: Any) -> Folder:  # noqa: ANN401 - a value or a folder
    return folder if isinstance(folder, dict) else {"a": folder}


@st.composite
def likely(draw: st.DrawFn) -> tuple[Folder, Folder]:
    """Trees that are nearly right, so that more than the first check is met."""
    names = st.sampled_from(["a", "b_c", "b-c", "d"])
    members = st.fixed_dictionaries(
        {},
        optional={
            "location": VALUES,
            "lastAccess": VALUES,
            "domain": st.sampled_from(["a.example", "c.example", "*", "!"]),
            "status": st.dictionaries(st.sampled_from(["expected", "current"]), VALUES),
            "config": st.dictionaries(st.just("gogeta"), VALUES),
        },
    )
    services = draw(st.dictionaries(names, st.dictionaries(st.sampled_from(["1", "2", "config"]), members)))
    hosts = st.sampled_from(["a.example", "www.a.example", "b.example", "A.example", "127.0.0.1"])
    domains = draw(
        st.dictionaries(
            hosts,
            st.fixed_dictionaries(
                {"type": st.sampled_from(["service", "uri"]), "value": st.one_of(names, st.just("http://10.0.0.1"))}
            ),
        )
    )
    return domains, services


WISHES = st.builds(
    Wishes, now=st.just(2_000_000_000_000), www=st.booleans(), container=st.sampled_from([None, BY_NAME])
)


def check_any(domains: Folder, services: Folder, wishes: Wishes) -> None:
    plan = make_plan(read_heritage(domains, services, Reading()), wishes)
    assert all(problem.path and problem.message for problem in (*plan.problems, *plan.notes))
    if not plan.problems:
        # What is to be applied could as well stand in a file.
        data = {"tenants": [tenant_to_data(item.tenant) for item in plan.tenants]}
        assert read_tenants(json.loads(json.dumps(data)), what="test") == tuple(item.tenant for item in plan.tenants)


@settings(max_examples=300)
@given(FOLDERS, FOLDERS, WISHES)
def test_no_tree_makes_it_raise(domains: Any, services: Any, wishes: Wishes) -> None:  # noqa: ANN401 - ditto
    check_any(shaped(domains), shaped(services), wishes)


@settings(max_examples=300)
@given(likely(), WISHES)
def test_what_it_plans_can_always_be_applied(tree: tuple[Folder, Folder], wishes: Wishes) -> None:
    check_any(*tree, wishes)


# --------------------------------------------------------------------------------------------------------- keys, bounds


def test_a_key_that_is_value_and_folder_loses_neither() -> None:
    folder: Folder = {}
    pairs = [("/r/a", "own"), ("/r/a/b", "1"), ("/r/c/d", "2"), ("/r/c", "own")]
    Gathering("test", Bounds()).add(folder, pairs, "/r")
    assert folder == {"a": {OWN_VALUE: "own", "b": "1"}, "c": {OWN_VALUE: "own", "d": "2"}}


@pytest.mark.parametrize("bounds", [Bounds(keys=2), Bounds(size=20)])
def test_a_tree_beyond_its_bounds_is_refused(bounds: Bounds) -> None:
    pairs = [(f"/r/{number}", "value") for number in range(3)]
    with pytest.raises(InvalidInputError, match="the tree is too large: at most"):
        Gathering("test", bounds).add({}, pairs, "/r")


def test_a_tree_deeper_than_any_is_refused_in_both_forms() -> None:
    with pytest.raises(InvalidInputError, match="deeper than 32"):
        Gathering("test", Bounds()).add({}, [("/r" + "/x" * 40, "")], "/r")
    node: dict[str, Any] = {"key": "/r", "dir": True}
    for _ in range(40):
        node = {"key": "/r/x", "dir": True, "nodes": [node]}
    with pytest.raises(InvalidInputError, match="deeper than 32"):
        Gathering("test", Bounds()).folder_of_node(node)


@given(
    st.recursive(
        st.none() | st.text() | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_no_answer_of_a_server_makes_a_tree_of_nonsense(answer: Any) -> None:  # noqa: ANN401 - JSON
    node = {"dir": True, "nodes": answer}
    try:
        Gathering("test", Bounds()).folder_of_node(node)
    except InvalidInputError as error:
        assert error.problems  # noqa: PT017 - the one way it may refuse
