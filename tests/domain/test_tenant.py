"""Declarations: what is accepted reads back equal, what is refused names every problem."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gogeta.domain.errors import InvalidInputError
from gogeta.domain.tenant import find_conflict, read_tenant, read_tenants, tenant_to_data

PROCESS = {"name": "acme", "hosts": ["acme.example"], "process": {"command": ["app"]}}

labels = st.from_regex(r"[a-z]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)
names = st.from_regex(r"[A-Z_][A-Z0-9_]{0,8}", fullmatch=True)
texts = st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]), max_size=10)
durations = st.one_of(st.integers(1, 10**6), st.sampled_from(["30m", "1h30m", "250ms"]))
hosts = st.lists(
    st.builds(lambda one, two: f"{one}.{two}.example", labels, labels), min_size=1, max_size=3, unique=True
)
docker = st.fixed_dictionaries(
    {"image": st.sampled_from(["acme:1", "registry.example:5000/a/b@sha256:00"])},
    optional={
        "command": st.lists(texts, max_size=3),
        "env": st.dictionaries(names, st.one_of(texts, st.integers(), st.booleans()), max_size=3),
        "memory": st.sampled_from(["256m", 1024]),
        "cpus": st.floats(0.1, 8),
        "pids": st.integers(1, 1000),
        "read_only": st.booleans(),
        "network": labels,
    },
)
process = st.fixed_dictionaries(
    {"command": st.lists(texts, min_size=1, max_size=3)},
    optional={"cwd": texts, "env": st.dictionaries(names, texts, max_size=3), "open_files": st.integers(8, 99)},
)
ways = st.one_of(
    st.fixed_dictionaries({"docker": docker}),
    st.fixed_dictionaries({"process": process}),
    st.fixed_dictionaries({"upstreams": st.just(["http://10.0.0.7:8080", "http://[::1]", "unix:/run/app.sock"])}),
)
policies = st.fixed_dictionaries(
    {},
    optional={
        "port": st.integers(1, 65535),
        "idle_timeout": st.one_of(durations, st.sampled_from(["never", 0, None])),
        "stop_grace": durations,
        "ready": st.fixed_dictionaries({}, optional={"path": st.just("/healthz?x=1"), "timeout": durations}),
        "wake": st.fixed_dictionaries(
            {}, optional={"mode": st.sampled_from(["auto", "page", "hold"]), "hold": durations}
        ),
    },
)
tenants = st.builds(
    lambda name, hosts, way, more: {"name": name, "hosts": hosts, **way, **more}, labels, hosts, ways, policies
)


@given(tenants)
def test_a_declaration_reads_back_to_an_equal_one(data: dict[str, object]) -> None:
    tenant = read_tenant(data, what="test")
    again = tenant_to_data(tenant)
    assert read_tenant(again, what="test") == tenant
    assert tenant_to_data(read_tenant(again, what="test")) == again
    assert tenant.routed_only == (tenant.driver is None)


json = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(
            st.one_of(
                st.sampled_from(["tenants", "name", "hosts", "docker", "process", "ready", "command", "env"]),
                st.text(max_size=4),
            ),
            inner,
            max_size=5,
        ),
    ),
    max_leaves=20,
)


@given(json)
def test_whatever_is_in_a_file_is_read_or_refused_as_invalid_input(data: object) -> None:
    with contextlib.suppress(InvalidInputError):
        read_tenants(data, what="tenants.yaml")


@pytest.mark.parametrize(
    ("change", "field", "words"),
    [
        ({"hosst": ["a"]}, "hosst", "did you mean 'hosts'?"),
        ({"hosts": []}, "hosts", ""),
        ({"hosts": ["a b"]}, "hosts[0]", "expected a host"),
        ({"hosts": ["a.example", "A.example"]}, "", "listed twice"),
        ({"process": {"command": "app"}}, "process.command", "expected a list of words"),
        ({"process": {"command": []}}, "process.command", ""),
        ({"process": {"command": ["a\0b"]}}, "process.command[0]", "NUL"),
        ({"process": {"command": ["a"], "env": {"A=B": "c"}}}, "process.env.A=B.[key]", "name of a variable"),
        ({"docker": {"image": "a"}}, "", "exactly one of docker, process and upstreams"),
        ({"idle_timeout": "soon"}, "idle_timeout", "expected a duration"),
        ({"ready": {"timeout": 0}}, "ready.timeout", ""),
        ({"ready": {"path": "healthz"}}, "ready.path", ""),
        ({"ready": {"path": "/a b"}}, "ready.path", ""),
        ({"ready": {"path": "/a\r\nX: y"}}, "ready.path", ""),
        ({"wake": {"mode": "never"}}, "wake.mode", "auto, page or hold"),
        ({"port": 0}, "port", ""),
        ({"name": "a/b"}, "name", "expected a name"),
    ],
)
def test_a_mistake_is_named(change: dict[str, object], field: str, words: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        read_tenant({**PROCESS, **change}, what="test")
    assert any(problem.field == field and words in problem.message for problem in caught.value.problems), caught.value


@pytest.mark.parametrize("name", ["../x", "a/b", "a b", "", "-a"])
def test_docker_names_cannot_leave_their_place_in_a_path(name: str) -> None:
    for key in ("container", "network"):
        spec = {"image": "a", key: name} if key == "network" else {key: name}
        with pytest.raises(InvalidInputError):
            read_tenant({"name": "a", "hosts": ["a"], "docker": spec}, what="test")


def test_one_host_of_two_tenants_is_refused_naming_both() -> None:
    one, two = {**PROCESS, "name": "one"}, {**PROCESS, "name": "two", "hosts": ["b.example", "ACME.example."]}
    with pytest.raises(InvalidInputError) as caught:
        read_tenants({"tenants": [one, two]}, what="test")
    (problem,) = caught.value.problems
    assert problem.field == "tenants[1].hosts[1]"
    assert "'one'" in problem.message
    assert "'two'" in problem.message
    conflict = find_conflict({"acme.example": "one"}, [read_tenant(two, what="test")])
    assert conflict is not None
    assert (conflict.holder, conflict.claimant) == ("one", "two")


def test_one_name_twice_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="already the name"):
        read_tenants({"tenants": [PROCESS, {**PROCESS, "hosts": ["b.example"]}]}, what="test")
