"""Score statistics to test with: a tiny one, the closed form of Gaussian data, and a file as DEIS-SN published them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from diffusers_deis_sn.core.flow import FlowSchedule
from diffusers_deis_sn.core.process import NoiseSchedule
from diffusers_deis_sn.core.vp import vp_schedule
from diffusers_deis_sn.hub.sealed import SEAL, digest
from diffusers_deis_sn.statistics import ScoreStatistics, StatisticsOrigin
from diffusers_deis_sn.statistics.cost import COST_ORDERS, LocalCost
from diffusers_deis_sn.statistics.format import METADATA_KEY
from diffusers_deis_sn.statistics.trials import Method, Trials
from oracles import gaussian_corrector_cost, gaussian_predictor_cost


def tiny_record() -> ScoreStatistics:
    """Two times, with numbers that are short in binary."""
    return ScoreStatistics(
        timesteps=np.array([0.0, 1.5]),
        log_snr=np.array([2.0, -1.0]),
        mean_abs=np.array([0.5, 0.75]),
        mean_abs_error=np.array([0.0, 0.125]),
        mean_square=np.array([0.25, 1.0]),
        mean_square_error=np.array([0.5, 0.0625]),
        mean_abs_data=np.array([0.625, 0.375]),
        mean_abs_data_error=np.array([0.25, 0.0]),
        num_samples=np.array([4, 6]),
        origin=StatisticsOrigin(
            base_model="someone/some-model",
            guidance_scale=7.5,
            sample_shape=(4, 8, 8),
            seed=0,
            versions={"torch": "2.0", "diffusers": "0.36"},
            date="2026-01-31",
        ),
    )


def resealed(facts: Mapping[str, Any], tensors: Mapping[str, np.ndarray], **metadata: str) -> bytes:
    """A file of statistics with these facts and tensors, sound or not, and the digest that belongs to them."""
    whole = {name: np.ascontiguousarray(one) for name, one in tensors.items()}
    facts = {name: value for name, value in facts.items() if name != SEAL}
    text = json.dumps(facts | {SEAL: digest(facts, whole)}, sort_keys=True, separators=(",", ":"))
    return save(whole, metadata={METADATA_KEY: text} | metadata)


def gaussian_record(
    noise: NoiseSchedule | None = None, std: float = 0.3, times: int | np.ndarray = 50
) -> ScoreStatistics:
    """What measuring data N(0, std^2) would give: r = sqrt(2/pi) rho / sqrt(std^2 + rho^2), m = pi/2 r^2.

    The scale of predicted data is std^2 r / rho. At so many times, or at given ones.
    """
    noise = noise or vp_schedule()
    t = np.linspace(4.0, float(noise.time(noise.top)), times) if isinstance(times, int) else times
    rho = noise.rho(t)
    r = np.sqrt(2.0 / np.pi) * rho / np.sqrt(std**2 + rho**2)
    return ScoreStatistics(
        timesteps=t,
        log_snr=-2.0 * np.log(rho),
        mean_abs=r,
        mean_abs_error=0.01 * r,
        mean_square=np.pi / 2.0 * r**2,
        mean_square_error=0.02 * r**2,
        mean_abs_data=np.sqrt(2.0 / np.pi) * std**2 / np.sqrt(std**2 + rho**2),
        mean_abs_data_error=0.01 * r,
        num_samples=np.full(len(t), 64),
        origin=StatisticsOrigin(
            base_model="gaussian", noise_schedule=str(noise), fingerprint=noise.fingerprint, prediction_type="epsilon"
        ),
    )


def gaussian_costs(
    log_snr: np.ndarray, scales: tuple[float, ...] = (0.3,), num_samples: int = 64
) -> dict[str, LocalCost]:
    """Exact costs for data with these standard deviations c, cleanest interval first; errors of 1 and 10 percent.

    Of several scales the mean, for costs are per component.
    """
    sigma = np.exp(-0.5 * log_snr)[:, None]
    corrector, predictor = (
        np.mean(cost(sigma[1:], sigma[:-1], np.array(scales)), axis=1)
        for cost in (gaussian_corrector_cost, gaussian_predictor_cost)
    )
    return {
        "corrector": LocalCost(corrector, 0.01 * corrector, 2, num_samples),
        "predictor": LocalCost(predictor, 0.1 * predictor, 4, num_samples),
    }


def costed_record(
    noise: NoiseSchedule | None = None, std: float = 0.3, times: int | np.ndarray = 50, num_samples: int = 96
) -> ScoreStatistics:
    """`gaussian_record` with both costs."""
    record = gaussian_record(noise, std, times)
    return record.with_costs(**gaussian_costs(record.log_snr, (std,), num_samples))


def edm_record(label: str = "log", times: int = 60, top: float = 80.0) -> ScoreStatistics:
    """A model that is called with sigma = 0.002 to 80, or log(sigma) / 4, on data N(0, 0.25); with both costs."""
    sigma = np.geomspace(0.002, top, times)
    log_snr = -2.0 * np.log(sigma)
    r = np.sqrt(2.0 / np.pi) * sigma / np.sqrt(0.25 + sigma**2)
    timesteps = 0.25 * np.log(sigma) if label == "log" else sigma
    return ScoreStatistics(timesteps, log_snr, r, costs=gaussian_costs(log_snr, (0.5,)))


def flow_record(times: int = 60, train: int = 1000) -> ScoreStatistics:
    """A flow-matching model on data N(0, 0.25), called with T sigma from 1 to T, noise alone; with both costs."""
    process = FlowSchedule(train)
    sigma = np.append(np.linspace(1.0 / train, 1.0, times, endpoint=False), 1.0)
    rho = process.from_sigma(sigma)
    log_snr = -2.0 * np.log(rho)
    r = np.sqrt(2.0 / np.pi) * rho / np.sqrt(0.25 + rho**2)
    origin = StatisticsOrigin(
        noise_schedule=str(process), fingerprint=process.fingerprint, prediction_type="flow_prediction"
    )
    return ScoreStatistics(process.time(rho), log_snr, r, origin=origin, costs=gaussian_costs(log_snr, (0.5,)))


def solver_cost(record: ScoreStatistics) -> ScoreStatistics:
    """The record with a cost of the solver too: that of an even step in tau^(1/2), times a bump in log sigma."""
    log_rho = record.log_rho
    middle = 0.5 * (log_rho[1:] + log_rho[:-1])
    values = np.diff(log_rho) ** 3 / np.cosh(middle) ** 3
    costs = dict(record.costs)
    return record.with_costs(**costs, solver=LocalCost(values, 0.01 * values, COST_ORDERS["solver"], 16))


def published_content() -> dict[str, Any]:
    """What a published file holds, for data N(0, 0.09): float32, noisiest first, sigma from Diffusers' own schedule."""
    from diffusers import DDPMScheduler

    share = 1.0 - DDPMScheduler(num_train_timesteps=1000, beta_start=1e-4, beta_end=0.02).alphas_cumprod
    std = (0.09 * (1.0 - share) + share).sqrt()  # of x_t; s = -x_t / std^2
    return {"score_abs": ((2.0 / np.pi) ** 0.5 / std).flip(0), "Ls": share.sqrt().flip(0)}


def write_published(path: Path, content: object = None, **changes: Any) -> Path:
    """A file like those published, or with some of it changed, or with any other content."""
    import torch

    torch.save(published_content() | changes if content is None else content, path)
    return path


def guided_record(noise: NoiseSchedule, scale: float, times: int = 50) -> ScoreStatistics:
    """A record of which r, m, nu and the lengths of steps are linear in the guidance, and errors of trials powers."""
    record = gaussian_record(noise, times=times)
    rise = np.linspace(1.0, 0.2, times)  # most at clean data
    shape = np.linspace(2.0, 1.0, times - 1)
    lengths = 0.01 * (shape + 0.1 * scale * shape[::-1])
    recipes = (Method("noise", 1, 0, None, "power_t", 2.0), Method("data", 2, 0, None, "power_t", 1.0))
    error = np.exp([[-3.0 + 0.3 * scale, -4.0 + 0.2 * scale], [-2.0 + 0.1 * scale, -3.5 + 0.1 * scale]])
    return replace(
        record,
        mean_abs=record.mean_abs * (1.0 + 0.05 * scale * rise),
        mean_square=2.0 + 0.5 * scale * rise,
        mean_square_error=None,
        mean_abs_data=0.2 + 0.1 * scale * rise,
        costs={"solver": LocalCost(lengths**6, np.zeros(times - 1), 6, 4)},
        trials=Trials(recipes, (5, 10), error, 1.5 * error, np.ones((2, 2)), 4),
        origin=replace(record.origin, guidance_scale=scale),
    )


def guided_family(noise: NoiseSchedule, scales: Sequence[float] = (1.0, 3.0, 9.0), times: int = 50) -> ScoreStatistics:
    """Such records together."""
    return ScoreStatistics.together(guided_record(noise, scale, times) for scale in scales)


def with_trials(record: ScoreStatistics, *recipes: Method, error: Any = None, guidance: float = 4.0) -> ScoreStatistics:
    """A record on whose model these recipes were tried: by default the first is the best of each kind."""
    error = [[1.0 + k, 1.0 + k] for k in range(len(recipes))] if error is None else error
    trials = Trials(recipes, (4, 16), error, error, np.ones((len(recipes), 2)), 8)
    return record.with_trials(trials).with_origin(guidance_scale=guidance)
