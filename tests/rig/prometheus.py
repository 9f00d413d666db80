"""Prometheus from Debian: its tool, which judges metrics and rules, and a server that scrapes what runs in a test."""

import subprocess
import time
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests.rig.missing import missing
from tests.rig.ports import free_port
from tests.rig.programs import Finished, ProcessRack, Program, resolve


def need_prometheus() -> None:
    """Skip the test where there is no Prometheus."""
    try:
        resolve("promtool")
        resolve("prometheus")
    except FileNotFoundError:
        missing("prometheus", "no programs promtool and prometheus; Debian has both in prometheus")


def promtool(*arguments: str | Path, given: str = "", cwd: Path | None = None) -> Finished:
    """Run promtool to its end."""
    need_prometheus()
    command = [str(resolve("promtool")), *map(str, arguments)]
    ended = subprocess.run(command, input=given, check=False, capture_output=True, text=True, timeout=60, cwd=cwd)
    return Finished(ended.returncode, ended.stdout, ended.stderr)


class Prometheus:
    """A server that scrapes every half second and evaluates rules as often; ended with the processes of the test."""

    def __init__(self, processes: ProcessRack, folder: Path, jobs: dict[str, int], rules: Path | None = None) -> None:
        """``jobs``: name of job to the port on loopback where its /metrics is."""
        need_prometheus()
        self.port = free_port()
        config = {
            "global": {"scrape_interval": "500ms", "scrape_timeout": "500ms", "evaluation_interval": "500ms"},
            "rule_files": [str(rules)] if rules is not None else [],
            "scrape_configs": [
                {"job_name": job, "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]} for job, port in jobs.items()
            ],
        }
        file = folder / "prometheus.yml"
        file.write_text(yaml.safe_dump(config))
        self.program: Program = processes.start(
            "prometheus",
            f"--config.file={file}",
            f"--storage.tsdb.path={folder / 'prometheus'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
            "--log.level=warn",
        )
        self.program.wait_for_port(self.port, timeout=30)

    def _ask(self, path: str, **parameters: str) -> Any:  # noqa: ANN401 - whatever it is
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}"
        answer = httpx.get(url, params=parameters, timeout=10, trust_env=False).json()
        assert answer["status"] == "success", answer
        return answer["data"]

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """The vector that an expression is now: labels and value. Fails for what is no expression."""
        data = self._ask("query", query=expression)
        if data["resultType"] == "scalar":
            return [({}, float(data["result"][1]))]
        return [(one["metric"], float(one["value"][1])) for one in data["result"]]

    def firing(self) -> set[str]:
        """The names of the alerts that fire now."""
        return {alert["labels"]["alertname"] for alert in self._ask("alerts")["alerts"] if alert["state"] == "firing"}

    def until_firing(self, *names: str, within: float = 30.0) -> None:
        """Wait until these alerts fire, whatever others do."""
        deadline = time.monotonic() + within
        while missing_ones := set(names) - self.firing():
            assert time.monotonic() < deadline, f"do not fire within {within:g} s: {missing_ones}; {self.firing()} do"
            time.sleep(0.2)

    def until(self, expression: str, *, within: float = 30.0) -> list[tuple[dict[str, str], float]]:
        """Wait until an expression has a result, and return it."""
        deadline = time.monotonic() + within
        while not (result := self.query(expression)):
            assert time.monotonic() < deadline, f"still nothing after {within:g} s: {expression}"
            time.sleep(0.2)
        return result
