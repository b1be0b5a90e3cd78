"""Pipelines whose loops ask of a scheduler what no deterministic one has, though they accept its config."""

from __future__ import annotations

from typing import Any

from diffusers_deis_sn.errors import ConfigurationError

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


def refuse_caller(pipe: Any) -> None:
    """Raise ConfigurationError for a pipeline whose loop cannot be walked, before it is."""
    for kind in type(pipe).__mro__:
        if kind.__name__ in REFUSED:
            keyword, why = REFUSED[kind.__name__]
            raise ConfigurationError(
                f"{kind.__name__} passes `{keyword}` to its scheduler: {why}. Keep the pipeline's own."
            )
