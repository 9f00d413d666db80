"""Where a setting's value comes from: flag, then environment, then TOML file, then the declared default.

Every message about a wrong value names the source that said it, because a person looks for the mistake there. All
problems are found before any is reported. This module knows declarations (kit/options.py) and no command line, no
log and no particular setting.

One TOML file can serve both programs. A setting at the top level is meant for every program; one in the table
``[gogeta]`` or ``[passivator]`` is meant for that program and wins over the top level.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

from gogeta.domain.errors import InvalidInputError, Problem
from gogeta.kit.options import Option, declared

T = TypeVar("T")

PROGRAMS: Final = ("gogeta", "passivator")
"""The programs that may have a table in the file."""
MAX_FILE_BYTES: Final = 1 << 20
CONFIG: Final = "config"
"""The setting that names the file; it cannot stand in the file itself."""


class SettingsError(InvalidInputError):
    """Settings were refused; each problem's path names the flag, the variable, or the file and line."""

    def __init__(self, problems: Sequence[Problem], *, hint: str = "") -> None:
        """``problems`` in the order in which the sources are read."""
        super().__init__("settings", tuple(problems), hint=hint)


@dataclass(frozen=True)
class Program:
    """One of our programs, as far as settings go."""

    name: str
    every: Callable[[], Iterable[type]]
    """All settings classes of the program, whichever command is run. Asked only when a name is met that the command
    itself does not have: the file and the environment are shared by all commands."""

    @property
    def prefix(self) -> str:
        """What its environment variables begin with."""
        return self.name.upper() + "_"


@dataclass(frozen=True, slots=True)
class Value:
    """A setting's value as it was said, and where."""

    raw: object
    source: str
    """``--listen``, ``GOGETA_LISTEN``, or ``gogeta.toml: line 3``."""


@dataclass(frozen=True)
class File:
    """A TOML file, read; an empty path stands for none."""

    path: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)
    lines: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """(table, key) to its line; the table is empty at the top level."""

    def source(self, table: str, key: str) -> str:
        """File and line of a key, as far as the line is known."""
        line = self.lines.get((table, key)) or self.lines.get((table, ""))
        return f"{self.path}: line {line}" if line else self.path


@dataclass(frozen=True)
class Sources:
    """Everything that was said, ready to be asked for settings classes."""

    program: Program
    flags: Mapping[str, str] = field(default_factory=dict)
    """Setting name to what its flag said; only flags that were given."""
    environ: Mapping[str, str] = field(default_factory=dict)
    file: File = field(default_factory=File)

    def find(self, option: Option, tables: Sequence[str] = ()) -> Value | None:
        """Who said something about a setting, the strongest source first; None when nobody did."""
        if option.name in self.flags:
            return Value(self.flags[option.name], flag_of(option.name))
        variable = self.program.prefix + option.name.upper()
        # Empty means unset: it is how compose files and service managers pass "nothing" on.
        if self.environ.get(variable):
            return Value(self.environ[variable], variable)
        for table in (self.program.name, *tables):
            content = self.file.data.get(table)
            if isinstance(content, dict) and option.name in content:
                return Value(content[option.name], self.file.source(table, option.name))
        if option.name in self.file.data and option.name not in PROGRAMS:
            return Value(self.file.data[option.name], self.file.source("", option.name))
        return None

    def explicit(self, option: Option) -> Any:  # noqa: ANN401 - a setting may have any type
        """A setting's value where a source says something, None where its default holds. Raises SettingsError."""
        said = self.find(option)
        if said is None:
            return None
        try:
            return option.parse(said.raw)
        except ValueError as error:
            raise SettingsError((Problem((said.source,), str(error)),)) from None

    def load(self, settings: type[T], *, tables: Sequence[str] = (), defaults: Mapping[str, Any] | None = None) -> T:
        """A settings class filled from all sources. Raises SettingsError with every problem of it.

        ``tables``: further tables of the file that may speak for this class, after the program's own. ``defaults``:
        what holds instead of the declared default where no source says anything.
        """
        names = {option.name for option in declared(settings)}
        values = {name: value for name, value in (defaults or {}).items() if name in names}
        problems: list[Problem] = []
        for option in declared(settings):
            said = self.find(option, tables)
            if said is None:
                continue
            try:
                values[option.name] = option.parse(said.raw)
            except ValueError as error:
                problems.append(Problem((said.source,), str(error)))
        if problems:
            raise SettingsError(problems)
        return settings(**values)

    def check(self, options: Iterable[Option], *, tables: Sequence[str] = ()) -> tuple[Problem, ...]:
        """Names that are no settings. Raises SettingsError for those in the file; returns those in the environment.

        A wrong name in the file is a mistake of whoever wrote it. The environment is shared with others, who put
        variables of that prefix there in good faith (a Kubernetes service called ``gogeta`` brings GOGETA_PORT), so
        these are for the caller to warn of.
        """
        names = {option.name for option in options}
        every: set[str] | None = None

        def known(name: str) -> bool:
            nonlocal every
            if name in names:
                return True
            if every is None:
                every = {option.name for kind in self.program.every() for option in declared(kind)}
            return name in every

        problems = [
            Problem((self.file.source(table, key),), _unknown(key, table, names | (every or set())))
            for table, key in self._keys(tables)
            if not known(key)
        ]
        if problems:
            raise SettingsError(problems)
        return tuple(
            Problem((variable,), _not_a_variable(variable, self.program.prefix, names | (every or set())))
            for variable in sorted(self.environ)
            if variable.startswith(self.program.prefix) and not self._is_variable(variable, known)
        )

    def _keys(self, tables: Sequence[str]) -> Iterable[tuple[str, str]]:
        for key, value in self.file.data.items():
            if key in PROGRAMS:
                if not isinstance(value, dict):
                    where = self.file.source("", key)
                    raise SettingsError((Problem((where,), f"expected a table [{key}], not {value!r}"),))
                # Another program's table is that program's business, unless the command takes part in it.
                if key == self.program.name or key in tables:
                    yield from ((key, name) for name in value)
            else:
                yield "", key

    def _is_variable(self, variable: str, known: Callable[[str], bool]) -> bool:
        name = variable.removeprefix(self.program.prefix)
        return name == name.upper() and (name.lower() == CONFIG or known(name.lower()))


def flag_of(name: str) -> str:
    """The flag of a setting."""
    return "--" + name.replace("_", "-")


def read_file(path: str, *, said_by: str) -> File:
    """Read a TOML file. Raises SettingsError when it cannot be read or is not TOML; ``said_by`` named the path."""
    try:
        with Path(path).open("rb") as stream:
            content = stream.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise SettingsError((Problem((said_by,), f"cannot read {path!r}: {error.strerror or error}"),)) from None
    if len(content) > MAX_FILE_BYTES:
        raise SettingsError((Problem((said_by,), f"{path!r} is larger than {MAX_FILE_BYTES} bytes"),))
    try:
        text = content.decode("utf-8")
        data = tomllib.loads(text)
    except UnicodeDecodeError as error:
        raise SettingsError((Problem((path,), f"is not UTF-8 at byte {error.start}"),)) from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise SettingsError((_not_toml(path, str(error)),)) from None
    return File(path, data, _lines(text))


def _not_toml(path: str, message: str) -> Problem:
    # The parser's "... (at line 3, column 5)" becomes the place in front, where all other messages have it.
    found = re.search(r" \(at line (\d+), column (\d+)\)$", message)
    if found is None:
        return Problem((path,), f"is not TOML: {message[:1].lower()}{message[1:]}")
    message = message[: found.start()]
    return Problem((f"{path}: line {found[1]}",), f"is not TOML: {message[:1].lower()}{message[1:]}")


_TABLE: Final = re.compile(r"""\s*\[\s*["']?([^\]"']+?)["']?\s*\]""")
_KEY: Final = re.compile(r"""\s*["']?([A-Za-z0-9_-]+)["']?\s*[=.]""")


def _lines(text: str) -> dict[tuple[str, str], int]:
    # The standard parser keeps no places. A scan of line beginnings finds them in any file without multi-line
    # strings, which no setting needs; where it errs, only a line number is missing.
    found: dict[tuple[str, str], int] = {}
    table = ""
    for number, line in enumerate(text.splitlines(), 1):
        if match := _TABLE.match(line):
            table = match[1]
            found.setdefault(("", table), number)
        elif match := _KEY.match(line):
            found.setdefault((table, match[1]), number)
    return found


def nearest(name: str, valid: Collection[str]) -> str | None:
    """The valid name closest to a mistyped one, or None when none is close."""
    import difflib  # noqa: PLC0415 - only after a mistake: it would slow every start

    close = difflib.get_close_matches(name, sorted(valid), n=1, cutoff=0.6)
    return close[0] if close else None


def _unknown(key: str, table: str, valid: Collection[str]) -> str:
    close = nearest(key.lower().replace("-", "_"), {*valid, *(PROGRAMS if not table else ())})
    place = f"a setting in [{table}]" if table else "a setting"
    return f"{key} is not {place}" + (f"; did you mean {close!r}?" if close else "")


def _not_a_variable(variable: str, prefix: str, valid: Collection[str]) -> str:
    close = nearest(variable.removeprefix(prefix).lower(), {*valid, CONFIG})
    return "is not a setting and is ignored" + (f"; did you mean {prefix}{close.upper()}?" if close else "")
