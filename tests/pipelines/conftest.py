"""`pytest tests/pipelines --pipeline-table` writes the table of README from what passed: benchmarks/pipelines.md."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tiny_pipelines.table import Outcomes

TABLE = Path(__file__).resolve().parents[2] / "benchmarks/pipelines.md"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--pipeline-table", action="store_true", help=f"write {TABLE.name} from the outcomes")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "shows(what): what the table of pipelines says when such tests pass")
    if config.getoption("--pipeline-table") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(TableWriter())


def pytest_collection_modifyitems(items: list[Any]) -> None:
    """Tell each report, which may come from another process, the row and the column of its test."""
    for item in items:
        marker = item.get_closest_marker("shows")
        if marker is not None:
            params = item.callspec.params if hasattr(item, "callspec") else {}
            item.user_properties += [
                ("shows", marker.args[0]),
                ("row", str(params["family"])),
                ("scheduler", params["scheduler"]),
            ]


class TableWriter:
    """Collects outcomes and writes the table at the end."""

    def __init__(self) -> None:
        self.outcomes = Outcomes()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        told = dict(report.user_properties)
        if "shows" in told and (report.when == "call" or report.outcome != "passed"):
            self.outcomes.add(told["row"], told["scheduler"], told["shows"], report.outcome == "passed")

    def pytest_sessionfinish(self) -> None:
        TABLE.write_text(self.outcomes.table())

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        terminalreporter.write_line(f"{TABLE} was written; `python -m benchmarks.readme` brings it into README.md")
