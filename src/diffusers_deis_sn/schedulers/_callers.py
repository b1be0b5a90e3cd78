"""Pipelines and loops that ask of a scheduler what no deterministic one has, though they accept its config."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from diffusers_deis_sn.core.value_types import FLAG, demand, is_number, shown
from diffusers_deis_sn.errors import ConfigurationError, StepError
from diffusers_deis_sn.escaping import plain

# By the keyword argument that they pass; tests look for them in the installed Diffusers.
NOISE = "it steers by the noise that a stochastic step adds, and this method draws none"
TWICE = "it takes each step twice and sets Diffusers' own `_step_index` back in between"
DISTILLED = "it samples a consistency model, which was distilled to jump to clean data and be noised anew"
REFUSED: dict[str, tuple[str, str]] = {
    "CosmosTextToWorldPipeline": ("pred_original_sample", TWICE),
    "CosmosVideoToWorldPipeline": ("pred_original_sample", TWICE),
    "CycleDiffusionPipeline": ("variance_noise", NOISE),
    "LatentConsistencyModelImg2ImgPipeline": ("original_inference_steps", DISTILLED),
    "LatentConsistencyModelPipeline": ("original_inference_steps", DISTILLED),
    "LEditsPPPipelineStableDiffusion": ("variance_noise", NOISE),
    "LEditsPPPipelineStableDiffusionXL": ("variance_noise", NOISE),
    "SanaSprintImg2ImgPipeline": ("intermediate_timesteps", DISTILLED),
    "SanaSprintPipeline": ("intermediate_timesteps", DISTILLED),
}


STOCHASTIC = ("s_churn", "variance_noise")  # of other schedulers' `step`: they ask for noise unless zero or None
ITS_BOUNDS = ("s_tmin", "s_tmax", "s_noise")  # of the first, and of no effect without


def check_options(return_dict: object, eta: object, others: Mapping[str, object]) -> None:
    """Refuse options of `step` that are none, and what a deterministic method does not have.

    Args:
        return_dict: Whether an object is returned.
        eta: Amount of noise of DDIM.
        others: Arguments that are not ours, by name.

    Raises:
        StepError: Noise is asked for, or an argument that is nobody's or of no use here.
    """
    demand(StepError, "return_dict", FLAG, return_dict)
    if eta is not None and (not is_number(eta) or eta):
        raise StepError(f"DEIS draws no noise: `eta` must be 0, got {shown(eta)}. Use DDIMScheduler for eta > 0.")
    for name, value in others.items():
        if name in STOCHASTIC and value is not None and (not is_number(value) or value):
            raise StepError(
                f"DEIS draws no noise: `{name}` must be left out, got {shown(value)}. Use the scheduler that has it."
            )
        if name not in STOCHASTIC and name not in ITS_BOUNDS:
            raise StepError(
                f"`step` has no argument `{plain(name)}` here, got {shown(value)}. Leave it out, or keep the scheduler "
                "that has it."
            )


def refuse_caller(pipe: Any) -> None:
    """Raise ConfigurationError for a pipeline whose loop cannot be walked, before it is."""
    for kind in type(pipe).__mro__:
        if kind.__name__ in REFUSED:
            keyword, why = REFUSED[kind.__name__]
            raise ConfigurationError(
                f"{kind.__name__} passes `{keyword}` to its scheduler: {why}. Keep the pipeline's own."
            )
