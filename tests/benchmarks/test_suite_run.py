"""The suite's runner and report: it resumes, says which call failed, measures anew what changed, and finds the best."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.exact.flows import SD_BETAS, Gaussian
from benchmarks.suite import cells, report, rows
from benchmarks.suite import runner as run
from benchmarks.suite.extra_problems import Exact
from benchmarks.suite.measures import geometric_mean, rms
from diffusers_deis_sn.core.vp import vp_schedule

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
CHOSEN = ("DDIM", "DPM++ 2M", "Heun", "DEIS", "DEIS-SN")


class Bump(Exact):
    """One normal bump in 16 dimensions that counts its runs and can be told to fail."""

    def __init__(self) -> None:
        super().__init__("bump", Gaussian(vp_schedule(**SD_BETAS)), "vp", 16)
        self.runs, self.fails_at = 0, 0
        network = self.pipe.network

        def failing(*arguments: Any) -> torch.Tensor:
            if self.fails_at and self.pipe.calls == self.fails_at:
                raise RuntimeError("out of memory")
            return network(*arguments)

        self.pipe.network = failing

    def end(self, *arguments: Any) -> torch.Tensor:
        self.runs += 1
        return super().end(*arguments)


@pytest.fixture
def bump(monkeypatch: pytest.MonkeyPatch) -> Bump:
    problem = Bump()
    monkeypatch.setattr(run, "_problem", lambda name, order: problem)
    few = {"num_samples": 8, "num_inference_steps": 20, "batch_size": 8}
    monkeypatch.setattr("benchmarks.suite.problems.CALIBRATION", few)
    return problem


@pytest.fixture
def order(tmp_path: Path) -> run.Order:
    return run.Order(tmp_path, calls=(4, 5), samples=6, seeds=(1, 2), samplers=CHOSEN, every=True)


def of(order: run.Order, kind: str) -> list[rows.Row]:
    return [row for seed in order.seeds for row in rows.read(rows.path_of(order.output / "rows", "bump", seed, kind))]


def test_a_suite_that_ran_runs_nothing_again(bump: Bump, order: run.Order) -> None:
    assert run.run_problem("bump", order) == []
    found, runs = of(order, rows.RIVAL) + of(order, rows.OURS), bump.runs
    assert {row.sampler for row in found} == set(CHOSEN)
    assert len(found) == len(CHOSEN) * len(order.calls) * len(order.seeds)
    assert runs >= len(found)
    run.run_problem("bump", order)
    assert bump.runs == runs


def test_an_interrupted_suite_goes_on_where_it_stopped(bump: Bump, order: run.Order) -> None:
    run.run_problem("bump", order)
    whole = of(order, rows.RIVAL)
    path = rows.path_of(order.output / "rows", "bump", 2, rows.RIVAL)
    rows.write(path, [row for row in rows.read(path) if row.sampler != "DPM++ 2M"])
    before = bump.runs
    run.run_problem("bump", order)
    assert bump.runs - before >= len(order.calls)
    key = lambda row: (row.seed, row.sampler, row.asked)  # noqa: E731
    assert sorted(of(order, rows.RIVAL), key=key) == sorted(whole, key=key)


def test_rows_of_other_weights_are_measured_anew(bump: Bump, order: run.Order) -> None:
    run.run_problem("bump", order)
    before, bump.fingerprint = bump.runs, "retrained"
    run.run_problem("bump", order)
    assert bump.runs - before >= len(CHOSEN) * len(order.calls) * len(order.seeds)


def test_ours_alone_leave_the_rivals_rows(bump: Bump, order: run.Order, monkeypatch: pytest.MonkeyPatch) -> None:
    run.run_problem("bump", order)
    rivals, before = of(order, rows.RIVAL), bump.runs
    monkeypatch.setattr(run, "code", lambda: "changed")
    run.run_problem("bump", replace(order, kinds=(rows.OURS,)))
    assert bump.runs - before == 2 * len(order.calls) * len(order.seeds)
    assert of(order, rows.RIVAL) == rivals


def test_a_failure_names_sampler_and_call_and_the_rest_goes_on(bump: Bump, order: run.Order) -> None:
    run.run_problem("bump", replace(order, samplers=()))  # the converged runs
    bump.fails_at = 5
    failures = run.run_problem("bump", replace(order, kinds=(rows.RIVAL,)))
    assert "bump, seed 1, sampler DDIM, 5 calls, network call 5: RuntimeError: out of memory" in failures
    found = of(order, rows.RIVAL)
    assert all(bool(row.failure) == (row.calls == 5) for row in found)
    assert {row.asked for row in found if not row.failure} == {4}
    bump.fails_at = 0
    assert run.run_problem("bump", replace(order, kinds=(rows.RIVAL,))) == []
    assert not any(row.failure for row in of(order, rows.RIVAL))


def test_a_strict_suite_stops_at_the_first_failure(bump: Bump, order: run.Order) -> None:
    run.run_problem("bump", replace(order, samplers=()))
    bump.fails_at = 4
    with pytest.raises(run.SuiteError, match="sampler DDIM, 4 calls, network call 4"):
        run.run_problem("bump", replace(order, kinds=(rows.RIVAL,), strict=True))


def test_a_model_that_cannot_be_loaded_is_said_and_passed_over(
    order: run.Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str, order: run.Order) -> None:
        raise FileNotFoundError("no weights here")

    monkeypatch.setattr(run, "_problem", missing)
    assert run.run_problem("bump", order) == ["bump, before any run: FileNotFoundError: no weights here"]


def test_hopeless_rivals_are_not_run_to_the_end(bump: Bump, order: run.Order, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "LOOK", 3)
    order = replace(order, every=False, calls=(20,), samplers=("DDIM", "UniPC 2, Karras"))
    run.run_problem("bump", order)
    found = {(row.sampler, row.seed): row.samples for row in of(order, rows.RIVAL)}
    assert found == {("DDIM", 1): 3, ("UniPC 2, Karras", 1): 6, ("UniPC 2, Karras", 2): 6}
    before = bump.runs
    run.run_problem("bump", order)
    assert bump.runs == before
    run.run_problem("bump", replace(order, every=True))
    assert {(row.sampler, row.seed): row.samples for row in of(order, rows.RIVAL)}["DDIM", 2] == 6


def test_a_rival_is_hopeless_by_every_measure_or_not_at_all() -> None:
    steady, erratic = row("steady", [0.2] * 4), row("erratic", [0.001, 0.1, 0.1, 0.9])
    far, short = row("far", [0.9] * 4), replace(row("short", [0.01] * 2), samples=2)
    assert run.hopeless([steady, erratic, far, short], 4, 1.25) == {("far", 5), ("short", 5)}


# --------------------------------------------------------------------------------------------------------------- report


def row(sampler: str, errors: list[float], seed: int = 1, kind: str = rows.RIVAL, **values: Any) -> rows.Row:
    place = {"problem": "net@3", "role": "choosing", "group": "network", "family": "vp", "asked": 5, "calls": 5}
    place["samples"] = len(errors)
    return rows.Row(
        **{**place, **values},
        kind=kind,
        sampler=sampler,
        seed=seed,
        geometric=geometric_mean(np.array(errors)),
        rms=rms(np.array(errors)),
        disagreement=0.001,
        errors=rows.packed(np.array(errors)),
    )


ROWS = [
    row("steady", [0.2, 0.2, 0.2, 0.2], grain=1.5),
    row("erratic", [0.01, 0.1, 0.1, 0.9], grain=2.0),
    row("DEIS-SN", [0.1, 0.1, 0.1, 0.1], kind=rows.OURS, grain=1.5),
]


def test_rows_survive_their_file(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    rows.write(path, ROWS)
    found = rows.read(path)
    assert [one.sampler for one in found] == ["steady", "erratic", "DEIS-SN"]
    assert found[0].grain == 1.5 and found[0].accuracy is None and found[0].seed == 1
    assert found[1].sample_errors == pytest.approx([0.01, 0.1, 0.1, 0.9], rel=1e-3)


def test_each_measure_has_its_own_best_rival() -> None:
    (cell,) = cells.cells_of(ROWS)
    assert cell.best("geometric mean").name == "erratic" and cell.best("RMS").name == "steady"
    assert cell.ratio("DEIS-SN") == pytest.approx(0.1 / geometric_mean(np.array([0.01, 0.1, 0.1, 0.9])), rel=1e-2)
    assert cell.ratio("DEIS-SN", "RMS") == pytest.approx(0.5, rel=1e-2)
    assert cell.grain_over_best("DEIS-SN") == pytest.approx(0.75)


def test_only_samplers_of_all_seeds_can_be_the_best() -> None:
    (cell,) = cells.cells_of([*ROWS, row("steady", [0.2] * 4, seed=2), row("DEIS-SN", [0.1] * 4, 2, rows.OURS)])
    assert cell.best().name == "steady"
    assert len(cell.entrants["DEIS-SN"].errors) == 8


def test_a_cell_whose_converged_runs_differ_says_so() -> None:
    (cell,) = cells.cells_of([replace(one, disagreement=0.009) for one in ROWS])
    assert cell.doubtful and "net@3 at 5" in report.overview([cell])
    (cell,) = cells.cells_of(ROWS)
    assert not cell.doubtful


def test_the_overview_counts_what_was_won() -> None:
    other = [replace(one, problem="other", role="reporting") for one in ROWS]
    lost = [replace(one, errors=rows.packed(np.full(4, 0.4))) if one.kind == rows.OURS else one for one in other]
    text = report.overview(cells.cells_of([*ROWS, *lost]))
    ratio = 0.1 / geometric_mean(np.array([0.01, 0.1, 0.1, 0.9]))
    assert f"| choosing | {ratio:.2f} ({int(ratio < 1)}/1) |" in text
    assert f"| all | {2 * ratio:.2f} (0/2) |" in text
    assert f"| largest | {4 * ratio:.2f} (other) |" in text


def test_the_report_of_a_suite_is_written(bump: Bump, order: run.Order) -> None:
    run.run_problem("bump", order)
    report.write_report(order.output / "rows", order.output / "report", pictures=False)
    assert {path.name for path in (order.output / "report").iterdir()} == {
        "cells.md",
        "error-words.md",
        "errors.npz",
        "losses.md",
        "ratios.png",
        "ratios-dark.png",
        "results.csv",
        "rivals.md",
        "settings.md",
        "summary.md",
        "table.md",
    }
    assert "bump" in (order.output / "report/cells.md").read_text()


def test_the_report_tells_what_failed() -> None:
    lost = [replace(row("broken", [1.0]), failure="network call 3: no memory", asked=n) for n in (4, 5)]
    assert report.failures([]) == ""
    assert "* net@3, broken, 4 (seed 1), 5 (seed 1) calls: network call 3: no memory" in report.failures(lost)


def test_statistics_are_measured_again_if_asked(bump: Bump, order: run.Order) -> None:
    run.run_problem("bump", replace(order, samplers=()))
    (path,) = (order.output / "statistics").glob("*/score_statistics.safetensors")
    path.write_bytes(b"old")
    assert run.run_problem("bump", replace(order, samplers=("DEIS-SN",)))  # unreadable
    assert not run.run_problem("bump", replace(order, samplers=("DEIS-SN",), recalibrate=True))


def test_a_report_of_nothing_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report.write_report(tmp_path / "rows", tmp_path / "report")
    assert "no report" in capsys.readouterr().out
