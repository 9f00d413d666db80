"""Lines of the access log: what stands in them, and that nobody can forge one."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gogeta.core.access_record import FIELD_LIMIT, LINE_LIMIT, TARGET_LIMIT, AccessRecord, Ending, RecordFormat

# 2026-01-31T12:00:00.250Z, on a machine that has been up for a thousand seconds.
EPOCH = 1769860800.0 - 1000.0
RECORD = AccessRecord(
    began=1000.0,
    forwarded=1000.01,
    first_byte=1000.2,
    ended=1000.25,
    request_id=b"4f-1",
    tenant="acme",
    peer="192.0.2.7",
    method=b"GET",
    host=b"acme.example.com",
    target=b"/a/b?token=s3cret",
    http11=True,
    user_agent=b'Mozilla/5.0 "quoted"',
    referer=b"https://user:s3cret@other.example/from?token=s3cret#s3cret",
    status=200,
    refusal="",
    ending=Ending.COMPLETE,
    received=0,
    sent=1234,
    upstream="10.0.0.7:8080",
    reused=True,
    attempts=1,
)
JSON = RecordFormat("json", query=False)
COMBINED = RecordFormat("combined", query=False)
NCSA = re.compile(
    r'(?P<peer>\S+) - - \[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d \+0000\] "(?P<line>(?:[^"\\]|\\x[0-9A-F]{2})*)" '
    r'(?P<status>\d{3}) (?P<sent>\d+) "(?P<referer>(?:[^"\\]|\\x[0-9A-F]{2})*)" "(?P<agent>(?:[^"\\]|\\x[0-9A-F]{2})*)"'
)


def test_a_json_line() -> None:
    assert json.loads(JSON.line(RECORD, EPOCH)) == {
        "time": "2026-01-31T12:00:00.250Z",
        "request_id": "4f-1",
        "tenant": "acme",
        "peer": "192.0.2.7",
        "method": "GET",
        "host": "acme.example.com",
        "target": "/a/b",
        "http": "1.1",
        "status": 200,
        "refusal": None,
        "ending": "complete",
        "bytes_in": 0,
        "bytes_out": 1234,
        "seconds": 0.25,
        "first_byte_seconds": 0.2,
        "upstream_seconds": 0.19,
        "upstream": "10.0.0.7:8080",
        "reused": True,
        "retries": 0,
        "user_agent": 'Mozilla/5.0 "quoted"',
        "referer": "https://other.example/from",
    }


def test_a_combined_line() -> None:
    assert COMBINED.line(RECORD, EPOCH) == (
        b'192.0.2.7 - - [31/Jan/2026:12:00:00 +0000] "GET /a/b HTTP/1.1" 200 1234 "https://other.example/from" '
        b'"Mozilla/5.0 \\x22quoted\\x22"\n'
    )


@pytest.mark.parametrize("name", ["json", "combined"])
def test_the_query_stands_there_only_when_it_is_wanted(name: str) -> None:
    assert b"s3cret" not in RecordFormat(name, query=False).line(RECORD, EPOCH)
    kept = RecordFormat(name, query=True).line(RECORD, EPOCH)
    assert kept.count(b"s3cret") == 1
    assert b"/a/b?token=s3cret" in kept


def test_an_answer_of_ours_says_why() -> None:
    record = RECORD._replace(
        status=404, refusal="unknown-host", tenant="", forwarded=0.0, first_byte=1000.1, upstream="", attempts=0
    )
    line = json.loads(JSON.line(record, EPOCH))
    shown = ("tenant", "refusal", "status", "upstream", "upstream_seconds", "reused", "retries")
    assert [line[name] for name in shown] == [None, "unknown-host", 404, None, None, None, 0]


def test_a_visitor_who_left_without_an_answer() -> None:
    record = RECORD._replace(status=0, first_byte=0.0, sent=0, ending=Ending.CLIENT)
    line = json.loads(JSON.line(record, EPOCH))
    assert (line["status"], line["ending"], line["first_byte_seconds"]) == (None, "client-abort", None)
    assert b'HTTP/1.1" 499 0 ' in COMBINED.line(record, EPOCH)


def test_what_never_became_a_request() -> None:
    record = RECORD._replace(method=b"", host=b"", target=b"", user_agent=b"", referer=b"", request_id=b"", status=400)
    line = json.loads(JSON.line(record, EPOCH))
    assert [line[name] for name in ("method", "host", "target", "http", "request_id")] == [None] * 5
    assert b'] "-" 400 1234 "-" "-"' in COMBINED.line(record, EPOCH)


def test_the_moment_is_right_for_every_record_of_a_second_and_after_it() -> None:
    moments = [1000.0, 1000.001, 1000.999, 1001.0, 999.5]
    times = [json.loads(JSON.line(RECORD._replace(ended=moment), EPOCH))["time"][17:] for moment in moments]
    assert times == ["00.000Z", "00.001Z", "00.999Z", "01.000Z", "59.500Z"]


FORGERIES = [
    b"\r\n127.0.0.1 - - forged",
    b'" 200 0 "forged',
    b"\x1b[2J\x1b]0;owned\x07",
    b"\0\x01\x7f\x80\x9b\xff",
    "\u2028\u2029\u202e\ufeff".encode(),
    b"\\x22\\n",
    b'","status":200,"x":"',
    b"%0d%0aSet-Cookie",
]


@pytest.mark.parametrize("query", [False, True])
@pytest.mark.parametrize("name", ["json", "combined"])
@pytest.mark.parametrize("forgery", FORGERIES)
def test_nobody_forges_a_line(forgery: bytes, name: str, query: bool) -> None:  # noqa: FBT001 - a table
    record = RECORD._replace(
        target=b"/" + forgery,
        host=forgery,
        method=b"M" + forgery,
        user_agent=forgery,
        referer=forgery,
        request_id=forgery,
    )
    check(RecordFormat(name, query=query).line(record, EPOCH), name)


def check(line: bytes, name: str) -> None:
    """One line of printable ASCII, of the right shape, and short enough."""
    assert re.fullmatch(rb"[ -~]+\n", line), line
    assert len(line) <= LINE_LIMIT
    if name == "json":
        read = json.loads(line)
        assert list(read) == list(json.loads(JSON.line(RECORD, EPOCH)))
        assert (read["status"], read["peer"]) == (200, "192.0.2.7")
    else:
        match = NCSA.fullmatch(line.decode().rstrip("\n"))
        assert match is not None, line
        assert (match["status"], match["sent"], match["peer"]) == ("200", "1234", "192.0.2.7")


anything = st.binary(max_size=3000)
parts = st.fixed_dictionaries(
    dict.fromkeys(("host", "target", "user_agent", "referer", "request_id"), anything)
    | {"method": anything.map(lambda value: b"M" + value)}
)


@given(parts, st.booleans(), st.sampled_from(["json", "combined"]))
def test_whatever_a_visitor_sends_is_one_line(sent: dict[str, bytes], query: bool, name: str) -> None:  # noqa: FBT001 - drawn
    check(RecordFormat(name, query=query).line(RECORD._replace(**sent), EPOCH), name)  # type: ignore[arg-type] # bytes, all of them


@pytest.mark.parametrize("name", ["json", "combined"])
@pytest.mark.parametrize("byte", [b"a", b'"', b"\\", b"\x01", b"\xff", b"\xc3\xa9"])
def test_the_longest_of_everything_is_one_line_that_a_pipe_takes_in_one_piece(byte: bytes, name: str) -> None:
    long, longer = byte * (FIELD_LIMIT + 1), byte * (TARGET_LIMIT + 1)
    record = RECORD._replace(
        method=long, host=long, target=longer, user_agent=long, referer=longer, request_id=long, tenant="t" * 63
    )
    check(RecordFormat(name, query=True).line(record, EPOCH), name)


def test_what_is_cut_says_so() -> None:
    line = json.loads(JSON.line(RECORD._replace(target=b"/" + b"x" * TARGET_LIMIT), EPOCH))
    assert line["target"] == "/" + "x" * (TARGET_LIMIT - 1) + "..."
