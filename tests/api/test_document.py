"""The server is what its document says: fuzzed by the document itself, with bounded and always the same examples."""

import asyncio
import sys
from pathlib import Path

import pytest

from gogeta.api.problems import Code
from gogeta.cli.reference_api import api_page
from tests.api.conftest import Api

_CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,\
response_schema_conformance,negative_data_rejection,unsupported_method"


@pytest.mark.timeout(180)
async def test_no_request_brings_an_answer_that_the_document_does_not_have(
    api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nobody carries wishes out here: long waits would all be waited to their end.
    monkeypatch.setattr("gogeta.api.requests.MAX_WAIT", 0.2)
    await api.put("acme")
    await api.put("routed", {"hosts": ["routed.test"], "upstreams": ["http://10.0.0.1:1"]})
    url = f"http://{api.site.endpoint}/api/v1/openapi.json"
    # Streams without an end have tests of their own.
    process = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name("schemathesis")),
        *("run", url, "--checks", _CHECKS, "--exclude-path-regex", "/events", "--phases", "coverage,fuzzing"),
        *("--max-examples", "4", "--generation-deterministic", "--request-timeout", "20", "--no-color"),
        *("--suppress-health-check", "all"),
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    told, _ = await process.communicate()
    text = told.decode()
    assert process.returncode == 0, text
    assert "17 selected" in text, "not all operations were met"
    # Whatever was sent, the process still serves.
    assert (await api.call("GET", "/tenants"))[0] == 200


async def test_the_document_has_the_model_the_roles_and_the_closed_set_of_codes(api: Api) -> None:
    _, document, _ = await api.call("GET", "/openapi.json")
    assert document["openapi"] == "3.1.0"
    schemas = document["components"]["schemas"]
    assert {"hosts", "docker", "process", "upstreams", "wake", "awake"} <= set(schemas["Declaration"]["properties"])
    assert schemas["Problem"]["properties"]["code"]["enum"] == [code.value for code in Code]
    roles = {each["x-role"] for path in document["paths"].values() for each in path.values()}
    assert roles == {"read", "operate", "admin"}
    listed = (Path(__file__).parents[2] / "docs" / "api.md").read_text()
    assert [code.value for code in Code if f"`{code.value}`" not in listed] == []


async def test_the_page_of_the_docs_is_that_of_the_document_that_is_served(api: Api) -> None:
    _, document, _ = await api.call("GET", "/openapi.json")
    served, written = api_page(document), (Path(__file__).parents[2] / "docs" / "api-reference.md").read_text()
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            told, page = (
                text.partition(f"\n## {method.upper()} {path}\n")[2].partition("\n## ")[0] for text in (served, written)
            )
            assert told == page
            assert f"Role: `{operation['x-role']}`." in page
            for status in operation["responses"]:
                assert f"| {status} |" in page or f"{status} " in page.rpartition("an error")[2], (method, path, status)
