"""Comparisons to test with: an exact pipeline that takes milliseconds, and constructed rows and pictures."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.exact.flows import SD_BETAS
from diffusers_deis_sn.comparison.advice import Equal, advise
from diffusers_deis_sn.comparison.contenders import Contender, Skipped
from diffusers_deis_sn.comparison.preparing import Fitting
from diffusers_deis_sn.comparison.reference import Reference
from diffusers_deis_sn.comparison.result import Comparison, Setting
from diffusers_deis_sn.comparison.rows import Row
from diffusers_deis_sn.core.grids import Trailing
from diffusers_deis_sn.core.recipe import Recipe
from diffusers_deis_sn.core.solvers import Multistep
from diffusers_deis_sn.core.tuned import Tuned
from diffusers_deis_sn.core.vp import vp_schedule
from diffusers_deis_sn.statistics.plans import Plans, TunedPlan
from diffusers_deis_sn.statistics.record import ScoreStatistics
from exact_pipelines import ExactPipeline, gaussian_network
from records import costed_record

SD = vp_schedule(**SD_BETAS)
STD = 0.5
EVENT = (3, 8, 8)
HOSTILE = '</script><img src=x onerror="alert(1)"> & "quotes" \'single\' $model ${look}'
NAMES = {"DPM++ 2M": False, "UniPC": False, "DEIS-SN": True, "ScoreOptimal": True}


def pipeline(scheduler: Any = None) -> ExactPipeline:
    """Gaussian data, drawn by an exact network."""
    return ExactPipeline(gaussian_network(SD, STD), EVENT, scheduler)


def statistics() -> ScoreStatistics:
    """Of the pipeline's model."""
    return costed_record(SD, STD)


def plan(calls: int, worth: float = 0.5) -> TunedPlan:
    """A run of the pipeline's model as a plan: trailing times, order three."""
    return TunedPlan(Tuned.of_plan(Recipe(SD, Trailing(), Multistep(3)).plan(calls)), 1.0, 16, worth, 1.0, 1.2)


def planned(*calls: int) -> ScoreStatistics:
    """Statistics with plans for numbers of calls."""
    return statistics().with_plans(Plans(tuple(plan(one) for one in calls), EVENT))


def row(scheduler: str, calls: int, scale: float, prompts: int = 8, further: bool = False, noise: float = 0.1) -> Row:
    """A row whose distances are `scale` times those of any other, but for some noise of its own."""
    hard = np.exp(np.random.default_rng(1).normal(0.0, 0.5, prompts))
    seed = sum(map(ord, scheduler)) + calls
    own = np.exp(np.random.default_rng(seed).normal(0.0, noise, prompts))
    return Row(
        scheduler,
        calls,
        scale * hard * own / np.exp(np.log(hard * own).mean()),
        seconds=0.01234 * calls,
        ours=NAMES.get(scheduler, False),
        further=further,
        timesteps=tuple(np.linspace(999.0, 20.0, calls)),
        sigmas=(*np.geomspace(14.6146, 0.0291675, calls), 0.0),
    )


def rows(errors: Mapping[str, float], steps: tuple[int, ...] = (6, 8, 10), **options: Any) -> list[Row]:
    """Rows of schedulers whose error falls with the square of the number of calls from what it is at 8."""
    return [row(name, calls, error * (8 / calls) ** 2, **options) for calls in steps for name, error in errors.items()]


WE_WIN = {"DPM++ 2M": 0.06, "UniPC": 0.07, "DEIS-SN": 0.03, "ScoreOptimal": 0.025}
RIVAL_WINS = {"DPM++ 2M": 0.02, "UniPC": 0.07, "DEIS-SN": 0.03, "ScoreOptimal": 0.035}
DRAW = {"DPM++ 2M": 0.030, "UniPC": 0.07, "DEIS-SN": 0.0299, "ScoreOptimal": 0.035}


def picture(seed: int, size: int = 32) -> bytes:
    """A PNG of random blocks."""
    values = np.random.default_rng(seed).integers(0, 255, (8, 8, 3), dtype=np.uint8)
    data = io.BytesIO()
    Image.fromarray(values).resize((size, size), Image.Resampling.NEAREST).save(data, "PNG")
    return data.getvalue()


def made_with_plans() -> Comparison:
    """The same with plans that were fitted for it, for two of the numbers of calls."""
    found = made()
    calls = frozenset({6, 8})
    tuned = Contender("DEIS-SN (tuned)", object, ("from somewhere import it",), ours=True, calls=calls)
    new = [replace(row(tuned.name, one, 0.02, 4), ours=True) for one in (6, 8)]
    table = [*found.rows, *new]
    pictures = {(one.scheduler, one.calls): tuple(picture(7 * one.calls + i) for i in range(4)) for one in new}
    return replace(
        found,
        rows=tuple(table),
        contenders=(*found.contenders, tuned),
        advice=advise(table, 8, "DPM++ 2M", found.advice.equal),
        statistics=planned(6, 8),
        fitting=Fitting((6, 8, 10), 12, 24, 16, 0, 98.7),
        pictures={**found.pictures, **pictures},
    )


def made(errors: Mapping[str, float] = WE_WIN, prompts: int = 4, size: int = 32) -> Comparison:
    """A comparison of constructed rows and pictures, one of its prompts hostile."""
    table = rows(errors, prompts=prompts)
    equal = None
    if errors is WE_WIN:
        table += [row("DPM++ 2M", 12, 0.027, prompts, further=True), row("DPM++ 2M", 13, 0.0249, prompts, further=True)]
        equal = Equal("DPM++ 2M", 13, 48)
    entrants = tuple(
        Contender(name, object, (f"from somewhere import {name}", f'pipe.scheduler = {name}("STATISTICS")'), ours=ours)
        for name, ours in NAMES.items()
    )
    pictures = {
        (one.scheduler, one.calls): tuple(picture(100 * one.calls + i, size) for i in range(prompts)) for one in table
    }
    return Comparison(
        setting=Setting(
            model="someone/a <model>",
            pipeline="StableDiffusionPipeline",
            process="betas",
            prompts=(HOSTILE, *(f"prompt number {i}" for i in range(1, prompts))),
            num_prompts=prompts,
            seed=7,
            arguments={"guidance_scale": 6.0, "height": 512},
            device="cpu",
            batch_size=4,
            seconds=123.4,
            versions={"diffusers_deis_sn": "0.1.0", "torch": "2.9"},
        ),
        reference=Reference("DPM++ 2M Karras", ("from diffusers import X",), 200, 100, prompts, 0.0011, 0.031, 10),
        rows=tuple(table),
        contenders=entrants,
        skipped=(Skipped("Euler", "It <b>cannot</b>."),),
        advice=advise(table, 8, "DPM++ 2M", equal),
        statistics=statistics(),
        place="out/statistics",
        measured=True,
        pictures={("converged", 0): tuple(picture(i, size) for i in range(prompts)), **pictures},
    )
