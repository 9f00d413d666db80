"""Our name in `Via`, and the loop it shows."""

from __future__ import annotations

import pytest

from gogeta.core.forwarding import Forwarding
from gogeta.core.via import via_field
from tests.core.heads import head


def looped(more: str, *, via: str = "gogeta-1") -> bool:
    return Forwarding(80, (), via=via).looped(head(more=more))


@pytest.mark.parametrize(
    "more",
    [
        "Via: 1.1 gogeta-1",
        "via: 1.0 fred, 1.1 GOGETA-1 (some, comment)",
        "Via: HTTP/1.1 gogeta-1",
        "Via: 1.1 fred\nVia: 2 gogeta-1",
        "VIA: 1.1 a (x, y),\t1.1\tgogeta-1",
    ],
)
def test_our_own_name_is_a_loop(more: str) -> None:
    assert looped(more)


@pytest.mark.parametrize(
    "more",
    [
        "",
        "Via: 1.1 fred",
        "Via: 1.1 gogeta-10, 1.1 my-gogeta-1, 1.1 gogeta-1.example",
        "Via: 1.1 fred (gogeta-1)",
        "Via: 1.1 fred (by, 1.1 gogeta-1 as they say)",
        "Via: gogeta-1",
        "Via:",
        "X-Via: 1.1 gogeta-1",
    ],
)
def test_others_names_are_none(more: str) -> None:
    assert not looped(more)


def test_without_a_name_there_is_no_loop() -> None:
    assert not looped("Via: 1.1 gogeta-1", via="")


@pytest.mark.parametrize(("version", "peer"), [("1.1", "192.0.2.1"), ("1.0", "192.0.2.1"), ("1.1", "10.0.0.1")])
def test_the_version_is_that_of_the_request(version: str, peer: str) -> None:
    forwarding = Forwarding(80, (), via="g:8080")
    assert forwarding.fields(peer, head(f"GET / {version}")).endswith(via_field("g:8080", version.encode()))
    assert b"Via" not in Forwarding(80, ()).fields(peer, head())
