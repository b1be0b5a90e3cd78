"""The runs in their order: who fails takes no part, and the rival that needs fewest calls is found."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
import torch

from comparisons import row
from diffusers_deis_sn.comparison.advice import Equal
from diffusers_deis_sn.comparison.contenders import Contender, Skipped
from diffusers_deis_sn.comparison.course import Course
from diffusers_deis_sn.comparison.reference import Reference
from diffusers_deis_sn.comparison.rows import Row


@dataclass
class Laws:
    """In the place of a runner: errors that are known functions of the number of calls."""

    laws: dict
    prompts: int = 8
    runs: list = field(default_factory=list)
    report: object = None

    def row(self, one: Contender, calls: int, further: bool = False) -> Row:
        self.runs.append((one.name, calls))
        law = self.laws[one.name]
        if isinstance(law, Exception):
            raise law
        made = row(one.name, calls, law(calls), self.prompts, further, noise=0.0)
        return Row(one.name, calls, made.distances, ours=one.ours, further=further)


def course(laws) -> tuple[Course, Laws, list[Contender], list[Skipped]]:
    runner, skipped = Laws(laws), []
    entrants = [Contender(name, object, ours=name == "ours") for name in laws]
    return Course(runner, False, lambda *_, **__: None, skipped), runner, entrants, skipped


def steep(order: float, at_8: float):
    return lambda calls: at_8 * (8 / calls) ** order


def test_the_rival_that_needs_fewest_is_found_though_another_is_nearest() -> None:
    """The nearest in 8 calls falls slowly: one that is far there needs fewer in the end, as Karras' levels do."""
    laws = {"slow": steep(0.5, 0.06), "steep": steep(4.0, 0.09), "ours": steep(2.0, 0.02)}
    one, runner, entrants, _ = course(laws)
    one.columns(entrants, (6, 8, 10))
    found = one.equal(entrants, 8)
    needed = next(n for n in range(9, 48) if laws["steep"](n) <= 0.02)
    assert found == Equal("steep", needed, 48)
    further = [run for run in runner.runs[9:]]
    assert ("slow", needed - 1) in further and len(further) <= 4
    assert all(each.further == (each.calls > 10) for each in one.rows)


def test_nobody_looks_where_ours_do_not_win() -> None:
    one, runner, entrants, _ = course({"rival": steep(2.0, 0.01), "ours": steep(2.0, 0.02)})
    one.columns(entrants, (8,))
    assert one.equal(entrants, 8) is None
    assert len(runner.runs) == 2


def test_a_rival_that_never_comes_as_near() -> None:
    one, _, entrants, _ = course({"rival": lambda calls: 0.06, "ours": steep(2.0, 0.02)})
    one.columns(entrants, (6, 8))
    assert one.equal(entrants, 8) == Equal("rival", None, 48)


def test_who_fails_takes_no_part_in_any_column() -> None:
    laws = {"rival": steep(2.0, 0.06), "broken": ValueError("sigmas are not supported"), "ours": steep(2.0, 0.02)}
    one, runner, entrants, skipped = course(laws)
    one.columns(entrants, (6, 8))
    assert skipped == [Skipped("broken", "sigmas are not supported.")]
    assert {each.scheduler for each in one.rows} == {"rival", "ours"}
    assert runner.runs.count(("broken", 6)) + runner.runs.count(("broken", 8)) == 1
    assert one.equal(entrants, 8).scheduler == "rival"


def test_memory_that_does_not_suffice_for_one_picture_ends_it() -> None:
    one, _, entrants, _ = course({"rival": torch.cuda.OutOfMemoryError("CUDA out of memory")})
    with pytest.raises(torch.cuda.OutOfMemoryError):
        one.columns(entrants, (8,))


def test_a_pipeline_that_does_not_take_the_first_yardstick_has_the_next(monkeypatch) -> None:
    asked = []

    def converge(runner, one, coarse, report):
        asked.append(one.name)
        if one.name == "first":
            raise TypeError("unexpected keyword argument 'eta'")
        return Reference(one.name, (), 100, 50, 8, 0.001, 0.01, coarse)

    monkeypatch.setattr("diffusers_deis_sn.comparison.course.converge", converge)
    one, *_ = course({})
    reference, chosen = one.converged([Contender("first", object), Contender("second", object)], 8)
    assert asked == ["first", "second"] and reference.scheduler == chosen.name == "second"


def test_rows_keep_their_order() -> None:
    one, _, entrants, _ = course({"rival": steep(2.0, 0.06), "ours": steep(2.0, 0.02)})
    one.columns(entrants, (6, 8))
    assert [(each.scheduler, each.calls) for each in one.rows] == [("rival", 6), ("ours", 6), ("rival", 8), ("ours", 8)]
    assert np.all(one.rows[0].distances > one.rows[1].distances)


def test_who_takes_part_in_some_numbers_of_calls_is_run_in_these_alone() -> None:
    one, runner, entrants, _ = course({"rival": steep(2.0, 0.06), "ours": steep(2.0, 0.02)})
    entrants.append(Contender("ours, tuned", object, ours=True, calls=frozenset({8})))
    runner.laws["ours, tuned"] = steep(2.0, 0.01)
    one.columns(entrants, (6, 8))
    assert runner.runs == [("rival", 6), ("ours", 6), ("rival", 8), ("ours", 8), ("ours, tuned", 8)]
    assert one.equal(entrants, 8).scheduler == "rival"
