"""The admin listener's words about one tenant: JSON, problem+json, nothing to change."""

from typing import Any

import aiohttp
import pytest
from prometheus_client import CollectorRegistry

from gogeta.domain.errors import UnknownTenantError
from gogeta.domain.upstreams import Endpoint
from gogeta.kit.admin_site import AdminSite
from gogeta.kit.tenant_site import tenant_routes
from gogeta.registry.store import RegistryUnavailableError


async def tell(name: str) -> dict[str, Any]:
    if name == "away":
        raise RegistryUnavailableError("no answer")
    if name != "acme":
        raise UnknownTenantError(name, "acme")
    return {"name": name}


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("acme/explain", 200, None),
        ("ACME/timeline", 200, None),
        ("acne/explain", 404, "no-such-tenant"),
        ("no%20name!/explain", 404, "no-such-tenant"),
        ("away/timeline", 503, "registry-unavailable"),
    ],
)
async def test_answers(path: str, status: int, code: str | None) -> None:
    site = AdminSite(Endpoint("127.0.0.1", 0), CollectorRegistry(), "test")
    site.add_routes(tenant_routes(tell, tell))
    await site.start()
    url = f"http://{site.endpoint}/api/v1/tenants/{path}"
    try:
        async with aiohttp.ClientSession() as session:
            async with session.get(url) as answer:
                data = await answer.json(content_type=None)
                assert answer.status == status
                assert answer.headers["Cache-Control"] == "no-store"
                if code is None:
                    assert (answer.content_type, data) == ("application/json", {"name": "acme"})
                else:
                    assert answer.content_type == "application/problem+json"
                    assert (data["code"], data["status"]) == (code, status)
            for method in ("POST", "PUT", "DELETE", "PATCH"):
                async with session.request(method, url) as answer:
                    assert answer.status == 405
    finally:
        await site.stop()
