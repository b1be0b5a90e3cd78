"""A legal call of every function and class of the reference, and where those are tested that have none here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, NamedTuple

import numpy as np
import torch

from comparisons import made
from diffusers_deis_sn import DEISSNScheduler
from diffusers_deis_sn.collect import dry_run, run
from diffusers_deis_sn.collect.loading import Loading, Lora
from diffusers_deis_sn.comparison.result import Comparison
from diffusers_deis_sn.core import codec, grids, recipe, sigma, solvers, vp
from diffusers_deis_sn.core.flow import FlowSchedule
from diffusers_deis_sn.core.normaliser import Normaliser
from diffusers_deis_sn.core.table import CoefficientTable
from diffusers_deis_sn.learn import adaptive, costs, denoised, export, grid, path, search
from diffusers_deis_sn.plots.figures import normaliser_figure
from diffusers_deis_sn.plots.schedule import schedule_figure
from diffusers_deis_sn.plots.style import LIGHT
from diffusers_deis_sn.plots.tuning import tuning_figure
from diffusers_deis_sn.publish.card import card
from diffusers_deis_sn.publish.folder import write_folder
from diffusers_deis_sn.publish.package import package
from diffusers_deis_sn.publish.push import push, push_folder
from diffusers_deis_sn.tuning.outcome import Tuning
from exact_pipelines import ExactPipeline
from records import costed_record, solver_cost
from tunings import found

VP = vp.vp_schedule()
RECORD = solver_cost(costed_record(VP, times=8))
RECIPE = recipe.Recipe(VP)
PLAN = RECIPE.plan(3)
X = torch.ones(1, 2, 2, 2)
FLAT, ENDS = Normaliser.flat(), grids.Ends()
LEVELS = np.array([10.0, 1.0, 0.1])


class Call(NamedTuple):
    """How something public is called.

    Attributes:
        target: The function, method or class.
        legal: Arguments that it takes.
        then: What is done with its result, as far as that shows whether an argument was right.
        errors: Others than ours that it raises, as its docstring says.
    """

    target: Callable[..., Any]
    legal: Mapping[str, Any]
    then: Callable[[Any], Any] = lambda result: result
    errors: tuple[type[Exception], ...] = ()


def pipeline() -> ExactPipeline:
    """One whose network predicts that there is no noise."""
    return ExactPipeline(lambda x, *_: torch.zeros_like(x), (1, 4, 4))


def planned() -> DEISSNScheduler:
    """A scheduler before its first step."""
    scheduler = DEISSNScheduler()
    scheduler.set_timesteps(3)
    return scheduler


def _plan(**factors: Any) -> Callable[[Any], Any]:
    """A run with one factor replaced by what was made."""
    (name,) = factors
    return lambda value: recipe.Recipe(**{"process": VP, **factors, name: value}).plan(3)


def _of(value: Any) -> dict[str, Any]:
    return {one.name: getattr(value, one.name) for one in fields(value)}


def _adaptive() -> adaptive.AdaptiveSchedule:
    return adaptive.AdaptiveSchedule([10.0, 1.0, 0.1], gamma=1.0, min_visits=1)


def half(y: torch.Tensor, level: Any) -> torch.Tensor:
    """A network."""
    return 0.5 * y


PATH = path.SchedulePath(LEVELS[::-1], [2.0, 1.0])
TUNING = Tuning(RECORD, (found(5),), 2, 1.0)
RUN = {"steps": 4, "cost": None, "velocity": "sigma", "final": "zero", "spread": None}
STEP_COST = {"epsilon": half, "y": X, "sigma": 2.0, "entered": 1.0}
SIGMAS = {"sigma_min": 0.002, "sigma_max": 80.0, "num_train_timesteps": 1000, "label": "log"}
TABLE = {"process": VP, "scale": FLAT, "levels": np.array(PLAN.levels)}
NOISING = {"original_samples": X, "noise": X, "timesteps": torch.tensor([3])}
BETAS = {"num_train_timesteps": 99, "beta_start": 1e-4, "beta_end": 0.02, "beta_schedule": "linear"}

CALLS: dict[str, Call] = {
    "collect.dry_run.dry_run": Call(
        dry_run.dry_run,
        {
            **{"pipe": pipeline(), "prompts": None, "num_samples": 2, "num_inference_steps": 2, "batch_size": 1},
            **{"seed": 0, "costs": (), "trials": 0, "thorough": False},
        },
    ),
    "collect.run.recording": Call(
        run.recording,
        {
            **{"pipe": pipeline(), "prompts": None, "guidance_scale": None, "seed": None, "base_model": None},
            **{"revision": None, "licence": None, "costs": (), "dense": False},
        },
        lambda context: context.__enter__() and None,
    ),
    "collect.loading.Lora": Call(Lora, {"place": "user/lora", "weight": 1.0}),
    "collect.loading.Loading": Call(Loading, _of(Loading("user/model"))),
    "comparison.result.Comparison": Call(Comparison, _of(made(size=8)), lambda value: value.to_json()),
    "comparison.result.Comparison.grid": Call(made(size=8).grid, {"calls": 8, "prompts": 1}),
    "comparison.result.Comparison.save": Call(made(size=8).save, {"folder": "compared"}),
    "core.codec.register": Call(codec.register, {"name": "public"}),
    "core.flow.FlowSchedule": Call(
        FlowSchedule,
        {"num_train_timesteps": 1000, "inverted": False},
        lambda value: recipe.Recipe(value, prediction="flow_prediction").plan(3),
    ),
    "core.sigma.SigmaSchedule": Call(sigma.SigmaSchedule, SIGMAS, _plan(process=None)),
    "core.sigma.EDMSchedule": Call(
        sigma.EDMSchedule,
        {**SIGMAS, "sigma_data": 0.5},
        lambda value: recipe.Recipe(value, prediction="sample").plan(3),
    ),
    "core.vp.vp_schedule": Call(
        vp.vp_schedule,
        {**BETAS, "trained_betas": None, "rescale_betas_zero_snr": False, "snr_shift_scale": 1.0},
        _plan(process=None),
    ),
    "core.grids.Power": Call(grids.Power, {"variable": "t", "exponent": 2.0}, _plan(grid=None)),
    "core.grids.Power.levels": Call(grids.Power().levels, {"process": VP, "steps": 3, "ends": ENDS}),
    "core.grids.Power.ramp": Call(grids.Power().ramp, {"top": 10.0, "bottom": 1.0, "share": np.linspace(0.0, 1.0, 3)}),
    "core.solvers.Corrector": Call(
        solvers.Corrector,
        {"order": 2, "gain": 1.0},
        lambda value: _plan(solver=None)(solvers.Multistep(2, corrector=value)),
    ),
    "core.solvers.Multistep": Call(solvers.Multistep, _of(solvers.Multistep()), _plan(solver=None)),
    "core.solvers.RungeKutta": Call(solvers.RungeKutta, {"name": "heun", "above": 3.0}, _plan(solver=None)),
    "core.solvers.Multistep.table": Call(solvers.Multistep().table, TABLE),
    "core.solvers.RungeKutta.table": Call(solvers.RungeKutta().table, TABLE),
    "core.recipe.Recipe": Call(recipe.Recipe, _of(RECIPE), lambda value: value.plan(3)),
    "core.recipe.Recipe.plan": Call(RECIPE.plan, {"steps": 3}),
    "core.recipe.Recipe.levels": Call(RECIPE.levels, {"steps": 3}),
    "core.recipe.Recipe.over": Call(RECIPE.over, {"levels": np.array(PLAN.levels)}),
    "core.recipe.Recipe.table": Call(RECIPE.table, {"levels": np.array(PLAN.levels)}),
    "core.recipe.sample": Call(recipe.sample, {"plan": PLAN, "network": half, "x": X}),
    "core.normaliser.Normaliser": Call(
        Normaliser, {"timesteps": [1.0, 5.0], "values": [1.0, 2.0], "cutoff": 0.0}, lambda value: value([3.0])
    ),
    "core.table.CoefficientTable": Call(CoefficientTable, _of(PLAN.table)),
    "core.plan.Plan.called_at": Call(PLAN.called_at, {"times": [3.0, 2.0, 1.0]}),
    "learn.adaptive.AdaptiveSchedule": Call(
        adaptive.AdaptiveSchedule, {"levels": LEVELS, "order": 2, "gamma": 1.0, "min_visits": 1}
    ),
    "learn.adaptive.AdaptiveSchedule.draw": Call(_adaptive().draw, {"batch": 3, "generator": None}),
    "learn.adaptive.AdaptiveSchedule.load_state_dict": Call(
        _adaptive().load_state_dict, {"state": _adaptive().state_dict()}
    ),
    "learn.adaptive.AdaptiveSchedule.resample": Call(_adaptive().resample, {"reduce": None}),
    "learn.adaptive.AdaptiveSchedule.update": Call(
        _adaptive().update, {"intervals": torch.tensor([0, 1]), "costs": torch.tensor([1.0, 2.0])}
    ),
    "learn.costs.corrector_cost": Call(costs.corrector_cost, STEP_COST),
    "learn.costs.predictor_cost": Call(costs.predictor_cost, {**STEP_COST, "generators": (), "derivatives": "exact"}),
    "learn.costs.schedule_costs": Call(
        costs.schedule_costs,
        {"epsilon": half, "samples": lambda level: X * level, "levels": LEVELS, "cost": "corrector"},
    ),
    "learn.denoised.plan_over": Call(
        denoised.plan_over,
        {"process": VP, "sigmas": LEVELS, "statistics": None, "exploding": True, "guidance": None, "shift": 1.0},
    ),
    "learn.denoised.sample_denoised": Call(
        denoised.sample_denoised,
        {
            **{"model": half, "x": X, "sigmas": torch.tensor(PLAN.levels), "plan": PLAN, "exploding": True},
            **{"held": None, "callback": None, "disable": True},
        },
    ),
    "learn.export.learned_sigmas": Call(
        export.learned_sigmas,
        {
            **{"stats": RECORD, **RUN, "start": 1.0, "end": None, "denoise": 1.0, "guidance_scale": None},
            "shift": 1.0,
        },
    ),
    "learn.export.schedule_text": Call(
        export.schedule_text, {"statistics": RECORD, **RUN, "form": "json", "part": export.WHOLE, "shift": 1.0}
    ),
    "learn.export.schedule_summary": Call(
        export.schedule_summary,
        {"statistics": RECORD, **{name: RUN[name] for name in RUN if name != "final"}, "part": export.WHOLE},
    ),
    "learn.grid.EqualCost": Call(
        grid.EqualCost, _of(grid.EqualCost()), lambda value: value.of(RECORD, VP).levels(VP, 3, ENDS)
    ),
    "learn.grid.EqualCost.of": Call(grid.EqualCost().of, {"statistics": RECORD, "process": VP}),
    "learn.path.SchedulePath": Call(path.SchedulePath, _of(PATH)),
    "learn.path.SchedulePath.from_costs": Call(
        path.SchedulePath.from_costs, {"levels": LEVELS, "costs": [2.0, 1.0], "order": 2, "velocity": "sigma"}
    ),
    "learn.path.SchedulePath.of": Call(
        path.SchedulePath.of, {"statistics": RECORD, "cost": "corrector", "velocity": "sigma"}
    ),
    "learn.path.SchedulePath.energy": Call(PATH.energy, {"levels": LEVELS}),
    "learn.path.SchedulePath.level": Call(PATH.level, {"position": 1.0}),
    "learn.path.SchedulePath.position": Call(PATH.position, {"level": 1.0}),
    "learn.path.SchedulePath.partition": Call(PATH.partition, {"steps": 3, "start": None, "end": None}),
    "learn.path.SchedulePath.run": Call(PATH.run, {"steps": 3, "start": None, "end": 0.0}),
    "learn.path.SchedulePath.spread": Call(PATH.spread, {"share": 0.5, "position": [0.0, 1.0, 2.0]}),
    "learn.search.optimise_schedule": Call(
        search.optimise_schedule,
        {
            **{"cost": lambda levels: np.log(levels[:-1] / levels[1:]) ** 2, "levels": LEVELS, "order": 2},
            **{"tolerance": 0.01, "max_iterations": 9, "damping": 1.0},
        },
    ),
    "learn.search.update_schedule": Call(
        search.update_schedule, {"levels": LEVELS, "costs": [1.0, 2.0], "order": 2, "steps": None}
    ),
    "plots.figures.normaliser_figure": Call(normaliser_figure, {"statistics": RECORD, "palette": LIGHT}),
    "plots.schedule.schedule_figure": Call(
        schedule_figure, {"statistics": RECORD, "steps": 4, "cost": None, "velocity": "sigma", "palette": LIGHT}
    ),
    "plots.tuning.tuning_figure": Call(tuning_figure, {"tuning": TUNING}),
    "publish.card.card": Call(
        card, {"statistics": RECORD, "name": "user/repo", "model": None, "figures": (), "notes": None}
    ),
    "publish.folder.write_folder": Call(
        write_folder, {"statistics": RECORD, "folder": "out", "name": "user/repo", "model": None, "notes": None}
    ),
    "publish.package.package": Call(package, {"folder": "none", "remote_code": False, "stats": None}),
    "publish.push.push": Call(
        push,
        {
            **{"statistics": RECORD, "repo_id": "user/repo", "files": None, "notes": None, "revision": None},
            **{"private": False, "create_pr": False, "commit_message": None, "token": None, "dry_run": True},
        },
    ),
    "publish.push.push_folder": Call(
        push_folder, {"folder": "record", "repo_id": "user/repo", "new_card": False, "files": None, "dry_run": True}
    ),
    "schedulers._integrator.ExponentialIntegrator.add_noise": Call(DEISSNScheduler().add_noise, NOISING),
    "schedulers._integrator.ExponentialIntegrator.set_stats": Call(
        DEISSNScheduler().set_stats, {"source": None, "base_model": None, "index": None}
    ),
    "schedulers._integrator.ExponentialIntegrator.save_pretrained": Call(
        DEISSNScheduler().save_pretrained, {"save_directory": "scheduler", "push_to_hub": False}
    ),
    "schedulers._integrator.ExponentialIntegrator.from_pretrained": Call(
        DEISSNScheduler.from_pretrained,
        {
            **{"pretrained_model_name_or_path": "scheduler", "subfolder": None, "return_unused_kwargs": False},
            "stats": None,
        },
        errors=(OSError,),
    ),
    "schedulers._integrator.ExponentialIntegrator.for_pipeline": Call(
        DEISSNScheduler.for_pipeline, {"pipe": pipeline(), "stats": None}
    ),
    "schedulers._stepping.PlannedScheduler.scale_model_input": Call(
        planned().scale_model_input, {"sample": X, "timestep": 999}
    ),
    "statistics.record.ScoreStatistics.at": Call(RECORD.at, {"guidance": 1.0}),
    "statistics.record.ScoreStatistics.check": Call(RECORD.check, {"noise": VP, "prediction_type": "epsilon"}),
    "statistics.record.ScoreStatistics.save": Call(RECORD.save, {"target": "record"}),
    "tuning.outcome.Tuning": Call(Tuning, _of(TUNING), str),
    "tuning.outcome.Tuning.code": Call(TUNING.code, {"place": "x"}),
}
"""By the path in the reference, and some that are called from elsewhere."""

_INSIDE = "within every step of a scheduler, which has checked its arguments: there is no time to look twice"
_RESULT = "made by the package, not by people"
_PROTOCOL = "what others write; `Recipe` looks at what comes of it"
_MEASURES = "tests/test_odd_values.py: what measures"
_RECORD = "tests/test_odd_values.py: records"
_SCHEDULER = "tests/schedulers/test_value_types.py"
ELSEWHERE: dict[str, str] = {
    **dict.fromkeys(("collect.run.calibrate", "comparison.run.compare", "tuning.run.tune"), _MEASURES),
    **dict.fromkeys(("core.grids.Grid.levels", "core.solvers.Solver.table", "learn.grid.EqualCost.levels"), _PROTOCOL),
    **dict.fromkeys(("collect.dry_run.Forecast", "core.plan.Plan", "learn.search.OptimisedSchedule"), _RESULT),
    **{
        f"core.plan.Plan.{name}": _INSIDE
        for name in "advance check check_begin check_next combines convert index nearest".split()
    },
    "comparison.result.Comparison.row": "KeyError, as of a dictionary",
    **dict.fromkeys(
        ("schedulers.deis_sn.DEISSNScheduler", "schedulers.score_optimal.ScoreOptimalScheduler"), _SCHEDULER
    ),
    "schedulers._stepping.PlannedScheduler.step": _SCHEDULER,
    **{f"schedulers._integrator.ExponentialIntegrator.{name}": _SCHEDULER for name in ("set_timesteps", "from_config")},
    **dict.fromkeys(("statistics.cost.LocalCost", "statistics.record.ScoreStatistics"), _RECORD),
    **{
        f"statistics.record.ScoreStatistics.{name}": _RECORD
        for name in "cost load together with_costs with_origin with_plans with_trials".split()
    },
}
"""Why the others are not there."""
