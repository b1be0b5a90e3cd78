"""How to call a pipeline whose class nobody knows: by the names in the signature of its `__call__`."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import torch

from diffusers_deis_sn.errors import CalibrationError

_OURS = {
    "prompt": "`prompts=`",
    "batch_size": "`batch_size=`",
    "generator": "`seed=`",
    "num_inference_steps": "`num_inference_steps=`",
}
_MULTIPLIERS = ("num_images_per_prompt", "num_videos_per_prompt", "num_waveforms_per_prompt")
_EMBEDDINGS = "prompt_embeds"


@dataclass(frozen=True)
class PipelineCalls:
    """The keyword arguments of one call after another; `plan_calls` makes it.

    How many samples a call draws is decided by the list of prompts where a pipeline takes any, by `batch_size` where an
    unconditional one does, and else by what the caller's own arguments hold (labels, embeddings).

    Args:
        fixed: Arguments of every call.
        prompts: Texts, used in turn; None where the pipeline takes none.
        takes: Which of `generator` and `batch_size` are to be passed.
        seed: Seed of sample 0; sample i starts from seed + i however the batches fall.
    """

    fixed: Mapping[str, Any]
    prompts: tuple[str, ...] | None
    takes: frozenset[str]
    seed: int

    @property
    def sized(self) -> bool:
        """Whether a call can be told how many samples to draw."""
        return self.prompts is not None or "batch_size" in self.takes

    def arguments(self, first: int, count: int) -> dict[str, Any]:
        """Arguments that draw samples `first` to `first + count - 1`."""
        arguments = dict(self.fixed)
        if self.prompts is not None:
            arguments["prompt"] = _in_turn(self.prompts, first, count)
            # Pipelines want their other texts as lists of the same length.
            for name in [name for name in arguments if name.startswith(("negative_prompt", "prompt_"))]:
                arguments[name] = _spread(arguments[name], first, count)
        elif "batch_size" in self.takes:
            arguments["batch_size"] = count
        if "generator" in self.takes:
            seeds = range(self.seed + first, self.seed + first + count)
            # On the CPU, where a seed means the same noise on every machine.
            generators = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]
            arguments["generator"] = generators if self.sized else generators[0]
        return arguments


def plan_calls(
    pipe: Any, prompts: str | Sequence[str] | None, num_inference_steps: int, seed: int, options: Mapping[str, Any]
) -> PipelineCalls:
    """Calls of a pipeline that draw samples for a measurement.

    Latents are not decoded where the pipeline has an autoencoder and can leave that out.

    Args:
        pipe: Any pipeline that takes `num_inference_steps`.
        prompts: Texts for a pipeline that takes them.
        num_inference_steps: Number of steps of each call.
        seed: Seed of sample 0.
        options: The caller's own arguments for the pipeline.

    Raises:
        CalibrationError: Arguments that the pipeline does not take, or lacks.
    """
    parameters = inspect.signature(pipe).parameters
    name = type(pipe).__name__
    if "num_inference_steps" not in parameters:
        raise CalibrationError(
            f"{name} takes no `num_inference_steps`, so its trajectory cannot be refined. Call it yourself inside "
            "`recording(pipe)`."
        )
    _check_options(name, parameters, options)
    texts = _check_prompts(name, parameters, prompts, options)
    fixed = {"num_inference_steps": num_inference_steps, **options}
    if "output_type" in parameters and getattr(pipe, "vae", None) is not None:
        fixed.setdefault("output_type", "latent")
    _check_complete(name, parameters, {*fixed, *_OURS})
    takes = {"generator", "batch_size"} & parameters.keys()
    return PipelineCalls(fixed, texts, frozenset(takes), seed)


def guidance_in_use(pipe: Any, options: Mapping[str, Any]) -> float | None:
    """The scale of guidance that a call will use: the caller's, or the pipeline's default; None where that is unknown.

    One where the pipeline knows no guidance: what its network says is what the solver gets.
    """
    parameters = inspect.signature(pipe).parameters
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    default = parameters["guidance_scale"].default if "guidance_scale" in parameters else None if takes_any else 1.0
    value = options.get("guidance_scale", default)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _check_options(name: str, parameters: Mapping[str, inspect.Parameter], options: Mapping[str, Any]) -> None:
    for option in options.keys() & _OURS.keys():
        raise CalibrationError(f"`{option}` of the pipeline is set by the calibration itself. Use {_OURS[option]}.")
    unknown = sorted(options.keys() - parameters.keys())
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        # Such pipelines swallow every name, so that a slip would change what is measured without a word.
        unknown = [option for option in unknown if get_close_matches(option, parameters, cutoff=0.85)]
    if unknown:
        raise CalibrationError(f"{name} takes no {', '.join(unknown)}. It takes {', '.join(parameters)}.")
    for option in _MULTIPLIERS:
        if options.get(option, 1) != 1:
            raise CalibrationError(f"`{option}` must be 1, got {options[option]!r}. Use `num_samples=`.")


def _check_prompts(
    name: str,
    parameters: Mapping[str, inspect.Parameter],
    prompts: str | Sequence[str] | None,
    options: Mapping[str, Any],
) -> tuple[str, ...] | None:
    """The prompts as a tuple, None for a pipeline that is called without."""
    if prompts is None:
        if "prompt" in parameters and options.get(_EMBEDDINGS) is None:
            raise CalibrationError(
                f"{name} draws from a text: give `prompts`, a list of what its users ask for (or `{_EMBEDDINGS}`)."
            )
        return None
    texts = (prompts,) if isinstance(prompts, str) else tuple(prompts)
    if "prompt" not in parameters:
        raise CalibrationError(f"{name} takes no prompts, got {len(texts)} of them. Leave `prompts` out.")
    if not texts:
        raise CalibrationError("`prompts` is empty. Give at least one text, better as many as there are samples.")
    for text in texts:
        if not isinstance(text, str):
            raise CalibrationError(f"`prompts` must be texts, got {text!r}.")
    return texts


def _check_complete(name: str, parameters: Mapping[str, inspect.Parameter], given: set[str]) -> None:
    """Raise CalibrationError where an argument without default is neither the caller's nor ours."""
    optional = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    for key, parameter in parameters.items():
        if parameter.default is parameter.empty and parameter.kind not in optional and key not in given:
            raise CalibrationError(f"{name} cannot be called without `{key}`. Pass it to the calibration, {key}=...")


def _in_turn(texts: Sequence[str], first: int, count: int) -> list[str]:
    return [texts[i % len(texts)] for i in range(first, first + count)]


def _spread(value: Any, first: int, count: int) -> Any:
    """A text, or a list of texts, as one text for each sample; anything else as it is."""
    if isinstance(value, str):
        return [value] * count
    if isinstance(value, list | tuple) and value and all(isinstance(text, str) for text in value):
        return _in_turn(value, first, count)
    return value
