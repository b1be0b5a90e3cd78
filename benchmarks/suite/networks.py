"""The suite's networks: what they are, how they are loaded, and one object that samples with any of them.

    pipe = load("digits-dit")
    pipe.scheduler = DPMSolverMultistepScheduler.from_config(pipe.scheduler.config)
    pictures = pipe(class_labels=[3, 7], num_inference_steps=10, guidance_scale=3.0, latents=noise)

Every network has a role that was fixed before anything was tuned on it: a *choosing* network may decide about defaults,
a *reporting* one never does. `python -m benchmarks.suite.train` trains them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import diffusers
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from benchmarks.suite.architectures import build
from benchmarks.suite.judges import Judge, load_judge

MODELS = Path(__file__).resolve().parent.parent / "models"
WEIGHTS, CONFIG = "model.safetensors", "config.json"
EMOJI_KINDS = 5  # faces, hearts, clocks, shapes, letters

LINEAR = {"beta_start": 0.0001, "beta_end": 0.02, "beta_schedule": "linear"}
SCALED_LINEAR = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
PLAIN_DDIM = {"clip_sample": False, "set_alpha_to_one": False}
EDM = {"sigma_min": 0.002, "sigma_max": 80.0, "sigma_data": 0.5, "prediction_type": "epsilon"}
EDM_TIME_SCALE = 250.0


@dataclass(frozen=True)
class Description:
    """One network of the suite.

    Args:
        name: Its folder below benchmarks/models.
        role: "choosing" or "reporting".
        text: What it is, in a few words.
        data: "mnist", "emoji" or "digits" (scikit-learn's).
        shape: (C, H, W) of a sample.
        guidances: The scales to measure; 1 is the network alone.
        scheduler: Name of the Diffusers class, and its settings.
        architecture: Kind and sizes, for `architectures.build`.
        classes: How many classes the network knows, None where it knows none.
    """

    name: str
    role: str
    text: str
    data: str
    shape: tuple[int, int, int]
    guidances: tuple[float, ...]
    scheduler: tuple[str, Mapping[str, Any]]
    architecture: Mapping[str, Any]
    classes: int | None = None

    @property
    def process(self) -> str:
        """What the network predicts: epsilon, v_prediction, edm (a preconditioned picture), flow (noise less data)."""
        name, config = self.scheduler
        return {"EDMEulerScheduler": "edm", "FlowMatchEulerDiscreteScheduler": "flow"}.get(
            name, config.get("prediction_type", "epsilon")
        )

    def make_scheduler(self) -> Any:
        """The scheduler that the network was trained for."""
        name, config = self.scheduler
        return getattr(diffusers, name)(**config)


def _network(
    name: str,
    role: str,
    text: str,
    data: str,
    scheduler: tuple[str, Mapping[str, Any]],
    kind: str,
    classes: int | None = None,
    guidances: tuple[float, ...] = (1.0,),
    **sizes: Any,
) -> Description:
    shape = {"mnist": (1, 28, 28), "emoji": (3, 32, 32), "digits": (1, 8, 8)}[data]
    architecture = {"kind": kind, "size": shape[1], "channels": shape[0], "classes": classes, **sizes}
    return Description(name, role, text, data, shape, guidances, scheduler, MappingProxyType(architecture), classes)


_ALL = (
    _network(
        "emoji-unet",
        "choosing",
        "unguided epsilon U-Net in pixels, linear betas",
        "emoji",
        ("DDIMScheduler", {**LINEAR, **PLAIN_DDIM}),
        "unet",
    ),
    _network(
        "digits-dit",
        "choosing",
        "class-conditional epsilon transformer in pixels, scaled-linear betas",
        "mnist",
        ("DDIMScheduler", {**SCALED_LINEAR, **PLAIN_DDIM}),
        "transformer",
        classes=10,
        guidances=(1.0, 3.0, 7.5),
    ),
    _network(
        "digits-mlp-flow",
        "choosing",
        "class-conditional flow matching of low dimension, a perceptron",
        "digits",
        ("FlowMatchEulerDiscreteScheduler", {}),
        "perceptron",
        classes=10,
        guidances=(1.0, 3.0),
    ),
    _network(
        "digits-edm",
        "choosing",
        "unguided EDM-preconditioned U-Net",
        "mnist",
        ("EDMEulerScheduler", EDM),
        "unet",
        widths=(48, 64),
        attention=(1,),
        time_scale=EDM_TIME_SCALE,
    ),
    _network(
        "digits-unet",
        "reporting",
        "class-conditional epsilon U-Net in pixels, linear betas",
        "mnist",
        ("DDIMScheduler", {**LINEAR, **PLAIN_DDIM}),
        "unet",
        classes=10,
        guidances=(1.0, 3.0, 7.5),
    ),
    _network(
        "emoji-flow",
        "reporting",
        "flow matching in pixels, a U-Net conditional on the kind of emoji",
        "emoji",
        ("FlowMatchEulerDiscreteScheduler", {}),
        "unet",
        classes=EMOJI_KINDS,
        guidances=(1.0, 3.0),
    ),
    _network(
        "digits-v-zsnr",
        "reporting",
        "class-conditional v-prediction U-Net, scaled-linear betas with zero terminal SNR",
        "mnist",
        (
            "DDIMScheduler",
            {
                **SCALED_LINEAR,
                **PLAIN_DDIM,
                "prediction_type": "v_prediction",
                "rescale_betas_zero_snr": True,
                "timestep_spacing": "trailing",
            },
        ),
        "unet",
        classes=10,
        guidances=(1.0, 3.0),
    ),
    _network(
        "emoji-edm",
        "reporting",
        "unguided EDM-preconditioned U-Net of emoji",
        "emoji",
        ("EDMEulerScheduler", EDM),
        "unet",
        time_scale=EDM_TIME_SCALE,
    ),
)
NETWORKS: Mapping[str, Description] = MappingProxyType({each.name: each for each in _ALL})


@dataclass
class SuitePipeline:
    """Samples with one network and whatever scheduler is put in; enough of a DiffusionPipeline for `calibrate`.

    Args:
        network: Called with sample, time and labels.
        description: What it is.
        scheduler: The network's own at first.
        name_or_path: Where it was loaded from.
        calls: How often the network was asked for an output, a guided one counting once; set it to zero at will.
    """

    network: nn.Module
    description: Description
    scheduler: Any
    name_or_path: str = ""
    calls: int = field(default=0)

    @property
    def name(self) -> str:
        """The network's name."""
        return self.description.name

    @torch.no_grad()
    def __call__(
        self,
        batch_size: int | None = None,
        class_labels: Sequence[int] | Tensor | None = None,
        num_inference_steps: int = 50,
        guidance_scale: float = 1.0,
        generator: torch.Generator | Sequence[torch.Generator] | None = None,
        latents: Tensor | None = None,
        **plan: Any,
    ) -> Tensor:
        """Draw samples, the loop that every pipeline has.

        Args:
            batch_size: How many; by default as many as there are latents or labels, else one.
            class_labels: Classes, used in turn; by default the generator draws them.
            num_inference_steps: Passed to the scheduler's `set_timesteps`.
            guidance_scale: Classifier-free guidance, 1 for none.
            generator: One, or one for each sample.
            latents: Unit normal noise (B, C, H, W). Its type is that of the sample; the network computes in float32.
            **plan: Further arguments of `set_timesteps`, such as `sigmas` or `timesteps`.

        Returns:
            (B, C, H, W), pictures in [-1, 1] or a little beyond.
        """
        batch = _batch(batch_size, class_labels, latents)
        generators = list(generator) if isinstance(generator, Sequence) else [generator] * batch
        x = self._noise(generators) if latents is None else latents
        labels = self._labels(class_labels, generators)
        if "sigmas" in plan or "timesteps" in plan:
            self.scheduler.set_timesteps(**plan)
        else:
            self.scheduler.set_timesteps(num_inference_steps, **plan)
        x = x * getattr(self.scheduler, "init_noise_sigma", 1.0)
        for t in self.scheduler.timesteps:
            scaled = self.scheduler.scale_model_input(x, t) if hasattr(self.scheduler, "scale_model_input") else x
            out = self.guided(scaled, t, labels, guidance_scale).to(x.dtype)
            x = self.scheduler.step(out, t, x, return_dict=False)[0]
        return x

    @torch.no_grad()
    def guided(self, sample: Tensor, time: float | Tensor, labels: Tensor | None, guidance: float = 1.0) -> Tensor:
        """The network's output for a scaled sample at one time, guided where it knows classes; counted as one call."""
        self.calls += 1
        sample = sample.float()
        times = torch.as_tensor(time, dtype=torch.float32).expand(len(sample))
        if labels is None or guidance == 1.0:
            return self.network(sample, times, labels)
        both = torch.cat([torch.full_like(labels, self.description.classes), labels])
        free, asked = self.network(sample.repeat(2, 1, 1, 1), times.repeat(2), both).chunk(2)
        return free + guidance * (asked - free)

    def _noise(self, generators: Sequence[torch.Generator | None]) -> Tensor:
        return torch.stack([torch.randn(self.description.shape, generator=one) for one in generators])

    def _labels(
        self, class_labels: Sequence[int] | Tensor | None, generators: Sequence[torch.Generator | None]
    ) -> Tensor | None:
        """(B,) int64, or None where the network knows no classes."""
        classes = self.description.classes
        if classes is None:
            if class_labels is not None:
                raise ValueError(f"{self.name} knows no classes. Leave `class_labels` out.")
            return None
        if class_labels is None:
            return torch.cat([torch.randint(classes, (1,), generator=one) for one in generators])
        given = torch.as_tensor(class_labels, dtype=torch.int64)
        if len(given) == 0 or not 0 <= int(given.min()) <= int(given.max()) < classes:
            raise ValueError(f"`class_labels` of {self.name} are from 0 to {classes - 1}, got {class_labels!r}.")
        return given[torch.arange(len(generators)) % len(given)]


def load(name: str, folder: str | Path = MODELS) -> SuitePipeline:
    """A network of the suite with its own scheduler, weights widened to float32, in evaluation mode on the CPU.

    Raises:
        KeyError: No network of that name.
        FileNotFoundError: It is not there yet; the message says how to train it.
        ValueError: Its files are of another definition than this module's.
    """
    if name not in NETWORKS:
        raise KeyError(f"No network {name!r} in the suite. There are {', '.join(NETWORKS)}.")
    description, path = NETWORKS[name], Path(folder) / name
    retrain = f"Train it: `python -m benchmarks.suite.train {name} --output {folder}`"
    if not (path / WEIGHTS).is_file() or not (path / CONFIG).is_file():
        raise FileNotFoundError(f"{path} has no trained network. {retrain}.")
    architecture = json.loads((path / CONFIG).read_text())["architecture"]
    if architecture != json.loads(json.dumps(dict(description.architecture))):
        raise ValueError(f"{path / CONFIG} describes another network than `{name}` is now. {retrain}.")
    network = build(description.architecture, description.scheduler)
    network.load_state_dict({key: value.float() for key, value in load_file(path / WEIGHTS).items()})
    network.eval().requires_grad_(False)
    return SuitePipeline(network, description, description.make_scheduler(), str(path))


def judge_for(name: str, folder: str | Path = MODELS) -> Judge | None:
    """Who says what a picture of that network shows and has its features for Frechet distances; None for nobody."""
    judge = {"mnist": "digit-judge", "emoji": "emoji-judge"}.get(NETWORKS[name].data)
    return None if judge is None else load_judge(judge, folder)


def _batch(batch_size: int | None, class_labels: Any, latents: Tensor | None) -> int:
    if latents is not None:
        if batch_size not in (None, len(latents)):
            raise ValueError(f"{len(latents)} latents for `batch_size` = {batch_size}. Leave one of them out.")
        return len(latents)
    return batch_size or (1 if class_labels is None else len(class_labels))
