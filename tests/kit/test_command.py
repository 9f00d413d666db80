import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import pytest

from gogeta.domain.errors import Fault, GogetaError, TransitionRefusedError, UnknownTenantError
from gogeta.kit import logs
from gogeta.kit.command import Settings, SettingsCommand, settings_options, start, version_option
from gogeta.kit.exits import CommandError, ExitStatus, run, status_of, wants_json
from gogeta.kit.options import option
from gogeta.kit.setting_values import one_of, switch, text, whole
from gogeta.kit.sources import Program
from gogeta.settings import RegistrySettings


@dataclass(frozen=True, kw_only=True)
class Mine:
    mode: str = option(
        "fast", help="How.", parse=one_of("fast", "slow"), metavar="MODE", choices=("fast", "slow"), section="Work"
    )
    workers: int = option(1, help="How many.", parse=whole(1, 8), metavar="N", section="Work")
    note: str = option("", help="What for.", parse=text, section="Words")
    loud: bool = switch(help="Whether.", section="Words")


PROGRAM = Program("gogeta", lambda: (Mine, RegistrySettings))


@click.command(cls=SettingsCommand)
@click.option("--own", help="The command's own.")
@settings_options(Mine, RegistrySettings, program=PROGRAM)
@version_option()
def sample(settings: Settings, own: str | None) -> int:
    """Say what was loaded."""
    click.echo(f"{settings[Mine].mode} {settings[Mine].workers} {settings[RegistrySettings].registry} {own}")
    return 0


@pytest.fixture(autouse=True)
def _quiet_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("GOGETA_CONFIG", "GOGETA_MODE", "GOGETA_WORKERS"):
        monkeypatch.delenv(name, raising=False)
    yield
    logs.shutdown()


def test_settings_arrive_loaded_beside_the_commands_own_options(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOGETA_WORKERS", "3")
    assert start(sample, "gogeta", ["--mode", "slow", "--own", "x"]) == 0
    assert capsys.readouterr().out == "slow 3 embedded:gogeta.db x\n"


def test_the_file_is_named_by_flag_or_variable_and_the_flag_wins(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "one.toml").write_text("workers = 2")
    (tmp_path / "two.toml").write_text("workers = 3")
    monkeypatch.setenv("GOGETA_CONFIG", str(tmp_path / "two.toml"))
    assert start(sample, "gogeta", []) == 0
    assert start(sample, "gogeta", ["--config", str(tmp_path / "one.toml")]) == 0
    assert capsys.readouterr().out == "fast 3 embedded:gogeta.db None\nfast 2 embedded:gogeta.db None\n"


def test_every_wrong_setting_is_told_and_nothing_runs(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOGETA_WORKERS", "0")
    assert start(sample, "gogeta", ["--mode", "quick"]) == ExitStatus.USAGE
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "error: --mode: expected fast or slow, not 'quick'",
        "error: GOGETA_WORKERS: expected a whole number from 1 to 8, not '0'",
    ]


@pytest.mark.parametrize(
    ("arguments", "variable", "file", "loud"),
    [
        ([], "", "", False),
        (["--loud"], "", "", True),
        (["--loud", "--mode", "slow"], "", "", True),
        (["--loud", "on"], "", "", True),
        (["--loud=off"], "on", "", False),
        ([], "yes", "", True),
        ([], "", "loud = true", True),
        (["--loud", "off"], "", "loud = true", False),
    ],
)
def test_a_switch_is_on_or_off_and_its_flag_may_stand_alone(
    arguments: list[str],
    variable: str,
    file: str,
    loud: bool,  # noqa: FBT001 - a table's column
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "some.toml").write_text(file)
    monkeypatch.setenv("GOGETA_LOUD", variable)
    seen = []

    @click.command(cls=SettingsCommand)
    @settings_options(Mine, RegistrySettings, program=PROGRAM)
    def switched(settings: Settings) -> None:
        seen.append(settings[Mine].loud)

    assert start(switched, "gogeta", [*arguments, "--config", str(tmp_path / "some.toml")]) == 0
    assert seen == [loud]


def test_a_switch_takes_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    assert start(sample, "gogeta", ["--loud", "perhaps"]) == ExitStatus.USAGE
    assert capsys.readouterr().err == "error: --loud: expected on or off, not 'perhaps'\n"


def test_an_unknown_option_is_answered_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert start(sample, "gogeta", ["--workrs", "1"]) == ExitStatus.USAGE
    err = capsys.readouterr().err
    assert "--workers" in err
    assert "hint: `gogeta --help` lists what it takes" in err


def test_an_unknown_variable_is_warned_of(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOGETA_WORKRS", "2")
    assert start(sample, "gogeta", []) == 0
    assert "GOGETA_WORKRS is not a setting and is ignored; did you mean GOGETA_WORKERS?" in capsys.readouterr().err


def test_help_has_sections_defaults_choices_and_variables_within_80_columns(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert start(sample, "gogeta", ["--help"]) == 0
    out = capsys.readouterr().out
    assert re.findall(r"^(\w+):$", out, re.MULTILINE) == ["Options", "Work", "Words", "Registry", "Logs", "General"]
    words = " ".join(out.split())
    assert "--mode MODE How. [fast|slow; default: fast; env: GOGETA_MODE]" in words
    assert "--note TEXT What for. [env: GOGETA_NOTE]" in words
    assert max(len(line) for line in out.splitlines()) <= 80


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert start(sample, "gogeta", ["--version"]) == 0
    assert re.fullmatch(r"gogeta \d+\.\d+\S*\n", capsys.readouterr().out)


def test_a_password_in_a_registry_url_is_not_repeated(capsys: pytest.CaptureFixture[str]) -> None:
    assert start(sample, "gogeta", ["--registry", "http://root:secret@host"]) == ExitStatus.USAGE
    assert "secret" not in capsys.readouterr().err


class _RegistryDown(GogetaError):
    fault = Fault.REGISTRY


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (CommandError("late", status=ExitStatus.TIMED_OUT), 6),
        (UnknownTenantError("acme"), 4),
        (TransitionRefusedError("no"), 5),
        (_RegistryDown("no answer"), 3),
        (GogetaError("other"), 1),
        (click.UsageError("usage"), 2),
        (KeyboardInterrupt(), 130),
        (click.Abort(), 130),
        (ValueError("a mistake of ours"), 1),
    ],
)
def test_each_error_has_its_status_and_no_traceback(
    error: BaseException, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    def main() -> None:
        raise error

    assert run(main) == status
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert "Traceback" not in err
    if not isinstance(error, ValueError):
        assert status_of(error) == status


def test_an_unexpected_error_says_how_to_see_more(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(lambda: 1 // 0) == ExitStatus.FAILED
    err = capsys.readouterr().err
    assert "unexpected ZeroDivisionError" in err
    assert "--log-level debug" in err


def test_with_debug_logs_an_unexpected_error_shows_its_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    logs.setup("debug", "text", "gogeta")
    assert run(lambda: 1 // 0) == ExitStatus.FAILED
    assert "Traceback" in capsys.readouterr().err


def test_control_characters_of_a_message_do_not_reach_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    def main() -> None:
        raise CommandError("bad \x1b[2J value", hint="see\x07")

    run(main)
    err = capsys.readouterr().err
    assert "\x1b" not in err
    assert "\x07" not in err
    assert r"bad \x1b[2J value" in err


@pytest.mark.parametrize(
    ("arguments", "json"),
    [
        (["-o", "json"], True),
        (["--output", "json"], True),
        (["--output=json"], True),
        (["-ojson"], True),
        (["-o", "table", "json"], False),
        (["json"], False),
        ([], False),
    ],
)
def test_json_is_recognised_before_parsing(arguments: list[str], json: bool) -> None:  # noqa: FBT001 - a table's column
    assert wants_json(arguments) is json
