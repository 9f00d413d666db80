"""The dashboard as plain HTTP: what its forms answer, and what the audit log has of them."""

import logging

import aiohttp
import pytest

from tests.dashboard.conftest import Shown


async def test_what_a_button_did_is_in_the_audit_log_as_it_ended(
    shown: Shown, caplog: pytest.LogCaptureFixture
) -> None:
    async with aiohttp.ClientSession(shown.url) as session:
        with caplog.at_level(logging.INFO, "gogeta.audit"):
            async with session.post("/tenants/editor/wake", allow_redirects=False) as answer:
                assert (answer.status, answer.headers["Location"]) == (303, "/tenants/editor")
            async with session.post("/tenants/nobody/wake", allow_redirects=False) as answer:
                assert answer.status == 404
    assert [record.getMessage() for record in caplog.records if record.name == "gogeta.audit"] == [
        "loopback (admin) POST '/tenants/editor/wake' from 127.0.0.1: 303",
        "loopback (admin) POST '/tenants/nobody/wake' from 127.0.0.1: 404",
    ]


async def test_signing_out_takes_the_token_away_and_leads_to_the_way_in(shown: Shown) -> None:
    async with (
        aiohttp.ClientSession(shown.url) as session,
        session.post("/logout", allow_redirects=False) as answer,
    ):
        assert (answer.status, answer.headers["Location"]) == (303, "/login")
        assert answer.cookies["gogeta_token"].value == ""
