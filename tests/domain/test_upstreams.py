"""An upstream is a plain http URL, and never one of our own parts."""

import pytest

from gogeta.domain.upstreams import Endpoint, Forbidden, UnixEndpoint, parse_upstream, upstream_url

FORBIDDEN = Forbidden(
    listeners=frozenset({Endpoint("0.0.0.0", 8080), Endpoint("127.0.0.1", 9901)}),
    registry=frozenset({Endpoint("10.0.0.5", 12379)}),
    runtime=frozenset({Endpoint("10.0.0.6", 1234)}),
    local=frozenset({"192.168.1.2"}),
)


@pytest.mark.parametrize(
    ("url", "endpoint"),
    [
        ("http://10.0.0.7:8080", Endpoint("10.0.0.7", 8080)),
        ("http://App.example/", Endpoint("app.example", 80)),
        ("http://[::1]:81", Endpoint("::1", 81)),
        ("http://unix:80", Endpoint("unix", 80)),
        ("unix:/run/app.sock", UnixEndpoint("/run/app.sock")),
        ("unix:/srv/a b/\u00e9:1", UnixEndpoint("/srv/a b/\u00e9:1")),
    ],
)
def test_a_plain_url_or_a_path_is_an_endpoint(url: str, endpoint: Endpoint | UnixEndpoint) -> None:
    assert parse_upstream(url) == endpoint
    assert parse_upstream(upstream_url(endpoint)) == endpoint


@pytest.mark.parametrize(
    "url",
    [
        "unix:///run/app.sock",
        "unix//run/app.sock",
        "/run/app.sock",
        "http+unix://%2Frun%2Fapp.sock",
        "http+unix:///run/app.sock",
        "http://unix:/run/app.sock",
        "http://unix:/run/app.sock:/uri",
    ],
)
def test_what_other_programs_write_for_a_socket_is_answered_with_what_to_write_here(url: str) -> None:
    with pytest.raises(ValueError, match=r"for the socket '/run/app.sock' write 'unix:/run/app.sock', not"):
        parse_upstream(url)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("unix:@app", "abstract"),
        ("unix:app.sock", "not absolute"),
        ("unix:", "not absolute"),
        ("unix:/run/a\nb", "control characters"),
        ("unix:/run/a\0b", "control characters"),
        ("unix:/run/a ", "blanks"),
        ("unix:/run/../a", "'..'"),
        ("unix:/run//a", "an empty part"),
        ("unix:/run/a/", "an empty part"),
        ("unix:/" + "x" * 1024, "1024 bytes"),
    ],
)
def test_what_is_no_path_of_a_socket_is_refused_naming_the_rule(url: str, words: str) -> None:
    with pytest.raises(ValueError, match="an upstream is a plain http URL") as refusal:
        parse_upstream(url)
    assert words in str(refusal.value)


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/var/run/docker.sock", "container runtime"),
        ("/run/docker.sock", "container runtime"),
        ("/run/user/1000/docker.sock", "container runtime"),
        ("/run/user/1000/podman/podman.sock", "container runtime"),
        ("/var/run/docker/containerd/containerd.sock.ttrpc", "container runtime"),
        ("/run/containerd/containerd.sock", "container runtime"),
        ("/srv/hidden/docker.sock", "container runtime"),
        ("/run/etcd/client", "registry"),
        ("/var/lib/localhost:2379", "registry"),
        ("/run/etcd.sock", "registry"),
        ("/run/gogeta-admin.sock", "own sockets"),
    ],
)
def test_sockets_of_our_own_parts_are_refused_naming_the_rule(path: str, words: str) -> None:
    rule = FORBIDDEN.rule_against(UnixEndpoint(path))
    assert rule is not None
    assert words in rule


@pytest.mark.parametrize("path", ["/run/app.sock", "/srv/docker-site/app.sock", "/run/dockerish/app", "/run/etcdview"])
def test_any_other_socket_is_allowed(path: str) -> None:
    assert FORBIDDEN.rule_against(UnixEndpoint(path)) is None


@pytest.mark.parametrize(
    "url",
    [
        "10.0.0.7:8080",
        "https://a",
        "ftp://a",
        "http://",
        "http://u:p@a",
        "http://a/b",
        "http://a?b",
        "http://a/?",
        "http://a#b",
        "http://a:0",
        "http://a:65536",
        "http://a:b",
        "http://[::1",
        "http://a\\b",
        "http://a b",
        "http://a\r\nb",
        "http://\u0430",
        "http://a:80:80",
        "UNIX:/run/app.sock:/uri/",
    ],
)
def test_anything_more_is_refused_naming_the_rule(url: str) -> None:
    with pytest.raises(ValueError, match="an upstream is a plain http URL"):
        parse_upstream(url)


@pytest.mark.parametrize(
    ("host", "port", "words"),
    [
        ("192.168.1.2", 8080, "own listeners"),
        ("127.0.0.2", 8080, "own listeners"),
        ("localhost", 9901, "own listeners"),
        ("x.localhost", 9901, "own listeners"),
        ("::1", 9901, "own listeners"),
        ("::ffff:127.0.0.1", 9901, "own listeners"),
        ("10.0.0.5", 12379, "registry"),
        ("10.9.9.9", 2379, "registry"),
        ("10.0.0.6", 1234, "runtime"),
        ("10.9.9.9", 2375, "runtime"),
        ("169.254.169.254", 80, "link-local"),
        ("::ffff:169.254.169.254", 80, "link-local"),
        ("fe80::1", 80, "link-local"),
        ("224.0.0.1", 80, "multicast"),
        ("0.0.0.0", 80, "unspecified"),
        ("::", 80, "unspecified"),
    ],
)
def test_our_own_parts_are_refused_naming_the_rule(host: str, port: int, words: str) -> None:
    rule = FORBIDDEN.rule_against(Endpoint(host, port))
    assert rule is not None
    assert words in rule


@pytest.mark.parametrize(
    ("host", "port"), [("127.0.0.1", 8081), ("10.0.0.7", 8080), ("app.example", 80), ("192.168.1.3", 8080)]
)
def test_everything_else_is_allowed(host: str, port: int) -> None:
    assert FORBIDDEN.rule_against(Endpoint(host, port)) is None


@pytest.mark.parametrize("url", ["http://user:s3cret@host/", "https://user:s3cret@host:99999/x", "http://s3cret@[::1/"])
def test_a_password_in_a_url_is_never_repeated(url: str) -> None:
    with pytest.raises(ValueError, match=r"credentials|plain http URL") as refusal:
        parse_upstream(url)
    assert "s3cret" not in str(refusal.value)
