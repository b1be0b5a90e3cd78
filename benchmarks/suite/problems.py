"""What samplers are tried on: a network, its guidance, unit noise, where runs should end, and who judges the result.

    problem = load("digits-dit@3")
    problem.end(scheduler, steps=8, samples=48, seed=1)      # from the same noise for every scheduler
    problem.reference(samples=48, seed=1).end                # where a converged run ends

Names are a network's, then "@" and its guidance where there is a choice. `names()` lists those that can run here.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.mnist_network import SHARED
from benchmarks.seal_statistics import seal_below
from benchmarks.suite.measures import finite
from benchmarks.suite.networks import MODELS, NETWORKS, judge_for
from benchmarks.suite.networks import load as load_network
from benchmarks.suite.samplers import family_of
from diffusers_deis_sn import ScoreStatistics, calibrate

ROOT = Path(__file__).resolve().parent.parent.parent
MOST = 1024  # samples of a seed, so that labels and prompts of the first few do not depend on how many there are
CALIBRATED_FROM = 10_000  # seeds from here on are measured, those below are compared
CALIBRATION = {"num_samples": 16, "num_inference_steps": 100, "batch_size": 16}


class NetworkCallError(RuntimeError):
    """A network call that failed, or gave no numbers: which one, of which sampler and how many."""


@dataclass(frozen=True)
class Run:
    """Where a run ended, and how many network calls it took."""

    end: Tensor
    calls: int


class Problem:
    """A pipeline at one guidance; subclasses say how it is called.

    Args:
        name: As in tables.
        role: "choosing" or "reporting": whether defaults may be decided by it.
        pipe: With a `scheduler`, its own at first.
        guidance: What it is called with.
        fingerprint: Of the weights; rows of other weights are not comparable.
        group: What the figures are grouped by: "network", or "shipped" for pipelines of this repository.
    """

    def __init__(
        self, name: str, role: str, pipe: Any, guidance: float, fingerprint: str, group: str = "network"
    ) -> None:
        self.name, self.role, self.pipe, self.guidance = name, role, pipe, guidance
        self.fingerprint, self.group = fingerprint, group
        self.config = pipe.scheduler.config
        self.family = family_of(pipe.scheduler)
        self.calls = 0

    # ------------------------------------------------------------------------------- what subclasses give

    shape: tuple[int, ...]
    judged = True  # whether `features` has any

    def _sample(self, steps: int, noise: Tensor, seed: int) -> Tensor:
        """The pipeline's result from unit noise with the scheduler that it holds, (B, *shape)."""
        raise NotImplementedError

    def _count(self) -> int:
        """Network calls since the last `_sample` began."""
        raise NotImplementedError

    def _calibrate(self) -> ScoreStatistics:
        return calibrate(self.pipe, seed=CALIBRATED_FROM, progress=False, guidance_scale=self.guidance, **CALIBRATION)

    def features(self, end: Tensor) -> Tensor | None:
        """What distributions are compared by, (B, D), or None."""
        return None

    def accuracy(self, end: Tensor, seed: int) -> float | None:
        """Share of samples that show what was asked for, or None where nobody can tell."""
        return None

    def pictures(self, end: Tensor) -> Tensor | None:
        """(B, C, H, W) in [0, 1], or None for what is no picture."""
        return None if len(self.shape) != 3 else (0.5 * (end + 1.0)).clamp(0.0, 1.0)

    # ------------------------------------------------------------------------------------------ the same for all

    def noise(self, samples: int, seed: int) -> Tensor:
        """Unit normal noise (B, *shape); sample i of a seed is the same whatever the number of samples."""
        generator = torch.Generator().manual_seed(seed)
        return torch.stack([torch.randn(self.shape, generator=generator) for _ in range(samples)])

    def end(self, scheduler: Any, steps: int, samples: int, seed: int) -> Tensor:
        """Where a run ends, (B, *shape) float32; `calls` then tells how many calls it took.

        Raises:
            NetworkCallError: A call failed, or the samples are no numbers.
        """
        noise, before = self.noise(samples, seed), self.pipe.scheduler
        self.pipe.scheduler = scheduler
        try:
            with torch.no_grad():
                end = self._sample(steps, noise, seed).float()
        except Exception as error:
            self.calls = self._count()
            raise NetworkCallError(f"network call {self.calls}: {type(error).__name__}: {error}") from error
        finally:
            self.pipe.scheduler = before
        self.calls = self._count()
        if not finite(end):
            raise NetworkCallError(f"the run of {self.calls} network calls ends in values that are no numbers")
        return end

    def statistics(self, folder: Path | None = None) -> ScoreStatistics:
        """Statistics by `calibrate` on other seeds than are compared; kept in `folder` once measured."""
        if folder is None:
            return self._calibrate()
        kept = folder / f"{slug(self.name)}-{self.fingerprint}"
        if not kept.exists():
            draft = kept.with_name(f".{kept.name}.{os.getpid()}")
            self._calibrate().save(draft)
            kept.parent.mkdir(parents=True, exist_ok=True)
            if kept.exists():  # another process was faster
                return ScoreStatistics.load(kept)
            draft.rename(kept)
        seal_below(kept)  # those of suites from before files had a digest
        return ScoreStatistics.load(kept)


class Network(Problem):
    """A network of the suite."""

    def __init__(self, name: str, guidance: float, folder: Path = MODELS) -> None:
        description = NETWORKS[name]
        self.network, self.shape, self.classes = name, description.shape, description.classes
        pipe, print_of = load_network(name, folder), fingerprint(folder / name)
        super().__init__(label(name, guidance, description.guidances), description.role, pipe, guidance, print_of)
        try:
            self.judge = judge_for(name)
        except FileNotFoundError:  # errors can be measured without; features and accuracy once it is trained
            self.judge, self.judged = None, False

    def labels(self, samples: int, seed: int) -> Tensor | None:
        """The classes asked for, (B,)."""
        if self.classes is None:
            return None
        return torch.randint(self.classes, (MOST,), generator=torch.Generator().manual_seed(seed + 7_000))[:samples]

    def _sample(self, steps: int, noise: Tensor, seed: int) -> Tensor:
        self.pipe.calls = 0
        options: dict[str, Any] = {"num_inference_steps": steps, "guidance_scale": self.guidance, "latents": noise}
        if self.classes is not None:
            options["class_labels"] = self.labels(len(noise), seed)
        return self.pipe(**options)

    def _count(self) -> int:
        return self.pipe.calls

    @torch.no_grad()
    def features(self, end: Tensor) -> Tensor | None:
        return self.judge.features(end) if self.judge else end.flatten(1) if self.judged else None

    @torch.no_grad()
    def accuracy(self, end: Tensor, seed: int) -> float | None:
        labels = self.labels(len(end), seed)
        return None if self.judge is None or labels is None else float(self.judge.accuracy(end, labels))


class Loop(Problem):
    """A network that is called by its own loop, `ExactPipeline` and the like: it takes latents and labels."""

    def _sample(self, steps: int, noise: Tensor, seed: int) -> Tensor:
        self.pipe.calls = 0
        return self.pipe(num_inference_steps=steps, guidance_scale=self.guidance, latents=noise.double())

    def _count(self) -> int:
        return self.pipe.calls

    def features(self, end: Tensor) -> Tensor | None:
        return end.flatten(1)


class Text(Problem):
    """A text-to-image pipeline of Diffusers: latents, prompts, no picture decoded until someone looks."""

    judged = False

    def __init__(
        self,
        name: str,
        role: str,
        pipe: Any,
        guidance: float,
        print_of: str,
        prompts: Callable[[int, int], list[str]],
        group: str = "network",
    ) -> None:
        pipe.set_progress_bar_config(disable=True)
        super().__init__(name, role, pipe, guidance, print_of, group)
        self.prompts, self.made = prompts, 0
        backbone = getattr(pipe, "unet", None) or pipe.transformer
        backbone.register_forward_hook(self._hear)
        size = backbone.config.sample_size
        self.shape = (backbone.config.in_channels, size, size)

    def _hear(self, *_: Any) -> None:
        self.made += 1

    def _sample(self, steps: int, noise: Tensor, seed: int) -> Tensor:
        self.made = 0
        out = self.pipe(
            self.prompts(len(noise), seed),
            num_inference_steps=steps,
            guidance_scale=self.guidance,
            latents=noise,
            output_type="latent",
        )
        return out.images

    def _count(self) -> int:
        return self.made

    def _calibrate(self) -> ScoreStatistics:
        prompts = self.prompts(CALIBRATION["num_samples"], CALIBRATED_FROM)
        return calibrate(
            self.pipe, prompts, seed=CALIBRATED_FROM, progress=False, guidance_scale=self.guidance, **CALIBRATION
        )

    @torch.no_grad()
    def decoded(self, end: Tensor) -> Tensor:
        """Pictures in [-1, 1]."""
        vae = self.pipe.vae
        return vae.decode(end / vae.config.scaling_factor + (getattr(vae.config, "shift_factor", None) or 0.0)).sample

    def pictures(self, end: Tensor) -> Tensor | None:
        return (0.5 * (self.decoded(end) + 1.0)).clamp(0.0, 1.0)


# ----------------------------------------------------------------------------------------------------------- where from


def names(roles: tuple[str, ...] = ("choosing", "reporting")) -> list[str]:
    """The problems that can run here: trained networks, shipped pipelines, the mixture, what lies in ../shared."""
    return [name for name, (role, _) in _catalogue().items() if role in roles]


def load(name: str) -> Problem:
    """The problem of that name; raises KeyError with the list where there is none."""
    catalogue = _catalogue()
    if name not in catalogue:
        raise KeyError(f"No problem {name!r} here. There are {', '.join(catalogue)}.")
    return catalogue[name][1]()


def _catalogue() -> dict[str, tuple[str, Callable[[], Problem]]]:
    from benchmarks.suite.extra_problems import others  # it subclasses what is above

    found: dict[str, tuple[str, Callable[[], Problem]]] = {}
    for name, description in NETWORKS.items():
        if (MODELS / name / "model.safetensors").is_file():
            for guidance in description.guidances:
                make = _later(Network, name, guidance)
                found[label(name, guidance, description.guidances)] = (description.role, make)
    for name, role, make in others(ROOT, SHARED):
        found[name] = (role, make)
    return found


def _later(kind: Callable[..., Problem], *arguments: Any) -> Callable[[], Problem]:
    return lambda: kind(*arguments)


def label(name: str, guidance: float, guidances: tuple[float, ...]) -> str:
    """The name and "@guidance", or the name alone where there is no choice."""
    return name if tuple(guidances) == (1.0,) else f"{name}@{guidance:g}"


def slug(name: str) -> str:
    """The name as a file name."""
    return "".join(c if c.isalnum() or c in "@.-_" else "-" for c in name)


def fingerprint(path: Path) -> str:
    """Eight digits that change with any weight or config below `path`."""
    digest = hashlib.sha256()
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.suffix in (".safetensors", ".json"))
    for file in files:
        digest.update(file.name.encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()[:8]
