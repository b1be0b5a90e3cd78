"""What decides the numbers of a measurement, as facts with names: a checkpoint of other facts is of another run.

`asked` are the arguments, known before anything is loaded; `of_model` is what the pipeline at hand adds. Texts and
arrays are kept as hashes, since prompts stay private. Where a measurement runs, on which device, is not among the
facts: it may be taken up on another one, and is equal but for the rounding of that device.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from diffusers_deis_sn.statistics.origin import hash_prompts

if TYPE_CHECKING:
    from diffusers_deis_sn.collect.recorder import RecordingScheduler

Facts = dict[str, Any]
SAMPLED = 8  # numbers of each weight: another training changes them all


def asked(
    prompts: str | Sequence[str] | None,
    num_samples: int | str,
    num_inference_steps: int,
    batch_size: int,
    seed: int,
    costs: Sequence[str],
    tolerance: float,
    trials: int,
    skip_invalid: bool,
    arguments: Mapping[str, Any],
) -> Facts:
    """The facts that are arguments; those of `calibrate`, and `arguments` for the pipeline."""
    texts = [prompts] if isinstance(prompts, str) else prompts
    return {
        "prompts": None if texts is None else hash_prompts(texts),
        "num_samples": num_samples,
        "num_inference_steps": num_inference_steps,
        "batch_size": batch_size,
        "seed": seed,
        "costs": list(dict.fromkeys(costs)),
        "tolerance": float(tolerance),
        "trials": trials,
        "skip_invalid": skip_invalid,
        "arguments": {name: describe(value) for name, value in sorted(arguments.items())},
    }


def of_model(pipe: Any, recorder: RecordingScheduler, data: Any, recipes: object) -> Facts:
    """The facts of a pipeline whose scheduler is the recorder, of clean samples if any, and of recipes to be tried."""
    from diffusers_deis_sn.collect.versions import versions

    config, kind = recorder.config, type(pipe)
    limits = [config[name] for name in ("dynamic_thresholding_ratio", "sample_max_value")]
    return {
        "pipeline": f"{kind.__module__}.{kind.__qualname__}",
        "base_model": recorder.origin.base_model,
        "revision": recorder.origin.revision,
        "weights": weights(pipe),
        "dtype": str(getattr(pipe, "dtype", None)).removeprefix("torch."),
        "noise_schedule": recorder.noise.fingerprint,
        "prediction_type": config["prediction_type"],
        "thresholding": limits if config["thresholding"] else None,
        "data": describe(data),
        "recipes": _hash(repr(recipes).encode()),
        "versions": versions(),
    }


def describe(value: Any) -> Any:
    """A value as JSON has it, equal for equal values: numbers as they are, texts, arrays and pictures as hashes.

    Of objects that are none of these only the class is known.
    """
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if np.isfinite(value) else repr(value)
    if isinstance(value, str):
        return f"text {_hash(value.encode())}"
    if isinstance(value, Mapping):
        return {str(name): describe(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [describe(one) for one in value]
    if isinstance(value, np.ndarray) and value.dtype != object:
        return f"{value.dtype} {list(value.shape)} {_hash(value.tobytes())}"
    if hasattr(value, "detach") and hasattr(value, "untyped_storage"):
        import torch

        flat = value.detach().cpu().contiguous().flatten()
        return f"{value.dtype} {list(value.shape)} {_hash(flat.view(torch.uint8).numpy().tobytes())}"
    kind = type(value)
    name = f"{kind.__module__}.{kind.__qualname__}"
    if all(hasattr(value, one) for one in ("mode", "size", "tobytes")):  # a picture of Pillow
        return f"{name} {value.mode} {list(value.size)} {_hash(value.tobytes())}"
    return name


def weights(pipe: Any) -> str | None:
    """Names, shapes and some numbers of all weights; None where there are none.

    Not all numbers: gigabytes would take longer to hash than a batch to draw.
    """
    import torch

    parts = getattr(pipe, "components", None) or vars(pipe)
    modules = {name: one for name, one in parts.items() if isinstance(one, torch.nn.Module)}
    digest = hashlib.sha256()
    for name, module in sorted(modules.items()):
        for key, weight in sorted(module.named_parameters()):
            digest.update(f"{name}.{key} {list(weight.shape)}".encode())
            if weight.device.type != "meta" and weight.numel():  # weights that are offloaded to a disk are not there
                flat = weight.detach().flatten()
                some = flat[:: max(1, weight.numel() // SAMPLED)][:SAMPLED]
                digest.update(some.to("cpu", torch.float32).numpy().tobytes())
    return digest.hexdigest()[:16] if modules else None


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]
