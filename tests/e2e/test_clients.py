"""curl, httpx and bare sockets against nginx, uvicorn and Node, through gogeta: what arrives is what was sent."""

import contextlib
import gzip
import hashlib
import re
import socket
import time
from pathlib import Path

import httpx
import pytest

from tests.e2e.served import CONTENT_SIZE, Served, everything
from tests.rig.programs import ProcessRack

pytestmark = pytest.mark.e2e

both = pytest.mark.parametrize("app", ["asgi", "node"])
framings = pytest.mark.parametrize("framing", ["length", "chunked"])


# ------------------------------------------------------------------------------------------------ methods and fields


@both
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"])
def test_every_method_reaches_the_application(served: Served, app: str, method: str) -> None:
    body = ["--data-binary", "some words"] if method in ("POST", "PUT", "PATCH") else []
    seen = served.curl(app, "/seen?a=b", "--request", method, *body).json
    assert (seen["method"], seen["target"], seen["length"]) == (method, "/seen?a=b", len("some words") if body else 0)


@both
def test_head_has_the_head_of_get_and_nothing_more(served: Served, app: str) -> None:
    asked = served.curl(app, "/content", "--head")
    assert (asked.status, asked.exit) == (200, 0)
    assert asked.headers["content-length"] == str(CONTENT_SIZE)
    with served.visitor() as visitor:
        visitor.sendall(f"HEAD /content HTTP/1.1\r\nHost: {app}.localhost\r\nConnection: close\r\n\r\n".encode())
        answer = everything(visitor)
    assert answer.index(b"\r\n\r\n") == len(answer) - 4


def test_options_of_everything(served: Served) -> None:
    seen = served.curl("node", "/", "--request", "OPTIONS", "--request-target", "*").json
    assert (seen["method"], seen["target"]) == ("OPTIONS", "*")


def test_nginx_takes_and_removes_a_document(served: Served) -> None:
    path = "/written/here/new.txt"
    assert served.curl("nginx", path, "--upload-file", served.text).status == 201
    assert served.curl("nginx", path).body == served.text.read_bytes()
    assert served.curl("nginx", path, "--upload-file", served.text).status == 204
    gone = served.curl("nginx", path, "--request", "DELETE")
    assert (gone.status, gone.body, gone.exit) == (204, b"", 0)
    assert "content-length" not in gone.headers
    assert served.curl("nginx", path).status == 404


def test_field_names_keep_their_case_and_their_order_both_ways(served: Served) -> None:
    ours = ["X-zeta: 1", "aCCept-language: de;q=0.5", "x-ALPHA: two  blanks", "X-zeta: 2", "X-Empty;"]
    options = [part for field in ours for part in ("--header", field)]
    seen = served.curl("node", "/seen", *options).json["headers"]
    wanted = [[name, value] for name, _, value in (field.rstrip(";").partition(": ") for field in ours)]
    assert [field for field in seen if field in wanted] == wanted

    answer = served.curl("node", "/cased")
    status, *fields = answer.heads.strip().split("\n")
    assert status == "HTTP/1.1 200 Quite Fine"
    theirs = ["X-zeta: 1", "sERVER: mine", "Set-Cookie: a=1; Path=/", "x-Alpha: two  blanks", "set-cookie: b=2; Path=/"]
    assert [field for field in fields if field in theirs] == theirs


def test_the_target_arrives_byte_for_byte(served: Served) -> None:
    targets = ["/a/../b/./c", "//double//slash", "/%2e%2e/%7euser;v=1", "/q?a=%zz&b=[x]|'\"", "/%2F%00?", "/\\a^`{}"]
    for target in targets:
        assert served.curl("node", "/", "--path-as-is", "--request-target", target).json["target"] == target
        # ASGI cannot tell an empty query from none.
        seen = served.curl("asgi", "/", "--path-as-is", "--request-target", target).json
        assert seen["target"] == target.removesuffix("?")


@pytest.mark.parametrize("host", ["NODE.localhost", "node.localhost.", "node.localhost:1", "Node.LocalHost.:80"])
def test_every_spelling_of_a_host_leads_to_its_tenant_as_it_was_written(served: Served, host: str) -> None:
    seen = served.curl("node", "/seen", "--header", f"Host: {host}").json
    assert [value for name, value in seen["headers"] if name == "Host"] == [host]


def test_the_target_of_a_forward_proxy_is_understood_and_must_agree_with_host(served: Served) -> None:
    proxy = f"http://127.0.0.1:{served.port}"
    with httpx.Client(proxy=proxy, trust_env=False, headers={"Proxy-Connection": "keep-alive"}) as client:
        seen = client.get(f"http://node.localhost:{served.port}/seen?x").json()
    assert seen["target"] == "/seen?x"
    assert not [name for name, _ in seen["headers"] if name.lower().startswith("proxy-")]
    crossed = served.curl("node", "/", "--request-target", "http://asgi.localhost/seen")
    assert crossed.status == 400
    assert served.curl("node", "/", "--request", "CONNECT", "--request-target", "node.localhost:80").status == 501


@both
def test_the_application_hears_who_asks(served: Served, app: str) -> None:
    seen = served.curl(app, "/seen", "--header", "X-Forwarded-For: 1.2.3.4", "--header", "X-Request-Id: mine-1").json
    fields = {name.lower(): value for name, value in seen["headers"]}
    assert fields["x-forwarded-for"] == "127.0.0.1"
    assert fields["x-forwarded-host"] == f"{app}.localhost:{served.port}"
    assert fields["x-request-id"] == "mine-1"


def test_a_visitor_and_an_application_on_ipv6(served: Served, processes: ProcessRack) -> None:
    served.start_node("node6", processes, host="::1")
    at = served.serve_ipv6(processes)
    assert served.curl("node6", "/name").text == "node6"
    assert served.curl("node6", "/name", at=at).text == "node6"
    fields = {name.lower(): value for name, value in served.curl("asgi", "/seen", at=at).json["headers"]}
    assert fields["x-forwarded-for"] == "::1"
    assert 'for="[::1]"' in fields["forwarded"]


# ------------------------------------------------------------------------------------------------- kinds of answers


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_the_visitors_to_follow(served: Served, status: int) -> None:
    path = f"/redirect?status={status}&to=/seen%3Fhere"
    alone = served.curl("node", path)
    assert (alone.status, alone.headers["location"]) == (status, "/seen?here")
    seen = served.curl("node", path, "--location", "--data-binary", "words").json
    assert seen["target"] == "/seen?here"
    assert seen["method"] == ("POST" if status >= 307 else "GET")
    assert seen["length"] == (5 if status >= 307 else 0)


def test_a_redirect_of_nginx_is_followed_by_httpx(served: Served) -> None:
    with served.client("nginx", follow_redirects=True) as client:
        answer = client.get("/moved")
    assert [past.status_code for past in answer.history] == [301]
    assert answer.content == served.text.read_bytes()


def test_cookies_come_back(served: Served, tmp_path: Path) -> None:
    jar = tmp_path / "jar"
    served.curl("node", "/cased", "--cookie-jar", jar)
    seen = served.curl("node", "/seen", "--cookie", jar).json
    assert sorted(dict(seen["headers"])["Cookie"].split("; ")) == ["a=1", "b=2"]
    with served.client("node") as client:
        assert client.get("/cased").headers.get_list("set-cookie") == ["a=1; Path=/", "b=2; Path=/"]


def test_ranges(served: Served) -> None:
    content = served.content.read_bytes()
    part = served.curl("nginx", "/content", "--range", "1000-1999")
    assert (part.status, part.body) == (206, content[1000:2000])
    assert part.headers["content-range"] == f"bytes 1000-1999/{CONTENT_SIZE}"
    several = served.curl("nginx", "/content", "--range", "0-9,-10")
    assert several.status == 206
    assert several.headers["content-type"].startswith("multipart/byteranges")
    assert content[:10] in several.body
    assert content[-10:] in several.body
    assert served.curl("nginx", "/content", "--range", f"{CONTENT_SIZE}-").status == 416


def test_what_has_not_changed_is_not_sent_again(served: Served) -> None:
    with served.client("nginx") as client:
        first = client.get("/readme.txt")
        by_tag = client.get("/readme.txt", headers={"If-None-Match": first.headers["etag"]})
        by_time = client.get("/readme.txt", headers={"If-Modified-Since": first.headers["last-modified"]})
        again = client.get("/readme.txt", headers={"If-None-Match": '"another"'})
    for answer in (by_tag, by_time):
        assert (answer.status_code, answer.content) == (304, b"")
        assert answer.headers["etag"] == first.headers["etag"]
    assert (again.status_code, again.content) == (200, first.content)


def test_compressed_content_is_left_as_it_is(served: Served) -> None:
    packed = (served.folder / "site" / "packed" / "readme.txt.gz").read_bytes()
    raw = served.curl("nginx", "/packed/readme.txt")
    assert raw.headers["content-encoding"] == "gzip"
    assert raw.body == packed
    # Compressed on the way out, hence chunked; curl unpacks it.
    squeezed = served.curl("nginx", "/squeezed/readme.txt", "--compressed")
    assert squeezed.headers["transfer-encoding"] == "chunked"
    assert squeezed.body == served.text.read_bytes() == gzip.decompress(packed)
    assert "content-encoding" not in served.curl("nginx", "/squeezed/readme.txt").headers


# ----------------------------------------------------------------------------------------------------------- bodies


@both
@framings
def test_a_large_download_arrives_whole(served: Served, app: str, framing: str) -> None:
    answer = served.curl(app, "/content" if framing == "length" else "/content?chunked")
    assert (answer.status, answer.exit) == (200, 0)
    assert ("content-length" in answer.headers) == (framing == "length")
    assert hashlib.sha256(answer.body).hexdigest() == served.digest


def test_a_large_file_of_nginx_arrives_whole(served: Served) -> None:
    with served.client("nginx") as client, client.stream("GET", "/content") as answer:
        digest = hashlib.sha256()
        for piece in answer.iter_raw():
            digest.update(piece)
    assert digest.hexdigest() == served.digest


@both
@framings
def test_a_large_upload_arrives_whole(served: Served, app: str, framing: str) -> None:
    # Without waiting for 100 (Continue), which has tests of its own.
    options: list[str | Path] = ["--request", "POST", "--upload-file", served.content, "--header", "Expect:"]
    if framing == "chunked":
        options += ["--header", "Transfer-Encoding: chunked"]
    seen = served.curl(app, "/seen", *options).json
    assert (seen["length"], seen["sha256"]) == (CONTENT_SIZE, served.digest)
    names = {name.lower() for name, _ in seen["headers"]}
    assert ("transfer-encoding" in names) == (framing == "chunked")
    assert ("content-length" in names) == (framing == "length")


def test_nginx_keeps_a_large_chunked_upload(served: Served) -> None:
    path = "/written/large"
    with served.client("nginx") as client, served.content.open("rb") as file:
        put = client.put(path, content=iter(lambda: file.read(100_001), b""))
    assert put.status_code in (201, 204)
    assert (served.folder / "site" / "written" / "large").read_bytes() == served.content.read_bytes()


@both
def test_events_arrive_as_they_are_said_and_the_stream_stays_open(served: Served, app: str) -> None:
    with served.client(app) as client, served.client(app) as other:
        began = time.monotonic()
        with client.stream("GET", "/events") as answer:
            lines = (line for line in answer.iter_lines() if line)
            assert next(lines) == "data: first"
            assert time.monotonic() - began < 1.0
            assert answer.headers["content-type"] == "text/event-stream"
            for text in ("second", "third"):
                assert other.get("/say", params={"text": text}).text == "1", "the application has one listener"
                assert next(lines) == f"data: {text}"
        # Nobody reads it any more: at the latest with the next words the application hears so.
        deadline = time.monotonic() + 10
        while other.get("/say", params={"text": "last"}).text != "0":
            assert time.monotonic() < deadline


def test_trailers_reach_who_takes_them(served: Served) -> None:
    taken = served.curl("node", "/trailers", "--header", "TE: trailers", "--header", "Connection: TE")
    assert taken.text == "counted"
    assert taken.heads.rstrip().endswith("\n\nX-Checksum: 7")
    assert "X-Checksum: 7" not in served.curl("node", "/trailers").heads


def test_trailers_of_a_request_reach_the_application(served: Served) -> None:
    with served.visitor() as visitor:
        visitor.sendall(
            b"POST /seen HTTP/1.1\r\nHost: node.localhost\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n"
            b"Connection: close\r\n\r\n3;note=1\r\nabc\r\n0\r\nX-Sum: 3\r\n\r\n"
        )
        answer = everything(visitor)
    assert b'"trailers":["X-Sum","3"]' in answer
    assert b'"length":3' in answer


# ------------------------------------------------------------------------------------------------------ connections


@both
def test_an_old_client_gets_the_whole_answer_without_chunks(served: Served, app: str) -> None:
    answer = served.curl(app, "/content?chunked", "--http1.0")
    assert answer.exit == 0
    assert "transfer-encoding" not in answer.headers
    assert hashlib.sha256(answer.body).hexdigest() == served.digest


def test_httpx_uses_one_connection_and_so_does_gogeta(served: Served) -> None:
    visitors = served.metric("gogeta_connections_accepted_total")
    with served.client("node") as client:
        peers = {client.post("/seen", content=b"x" * size).json()["peer"] for size in range(30)}
    assert served.metric("gogeta_connections_accepted_total") == visitors + 1
    assert len(peers) == 1, "all went to the application on one connection"


def test_pipelined_requests_are_answered_in_their_order(served: Served) -> None:
    with served.visitor() as visitor:
        asked = b"".join(
            b"POST /seen?%d HTTP/1.1\r\nHost: %b.localhost\r\nContent-Length: 4\r\n\r\nbody" % (number, name)
            for number in range(20)
            for name in (b"node", b"asgi")
        )
        visitor.sendall(asked + b"GET /seen?last HTTP/1.1\r\nHost: node.localhost\r\nConnection: close\r\n\r\n")
        answers = everything(visitor)
    targets = re.findall(rb'"target": ?"/seen\?(\w+)"', answers)
    assert targets == [b"%d" % number for number in range(20) for _ in range(2)] + [b"last"]


def test_many_clients_at_once_get_each_their_own_answer(served: Served) -> None:
    visitors = [served.visitor() for _ in range(100)]
    with contextlib.ExitStack() as open_ones:
        for number, visitor in enumerate(visitors):
            open_ones.enter_context(visitor)
            name = ("node", "asgi")[number % 2]
            visitor.sendall(
                f"GET /seen?{number} HTTP/1.1\r\nHost: {name}.localhost\r\nConnection: close\r\n\r\n".encode()
            )
        for number, visitor in enumerate(visitors):
            assert re.search(rb'"target": ?"/seen\?%d"' % number, everything(visitor))


def test_a_client_that_has_said_all_is_still_answered(served: Served) -> None:
    with served.visitor() as visitor:
        visitor.sendall(b"GET /content HTTP/1.1\r\nHost: node.localhost\r\n\r\n")
        visitor.shutdown(socket.SHUT_WR)
        head, _, body = everything(visitor).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert hashlib.sha256(body).hexdigest() == served.digest
