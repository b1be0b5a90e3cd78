"""Algorithm 2: levels move to equal costs, alike in all processes and after a checkpoint; bad input changes nothing."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from diffusers_deis_sn.errors import ScheduleError
from diffusers_deis_sn.learn.adaptive import AdaptiveSchedule
from diffusers_deis_sn.learn.costs import corrector_cost
from diffusers_deis_sn.learn.search import update_schedule
from oracles import gaussian_corrector_length
from refusals import refused

STD, TOP, BOTTOM = 0.5, 20.0, 0.1
LEVELS = np.geomspace(TOP, BOTTOM, 9)


def gaussian(y: Tensor, sigma: Any) -> Tensor:
    """The exact network of data N(0, STD^2)."""
    return sigma * y / (STD**2 + sigma**2)


def length(sigma: np.ndarray) -> np.ndarray:
    return gaussian_corrector_length(sigma, STD)


def unequal(levels: np.ndarray) -> float:
    """How far a schedule is from equal parts of the exact path, in parts of it."""
    parts = (length(levels) - length(levels[-1])) / (length(levels[0]) - length(levels[-1]))
    return float(np.max(np.abs(parts - np.linspace(1.0, 0.0, len(levels)))))


def visit(schedule: AdaptiveSchedule, costs: np.ndarray, times: int = 1) -> None:
    """Show each interval `times` samples of its cost."""
    intervals = torch.arange(len(schedule)).repeat(times)
    schedule.update(intervals, torch.tensor(costs)[intervals])


def facts(schedule: AdaptiveSchedule) -> list[bytes]:
    """All that a schedule knows, bit by bit."""
    return [np.asarray(value).tobytes() for value in schedule.state_dict().values()]


# ------------------------------------------------------------------------------------------------------- where it goes


@pytest.mark.parametrize("start", ["log", "linear"])
def test_training_batches_lead_to_equal_parts_of_the_exact_path(start: str) -> None:
    levels = np.geomspace(TOP, BOTTOM, 101) if start == "log" else np.linspace(TOP, BOTTOM, 101)
    schedule, generator = AdaptiveSchedule(levels, gamma=0.1), torch.Generator().manual_seed(0)
    first = None
    for _ in range(150):
        intervals, sigma, entered = schedule.draw(2400, generator)
        sigma, entered = sigma[:, None], entered[:, None]
        data = STD * torch.randn(2400, 1, generator=generator, dtype=torch.float64)
        y = data + sigma * torch.randn(2400, 1, generator=generator, dtype=torch.float64)
        schedule.update(intervals, corrector_cost(gaussian, y, sigma, entered))
        assert schedule.resample()
        first = first or schedule.energy / schedule.path_length**2

    assert unequal(levels) > 0.15
    assert unequal(schedule.levels) < 0.015  # short steps: 0.004; noise of 24 samples an interval
    assert 1.0 <= schedule.energy / schedule.path_length**2 < 1.04 < 1.3 < first
    assert schedule.path_length == pytest.approx(length(TOP) - length(BOTTOM), rel=0.03)
    assert schedule.levels[[0, -1]].tolist() == levels[[0, -1]].tolist()


@given(
    st.lists(st.floats(0.0, 10.0), min_size=8, max_size=8).filter(lambda costs: max(costs) > 0.0),
    st.floats(0.01, 1.0),
    st.sampled_from([1, 2, 4]),
)
def test_levels_go_a_share_of_the_way_to_equal_costs(costs: list[float], gamma: float, order: int) -> None:
    schedule = AdaptiveSchedule(LEVELS, order=order, gamma=gamma, min_visits=1)
    visit(schedule, np.array(costs))
    assert schedule.resample()

    wanted = update_schedule(LEVELS, costs, order)
    np.testing.assert_allclose(schedule.levels, wanted**gamma * LEVELS ** (1.0 - gamma), rtol=1e-12)
    assert schedule.levels[[0, -1]].tolist() == LEVELS[[0, -1]].tolist()
    assert np.all(np.diff(schedule.levels) < 0.0)


@given(st.lists(st.floats(0.0, 10.0), min_size=8, max_size=8), st.sampled_from([1, 2, 4]))
def test_energy_is_at_least_a_power_of_the_length(costs: list[float], order: int) -> None:
    schedule = AdaptiveSchedule(LEVELS, order=order, min_visits=1)
    visit(schedule, np.array(costs))
    schedule.resample()
    assert schedule.energy >= schedule.path_length**order * (1.0 - 1e-12)

    even = AdaptiveSchedule(LEVELS, order=order, min_visits=1)
    visit(even, np.full(8, 0.7))
    even.resample()
    assert even.energy == pytest.approx(even.path_length**order, rel=1e-12)


def test_levels_move_once_every_interval_was_visited_often_enough() -> None:
    schedule = AdaptiveSchedule(LEVELS, min_visits=3)
    costs = np.arange(1.0, 9.0)
    for _ in range(2):
        visit(schedule, costs)
        assert not schedule.resample()
    schedule.update(torch.arange(7), torch.arange(7.0))  # all but the last
    assert not schedule.resample()
    assert schedule.levels.tolist() == LEVELS.tolist()
    assert schedule.costs is None and schedule.errors is None and schedule.moves == 0
    assert np.isnan(schedule.path_length) and np.isnan(schedule.energy)
    assert schedule.visits.tolist() == [3] * 7 + [2]

    schedule.update(torch.tensor([7]), torch.tensor([8.0]))
    assert schedule.resample()
    assert schedule.moves == 1 and np.all(schedule.levels[1:-1] != LEVELS[1:-1])
    assert schedule.visits.tolist() == [0] * 8
    assert not schedule.resample()  # nothing new


def test_costs_and_their_errors_are_those_of_the_samples() -> None:
    schedule, generator = AdaptiveSchedule(LEVELS), np.random.default_rng(0)
    samples = generator.gamma(2.0, np.arange(1.0, 9.0)[:, None], (8, 30))
    for batch in np.split(samples, [7, 11], axis=1):
        intervals = torch.arange(8).repeat_interleave(batch.shape[1])
        order = torch.from_numpy(generator.permutation(len(intervals)))
        schedule.update(intervals[order], torch.from_numpy(batch.ravel())[order])
        schedule.resample()
    np.testing.assert_allclose(schedule.costs, samples.mean(1), rtol=1e-12)
    np.testing.assert_allclose(schedule.errors, samples.std(1, ddof=1) / np.sqrt(30), rtol=1e-12)


def test_a_network_whose_output_is_zero_leaves_the_levels_alone() -> None:
    schedule = AdaptiveSchedule(LEVELS, min_visits=1)
    visit(schedule, np.zeros(8))
    assert not schedule.resample()
    assert schedule.levels.tolist() == LEVELS.tolist() and schedule.energy == 0.0 and schedule.moves == 0
    assert schedule.costs.tolist() == [0.0] * 8
    visit(schedule, np.arange(8.0))
    assert schedule.resample()


def test_single_costs_below_zero_are_noise_and_all_of_them_an_error() -> None:
    schedule = AdaptiveSchedule(LEVELS)
    noise = torch.randn(8, 24, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    schedule.update(torch.arange(8).repeat_interleave(24), (0.1 + noise).ravel())
    assert schedule.resample()
    assert np.min(schedule.costs) == 0.0 < np.max(schedule.costs)

    schedule.update(torch.arange(8).repeat_interleave(24), (-3.0 + noise).ravel())
    refused(ScheduleError, ["negative", "-3.0", "corrector_cost"], schedule.resample)


# --------------------------------------------------------------------------------------------------------------- draws


@pytest.mark.parametrize("batch", [1, 5, 8, 21, 800])
def test_draws_are_even_and_name_the_levels_of_their_steps(batch: int) -> None:
    schedule, generator = AdaptiveSchedule(LEVELS), torch.Generator().manual_seed(1)
    total = np.zeros(8)
    for _ in range(400):
        intervals, sigma, entered = schedule.draw(batch, generator)
        assert intervals.shape == sigma.shape == entered.shape == (batch,)
        assert np.array_equal(sigma, LEVELS[intervals.numpy()])
        assert np.array_equal(entered, LEVELS[intervals.numpy() + 1])
        visits = np.bincount(intervals, minlength=8)
        assert abs(visits - batch / 8).max() < 1.0
        total += visits
    assert abs(total / (400 * batch) - 1 / 8).max() < 4.0 * np.sqrt(1 / 8 / 400 / batch)


def test_samples_of_a_batch_do_not_come_in_the_order_of_their_levels() -> None:
    intervals, _, _ = AdaptiveSchedule(LEVELS).draw(800, torch.Generator().manual_seed(2))
    assert abs(np.corrcoef(intervals, np.arange(800))[0, 1]) < 0.15


def test_draws_repeat_with_their_generator_and_leave_the_global_one_alone() -> None:
    schedule, before = AdaptiveSchedule(LEVELS), torch.get_rng_state()
    one, other = (schedule.draw(50, torch.Generator().manual_seed(3))[0].tolist() for _ in range(2))
    assert one == other and torch.equal(before, torch.get_rng_state())


# ----------------------------------------------------------------------------------------------------------- processes


def exact_batch(k: int) -> tuple[Tensor, Tensor]:
    """Sixteen samples whose sums have no rounding: costs are multiples of 1 / 64."""
    generator = torch.Generator().manual_seed(k)
    intervals = torch.randint(8, (16,), generator=generator)
    return intervals, (torch.randint(0, 64, (16,), generator=generator) + intervals).double() / 64.0


def half(folder: str) -> None:
    """One of two processes: every second batch; all checkpoint in the middle, and one starts afresh from it."""
    accelerator = Accelerator(cpu=True)
    schedule = AdaptiveSchedule(LEVELS, min_visits=9)
    accelerator.register_for_checkpointing(schedule)
    for k in range(20):
        if k == 11:
            accelerator.save_state(folder)
            accelerator.wait_for_everyone()
            visit(schedule, np.ones(8), 50)  # forgotten again
            accelerator.load_state(folder)
        schedule.update(*exact_batch(2 * k + accelerator.process_index))
        schedule.resample(lambda sums: accelerator.reduce(sums.to(accelerator.device), "sum"))
    torch.save(schedule.state_dict(), f"{folder}/{accelerator.process_index}.pt")


def test_two_processes_with_half_the_batches_are_one_with_all(tmp_path: Path) -> None:
    from accelerate import debug_launcher

    debug_launcher(half, (str(tmp_path),), num_processes=2)

    schedule = AdaptiveSchedule(LEVELS, min_visits=9)
    for k in range(20):
        schedule.update(*exact_batch(2 * k))
        schedule.update(*exact_batch(2 * k + 1))
        schedule.resample()
    assert schedule.moves >= 2 and schedule.visits.sum() > 0
    for rank in range(2):
        other = AdaptiveSchedule(LEVELS, min_visits=9)
        other.load_state_dict(torch.load(tmp_path / f"{rank}.pt", weights_only=True))
        assert facts(other) == facts(schedule)


def test_a_sum_that_is_none_is_refused() -> None:
    schedule = AdaptiveSchedule(LEVELS)
    for wrong in (lambda sums: sums[0], lambda sums: sums / 2.0, lambda sums: sums * float("nan")):
        visit(schedule, np.ones(8))
        before = facts(schedule)
        refused(ScheduleError, ["`reduce` must return the sum", "(3, 8)", "accelerate"], schedule.resample, wrong)
        assert facts(schedule) == before


# --------------------------------------------------------------------------------------------------------- checkpoints


@pytest.mark.parametrize("stop", [0, 3, 7, 12])
def test_a_run_goes_on_from_a_checkpoint_as_if_nothing_had_been(stop: int, tmp_path: Path) -> None:
    schedule = AdaptiveSchedule(LEVELS, min_visits=5)
    for k in range(25):
        if k == stop:
            torch.save(schedule.state_dict(), tmp_path / "state.pt")
        schedule.update(*exact_batch(k))
        if k % 2:  # every second batch is still pending
            schedule.resample()
    resumed = AdaptiveSchedule(LEVELS, min_visits=5)
    resumed.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    for k in range(stop, 25):
        resumed.update(*exact_batch(k))
        if k % 2:
            resumed.resample()
    assert schedule.moves >= 3
    assert facts(resumed) == facts(schedule)
    assert (resumed.energy, resumed.path_length) == (schedule.energy, schedule.path_length)


def test_a_state_is_a_copy() -> None:
    schedule = AdaptiveSchedule(LEVELS, min_visits=1)
    state = schedule.state_dict()
    kept = copy.deepcopy(state)
    schedule.levels[:] = 7.0
    visit(schedule, np.arange(8.0))
    schedule.resample()
    assert all(np.array_equal(state[name], kept[name], equal_nan=True) for name in kept)
    before = facts(schedule)
    own = schedule.state_dict()
    schedule.load_state_dict(own)
    own["levels"].mul_(2.0)
    assert facts(schedule) == before


def changed(**new: Any) -> dict[str, Any]:
    """The state of a schedule after an estimate, with other entries."""
    schedule = AdaptiveSchedule(LEVELS, min_visits=1)
    visit(schedule, np.arange(8.0))
    schedule.resample()
    return {**schedule.state_dict(), **new}


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (None, ["NoneType"]),
        ({}, ["levels, estimate, own, all, order, moves"]),
        (changed(extra=1), ["extra"]),
        (changed(order=4), ["order 2", "got 4"]),
        (changed(order=2.0), ["`order`", "int", "float"]),
        (changed(moves=-1), ["-1 moves"]),
        (changed(levels=LEVELS), ["`levels`", "ndarray"]),
        (changed(levels=torch.tensor(LEVELS).float()), ["torch.float32", "torch.float64"]),
        (changed(levels=torch.tensor(LEVELS[:-1])), ["(9,)", "(8,)"]),
        (changed(levels=torch.tensor(LEVELS * 2.0)), ["fall from 20 to 0.1"]),
        (changed(levels=torch.tensor(LEVELS[::-1].copy())), ["fall from 20 to 0.1"]),
        (changed(levels=torch.tensor(LEVELS) * float("nan")), ["fall from 20 to 0.1"]),
        (changed(own=torch.full((3, 8), -1.0, dtype=torch.float64)), ["visits"]),
        (changed(all=torch.full((3, 8), float("nan"), dtype=torch.float64)), ["sums"]),
        (AdaptiveSchedule(np.geomspace(TOP, BOTTOM, 12)).state_dict(), ["`levels`", "(12,)"]),
        (AdaptiveSchedule(np.geomspace(TOP, 0.2, 9)).state_dict(), ["fall from 20 to 0.1"]),
    ],
)
def test_a_foreign_state_is_refused_and_changes_nothing(state: Any, words: list[str]) -> None:
    schedule = AdaptiveSchedule(LEVELS, min_visits=2)
    visit(schedule, np.arange(8.0), 3)
    schedule.resample()
    visit(schedule, np.arange(8.0))
    before = facts(schedule)
    refused(ScheduleError, ["`state`", "state_dict", *words], schedule.load_state_dict, state)
    assert facts(schedule) == before


# ----------------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"gamma": 0.0}, ["`gamma`", "0.0", "0.05"]),
        ({"gamma": 1.5}, ["`gamma`", "1.5"]),
        ({"gamma": float("nan")}, ["`gamma`", "nan"]),
        ({"min_visits": 0}, ["`min_visits`", "0"]),
        ({"min_visits": 2.5}, ["`min_visits`", "2.5"]),
        ({"order": 0}, ["`order`", "0"]),
        ({"order": True}, ["`order`", "True"]),
        ({"levels": LEVELS[::-1]}, ["`levels`", "fall", "Turn them round"]),
        ({"levels": [3.0, 2.0, 2.0]}, ["`levels`", "3, 2, 2"]),
        ({"levels": [3.0, 2.0, 0.0]}, ["`levels`", "3, 2, 0", "leave out the zero"]),
        ({"levels": [3.0, float("nan"), 1.0]}, ["`levels`", "nan"]),
        ({"levels": [3.0]}, ["`levels`", "(1,)"]),
        ({"levels": [[3.0, 2.0], [3.0, 2.0]]}, ["`levels`", "(2, 2)"]),
        ({"levels": []}, ["`levels`", "(0,)"]),
    ],
)
def test_bad_options_are_refused(options: dict[str, Any], words: list[str]) -> None:
    refused(ScheduleError, words, lambda: AdaptiveSchedule(**{"levels": LEVELS, **options}))


@pytest.mark.parametrize(
    ("intervals", "costs", "words"),
    [
        (torch.tensor([0, 1]), torch.ones(3), ["(2,)", "(3,)"]),
        (torch.tensor([[0, 1]]), torch.ones(1, 2), ["(1, 2)"]),
        (torch.tensor(0), torch.tensor(1.0), ["shapes () and ()"]),
        (torch.tensor([0, 8]), torch.ones(2), ["0 to 7", "8"]),
        (torch.tensor([-1, 3]), torch.ones(2), ["0 to 7", "-1"]),
        (torch.tensor([0.0, 1.0]), torch.ones(2), ["whole", "float32"]),
        (torch.tensor([True, False]), torch.ones(2), ["whole", "bool"]),
        (torch.tensor([0, 1]), torch.tensor([1.0, float("nan")]), ["finite", "nan", "1 of 2"]),
        (torch.tensor([0, 1]), torch.tensor([float("inf"), 1.0]), ["finite", "inf", "1 of 2"]),
    ],
)
def test_bad_samples_are_refused_and_none_is_taken(intervals: Tensor, costs: Tensor, words: list[str]) -> None:
    schedule = AdaptiveSchedule(LEVELS)
    visit(schedule, np.arange(8.0))
    before = facts(schedule)
    refused(ScheduleError, words, schedule.update, intervals, costs)
    assert facts(schedule) == before
