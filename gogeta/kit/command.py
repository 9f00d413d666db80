"""Settings declared once (kit/options.py) become a command line: options, grouped help, and one way to start.

A command of either program is a click command decorated with ``settings_options``; it gets its settings loaded from
flags, environment and file, with logging set up accordingly::

    @click.command(cls=SettingsCommand)
    @settings_options(PassivatorSettings, program=PROGRAM)
    def passivator(settings: Settings) -> int:
        return run_passivator(settings[PassivatorSettings])

    def main() -> None:
        sys.exit(start(passivator, "passivator"))

This module knows no particular setting, save that ``log_level`` and ``log_format`` are about logs.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

import click
from click.shell_completion import CompletionItem

from gogeta.domain.errors import Problem
from gogeta.kit.exits import run, wants_json
from gogeta.kit.options import ON_OFF, Option, declared
from gogeta.kit.sources import CONFIG, Program, SettingsError, Sources, flag_of, read_file

T = TypeVar("T")
Callback = TypeVar("Callback", bound=Callable[..., Any])

HELP_WIDTH: Final = 80
GENERAL: Final = "General"
"""Section of ``--config``, ``--version`` and ``--help``."""
_FLAG_ALONE: Final = {"is_flag": False, "flag_value": ON_OFF[0]}
_LAST: Final = ("Registry", "Logs", GENERAL)
"""Sections that every command has come after those of its own."""


@dataclass(frozen=True)
class Settings:
    """A command's settings, by class: ``settings[ServeSettings]``."""

    sources: Sources
    loaded: Mapping[type, Any]

    def __getitem__(self, kind: type[T]) -> T:
        """The settings of a class the command was declared with."""
        found = self.loaded[kind]
        assert isinstance(found, kind)  # noqa: S101 - tells the type checker what `load` promises
        return found


def settings_options(
    *classes: type,
    program: Program,
    tables: Mapping[type, str] | None = None,
    defaults: Mapping[str, Any] | None = None,
) -> Callable[[Callback], Callback]:
    """Give a click command one option per setting of ``classes``, and ``--config``.

    The command is called with ``settings: Settings``. Wrong values end it with every problem, each naming its source.
    ``tables``: a class may have a further table of the file to be read from (``gogeta up`` reads ``[passivator]``).
    ``defaults``: this command's own default for some settings.
    """
    tables, defaults = tables or {}, defaults or {}
    options: dict[str, Option] = {}
    for kind in classes:
        for option in declared(kind):
            options.setdefault(option.name, replace(option, default=defaults.get(option.name, option.default)))

    def decorate(callback: Callback) -> Callback:
        @functools.wraps(callback)
        def command(**arguments: Any) -> Any:  # noqa: ANN401 - whatever the command's own parameters are
            flags = {name: arguments.pop(name) for name in options}
            sources = _sources(program, arguments.pop(CONFIG), flags)
            settings = _load(sources, classes, options.values(), tables, defaults)
            return callback(settings=settings, **arguments)

        for option in reversed(options.values()):
            command = SettingOption.of(option, program)(command)
        return _config_option(program)(command)  # type: ignore[return-value] # less its settings' parameters

    return decorate


def _sources(program: Program, config: str | None, flags: Mapping[str, str | None]) -> Sources:
    variable = program.prefix + CONFIG.upper()
    path, said_by = (config, flag_of(CONFIG)) if config else (os.environ.get(variable, ""), variable)
    sources = Sources(program, {name: value for name, value in flags.items() if value is not None}, dict(os.environ))
    return replace(sources, file=read_file(path, said_by=said_by)) if path else sources


def _load(
    sources: Sources,
    classes: Sequence[type],
    options: Iterable[Option],
    tables: Mapping[type, str],
    defaults: Mapping[str, Any],
) -> Settings:
    loaded: dict[type, Any] = {}
    problems: dict[Problem, None] = {}
    strangers: tuple[Problem, ...] = ()
    try:
        strangers = sources.check(options, tables=tuple(tables.values()))
    except SettingsError as error:
        problems.update(dict.fromkeys(error.problems))
    for kind in classes:
        try:
            loaded[kind] = sources.load(kind, tables=(tables[kind],) if kind in tables else (), defaults=defaults)
        except SettingsError as error:
            # One wrong value that two classes read is one mistake.
            problems.update(dict.fromkeys(error.problems))
    if problems:
        raise SettingsError(tuple(problems))
    _set_up_logs(sources.program, loaded.values())
    if strangers:
        _warn(strangers)
    return Settings(sources, loaded)


def _warn(strangers: Iterable[Problem]) -> None:
    import logging  # noqa: PLC0415 - costs every start otherwise, see kit/logs.py

    for problem in strangers:
        # Handed to the handlers whatever the level: it may be the very name of the level that is mistyped.
        text = f"{problem.field} {problem.message}"
        record = {"name": __name__, "levelno": logging.WARNING, "levelname": "WARNING", "msg": text}
        logging.getLogger(__name__).handle(logging.makeLogRecord(record))


def _set_up_logs(program: Program, loaded: Iterable[Any]) -> None:
    for settings in loaded:
        if hasattr(settings, "log_level"):
            from gogeta.kit import logs  # noqa: PLC0415 - help and completion need none

            logs.setup(settings.log_level, settings.log_format, program.name)
            return


class SettingType(click.ParamType[str]):
    """A setting's text as given; it is parsed when all sources are known, so that all mistakes are told at once."""

    def __init__(self, option: Option) -> None:
        """``option`` names it, and completes it."""
        self.name = option.metavar
        self.option = option

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ANN401
        """The text itself."""
        return value

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """The choices, or files and folders where one is expected."""
        if self.option.metavar in ("FILE", "DIR"):
            return [CompletionItem(incomplete, type=self.option.metavar.lower())]
        return [CompletionItem(choice) for choice in self.option.choices if choice.startswith(incomplete)]


class SettingOption(click.Option):
    """An option made from a declaration. Its default and its variable are shown here and read by kit/sources.py."""

    section = GENERAL

    @classmethod
    def of(cls, option: Option, program: Program) -> Callable[[Callback], Callback]:
        """The decorator that adds ``option`` to a command."""
        notes = ["|".join(option.choices)] if option.choices else []
        if shown := option.show(option.default):
            notes.append(f"default: {shown}")
        notes.append(f"env: {program.prefix}{option.name.upper()}")

        def decorate(callback: Callback) -> Callback:
            decorated = click.option(
                flag_of(option.name),
                option.name,
                cls=cls,
                type=SettingType(option),
                metavar=option.metavar,
                help=f"{option.help}  [{'; '.join(notes)}]",
                default=None,
                **_FLAG_ALONE if option.choices == ON_OFF else {},
            )(callback)
            decorated.__click_params__[-1].section = option.section or GENERAL  # type: ignore[attr-defined]
            return decorated

        return decorate


def _config_option(program: Program) -> Callable[[Callback], Callback]:
    return click.option(
        flag_of(CONFIG),
        CONFIG,
        cls=SettingOption,
        type=click.Path(),
        metavar="FILE",
        help=f"TOML file with settings; flags and variables win over it.  [env: {program.prefix}{CONFIG.upper()}]",
        default=None,
    )


class SettingsCommand(click.Command):
    """A command whose help lists its own options first, and then the settings by section."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the sections."""
        sections: dict[str, list[tuple[str, str]]] = {"Options": []}
        for parameter in self.get_params(ctx):
            # Arguments stand in the usage line, and the text says what they are.
            record = parameter.get_help_record(ctx) if isinstance(parameter, click.Option) else None
            if record is not None:
                sections.setdefault(_section(parameter), []).append(record)
        for title in sorted(sections, key=lambda title: _LAST.index(title) if title in _LAST else -1):
            if sections[title]:
                with formatter.section(title):
                    formatter.write_dl(sections[title])


def _section(parameter: click.Parameter) -> str:
    if isinstance(parameter, SettingOption):
        return parameter.section
    return GENERAL if parameter.name in ("help", "version") else "Options"


def version_option() -> Callable[[Callback], Callback]:
    """``--version``: one version for both programs, they are one distribution."""

    def show(ctx: click.Context, _: click.Parameter, value: bool) -> None:  # noqa: FBT001 - click's protocol
        if value and not ctx.resilient_parsing:
            from importlib.metadata import version  # noqa: PLC0415 - slow, and seldom asked for

            click.echo(f"{ctx.find_root().info_name} {version('gogeta')}")
            ctx.exit()

    return click.option(
        "--version", is_flag=True, expose_value=False, is_eager=True, callback=show, help="Show the version and exit."
    )


def start(command: click.Command, program: str, arguments: Sequence[str] | None = None) -> int:
    """Run a program's command line (``sys.argv`` when no arguments are given); its exit status.

    Everything raised becomes a message and a status (kit/exits.py), and what was logged is written out.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)

    def main() -> Any:  # noqa: ANN401 - None or a status
        return command.main(given, prog_name=program, standalone_mode=False, max_content_width=HELP_WIDTH)

    try:
        return run(main, as_json=wants_json(given))
    finally:
        # Only if somebody set logs up: importing them for this would slow every `--help`.
        if (logs := sys.modules.get("gogeta.kit.logs")) is not None:
            logs.shutdown()
