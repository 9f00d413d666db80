"""The reference pages, made from the declarations: docs/settings.md and docs/cli.md.

`docs/generate.py` writes them and a test fails when they are stale. What cannot be derived (how sources combine, the
JSON shapes) is said here, beside the code that shows it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from inspect import cleandoc

import click

from gogeta.cli.main import COMMANDS, gogeta
from gogeta.kit.command import HELP_WIDTH, SettingOption
from gogeta.kit.exits import ExitStatus
from gogeta.kit.options import Option, declared
from gogeta.kit.sources import flag_of


@dataclass(frozen=True, slots=True)
class Chapter:
    """The settings of one class."""

    title: str
    prefix: str
    """Of the environment variables."""
    settings: type
    intro: str


_SETTINGS_INTRO = """
    # Settings

    <!-- Made by docs/generate.py from the declarations in the code; do not edit. -->

    Every setting has one name. It is said in one of four places; the first that says something wins:

    1. the flag: `--drain-timeout 10s`
    2. the variable: `GOGETA_DRAIN_TIMEOUT=10s` (`PASSIVATOR_...` for `passivator`); an empty one counts as unset
    3. the TOML file named by `--config FILE` or `GOGETA_CONFIG` (`PASSIVATOR_CONFIG`): `drain_timeout = "10s"`
    4. the default

    One file can serve both programs. What stands at its top level holds for every program that reads the file; the
    tables `[gogeta]` and `[passivator]` hold for one program and win over the top level:

    ```toml
    registry = "etcd://10.0.0.5:2379,10.0.0.6:2379"   # both

    [gogeta]
    listen = ":80"
    drain_timeout = "1m"

    [passivator]
    driver = "docker"
    ```

    `gogeta up` runs the controller too. All its settings are GOGETA_... variables and stand in `[gogeta]`; those of the
    controller are also read from `[passivator]`.

    What is wrong is told all at once, each with its source: `--listen: expected ...`, `GOGETA_WORKERS: expected ...`,
    `gogeta.toml: line 3: listn is not a setting; did you mean 'listen'?`. The exit status is then 2. An unknown name in
    the file is refused: whoever wrote it meant something. An unknown variable is only warned of, since others put
    variables of that prefix there in good faith (in Kubernetes, a service called `gogeta` brings `GOGETA_PORT`).

    Durations are numbers of seconds or text such as `500ms`, `30s`, `30m`, `1h30m`; sizes are bytes or text such as
    `64k`, `256m`, `2g` (powers of 1024).
"""

_CLI_INTRO = """
    # Command line

    <!-- Made by docs/generate.py from the commands themselves; do not edit. -->

    `gogeta COMMAND --help` shows the same as this page. The commands about tenants work on the registry alone: they
    need neither a running proxy nor a running passivator. Settings: [settings.md](settings.md).

    ## Exit statuses

"""

_JSON = """
    ## JSON

    `-o json` prints one JSON value on standard output. Members are added over time; none is renamed or removed. Times
    are RFC 3339 in UTC with milliseconds, or null; durations are seconds unless their name ends in `ms`.

    An error is one line on standard error; warnings may stand before it:

    ```json
    {"error": {"kind": "refused", "exit_status": 5, "messages": ["tenant 'acme' ..."], "hint": "gogeta start acme"}}
    ```

    `kind` is the name of the exit status: KINDS.

    | command | shape |
    |---|---|
    | `tenants` | `{"tenants": [TENANT, ...]}`, sorted by name |
    | `tenants NAME` | `TENANT` |
    | `apply` | `{"dry_run": bool, "tenants": [{"name", "result", "fields"}]}`; `result` is `created`, `changed` or `unchanged`, `fields` what changed |
    | `import-arken` | `{"dry_run": bool, "source", "tenants": [{"name", "result", "fields", "from", "begins", "last_access", "notes", "declaration"}], "notes": [{"key", "message"}]}`; `from` is the key it is made from, `begins` is `routed`, `started`, `passivated`, `stopped`, or null for a tenant that exists already |
    | `wake`, `start`, `sleep`, `stop` | `{"name", "desired", "observed", "changed", "endpoints", "phases", "took_ms"}`; `changed` is false when it was so already |
    | the same with `--no-wait` | `{"name", "desired", "changed"}` |
    | `rm` | `{"name", "removed": true}` |
    | `explain` | `{"name", "state", "sentence", "because", "would_sleep_at", "warnings", "policy", "wakes": [WAKE, ...], "timeline": {"events": [EVENT, ...], "dropped"}}`; [explaining.md](explaining.md) says what each is |

    TENANT:

    | member | is |
    |---|---|
    | `name`, `hosts` | as declared |
    | `state` | one word, as in the table: `passivated`, `stopped`, `starting`, `started`, `stopping`, `paused`, `failed`, `routed` |
    | `runs` | `docker`, `process` or `upstreams` |
    | `meets` | what a visitor meets: `forward`, `wake`, `wait`, `stopped`, `failed` |
    | `endpoints` | where it answers now: `["host:port", ...]` |
    | `idle_timeout` | seconds, or null for never |
    | `last_access` | null, or `{"at", "by", "in_flight", "tunnels"}` |
    | `desired` | null when routed only, or `{"state", "since", "cause", "by", "wakes"}` |
    | `observed` | null when routed only, or `{"state", "since", "phase", "phases": [{"name", "ms"}], "reason", "wakes"}`; `reason` is null or `{"code", "message", "retry_at"}` |
    | `declaration` | as in tenants.yaml, without what is at its default |

    WAKE: `{"wake", "asked_at", "by", "why", "request_id", "outcome", "failed_tries", "steps", "ready_ms", "seen_by_proxy", "first_byte_ms", "held"}`.
    EVENT: `{"at", "kind", "who", "why", "wake", "text", "request_id", "phases", "held", "times", "last"}`. Steps and phases are `[{"name", "ms"}]`.
"""  # noqa: E501 - a row of a table is one line


def settings_page(chapters: Sequence[Chapter]) -> str:
    """docs/settings.md."""
    return "\n".join([_text(_SETTINGS_INTRO), *(line for chapter in chapters for line in _chapter(chapter))])


def _chapter(chapter: Chapter) -> Iterable[str]:
    yield f"## {chapter.title}\n"
    yield f"{chapter.intro}\n"
    sections: dict[str, list[Option]] = {}
    for option in declared(chapter.settings):
        sections.setdefault(option.section, []).append(option)
    for section, options in sections.items():
        yield f"### {section}\n"
        yield "| name | flag, variable | default | |"
        yield "|---|---|---|---|"
        for option in options:
            default = option.show(option.default)
            spelling = f"`{flag_of(option.name)} {option.metavar}`<br>`{chapter.prefix}{option.name.upper()}`"
            choices = f" One of {', '.join(f'`{choice}`' for choice in option.choices)}." if option.choices else ""
            yield f"| `{option.name}` | {spelling} | {f'`{default}`' if default else ''} | {option.help}{choices} |"
        yield ""


def cli_page() -> str:
    """docs/cli.md."""
    lines = [_text(_CLI_INTRO), "| status | means |", "|---|---|"]
    lines += [f"| {int(status)} | {status.meaning} |" for status in ExitStatus]
    lines += ["", _text(_JSON.replace("KINDS", ", ".join(f"`{status.name.lower()}`" for status in ExitStatus)))]
    root = click.Context(gogeta, info_name="gogeta")
    for section, commands in COMMANDS.items():
        lines.append(f"## {section}\n")
        for name in commands:
            command = gogeta.get_command(root, name)
            assert command is not None  # noqa: S101 - the table names commands
            lines += _command(name, command, root)
    return "\n".join(lines)


def _command(name: str, command: click.Command, root: click.Context) -> Iterable[str]:
    context = click.Context(
        command, info_name=name, parent=root, max_content_width=HELP_WIDTH, terminal_width=HELP_WIDTH
    )
    # The settings of each command stand in settings.md; here, what is the command's own.
    shown = click.Command(
        name,
        params=[parameter for parameter in command.params if not isinstance(parameter, SettingOption)],
        help=command.help,
    )
    yield f"### gogeta {name}\n"
    yield "```text"
    yield shown.get_help(context).rstrip()
    yield "```\n"
    sections = dict.fromkeys(parameter.section for parameter in command.params if isinstance(parameter, SettingOption))
    if sections:
        yield f"And [settings](settings.md): {', '.join(sections)}.\n"


def _text(text: str) -> str:
    return cleandoc(text) + "\n"
