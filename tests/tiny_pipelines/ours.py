"""Our two schedulers, and Diffusers' own of first order to hold them against, for the model of any tiny pipeline."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np

from diffusers_deis_sn import DEISSNScheduler, ScoreOptimalScheduler, ScoreStatistics
from diffusers_deis_sn.core.process import NoiseSchedule
from diffusers_deis_sn.core.solvers import Multistep
from records import costed_record, edm_record

from .families import BY_NAME, Family
from .studio import DDIMAt, EulerAt, FlowEulerAt, Studio

SCHEDULERS = {"DEISSNScheduler": DEISSNScheduler, "ScoreOptimalScheduler": ScoreOptimalScheduler}


@cache
def studio(builder: str) -> Studio:
    """The pipeline of a family, built once in a process."""
    return Studio(builder)


def measured_times(noise: NoiseSchedule) -> np.ndarray:
    """Times all over the process, and many next to its end, as `calibrate` has them.

    The levels of cosine betas, and of flows still more, rise abruptly there.
    """
    top = float(noise.time(noise.top))
    one = 1.0 if top > 1.0 else 0.001  # of a thousand levels, also where the network is called with sigma itself
    last = noise.time(np.geomspace(noise.rho([top - one])[0], noise.top, 40))
    return np.concatenate([np.linspace(4.0 * one, top - 2.0 * one, 100), last[last < top], [top]])


@cache
def statistics(builder: str) -> ScoreStatistics:
    """What Gaussian data would give for the noise schedule and prediction of a family's model."""
    return record_for(_made(DEISSNScheduler, BY_NAME[builder], stats=False))


def record_for(model: Any) -> ScoreStatistics:
    """What Gaussian data would give for the process and prediction of one of our schedulers."""
    if model.noise.kind == "edm":
        return edm_record(top=model.noise.top)
    record = costed_record(model.noise, times=measured_times(model.noise))
    return replace(record, origin=replace(record.origin, prediction_type=model.config["prediction_type"]))


def _made(scheduler: type, family: Family, **options: Any) -> Any:
    """A scheduler from the config of the one that the pipeline of a family came with."""
    return scheduler.from_config(studio(family.builder).config, **options)


def ours(name: str, family: Family, **options: Any) -> Any:
    """One of our schedulers for the model of a family, with statistics."""
    return _made(SCHEDULERS[name], family, **{"stats": statistics(family.builder)} | options)


def with_one_output(name: str, family: Family) -> Any:
    """One of our schedulers as a solver of first order, at times that are whole numbers where Diffusers wants them."""
    plain: dict[str, Any] = {"solver": Multistep(1)}
    if name == "DEISSNScheduler":
        return ours(name, family, stats=False, **plain)
    return ours(name, family, normalise=False, whole_timesteps=family.process == "vp", **plain)


def upstream(family: Family, plan: Any) -> Any:
    """Diffusers' own solver of first order for the model of a family, at the times of one of our schedulers' plan.

    Where a pipeline gives the sigmas and ours has taken them, at times of its own making.
    """
    room = studio(family.builder)
    config = room.config
    if family.given_sigmas and not plan._run.own_grid:
        return type(room.own).from_config(config)
    if family.process == "edm":
        return EulerAt.of(config, plan.sigmas.tolist())
    if family.flow:  # CogView 4 calls its network at other times than those of the levels
        return FlowEulerAt.of(config, plan.timesteps.tolist(), plan.sigmas[:-1].tolist())
    return DDIMAt.of(config, plan.timesteps.tolist())
