import asyncio
import io
import json
import logging
import sys
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest

from gogeta.cli.main import gogeta
from gogeta.domain.tenant import read_tenant
from gogeta.kit.command import start
from gogeta.kit.setting_values import parse_registry
from gogeta.registry.opening import open_store
from gogeta.registry.registry import Registry
from gogeta.settings import RegistrySettings

T = TypeVar("T")


@dataclass(frozen=True)
class Ended:
    """What became of a command."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:  # noqa: ANN401 - whatever JSON holds
        """Its output, as JSON."""
        return json.loads(self.out)

    @property
    def error(self) -> Any:  # noqa: ANN401 - ditto
        """Its error, as JSON: the last line of stderr."""
        return json.loads(self.err.splitlines()[-1])["error"]


class Cli:
    """Runs gogeta's commands in this process, in a folder of the test's own, on the registry there."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.registry = folder / "gogeta.db"
        self.settings = RegistrySettings(registry=parse_registry(f"embedded:{self.registry}"))
        self._capsys = capsys
        self._monkeypatch = monkeypatch

    def __call__(self, *arguments: str, stdin: str = "") -> Ended:
        """Run `gogeta ARGUMENTS`."""
        self._capsys.readouterr()
        self._monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode()), encoding="utf-8"))
        status = start(gogeta, "gogeta", arguments)
        out, err = self._capsys.readouterr()
        assert "Traceback" not in err
        return Ended(status, out, err)

    def write(self, content: str, name: str = "tenants.yaml") -> str:
        """A file in the folder; its name."""
        (self.folder / name).write_text(content, encoding="utf-8")
        return name

    def on_registry(self, work: Callable[[Registry], Awaitable[T]]) -> T:
        """Do something on the registry, as another process would."""

        async def main() -> T:
            store = open_store(self.settings)
            try:
                return await work(Registry(store, "test"))
            finally:
                await store.close()

        return asyncio.run(main())

    def have(self, *names: str) -> None:
        """Make these tenants, each a local process with one host, in the registry."""
        tenants = [
            read_tenant({"name": name, "hosts": [f"{name}.localhost"], "process": {"command": ["app"]}}, what=name)
            for name in names
        ]
        self.on_registry(lambda registry: registry.apply(tenants))

    def names(self) -> list[str]:
        """The tenants in the registry."""
        return sorted(self.on_registry(lambda registry: registry.load()).by_name)


@pytest.fixture
def cli(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Cli]:
    """The commands, in this process."""
    monkeypatch.chdir(tmp_path)
    for name in ("CONFIG", "REGISTRY", "LISTEN", "ADMIN", "LOG_LEVEL"):
        monkeypatch.delenv(f"GOGETA_{name}", raising=False)
    level = logging.getLogger().level
    yield Cli(tmp_path, capsys, monkeypatch)
    logging.getLogger().setLevel(level)
