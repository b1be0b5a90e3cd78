"""Tables written from what passed: `--pipeline-table` that of README, `--sweep-table` that of every class.

`pytest tests/pipelines --pipeline-table` writes benchmarks/pipelines.md, `make sweep` benchmarks/every-pipeline.md.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import pytest

from sweep.outcomes import Row, table
from tiny_pipelines.table import Outcomes

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
TABLE, EVERY = BENCHMARKS / "pipelines.md", BENCHMARKS / "every-pipeline.md"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--pipeline-table", action="store_true", help=f"write {TABLE.name} from the outcomes")
    parser.addoption("--sweep-table", action="store_true", help=f"write {EVERY.name} from what a sweep found")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "shows(what): what the table of pipelines says when such tests pass")
    if config.getoption("--pipeline-table") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(TableWriter())
    if config.getoption("--sweep-table") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(SweepWriter())


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
        terminalreporter.write_line(f"{TABLE} was written; the site takes it in")


class SweepWriter:
    """Collects what a sweep found and writes it into the table at the end, where nothing failed."""

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}
        self.failed = False

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.failed |= report.outcome == "failed"
        for name, value in report.user_properties:
            if name == "sweep":
                self.rows[value["name"]] = Row(**value)

    def pytest_sessionfinish(self) -> None:
        if self.rows and not self.failed:
            former = EVERY.read_text() if EVERY.is_file() else ""
            EVERY.write_text(table(list(self.rows.values()), diffusers.__version__, former))

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        told = "not written, for a test failed" if self.failed else "written"
        terminalreporter.write_line(f"{EVERY}: {told}")
