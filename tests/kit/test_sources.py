from dataclasses import dataclass
from pathlib import Path

import pytest

from gogeta.kit.options import declared, option
from gogeta.kit.setting_values import text, whole
from gogeta.kit.sources import File, Program, SettingsError, Sources, read_file


@dataclass(frozen=True, kw_only=True)
class Sample:
    listen: str = option("here", help="Where.", parse=text)
    workers: int = option(1, help="How many.", parse=whole(1, 8))


@dataclass(frozen=True, kw_only=True)
class Other:
    drain: str = option("", help="Of another command.", parse=text)


PROGRAM = Program("gogeta", lambda: (Sample, Other))


def sources(
    *, flags: dict[str, str] | None = None, environ: dict[str, str] | None = None, file: File | None = None
) -> Sources:
    return Sources(PROGRAM, flags or {}, environ or {}, file or File())


def toml(folder: Path, content: str) -> File:
    path = folder / "gogeta.toml"
    path.write_text(content)
    return read_file(str(path), said_by="--config")


def messages(error: pytest.ExceptionInfo[SettingsError]) -> list[str]:
    return [str(problem) for problem in error.value.problems]


def test_a_flag_wins_over_the_environment_over_the_programs_table_over_the_top_level(tmp_path: Path) -> None:
    file = toml(tmp_path, 'listen = "top"\n[gogeta]\nlisten = "table"\n')
    top = toml(tmp_path, 'listen = "top"\n')
    environ = {"GOGETA_LISTEN": "environment"}

    assert sources(flags={"listen": "flag"}, environ=environ, file=file).load(Sample).listen == "flag"
    assert sources(environ=environ, file=file).load(Sample).listen == "environment"
    assert sources(file=file).load(Sample).listen == "table"
    assert sources(file=top).load(Sample).listen == "top"
    assert sources().load(Sample).listen == "here"


def test_a_commands_own_default_yields_to_every_source(tmp_path: Path) -> None:
    assert sources().load(Sample, defaults={"listen": "own"}).listen == "own"
    assert sources(file=toml(tmp_path, 'listen = "top"')).load(Sample, defaults={"listen": "own"}).listen == "top"


def test_an_empty_variable_counts_as_unset() -> None:
    assert sources(environ={"GOGETA_LISTEN": ""}).load(Sample).listen == "here"


def test_all_wrong_values_are_told_at_once_each_with_its_source(tmp_path: Path) -> None:
    @dataclass(frozen=True, kw_only=True)
    class Many:
        one: int = option(1, help="", parse=whole(1, 8))
        two: int = option(1, help="", parse=whole(1, 8))
        three: int = option(1, help="", parse=whole(1, 8))

    file = toml(tmp_path, "# a comment\n\nthree = 9\n")
    with pytest.raises(SettingsError) as error:
        sources(flags={"one": "x"}, environ={"GOGETA_TWO": "0"}, file=file).load(Many)

    assert messages(error) == [
        "--one: expected a whole number, not 'x'",
        "GOGETA_TWO: expected a whole number from 1 to 8, not '0'",
        f"{file.path}: line 3: expected a whole number from 1 to 8, not 9",
    ]


def test_an_unknown_name_in_the_file_is_refused_with_its_line_and_the_nearest_name(tmp_path: Path) -> None:
    file = toml(tmp_path, 'workers = 2\nlistn = "a"\n\n[gogeta]\n"wrokers" = 1\n')
    with pytest.raises(SettingsError) as error:
        sources(file=file).check(declared(Sample))

    assert messages(error) == [
        f"{file.path}: line 2: listn is not a setting; did you mean 'listen'?",
        f"{file.path}: line 5: wrokers is not a setting in [gogeta]; did you mean 'workers'?",
    ]


def test_a_mistyped_table_is_refused_with_the_nearest_program(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"line 1: gogetta is not a setting; did you mean 'gogeta'\?"):
        sources(file=toml(tmp_path, "[gogetta]\nworkers = 1\n")).check(declared(Sample))


def test_a_program_in_place_of_a_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"line 1: expected a table \[gogeta\], not 3"):
        sources(file=toml(tmp_path, "gogeta = 3\n")).check(declared(Sample))


def test_settings_of_the_programs_other_commands_and_of_the_other_program_are_left_alone(tmp_path: Path) -> None:
    file = toml(tmp_path, '[gogeta]\ndrain = "1s"\n[passivator]\nwhatever = 1\n')
    assert sources(environ={"GOGETA_DRAIN": "1s"}, file=file).check(declared(Sample)) == ()


def test_a_class_may_have_a_further_table(tmp_path: Path) -> None:
    file = toml(tmp_path, '[passivator]\nlisten = "theirs"\n')
    assert sources(file=file).load(Sample, tables=("passivator",)).listen == "theirs"
    assert sources(file=file).load(Sample).listen == "here"


def test_unknown_variables_are_returned_with_the_nearest_name_and_do_not_stop_anything() -> None:
    environ = {"GOGETA_LISTN": "x", "GOGETA_PORT": "tcp://10.0.0.1:80", "GOGETA_CONFIG": "f", "OTHER_LISTEN": "y"}
    strangers = sources(environ=environ).check(declared(Sample))
    assert [str(problem) for problem in strangers] == [
        "GOGETA_LISTN: is not a setting and is ignored; did you mean GOGETA_LISTEN?",
        "GOGETA_PORT: is not a setting and is ignored",
    ]


def test_explicit_tells_a_given_value_from_a_default() -> None:
    listen = declared(Sample)[0]
    assert sources().explicit(listen) is None
    assert sources(environ={"GOGETA_LISTEN": "here"}).explicit(listen) == "here"
    with pytest.raises(SettingsError, match="GOGETA_WORKERS: expected a whole number"):
        sources(environ={"GOGETA_WORKERS": "x"}).explicit(declared(Sample)[1])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"listen = \n", r"gogeta\.toml: line 1: is not TOML: "),
        (b"a = 1\nb = [1,\n", r"gogeta\.toml: "),
        (b"a = 1\na = 2\n", r"gogeta\.toml: line 2: is not TOML: cannot overwrite a value"),
        (b"\xff\n", r"gogeta\.toml: is not UTF-8 at byte 0"),
    ],
)
def test_a_broken_file_is_refused_with_its_line(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "gogeta.toml").write_bytes(content)
    with pytest.raises(SettingsError, match=message):
        read_file(str(tmp_path / "gogeta.toml"), said_by="--config")


def test_a_file_that_cannot_be_read_names_who_named_it(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"GOGETA_CONFIG: cannot read .*nowhere\.toml.*: No such file or directory"):
        read_file(str(tmp_path / "nowhere.toml"), said_by="GOGETA_CONFIG")
    with pytest.raises(SettingsError, match=r"--config: cannot read .*Is a directory"):
        read_file(str(tmp_path), said_by="--config")


def test_a_huge_file_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "big.toml"
    path.write_bytes(b"#" * (2 << 20))
    with pytest.raises(SettingsError, match="larger than"):
        read_file(str(path), said_by="--config")
