"""Recipes tried at the end of a calibration: the numbers against the exact flow, the manners, what is not tried."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, FlowMatchEulerDiscreteScheduler
from torch import Tensor

from benchmarks.exact.flows import SD_BETAS, digits_mixture
from benchmarks.exact.runs import sample
from diffusers_deis_sn import DEISSNScheduler, ScoreOptimalScheduler, ScoreStatistics
from diffusers_deis_sn.collect import run as running
from diffusers_deis_sn.collect.calls import plan_calls
from diffusers_deis_sn.collect.run import TRIAL_CALLS, calibrate
from diffusers_deis_sn.collect.trying import CALLS, FINE_CALLS, LOST, MENU, Trier, distances, finest_band
from diffusers_deis_sn.core.grids import Power
from diffusers_deis_sn.core.solvers import Corrector, Multistep
from diffusers_deis_sn.core.vp import vp_schedule
from diffusers_deis_sn.errors import CalibrationInterruptedError, CheckpointError
from diffusers_deis_sn.learn.grid import EqualCost
from diffusers_deis_sn.schedulers._options_to_recipe import options_of
from diffusers_deis_sn.schedulers._own_config import OF_GRIDS
from diffusers_deis_sn.statistics.trials import Method, Trials
from exact_pipelines import ExactPipeline, gaussian_network, starts_of
from tiny_pipelines import BUILDERS

SD = vp_schedule(**SD_BETAS)
MIXTURE = digits_mixture()
SHORT = (
    Method("noise", 2, 4, 0.375, "power_t", 1.0),
    Method("data", 2, 2, None, "power_t", 2.0),
    Method("noise", 2, 0, None, "learned"),
)
QUICK: dict[str, Any] = {"num_samples": 4, "num_inference_steps": 40, "batch_size": 4, "progress": False}


@pytest.fixture
def short_menu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three recipes with two numbers of calls."""
    monkeypatch.setattr(running, "MENU", SHORT)
    monkeypatch.setattr(running, "CALLS", (4, 7))


def digits_pipeline(scheduler: Any = None) -> ExactPipeline:
    return ExactPipeline(MIXTURE.epsilon, (1, 8, 8), scheduler)


def gaussian_pipeline(scheduler: Any = None) -> ExactPipeline:
    return ExactPipeline(gaussian_network(SD, 0.5), (2, 4, 4), scheduler)


def by_hand(recipe: Method, stats: ScoreStatistics) -> Any:
    """A scheduler with the options of a recipe, as a user would write them."""
    ours = ScoreOptimalScheduler if recipe.learned else DEISSNScheduler
    options = {k: v for k, v in options_of(recipe, stats).items() if not (recipe.learned and k in OF_GRIDS)}
    return ours(**SD_BETAS, stats=stats, recipe="fixed", **options)


def run_by_hand(recipe: Method, stats: ScoreStatistics, x: Tensor, steps: int) -> Tensor:
    """Where digits end, at distinct whole times."""
    scheduler = by_hand(recipe, stats)
    scheduler.set_timesteps(steps)
    times = SD.time(SD.whole(np.array(scheduler._plan.levels))[:-1])
    scheduler.set_timesteps(timesteps=np.round(times))
    for t in scheduler.timesteps:
        x = scheduler.step(MIXTURE.epsilon(x, float(t)), t, x).prev_sample
    return x


# ---------------------------------------------------------------------------------------------------------- the numbers


@cache
def digits() -> tuple[ExactPipeline, ScoreStatistics]:
    pipe = digits_pipeline()
    return pipe, calibrate(pipe, num_samples=8, batch_size=8, seed=5, trials=6, progress=False)


@pytest.fixture(scope="module")
def exact_ends() -> Tensor:
    """Where the first six samples of the calibration end, by the exact flow."""
    return exact(starts_of(digits()[0], 6, seed=5))


def exact(starts: Tensor) -> Tensor:
    """By the exact flow to the cleanest level that the network knows, and from there in one step."""
    return MIXTURE.flow(starts, SD.top, steps=150, near_zero=SD.bottom, left=1.0)


@pytest.mark.parametrize("recipe", MENU, ids=str)
def test_errors_are_those_of_independent_runs_against_the_exact_flow(recipe, exact_ends):
    statistics = digits()[1]
    trials, starts = statistics.trials, starts_of(digits()[0], 6, seed=5)
    row = trials.recipes.index(recipe)
    assert trials.calls == CALLS and trials.num_samples == 6
    for column, steps in enumerate(CALLS):
        ends = run_by_hand(recipe, statistics.with_trials(None), starts, steps)
        each = (ends - exact_ends).square().mean(dim=(1, 2, 3)).sqrt().numpy()
        # The fine run itself is 1e-4 to 2e-4 from the exact flow.
        assert trials.error[row, column] == pytest.approx(np.exp(np.log(each).mean()), rel=0.01, abs=5e-4)
        assert trials.rms[row, column] == pytest.approx(np.sqrt(np.square(each).mean()), rel=0.01, abs=5e-4)
        blocks = [x.reshape(6, 4, 2, 4, 2).numpy() for x in (ends, exact_ends)]
        high = [np.square(one - one.mean(axis=(2, 4), keepdims=True)).mean() for one in blocks]
        assert trials.grain[row, column] == pytest.approx(high[0] / high[1], rel=0.02)


def test_a_scheduler_made_from_them_is_among_the_best_of_the_menu(exact_ends):
    """For numbers of steps that were not tried, and on other samples: not far from the best, as six samples tell."""
    pipe, statistics = digits()
    starts = starts_of(pipe, 16, seed=100)
    ends = exact(starts)

    def error(found: Tensor) -> float:
        return float((found - ends).flatten(1).square().mean(1).log().mean().mul(0.5).exp())

    ours = DEISSNScheduler.from_config(pipe.scheduler.config, stats=statistics)
    for steps in (5, 10):
        followed = error(sample(ours, MIXTURE.epsilon, starts, steps))
        all_of_them = [error(run_by_hand(one, statistics, starts, steps)) for one in MENU if not one.learned]
        assert ours.method in MENU and followed < 2.0 * min(all_of_them)


@pytest.mark.parametrize("size", [1, 3, 100])
def test_the_split_into_batches_does_not_matter(size, short_menu):
    options = QUICK | {"num_samples": 5, "trials": 5}
    one, other = (calibrate(digits_pipeline(), **(options | {"batch_size": b})).trials for b in (5, size))
    for name in ("error", "rms", "grain"):
        np.testing.assert_allclose(getattr(other, name), getattr(one, name), rtol=2e-3)
    assert one.recipes == other.recipes == SHORT


def test_nor_does_the_scheduler_that_was_there(short_menu):
    """Of its config only the model counts: not its grid, its solver, its options."""
    pipe = gaussian_pipeline()
    expected = calibrate(pipe, **QUICK).trials
    theirs = DPMSolverMultistepScheduler.from_config(
        pipe.scheduler.config, use_karras_sigmas=True, solver_order=3, lower_order_final=False
    )
    mine = {"solver": Multistep(2, "log_rho", corrector=Corrector(1)), "end_time": 1e-3, "guidance_scale": 20.0}
    for scheduler in (
        theirs,
        DEISSNScheduler.from_config(pipe.scheduler.config, **mine, grid=Power("t", 2.0)),
        DEISSNScheduler.from_config(pipe.scheduler.config, solver="heun"),
        ScoreOptimalScheduler.from_config(pipe.scheduler.config, grid=EqualCost("predictor", "unit"), normalise=False),
    ):
        pipe.scheduler = scheduler
        assert calibrate(pipe, **QUICK).trials == expected


def test_so_many_calls_as_are_promised_and_one_sample_after_another():
    assert TRIAL_CALLS == len(MENU) * sum(CALLS) + FINE_CALLS + 2 * CALLS[0]  # two runs to see that they end alike
    pipe = gaussian_pipeline()
    options = QUICK | {"num_samples": 6, "batch_size": 2}
    calibrate(pipe, trials=0, **options)
    before = len(pipe.rows)
    calibrate(pipe, trials=3, **options)
    rows = pipe.rows[2 * before :]
    assert sum(rows) == 3 * TRIAL_CALLS and set(rows) == {2, 1}


def test_no_more_samples_than_were_measured(short_menu):
    assert calibrate(gaussian_pipeline(), trials=50, **QUICK).trials.num_samples == 4
    assert calibrate(gaussian_pipeline(), trials=1, **QUICK).trials.num_samples == 1
    assert calibrate(gaussian_pipeline(), trials=0, **QUICK).trials is None


def test_models_of_other_processes_are_tried(short_menu):
    def flow(x: Tensor, t: float) -> Tensor:  # of data N(0, 0.25)
        sigma = t / 1000.0
        variance = 0.25 * (1.0 - sigma) ** 2 + sigma**2
        return (sigma - 0.25 * (1.0 - sigma)) / variance * x

    pipe = ExactPipeline(flow, (1, 4, 4), FlowMatchEulerDiscreteScheduler(shift=3.0))
    trials = calibrate(pipe, **QUICK).trials
    assert trials.recipes == SHORT and np.all(trials.error < 0.2)


# ----------------------------------------------------------------------------------------------------------- distances


def test_distances_are_what_they_say():
    fine = torch.randn(3, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    offsets = torch.tensor([0.5, 1.0, 4.0])
    error, rms, grain = distances(fine + offsets[:, None, None, None], fine)
    assert error == pytest.approx(2.0 ** (1 / 3), rel=1e-6)
    assert rms == pytest.approx(np.sqrt((0.25 + 1.0 + 16.0) / 3.0), rel=1e-6)
    assert grain == pytest.approx(1.0, rel=1e-5)  # an offset is no detail
    checks = torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).repeat(2, 2)
    assert finest_band(checks.expand(1, 1, 4, 4)) == pytest.approx(1.0)
    assert distances(fine + 3.0 * checks, fine)[2] > 5.0
    assert distances(fine, fine)[:2] == pytest.approx((1e-15, 1e-15)) and distances(fine, fine)[0] > 0.0


@pytest.mark.parametrize("event", [(7,), (3, 8), (2, 5, 4), (2, 4, 3)])
def test_samples_without_two_even_axes_have_no_grain(event):
    fine = torch.randn(2, *event)
    assert finest_band(fine) is None and distances(fine + 1.0, fine) == pytest.approx((1.0, 1.0, 1.0), rel=1e-5)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_one_value_that_is_not_finite_loses_the_recipe(value):
    fine, ends = torch.zeros(2, 1, 4, 4), torch.zeros(2, 1, 4, 4)
    ends[1, 0, 2, 3] = value
    assert distances(ends, fine) == (LOST, LOST, LOST)


def test_a_recipe_that_loses_its_samples_is_noted_and_never_chosen(short_menu):
    class Fragile(ExactPipeline):
        """Overflows in runs of four steps of the noise form."""

        def network(self, x: Tensor, t: Tensor) -> Tensor:
            output = super().network(x, t)
            broken = self.scheduler.num_inference_steps == 4 and self.scheduler.recipe.solver.of == "noise"
            return output * torch.inf if broken else output

    trials = calibrate(Fragile(gaussian_network(SD, 0.5), (1, 4, 4)), **QUICK).trials
    assert trials.recipes == SHORT
    assert trials.error[0, 0] == trials.rms[0, 0] == LOST and trials.error[1, 0] < 1.0 and trials.error[0, 1] < 1.0
    for steps in (3, 4, 5):
        assert trials.best(steps) == SHORT[1]


# -------------------------------------------------------------------------------------------------------------- manners


FIRST_TRIAL = 40 + 1
CALLS_OF_A_RUN = 40 + FINE_CALLS + 2 * 4 + 3 * (4 + 7)


@pytest.mark.parametrize("call", [FIRST_TRIAL, FIRST_TRIAL + FINE_CALLS + 8, CALLS_OF_A_RUN - 1])
def test_the_scheduler_is_put_back_whenever_it_fails(call, short_menu, caplog):
    """In the fine run, in the first recipe, in the last; and what was measured is not lost for the trials."""
    pipe = gaussian_pipeline()
    scheduler, expected = pipe.scheduler, calibrate(pipe, **QUICK)
    assert pipe.scheduler is scheduler and len(pipe.rows) == CALLS_OF_A_RUN
    pipe.rows, pipe.fail_at = [], (call, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        calibrate(pipe, **QUICK)
    assert pipe.scheduler is scheduler and len(pipe.rows) == call
    pipe.rows, pipe.fail_at = [], (call, RuntimeError("out of memory"))
    assert calibrate(pipe, **QUICK) == expected.with_trials(None)
    assert pipe.scheduler is scheduler and len(pipe.rows) == call
    assert "No recipes were tried" in information(caplog) and "out of memory" in information(caplog)


@pytest.mark.parametrize("error", [None, RuntimeError, KeyboardInterrupt])
def test_a_diffusers_pipeline_is_left_as_it_was(error, short_menu, monkeypatch):
    pipe, _ = BUILDERS["ddpm"]()
    pipe.set_progress_bar_config(desc="mine")
    scheduler, config, state = pipe.scheduler, dict(pipe.config), torch.random.get_rng_state()
    scheduler_config, done = dict(scheduler.config), []

    def fail(*arguments: Any, **options: Any) -> Any:
        done.append(1)
        if len(done) == 60 and error is not None:
            raise error
        return forward(*arguments, **options)

    forward = pipe.unet.forward
    monkeypatch.setattr(pipe.unet, "forward", fail)
    if error is KeyboardInterrupt:
        with pytest.raises(KeyboardInterrupt):
            calibrate(pipe, **(QUICK | {"num_inference_steps": 4}))
    else:
        statistics = calibrate(pipe, **(QUICK | {"num_inference_steps": 4}))
        assert (statistics.trials is None) == (error is not None)
    assert len(done) >= 60
    assert torch.equal(torch.random.get_rng_state(), state)
    assert pipe.scheduler is scheduler and dict(pipe.config) == config
    assert dict(scheduler.config) == scheduler_config and pipe._progress_bar_config == {"desc": "mine"}


def test_progress_is_told_to_the_end(short_menu, capsys):
    told: list[tuple[float, int]] = []
    calibrate(gaussian_pipeline(), trials=3, **(QUICK | {"progress": lambda done, total: told.append((done, total))}))
    trying = [done for done, total in told if total == 3]
    assert trying == sorted(trying) and trying[-1] == pytest.approx(3.0) and len(trying) == 9
    calibrate(gaussian_pipeline(), trials=3, **(QUICK | {"progress": True}))
    shown = capsys.readouterr().err
    assert "Trying recipes" in shown and "3.0/3 samples" in shown


# ---------------------------------------------------------------------------------------------------- what is not tried


def information(caplog: pytest.LogCaptureFixture) -> str:
    return "\n".join(record.getMessage() for record in caplog.records if record.name == "diffusers_deis_sn")


def trier(pipe: ExactPipeline, statistics: ScoreStatistics) -> Trier:
    calls = plan_calls(pipe, None, 10, 0, {})
    return Trier(pipe, pipe.scheduler.config, statistics, calls, 2, 2, lambda _: None)


def test_recipes_that_the_process_does_not_have_are_left_out(caplog):
    caplog.set_level(logging.INFO, "diffusers_deis_sn")
    pipe = gaussian_pipeline()
    statistics = calibrate(pipe, trials=0, **QUICK)
    bare = replace(statistics, costs={}, mean_abs_data=None, mean_abs_data_error=None)
    too_late = Method(timestep_spacing="power_t", start_time=1e-4)
    done = trier(pipe, bare).tried((*SHORT, too_late), (4, 7))
    assert isinstance(done, Trials) and done.recipes == SHORT[:1] and done.error.shape == (1, 2)
    told = information(caplog)
    for recipe, reason in ((SHORT[1], "`mean_abs_data`"), (SHORT[2], "'solver' cost"), (too_late, "`start_time`")):
        assert f"Not tried: {recipe}" in told and reason in told
    assert trier(gaussian_pipeline(), bare).tried(SHORT[1:], (4, 7)) is None
    assert trier(gaussian_pipeline(), statistics).tried(SHORT, (4, 7)).recipes == SHORT


def test_trials_that_are_known_are_not_made_again_and_each_new_one_is_told():
    pipe = gaussian_pipeline()
    statistics = calibrate(pipe, trials=0, **QUICK)
    first, told = trier(pipe, statistics), []
    first.after_run = lambda: told.append(len(first.known))
    expected = first.tried(SHORT, (4, 7))
    assert told == [0, *range(1, 7)]  # the fine run, then three recipes in two numbers of calls
    again = trier(gaussian_pipeline(), statistics)
    again.known = dict(list(first.known.items())[:5])
    assert again.tried(SHORT, (4, 7)) == expected
    assert len(again.pipe.rows) == FINE_CALLS + 2 * 4 + 7  # the fine run, the two that must agree, and what was missing
    assert again.done == first.done


@pytest.mark.parametrize("error", [CalibrationInterruptedError, CheckpointError])
def test_an_interruption_is_no_recipe_that_failed(error):
    pipe = gaussian_pipeline()
    one = trier(pipe, calibrate(pipe, trials=0, **QUICK))

    def stop() -> None:
        if len(one.known) == 2:
            raise error

    one.after_run = stop
    with pytest.raises(error):
        one.tried(SHORT, (4, 7))


def test_samples_that_are_left_out_count_in_no_trial():
    pipe = gaussian_pipeline()
    statistics = calibrate(pipe, trials=0, **QUICK)
    without, one = trier(pipe, statistics), trier(pipe, statistics)
    without.left_out, one.samples = [1], 1
    assert without.tried(SHORT, (4, 7)) == one.tried(SHORT, (4, 7))


def test_noised_data_make_no_learned_recipes(short_menu):
    data = 0.5 * torch.randn(4, 2, 4, 4, dtype=torch.float64)
    assert calibrate(gaussian_pipeline(), data=data, **QUICK).trials.recipes == SHORT[:2]


def test_pipelines_without_generator_have_none(short_menu):
    class Unseeded(ExactPipeline):
        def __call__(self, batch_size: int = 1, num_inference_steps: int = 50) -> Any:
            generators = [torch.Generator().manual_seed(len(self.rows) + i) for i in range(batch_size)]
            return super().__call__(batch_size, generators, num_inference_steps)

    pipe = Unseeded(gaussian_network(SD, 0.5), (1, 4, 4))
    assert calibrate(pipe, **QUICK).trials is None and len(pipe.rows) == 40


def test_pipelines_that_draw_noise_of_their_own_have_none(short_menu, caplog):
    class Careless(ExactPipeline):
        """Takes a generator, and starts from other noise each time."""

        def start(self, generators: Any) -> Tensor:
            return torch.randn(len(generators), *self.event, dtype=torch.float64)

    statistics = calibrate(Careless(gaussian_network(SD, 0.5), (1, 4, 4)), **QUICK)
    assert statistics.trials is None and "do not depend on the generator alone" in information(caplog)


def test_the_last_of_several_runs_in_a_call_is_the_one_that_counts(short_menu):
    class Twice(ExactPipeline):
        def __call__(self, batch_size: int = 1, generator: Any = None, num_inference_steps: int = 50) -> Any:
            states = [one.get_state() for one in generator]
            super().__call__(batch_size, generator, num_inference_steps)
            again = [torch.Generator().manual_seed(0) for _ in states]
            for one, state in zip(again, states, strict=True):
                one.set_state(state)
            return super().__call__(batch_size, again, num_inference_steps)

    twice = Twice(gaussian_network(SD, 0.5), (2, 4, 4))
    once = gaussian_pipeline()
    statistics = [calibrate(pipe, **QUICK).trials for pipe in (once, twice)]
    assert statistics[1].num_samples == 4 and statistics[0].error.shape == statistics[1].error.shape
    np.testing.assert_allclose(statistics[0].error, statistics[1].error, rtol=0.05)


class FromImage(ExactPipeline):
    """Begins in the middle of a run."""

    def __call__(self, batch_size: int = 1, generator: Any = None, num_inference_steps: int = 50) -> Any:
        x = self.start(generator)
        self.scheduler.set_timesteps(num_inference_steps)
        for t in self.scheduler.timesteps[num_inference_steps // 4 :]:
            x = self.scheduler.step(self.network(x, t), t, x, return_dict=False)[0]


class OwnTimes(ExactPipeline):
    """Chooses its times itself."""

    def __call__(self, batch_size: int = 1, generator: Any = None, num_inference_steps: int = 50) -> Any:
        x = self.start(generator)
        self.scheduler.set_timesteps(timesteps=np.linspace(990, 9, num_inference_steps).round())
        for t in self.scheduler.timesteps:
            x = self.scheduler.step(self.network(x, t), t, x, return_dict=False)[0]


class NotToTheEnd(ExactPipeline):
    """Leaves its last steps to another network."""

    def __call__(self, batch_size: int = 1, generator: Any = None, num_inference_steps: int = 50) -> Any:
        x = self.start(generator)
        self.scheduler.set_timesteps(num_inference_steps)
        for t in self.scheduler.timesteps[:-2]:
            x = self.scheduler.step(self.network(x, t), t, x, return_dict=False)[0]


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (FromImage, "begins at step 20 of a run"),
        (OwnTimes, "chooses its times itself"),
        (NotToTheEnd, "stops before the end of a run"),
    ],
)
def test_runs_that_follow_no_recipe_are_measured_without(kind, reason, short_menu, caplog):
    caplog.set_level(logging.INFO, "diffusers_deis_sn")
    pipe = kind(gaussian_network(SD, 0.5), (1, 4, 4))
    scheduler = pipe.scheduler
    statistics = calibrate(pipe, **QUICK)
    assert statistics.trials is None and statistics.most_samples == 4 and pipe.scheduler is scheduler
    assert "No recipes are tried" in information(caplog) and reason in information(caplog)


def test_models_of_too_few_times_for_a_fine_run_have_none(short_menu, caplog):
    caplog.set_level(logging.INFO, "diffusers_deis_sn")
    betas = {"num_train_timesteps": 50, "beta_start": 1e-3, "beta_end": 0.3}
    pipe = ExactPipeline(gaussian_network(vp_schedule(**betas), 0.5), (1, 4, 4), DDIMScheduler(**betas))
    assert calibrate(pipe, **QUICK).trials is None
    assert "No recipes are tried" in information(caplog) and "from 1 to 50" in information(caplog)


def test_a_fine_run_that_is_lost_makes_no_trials(short_menu, caplog):
    class Overflowing(ExactPipeline):
        def network(self, x: Tensor, t: Tensor) -> Tensor:
            fine = self.scheduler.num_inference_steps == FINE_CALLS
            return super().network(x, t) * (torch.inf if fine else 1.0)

    assert calibrate(Overflowing(gaussian_network(SD, 0.5), (1, 4, 4)), **QUICK).trials is None
    assert "not finite" in information(caplog)
