from __future__ import annotations

from pathlib import Path

import pytest

from gogeta.kit.parsers import require_compiled_parser
from tests.rig.ports import free_port
from tests.rig.programs import ProcessRack


def test_the_compiled_parser_is_what_we_run_on() -> None:
    require_compiled_parser()


@pytest.mark.parametrize("program", [("gogeta", "serve"), ("passivator",)])
def test_no_program_runs_on_the_pure_python_parser(
    program: tuple[str, ...], processes: ProcessRack, tmp_path: Path
) -> None:
    ended = processes.run(
        *program,
        f"--admin=127.0.0.1:{free_port()}",
        f"--registry=embedded:{tmp_path / 'registry.db'}",
        env={"AIOHTTP_NO_EXTENSIONS": "1"},
    )
    assert ended.returncode == 1
    assert "pure-Python HTTP parser" in ended.stderr
    assert "AIOHTTP_NO_EXTENSIONS" in ended.stderr
