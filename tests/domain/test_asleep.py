"""What operators say of requests that do not wake: read, refused, and written back."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gogeta.domain.asleep import AsleepPath, parse_asleep_paths, parse_choice, parse_robots
from gogeta.domain.bots import NAMES, known_bots, parse_bot_names
from gogeta.domain.errors import InvalidInputError
from gogeta.domain.tenant import Tenant, read_tenant, tenant_to_data


def tenant(**wake: object) -> Tenant:
    return read_tenant({"name": "a", "hosts": ["a.test"], "docker": {"image": "x"}, "wake": wake}, what="test")


def test_all_that_can_be_said_is_read_and_written_back() -> None:
    wake = {
        "bots": "wake",
        "prefetch": "answer",
        "favicon": "wake",
        "robots": "User-agent: *\nDisallow: /private\n",
        "asleep_paths": ["/healthz", "/ping=204", {"path": "/status", "status": 503}, {"path": "/x", "status": "wake"}],
        "per_hour": 4,
    }
    read = tenant(**wake)
    assert read.wake.asleep_paths == (
        AsleepPath("/healthz"),
        AsleepPath("/ping", 204),
        AsleepPath("/status", 503),
        AsleepPath("/x", 0),
    )
    assert read.wake.per_hour == 4
    assert read_tenant(tenant_to_data(read), what="again") == read


def test_what_is_not_said_is_left_to_the_settings() -> None:
    wake = tenant().wake
    assert (wake.bots, wake.prefetch, wake.favicon, wake.robots, wake.per_hour) == (None,) * 5
    assert "wake" not in tenant_to_data(tenant())


@pytest.mark.parametrize(
    ("wake", "says"),
    [
        ({"bots": "perhaps"}, "wake.bots: expected answer or wake"),
        ({"robots": "dissalow"}, "wake.robots: expected disallow, allow, wake or the text of a robots.txt"),
        ({"robots": "a:" + "b" * 9000}, "at most 8192 characters"),
        ({"asleep_paths": "/healthz"}, "expected a list"),
        ({"asleep_paths": ["healthz"]}, "expected a path such as /healthz"),
        ({"asleep_paths": ["/a?b"]}, "without a query"),
        ({"asleep_paths": [{"path": "/a", "status": 302}]}, "expected a status such as 200"),
        ({"asleep_paths": [{"path": "/a", "status": True}]}, "expected a status such as 200"),
        ({"asleep_paths": [{"path": "/a", "state": 200}]}, "did you mean 'status'?"),
        ({"asleep_paths": [f"/{number}" for number in range(65)]}, "64"),
        ({"per_hour": -1}, "wake.per_hour"),
        ({"per_hours": 1}, "did you mean 'per_hour'?"),
    ],
)
def test_a_mistake_is_named(wake: dict[str, object], says: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        tenant(**wake)
    assert says in str(refused.value)


def test_the_settings_read_the_same_words() -> None:
    assert parse_asleep_paths("/healthz, /ping=204,/a=b,/x=wake") == (
        AsleepPath("/healthz"),
        AsleepPath("/ping", 204),
        AsleepPath("/a=b"),
        AsleepPath("/x", 0),
    )
    assert [str(path) for path in parse_asleep_paths(["/healthz", "/x=wake"])] == ["/healthz=200", "/x=wake"]
    assert parse_asleep_paths("") == ()
    assert parse_choice(" Wake ") == "wake"
    assert parse_robots(" ALLOW ") == "allow"


@pytest.mark.parametrize("text", ["healthz", "/a=999", "/a=301", "/a b"])
def test_a_setting_that_is_no_path_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected a"):
        parse_asleep_paths(text)


@pytest.mark.parametrize("name", NAMES)
def test_every_bot_in_the_table_is_known_as_a_word_in_any_case(name: str) -> None:
    is_bot = known_bots()
    assert is_bot(f"Mozilla/5.0 (compatible; {name}/2.1; +http://example.com/bot)".encode())
    assert is_bot(name.upper().encode())
    assert not is_bot(f"Mozilla/5.0 (x{name}y)".encode())


def test_the_page_lists_the_table() -> None:
    page = (Path(__file__).parents[2] / "docs" / "waking.md").read_text()
    listed = re.findall(r"`([^`]+)`", page.rpartition("in one table.")[2])
    assert listed == list(NAMES)


def test_names_are_added_and_taken_out() -> None:
    is_bot = known_bots(parse_bot_names("Our-Checker, -UptimeRobot,-googlebot"))
    assert is_bot(b"our-checker/1.0")
    assert is_bot(b"bingbot/2.0")
    assert not is_bot(b"UptimeRobot/2.0")
    assert not is_bot(b"Googlebot/2.1")
    assert not known_bots([f"-{name}" for name in NAMES])(b"Googlebot/2.1")


@pytest.mark.parametrize("text", ["-Googlebots", "x", "a" * 65, "b\tc", ",".join(f"name{n}" for n in range(300))])
def test_a_name_that_cannot_be_meant_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected|not in the list"):
        parse_bot_names(text)


@pytest.mark.parametrize(
    "user_agent",
    [
        b"",
        b"curl/8.5.0",
        b"python-requests/2.32",
        b"Stripe/1.0 (+https://stripe.com/docs/webhooks)",
        b"Slackbot 1.0 (+https://api.slack.com/robots)",
        b"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/131.0.0.0 Safari",
        b"Mozilla/5.0 (Linux; Android 11; CUBOT_X19_S) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Mobile",
        b"Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:133.0) Gecko/20100101 Firefox/133.0",
        b"Mozilla/5.0 (Macintosh; Intel Mac OS X 14_0) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.0 Safari",
        b"kube-probe/1.30",
        b"ELB-HealthChecker/2.0",
    ],
)
def test_people_programs_webhooks_and_load_balancers_are_no_bots(user_agent: bytes) -> None:
    assert not known_bots()(user_agent)
