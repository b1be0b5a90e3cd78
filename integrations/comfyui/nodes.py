"""The two nodes; ComfyUI is imported when they run."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diffusers_deis_sn import ConfigurationError, ScoreStatistics, learned_sigmas
from diffusers_deis_sn.core.process import Array
from diffusers_deis_sn.learn.denoised import plan_over, sample_denoised
from diffusers_deis_sn.learn.following import fitted_run, recipe_of
from diffusers_deis_sn.learn.part import Part

from .model_process import ModelProcess, process_of

STATISTICS = (
    "STRING",
    {
        "default": "",
        "tooltip": "Statistics of the model: a file, a folder, or a name on the Hub, user/repo or user/repo@revision.",
    },
)
GUIDANCE = {
    "default": 0.0,
    "min": 0.0,
    "max": 100.0,
    "step": 0.1,
    "tooltip": "Of statistics of several guidances: the CFG that you sample with.",
}


def opened(statistics: str) -> ScoreStatistics | None:
    """Statistics by the name in a node; None for an empty one."""
    return ScoreStatistics.load(statistics.strip()) if statistics.strip() else None


def changed(statistics: str) -> str:
    """What ComfyUI compares to know whether to run a node again: the name, and when the file was written."""
    path = Path(statistics.strip())
    files = sorted(path.glob("**/score_statistics.safetensors")) if path.is_dir() else [path]
    return " ".join([statistics, *(str(one.stat().st_mtime_ns) for one in files if one.is_file())])


def tried_sigmas(
    kind: ModelProcess, record: ScoreStatistics | None, steps: int, denoise: float, guidance: float | None
) -> Array | None:
    """Sigmas of the plan that was tuned, else of the recipe that measured best; (steps + 1,), None where there is none.

    Args:
        kind: The model's process.
        record: Its statistics.
        steps: Number of network calls.
        denoise: The last share of int(steps / denoise) steps.
        guidance: That of the runs.

    Raises:
        DeisSnError: As `Recipe.levels`.
    """
    total = Part(denoise=denoise).total(steps)
    if total == steps:
        tuned = fitted_run(kind.process, record, steps, guidance=guidance)
        if tuned is not None:
            return tuned.rho if kind.exploding else kind.process.as_sigma(tuned.rho)
    recipe = recipe_of(kind.process, record, total, guidance=guidance, shift=kind.shift)
    if recipe is None:
        return None
    levels = recipe.levels(total)[-(steps + 1) :]
    return levels if kind.exploding else kind.process.as_sigma(levels)


class DeisSnScheduler:
    """SIGMAS of a model, learned from its statistics.

    Of a model that is connected the times that were tuned for so many steps, or those of the recipe that measured best,
    which "DEIS-SN sampler" recognises and follows; else, and for a share of a run, those of equal cost.
    """

    RETURN_TYPES = ("SIGMAS",)
    FUNCTION = "get_sigmas"
    CATEGORY = "sampling/custom_sampling/schedulers"
    DESCRIPTION = "Sigmas learned from the scores of a model (DEIS-SN)."

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        """What ComfyUI shows."""
        return {
            "required": {
                "statistics": STATISTICS,
                "steps": ("INT", {"default": 10, "min": 1, "max": 1000, "tooltip": "Network calls."}),
                "denoise": ("FLOAT", {"default": 1.0, "min": 0.0, "max": 1.0, "step": 0.01}),
            },
            "optional": {
                "model": ("MODEL", {"tooltip": "With it: the times of the recipe that measured best."}),
                "guidance": ("FLOAT", {**GUIDANCE, "tooltip": f"{GUIDANCE['tooltip']} 0: those of 7.5, or near it."}),
            },
        }

    @classmethod
    def IS_CHANGED(cls, statistics: str, **_: Any) -> str:
        """See `changed`."""
        return changed(statistics)

    def get_sigmas(
        self, statistics: str, steps: int, denoise: float, model: Any = None, guidance: float = 0.0
    ) -> tuple[Tensor]:
        """Sigmas, (steps + 1,), falling to zero; none for a denoise of zero, as ComfyUI's own schedulers.

        Args:
            statistics: Name of the statistics.
            steps: Number of network calls.
            denoise: The last share of int(steps / denoise) steps, as `BasicScheduler` has it.
            model: A model patcher.
            guidance: That of the runs; 0 if nobody says.

        Raises:
            ConfigurationError: Neither statistics nor a model, or one of another kind of sigmas.
            StatisticsMismatchError: The statistics are not of the model.
            DeisSnError: As `learned_sigmas`.
        """
        if denoise <= 0.0:
            return (torch.FloatTensor([]),)
        record, scale = opened(statistics), guidance or None
        if record is None and model is None:
            raise ConfigurationError(
                "`statistics` is empty and no model is connected, so there is nothing to learn sigmas from. Name the "
                "statistics of the model (`deis-sn calibrate` makes them), or connect the model for times without any."
            )
        record = record and record.at(scale)
        sigmas = None
        if model is not None:
            kind = process_of(model.get_model_object("model_sampling"), record)
            if kind.exploding and kind.process.path == "flow":
                raise ConfigurationError(
                    "The sigmas of this model (COSMOS_RFLOW) go up to its own `sigma_max`, and those that are learned "
                    "are of flows up to 1. Use another scheduler, such as Karras; the sampler takes its sigmas."
                )
            if denoise >= 1.0 or record is None or not record.costs:
                sigmas = tried_sigmas(kind, record, steps, denoise, scale)
        if sigmas is None and record is not None:
            sigmas = learned_sigmas(record, steps, denoise=denoise)
        return (torch.FloatTensor(sigmas),)


class DeisSnSampler:
    """SAMPLER: the solver, normalised with the statistics of the model, for any sigmas."""

    RETURN_TYPES = ("SAMPLER",)
    FUNCTION = "get_sampler"
    CATEGORY = "sampling/custom_sampling/samplers"
    DESCRIPTION = "The exponential integrator with score normalisation (DEIS-SN)."

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        """What ComfyUI shows."""
        return {
            "required": {"statistics": STATISTICS},
            "optional": {
                "guidance": ("FLOAT", {**GUIDANCE, "tooltip": f"{GUIDANCE['tooltip']} 0: that of the guider."})
            },
        }

    @classmethod
    def IS_CHANGED(cls, statistics: str, **_: Any) -> str:
        """See `changed`."""
        return changed(statistics)

    def get_sampler(self, statistics: str, guidance: float = 0.0) -> tuple[Any]:
        """A sampler of ComfyUI.

        Args:
            statistics: Name of the statistics; plain DEIS of predicted data without.
            guidance: That of the runs; that of the guider if 0.

        Raises:
            DeisSnError: As `ScoreStatistics.load`.
        """
        from comfy.samplers import KSAMPLER

        options = {"statistics": opened(statistics), "guidance": guidance or None}
        return (KSAMPLER(sample_deis_sn, options),)


@torch.no_grad()
def sample_deis_sn(
    model: Any,
    x: Tensor,
    sigmas: Tensor,
    extra_args: dict[str, Any] | None = None,
    callback: Any = None,
    disable: bool | None = None,
    *,
    statistics: ScoreStatistics | None = None,
    guidance: float | None = None,
) -> Tensor:
    """The sample at the last of the sigmas, as the functions of ComfyUI's comfy/k_diffusion/sampling.py have it.

    Args:
        model: Gives the predicted clean sample; ComfyUI's own wrapper around the guider, with masks.
        x: Noised as the first of the sigmas says; (B, *event).
        sigmas: One for each network call, and the end; (N + 1,).
        extra_args: For the model.
        callback: Told of each call.
        disable: Show no bar.
        statistics: Of the model; plain DEIS of predicted data without.
        guidance: That of the run; that of the guider if None.

    Raises:
        TimestepsError: Sigmas that do not fall strictly.
        StatisticsMismatchError: The statistics are not of the model.
    """
    if len(sigmas) < 2:
        return x
    guider, arguments = model.inner_model, extra_args or {}
    kind = process_of(guider.inner_model.model_sampling, statistics)
    plan = plan_over(
        kind.process,
        sigmas.double().cpu().numpy(),
        statistics,
        exploding=kind.exploding,
        guidance=getattr(guider, "cfg", None) if guidance is None else guidance,
        shift=kind.shift,
    )
    return sample_denoised(
        lambda sample, sigma: model(sample, sigma, **arguments),
        x,
        sigmas,
        plan,
        exploding=kind.exploding,
        held=None if arguments.get("denoise_mask") is None else partial(kept, model, arguments),
        callback=callback,
        disable=disable,
    )


def kept(model: Any, arguments: dict[str, Any], x: Tensor, sigma: Tensor) -> Tensor:
    """The sample with the given latents, at its level, where a mask lets nothing change.

    Args:
        model: ComfyUI's wrapper with the latents and their noise.
        arguments: What it is called with: the mask, and perhaps a function that changes it on the way.
        x: The sample; (B, *event).
        sigma: Its level; (B,).
    """
    mask, inner = arguments["denoise_mask"], model.inner_model
    change = arguments.get("model_options", {}).get("denoise_mask_function")
    if change is not None:
        mask = change(sigma, mask, extra_options={"model": inner, "sigmas": model.sigmas})
    noised = inner.inner_model.scale_latent_inpaint(
        x=x, sigma=sigma, noise=model.noise, latent_image=model.latent_image, denoise_mask=mask
    )
    return torch.where(mask == 0.0, noised, x)
