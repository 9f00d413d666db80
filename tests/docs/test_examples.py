"""What the pages show as a file is one that the programs take."""

import textwrap
import tomllib
from pathlib import Path

import pytest
import yaml

from gogeta.cli.tenants_file import read_tenants_file
from gogeta.kit.options import declared
from gogeta.settings import ServeSettings
from passivator.settings import PassivatorSettings
from tests.docs.pages import PAGES, Box, boxes

OTHERS = ("services:", "http:", "labels:")
"""What Compose files, parts of these, and the configuration of Traefik begin with."""
YAML = [box for page in PAGES for box in boxes(page, "yaml") if not box.text.lstrip().startswith(OTHERS)]
TOML = [box for page in PAGES for box in boxes(page, "toml")]


def whole(box: Box) -> str:
    """A file of tenants that has what the box shows: all of it, one of its tenants, or some fields of one."""
    text = textwrap.dedent(box.text)
    data = yaml.safe_load(text)
    if isinstance(data, dict) and "tenants" in data:
        return text
    if isinstance(data, list):
        return "tenants:\n" + textwrap.indent(text, "  ")
    tenant = "tenants:\n- name: example\n  hosts: [example.localhost]\n" + textwrap.indent(text, "  ")
    return tenant if {"docker", "process", "upstreams"} & set(data) else tenant + "\n  process: {command: [run]}\n"


@pytest.mark.parametrize("box", YAML, ids=str)
def test_tenants_are_read(box: Box, tmp_path: Path) -> None:
    (tmp_path / "tenants.yaml").write_text(whole(box))
    assert read_tenants_file(str(tmp_path / "tenants.yaml")).tenants


@pytest.mark.parametrize("box", TOML, ids=str)
def test_settings_are_known(box: Box) -> None:
    data = tomllib.loads(box.text)
    tables = {"gogeta": ServeSettings, "passivator": PassivatorSettings}
    known = {name: {option.name for option in declared(kind)} for name, kind in tables.items()}
    for name, value in data.items():
        if isinstance(value, dict):
            assert set(value) <= known[name]
        else:
            assert name in known["gogeta"] | known["passivator"]
