"""How to call a pipeline whose class nobody knows: by the names in the signature of its `__call__`."""

from __future__ import annotations

import inspect
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from os import PathLike
from typing import Any

import torch

from diffusers_deis_sn.collect.arguments import check_guidance
from diffusers_deis_sn.collect.prompts import is_unicode
from diffusers_deis_sn.errors import CalibrationError, DeisSnError, SeveralError

_OURS = {
    "prompt": "`prompts=`",
    "batch_size": "`batch_size=`",
    "generator": "`seed=`",
    "num_inference_steps": "`num_inference_steps=`",
}
_MULTIPLIERS = ("num_images_per_prompt", "num_videos_per_prompt", "num_waveforms_per_prompt")
_EMBEDDINGS = ("prompt_embeds", "prompt_embeds_t5", "prompt_embeds_qwen")  # what stands for a prompt, in any pipeline
_TEXTS = ("prompt", "negative_prompt")
_LABELS = "class_labels"
_SAMPLED = (_LABELS, "image", "mask_image", "mask", "control_image", "control_mask", "latents")
_REFERENCES = ("EditPlus", "Flux2", "OmniGen")  # pipelines that look at several images for each sample
_OTHER_NAMES = {
    "batchsize": "batch_size",
    "cfg": "guidance_scale",
    "cfg_scale": "guidance_scale",
    "cost": "costs",
    "guidance": "guidance_scale",
    "license": "licence",
    "model": "base_model",
    "n_samples": "num_samples",
    "negative": "negative_prompt",
    "samples": "num_samples",
    "steps": "num_inference_steps",
}


@dataclass(frozen=True)
class PipelineCalls:
    """The keyword arguments of one call after another; `plan_calls` makes it.

    How many samples a call draws is decided by the list of prompts where a pipeline takes any, by `batch_size` where an
    unconditional one does, and by the caller's own arguments where they belong to samples (labels, embeddings).

    Args:
        fixed: Arguments of every call.
        prompts: Texts, used in turn; None where the pipeline takes none.
        takes: Which of `generator` and `batch_size` are to be passed.
        seed: Seed of sample 0; sample i starts from seed + i however the batches fall.
        each: Names of the arguments that hold one value for each sample, used in turn as well.
    """

    fixed: Mapping[str, Any]
    prompts: tuple[str, ...] | None
    takes: frozenset[str]
    seed: int
    each: frozenset[str] = frozenset()

    @property
    def sized(self) -> bool:
        """Whether a call can be told how many samples to draw."""
        return self.prompts is not None or "batch_size" in self.takes or bool(self.each)

    def arguments(self, first: int, count: int) -> dict[str, Any]:
        """Arguments that draw samples `first` to `first + count - 1`."""
        arguments = dict(self.fixed)
        for name in self.each:
            arguments[name] = in_turn(arguments[name], first, count)
        if self.prompts is not None:
            arguments["prompt"] = in_turn(self.prompts, first, count)
            # Pipelines want their other texts as lists of the same length.
            for name in [name for name in arguments if name != "prompt" and name.startswith(_TEXTS)]:
                arguments[name] = _spread(arguments[name], first, count)
        elif "batch_size" in self.takes:
            arguments["batch_size"] = count
        if "generator" in self.takes:
            seeds = range(self.seed + first, self.seed + first + count)
            # On the CPU, where a seed means the same noise on every machine.
            generators = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]
            arguments["generator"] = generators if self.sized else generators[0]
        return arguments


def called(pipe: Any, arguments: Mapping[str, Any]) -> Any:
    """What a pipeline gives; where it fails on lists of one sample, what it gives for one without lists.

    Raises:
        SeveralError: It fails on lists of several before its first step, by whatever but a lack of memory.
    """
    before = step_of(pipe)
    try:
        return pipe(**arguments)
    except DeisSnError:
        raise
    except Exception as error:
        generators, early = arguments.get("generator"), step_of(pipe) in (None, before)
        if not isinstance(generators, list) or not early or lacks_memory(error):
            raise
        if len(generators) > 1:
            raise SeveralError(
                f"{type(pipe).__name__} draws no {len(generators)} samples in one call ({type(error).__name__}: "
                f"{error}). Use batch_size=1 (--batch-size 1)."
            ) from error
    names = [name for name in arguments if name.startswith(_TEXTS) and _are_texts(arguments[name])]
    texts = {name: arguments[name][0] for name in names}
    return pipe(**{**arguments, **texts, "generator": generators[0].manual_seed(generators[0].initial_seed())})


def of_each(rows: torch.Tensor, count: int) -> torch.Tensor:
    """What belongs to each sample, of the rows that a pipeline steps with; as it is where that cannot be told.

    Some step with all frames of their videos, and some with both halves of a guided batch, which are the same (DiT).

    Args:
        rows: (M, *event).
        count: Number of samples that were asked for; 0 where the pipeline decides.

    Returns:
        (count, *event), or (count, M / count, *event) of videos.
    """
    parts, rest = divmod(len(rows), count) if count else (1, 0)
    if parts < 2 or rest:
        return rows
    if parts == 2 and torch.equal(rows[:count], rows[count:]):
        return rows[:count]
    return rows.reshape(count, parts, *rows.shape[1:])


def lacks_memory(error: BaseException) -> bool:
    """Whether an error is one of too little memory: Python's, of NumPy too, or by what torch says on any device."""
    return isinstance(error, MemoryError) or "out of memory" in str(error) or "can't allocate memory" in str(error)


def step_of(pipe: Any) -> int | None:
    """Which step a pipeline is at; before the first one None, or where it stopped the last time."""
    step: int | None = getattr(pipe.scheduler, "step_index", None)
    return step


def plan_calls(
    pipe: Any,
    prompts: str | Sequence[str] | None,
    num_inference_steps: int,
    seed: int,
    options: Mapping[str, Any],
    ours: Iterable[str] = (),
) -> PipelineCalls:
    """Calls of a pipeline that draw samples for a measurement.

    Latents are not decoded where the pipeline has an autoencoder and can leave that out.

    Args:
        pipe: Any pipeline that takes `num_inference_steps`.
        prompts: Texts for a pipeline that takes them.
        num_inference_steps: Number of steps of each call.
        seed: Seed of sample 0.
        options: The caller's own arguments for the pipeline.
        ours: Names of the arguments of the calibration itself, one of which may be meant by an unknown one.

    Raises:
        CalibrationError: No pipeline; arguments that it does not take, or lacks.
    """
    _check_callable(pipe)
    parameters = inspect.signature(pipe).parameters
    name = type(pipe).__name__
    if "num_inference_steps" not in parameters:
        raise CalibrationError(
            f"{name} takes no `num_inference_steps`, so its trajectory cannot be refined. Call it yourself inside "
            "`recording(pipe)`."
        )
    _check_options(options)
    _refuse_unknown(name, _taken(pipe), options, ours)
    texts = _check_prompts(name, parameters, prompts, options)
    each = sampled(pipe, options, texts is None)
    fixed = {"num_inference_steps": num_inference_steps, **options}
    if texts is None and "prompt" in parameters and parameters["prompt"].default is inspect.Parameter.empty:
        fixed["prompt"] = None  # embeddings stand for it
    if isinstance(fixed.get(_LABELS), int):
        fixed[_LABELS] = [fixed[_LABELS]]
    if "output_type" in parameters and getattr(pipe, "vae", None) is not None and _gives_latents(pipe):
        fixed.setdefault("output_type", "latent")
    _check_complete(name, parameters, {*fixed, *_OURS})
    takes = {"generator", "batch_size"} & parameters.keys()
    if "ensemble_size" in parameters:  # Marigold's batch size is of the members of one sample
        takes -= {"batch_size"}
    return PipelineCalls(fixed, texts, frozenset(takes), seed, each)


def guidance_in_use(pipe: Any, options: Mapping[str, Any]) -> float | None:
    """The scale of guidance that a call will use: the caller's, or the pipeline's default; None where that is unknown.

    One where the pipeline knows no guidance: what its network says is what the solver gets.
    """
    parameters = inspect.signature(pipe).parameters
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    default = parameters["guidance_scale"].default if "guidance_scale" in parameters else None if takes_any else 1.0
    value = options.get("guidance_scale", default)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def sampled(pipe: Any, options: Mapping[str, Any], alone: bool) -> frozenset[str]:
    """Names of the arguments that hold one value for each sample: lists and batches of more than one.

    Args:
        pipe: The pipeline.
        options: The caller's own arguments for it.
        alone: Whether there are no prompts, so that embeddings stand for them.

    Raises:
        CalibrationError: An empty list.
    """
    names = set(_SAMPLED)
    if hasattr(getattr(pipe, "controlnet", None), "nets") or any(part in type(pipe).__name__ for part in _REFERENCES):
        names -= {
            "image",
            "control_image",
        }  # a list is for one sample: an image for each network, or several to look at
    given = {name: options[name] for name in names & options.keys() if _is_batch(options[name])}
    for name, value in given.items():
        if len(value) == 0:
            raise CalibrationError(f"`{name}` is empty. Give at least one, better as many as there are samples.")
    each = {name for name, value in given.items() if len(value) > 1 or name == _LABELS}
    if isinstance(options.get(_LABELS), int):
        each.add(_LABELS)
    embeddings = _embeddings(options)
    if alone and isinstance(embeddings, torch.Tensor):
        each |= {
            name
            for name, value in options.items()
            if ("embeds" in name or "attention_mask" in name)
            and isinstance(value, torch.Tensor)
            and value.ndim > 0
            and len(value) == len(embeddings)
        }
    return frozenset(each)


def _embeddings(options: Mapping[str, Any]) -> Any:
    """What stands for a prompt among the options, or None."""
    return next((options[name] for name in _EMBEDDINGS if options.get(name) is not None), None)


def in_turn(values: Any, first: int, count: int) -> Any:
    """Values of samples `first` to `first + count - 1`, of a list or of a batch; from the start again at the end."""
    chosen = [i % len(values) for i in range(first, first + count)]
    return [values[i] for i in chosen] if isinstance(values, list | tuple) else values[chosen]


def _is_batch(value: Any) -> bool:
    """Whether it is a list, or an array with an axis for samples; labels have no other, and an image has three more."""
    return isinstance(value, list | tuple) or (hasattr(value, "shape") and len(value.shape) in (1, 4, 5))


def _gives_latents(pipe: Any) -> bool:
    """Whether the pipeline knows the word "latent", by which it leaves decoding out; some refuse it (Marigold)."""
    module = inspect.getmodule(inspect.unwrap(type(pipe).__call__))
    try:
        return module is not None and re.search("[\"']latent[\"']", inspect.getsource(module)) is not None
    except (OSError, TypeError):  # no source: then it decodes, which takes time and is always right
        return False


def _check_callable(pipe: Any) -> None:
    """Raise CalibrationError for what is often given in the place of a pipeline."""
    if isinstance(pipe, str | PathLike):
        raise CalibrationError(
            f"A loaded pipeline is needed, got the name {str(pipe)!r}. Load it by DiffusionPipeline.from_pretrained, "
            f"or run deis-sn calibrate {pipe!s} -o FOLDER."
        )
    if isinstance(pipe, type):
        raise CalibrationError(
            f"A loaded pipeline is needed, got the class {pipe.__name__}. Load it by {pipe.__name__}.from_pretrained."
        )
    name = type(pipe).__name__
    if not callable(pipe):
        if hasattr(type(pipe), "components"):
            raise CalibrationError(
                f"{name} has no call, only methods. Load the model's pipeline that has one, or call a method yourself "
                "inside `recording(pipe)`."
            )
        raise CalibrationError(f"A loaded pipeline is needed, got an object of class {name}. Load one.")
    members = getattr(pipe, "__dict__", {}).items()
    parts = {f"`pipe.{key}`": part for key, part in members if hasattr(type(part), "components")}
    if parts:
        own = getattr(pipe, "scheduler", None)
        drawing = [key for key, part in parts.items() if getattr(part, "scheduler", None) is own] or parts
        raise CalibrationError(
            f"{name} is made of other pipelines, and never asks its own scheduler. Give the one that draws: "
            f"{' or '.join(drawing)}."
        )


def _taken(pipe: Any) -> frozenset[str]:
    """Names of the arguments of a pipeline; with its parents' where it passes on whatever it is given."""
    parameters = inspect.signature(pipe).parameters
    names = set(parameters)
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        for parent in type(pipe).__mro__:
            if inspect.isfunction(call := vars(parent).get("__call__")):
                parameters = inspect.signature(call).parameters
                names |= {
                    key for key, one in parameters.items() if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)
                }
    return frozenset(names - {"self", "kwargs"})


def _refuse_unknown(name: str, taken: Collection[str], options: Mapping[str, Any], ours: Iterable[str]) -> None:
    """Raise CalibrationError for names that nobody knows.

    A pipeline with **kwargs swallows every name, so that a slip would change what is measured without a word.
    """
    unknown = sorted(options.keys() - taken)
    if not unknown:
        return
    known = [*taken, *(one for one in ours if one not in taken)]
    told = []
    for option in unknown:
        meant = _OTHER_NAMES.get(option.lower())
        near = [meant] if meant in known else get_close_matches(option, known, 1)
        told.append(f"{option} (did you mean `{near[0]}`?)" if near else option)
    raise CalibrationError(f"{name} takes no {', '.join(told)}. It takes {', '.join(sorted(taken))}.")


def _check_options(options: Mapping[str, Any]) -> None:
    for option in options.keys() & _OURS.keys():
        raise CalibrationError(f"`{option}` of the pipeline is set by the calibration itself. Use {_OURS[option]}.")
    for option in _MULTIPLIERS:
        if options.get(option, 1) != 1:
            raise CalibrationError(f"`{option}` must be 1, got {options[option]!r}. Use `num_samples=`.")
    check_guidance(options.get("guidance_scale"))


def _check_prompts(
    name: str,
    parameters: Mapping[str, inspect.Parameter],
    prompts: str | Sequence[str] | None,
    options: Mapping[str, Any],
) -> tuple[str, ...] | None:
    """The prompts as a tuple, None for a pipeline that is called without."""
    if prompts is None:
        if "prompt" in parameters and _embeddings(options) is None:
            other = next((one for one in _EMBEDDINGS if one in parameters), _EMBEDDINGS[0])
            raise CalibrationError(
                f"{name} draws from a text: give `prompts`, a list of what its users ask for (or `{other}`)."
            )
        return None
    texts = (prompts,) if isinstance(prompts, str) else tuple(prompts)
    if "prompt" not in parameters:
        raise CalibrationError(f"{name} takes no prompts, got {len(texts)} of them. Leave `prompts` out.")
    if not texts:
        raise CalibrationError("`prompts` is empty. Give at least one text, better as many as there are samples.")
    for text in texts:
        if not is_unicode(text):
            raise CalibrationError(f"`prompts` must be texts, got {text!r}.")
    return texts


def _check_complete(name: str, parameters: Mapping[str, inspect.Parameter], given: set[str]) -> None:
    """Raise CalibrationError where an argument without default is neither the caller's nor ours."""
    optional = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    for key, parameter in parameters.items():
        if parameter.default is parameter.empty and parameter.kind not in optional and key not in given:
            raise CalibrationError(f"{name} cannot be called without `{key}`. Pass `{key}=` to the calibration.")


def _spread(value: Any, first: int, count: int) -> Any:
    """A text, or a list of texts, as one text for each sample; anything else as it is."""
    if isinstance(value, str):
        return [value] * count
    return in_turn(value, first, count) if _are_texts(value) else value


def _are_texts(value: Any) -> bool:
    return isinstance(value, list | tuple) and bool(value) and all(isinstance(text, str) for text in value)
