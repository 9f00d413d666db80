import os
import re
import subprocess
import sys
import time
from importlib import util
from pathlib import Path
from types import ModuleType

import click
import pytest

from gogeta.cli.main import COMMANDS, gogeta
from gogeta.kit.exits import ExitStatus
from tests.cli.conftest import Cli

ROOT = Path(__file__).parents[2]
ALL = [name for section in COMMANDS.values() for name in section]


def command(name: str) -> click.Command:
    found = gogeta.get_command(click.Context(gogeta), name)
    assert found is not None
    return found


def test_the_list_of_commands_says_what_each_says_itself() -> None:
    for section in COMMANDS.values():
        for name, entry in section.items():
            first = (command(name).help or "").split("\n\n")[0].replace("\n", " ")
            assert first == entry.summary or first.startswith(entry.summary.removesuffix(".")), name


@pytest.mark.parametrize("name", [None, *ALL])
def test_every_help_fits_80_columns_and_has_examples(cli: Cli, name: str | None) -> None:
    done = cli(*([name] if name else []), "--help")
    assert done.status == 0
    assert max(len(line) for line in done.out.splitlines()) <= 80
    if name:
        assert "Examples:\n    gogeta" in done.out or "Examples:\n    source" in done.out


def test_an_unknown_command_is_answered_with_the_nearest(cli: Cli) -> None:
    done = cli("tenant")
    assert done.status == ExitStatus.USAGE
    assert done.err.startswith("error: there is no command 'tenant'; did you mean 'tenants'?\n")


@pytest.mark.parametrize("name", ALL)
def test_an_unknown_option_is_answered_with_the_nearest(cli: Cli, name: str) -> None:
    done = cli(name, "--hepl")
    assert done.status == ExitStatus.USAGE
    assert "--help" in done.err


def test_without_a_command_the_help_is_shown(cli: Cli) -> None:
    done = cli()
    assert done.status == ExitStatus.USAGE
    assert "Usage: gogeta" in done.out + done.err


def test_version(cli: Cli) -> None:
    assert re.fullmatch(r"gogeta \d+\.\d+\S*\n", cli("--version").out)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_are_printed(cli: Cli, shell: str) -> None:
    done = cli("completion", shell)
    assert done.status == 0
    assert "_GOGETA_COMPLETE" in done.out


def test_an_unknown_shell(cli: Cli) -> None:
    assert cli("completion", "tcsh").status == ExitStatus.USAGE


def complete(cli: Cli, words: str, **environment: str) -> list[str]:
    """What bash would offer after `words`."""
    done = subprocess.run(
        [sys.executable, "-m", "gogeta"],
        env={
            **os.environ,
            "_GOGETA_COMPLETE": "bash_complete",
            "COMP_WORDS": words,
            "COMP_CWORD": str(len(words.split(" ")) - 1),
            **environment,
        },
        cwd=cli.folder,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.stderr == ""
    return [line.partition(",")[2] for line in done.stdout.splitlines() if line]


def test_names_commands_and_choices_are_completed(cli: Cli) -> None:
    cli.have("acme", "beta", "bravo")
    assert complete(cli, "gogeta wake b") == ["beta", "bravo"]
    assert complete(cli, "gogeta w") == ["wake"]
    assert complete(cli, "gogeta tenants --log-level d") == ["debug"]
    assert complete(cli, "gogeta tenants --state st") == ["started", "starting", "stopped", "stopping"]


def test_completion_stays_silent_whatever_is_wrong(cli: Cli) -> None:
    assert complete(cli, "gogeta wake a") == []
    assert not cli.registry.exists()
    assert complete(cli, "gogeta wake a", GOGETA_REGISTRY="nonsense") == []
    assert complete(cli, "gogeta wake a", GOGETA_CONFIG="nowhere.toml") == []
    began = time.monotonic()
    assert complete(cli, "gogeta wake a", GOGETA_REGISTRY="etcd://192.0.2.1:2379") == []
    assert time.monotonic() - began < 6


def test_help_imports_neither_the_data_plane_nor_what_is_slow() -> None:
    code = (
        "import sys; from gogeta.cli.main import gogeta; from gogeta.kit.command import start; "
        "start(gogeta, 'gogeta', ['--help']); "
        "slow = 'pydantic', 'aiohttp', 'asyncio', 'rich', 'yaml', 'passivator'; "
        "print([name for name in slow if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_command_on_an_embedded_registry_does_not_import_the_network(cli: Cli) -> None:
    cli.have("acme")
    code = (
        "import sys; from gogeta.cli.main import gogeta; from gogeta.kit.command import start; "
        "start(gogeta, 'gogeta', ['tenants']); "
        "print([name for name in ('aiohttp', 'uvloop', 'rich', 'yaml', 'passivator') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=20, check=True, cwd=cli.folder
    )
    assert done.stdout.splitlines()[-1] == "[]"


def _generator() -> ModuleType:
    specification = util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert specification is not None
    assert specification.loader is not None
    module = util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_the_reference_pages_are_fresh() -> None:
    for path, text in _generator().pages().items():
        assert path.read_text(encoding="utf-8") == text, f"{path.name} is stale: run `python docs/generate.py`"


def test_every_setting_is_in_the_reference() -> None:
    page = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    for parameter in command("up").params:
        if parameter.name not in ("file", "config", "help"):
            assert f"`GOGETA_{parameter.name.upper()}`" in page or f"`PASSIVATOR_{parameter.name.upper()}`" in page
