"""Problems beside the suite's own networks: the exact mixture, the shipped pipelines, ../shared, and any model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from diffusers import DDIMScheduler, DiffusionPipeline, EDMEulerScheduler, FlowMatchEulerDiscreteScheduler
from torch import Tensor
from torch.nn import functional

from benchmarks.exact.flows import SD_BETAS, digits_mixture
from benchmarks.mnist_network import mnist_tool
from benchmarks.suite.problems import MOST, Loop, Problem, Text, fingerprint, label
from examples.tiny_digits import draw_prompts, load_judge
from examples.tiny_emoji import Judge, load_emoji

VIT_GUIDANCES, DIGIT_GUIDANCES, EMOJI_GUIDANCES = (1.0, 2.0), (1.0, 3.0, 7.5), (1.0, 3.0, 6.0)
MIXTURE_SCALE = 1e6  # sigma / alpha that stands for noise alone

Network = Callable[[Tensor, float, Tensor | None, float], Tensor]
"""Output of a scaled sample, a time as the scheduler has it, labels and guidance."""


def others(root: Path, shared: Path) -> Iterator[tuple[str, str, Callable[[], Problem]]]:
    """Name, role and maker of what can run here."""
    for process in ("vp", "flow", "edm"):
        yield f"mixture-{process}", "choosing", lambda process=process: mixture(process)
    digits, emoji = root / "examples/models/tiny-sd-digits", root / "examples/models/tiny-flow-emoji"
    for guidance in DIGIT_GUIDANCES if digits.is_dir() else ():
        yield f"tiny-sd-digits@{guidance:g}", "reporting", lambda g=guidance: Digits(root, g)
    for guidance in EMOJI_GUIDANCES if (emoji / "model_index.json").is_file() else ():
        yield f"tiny-flow-emoji@{guidance:g}", "reporting", lambda g=guidance: Emoji(root, shared, g)
    for guidance in VIT_GUIDANCES if (shared / "tools/mnist_vit.py").is_file() else ():
        for process in ("vp", "flow"):
            name = f"mnist-vit-{process}@{guidance:g}"
            yield name, "reporting", lambda g=guidance, p=process: vit(shared, p, g)


class LoopPipeline:
    """The loop of a pipeline around a function, enough for `calibrate`; float64 but for the network.

    Args:
        name: For the record of statistics.
        scheduler: The network's own.
        network: See `Network`.
        shape: Of a sample.
        classes: How many, or None.
    """

    def __init__(
        self, name: str, scheduler: Any, network: Network, shape: tuple[int, ...], classes: int | None = None
    ) -> None:
        self.name_or_path, self.scheduler, self.network = name, scheduler, network
        self.shape, self.classes, self.calls = shape, classes, 0
        self.config = SimpleNamespace(get=lambda key: None)

    @torch.no_grad()
    def __call__(
        self,
        batch_size: int = 1,
        num_inference_steps: int = 50,
        guidance_scale: float = 1.0,
        generator: Sequence[torch.Generator] | None = None,
        latents: Tensor | None = None,
    ) -> Tensor:
        """Samples (B, *shape) from unit noise, of classes in turn."""
        if latents is None:
            latents = torch.stack([torch.randn(self.shape, generator=one) for one in generator or [None] * batch_size])
        labels = None if self.classes is None else torch.arange(len(latents)) % self.classes
        self.scheduler.set_timesteps(num_inference_steps)
        x = latents.double() * float(getattr(self.scheduler, "init_noise_sigma", 1.0))
        for t in self.scheduler.timesteps:
            scaled = self.scheduler.scale_model_input(x, t) if hasattr(self.scheduler, "scale_model_input") else x
            self.calls += 1
            out = self.network(scaled, float(t), labels, guidance_scale).to(x.dtype)
            x = self.scheduler.step(out, t, x, return_dict=False)[0]
        return x


# ---------------------------------------------------------------------------------------------------- the exact mixture


def mixture(process: str) -> Problem:
    """The exact network of a mixture around scikit-learn's digits, as a model of betas, of flow matching or of EDM."""
    return Exact(f"mixture-{process}", digits_mixture(), process, 64)


class Exact(Loop):
    """Data whose score is known: a network without a model error.

    Args:
        name: Of the problem.
        exact: With `epsilon_at(x, rho)` of a variance-preserving process, `epsilon(x, t)`, and that process as `noise`.
        process: "vp", "flow" or "edm".
        size: Dimensions of a sample.
    """

    def __init__(self, name: str, exact: Any, process: str, size: int) -> None:
        def clean(y: Tensor, rho: float) -> Tensor:
            """E[x_0 | y], y = x_0 + rho noise."""
            alpha = float(exact.noise.alpha(rho))
            return y - rho * exact.epsilon_at(alpha * y, rho)

        scheduler, network = {"vp": _as_betas, "flow": _as_flow, "edm": _as_edm}[process](exact, clean)
        self.shape = (size,)
        pipe = LoopPipeline(name, scheduler, lambda x, t, labels, guidance: network(x, t), self.shape)
        super().__init__(name, "choosing", pipe, 1.0, "exact")

    def pictures(self, end: Tensor) -> Tensor | None:
        side = round(self.shape[0] ** 0.5)
        return (0.5 * (end.reshape(-1, 1, side, side) + 1.0)).clamp(0.0, 1.0)


def _as_betas(exact: Any, clean: Any) -> tuple[Any, Any]:
    """`exact.noise` has to be these betas."""
    return DDIMScheduler(**SD_BETAS, clip_sample=False, set_alpha_to_one=False), exact.epsilon


def _as_flow(exact: Any, clean: Callable[[Tensor, float], Tensor]) -> tuple[Any, Any]:
    def velocity(x: Tensor, t: float) -> Tensor:
        sigma = t / 1000.0
        alpha = max(1.0 - sigma, sigma / MIXTURE_SCALE)
        return (x - clean(x / alpha, sigma / alpha)) / sigma

    return FlowMatchEulerDiscreteScheduler(), velocity


def _as_edm(exact: Any, clean: Callable[[Tensor, float], Tensor]) -> tuple[Any, Any]:
    scheduler = EDMEulerScheduler()
    data = scheduler.config.sigma_data

    def output(scaled: Tensor, t: float) -> Tensor:
        sigma = float(torch.tensor(4.0 * t, dtype=torch.float64).exp())
        total = (sigma**2 + data**2) ** 0.5
        x = scaled * total
        return (clean(x, sigma) - x * (data / total) ** 2) * total / (sigma * data)

    return scheduler, output


# --------------------------------------------------------------------------------------------------- shipped pipelines


class Digits(Text):
    """examples/models/tiny-sd-digits, judged by the shipped judge."""

    judged = True

    def __init__(self, root: Path, guidance: float) -> None:
        self.draw, self.judge = draw_prompts, load_judge(root / "examples/models/digit-judge")
        folder = root / "examples/models/tiny-sd-digits"
        super().__init__(
            f"tiny-sd-digits@{guidance:g}",
            "reporting",
            DiffusionPipeline.from_pretrained(folder),
            guidance,
            fingerprint(folder),
            lambda number, seed: draw_prompts(MOST, seed=seed)[slice(number)].captions(),
            group="shipped",
        )

    @torch.no_grad()
    def features(self, end: Tensor) -> Tensor | None:
        return self.judge.hidden(self.judge.features(self.decoded(end).clamp(-1.0, 1.0)))

    def accuracy(self, end: Tensor, seed: int) -> float | None:
        pictures = self.decoded(end).clamp(-1.0, 1.0)
        return self.judge.verdict(pictures, self.draw(MOST, seed=seed)[slice(len(end))])["all"]


class Emoji(Text):
    """examples/models/tiny-flow-emoji, judged by its judge; accuracy, top 1 of all emoji, where their pictures are."""

    judged = True

    def __init__(self, root: Path, shared: Path, guidance: float) -> None:
        folder, listed = root / "examples/models/tiny-flow-emoji", root / "stats/tiny-flow-emoji/prompts.txt"
        data = shared / "data/emoji/emoji64.npz"
        self.judge = Judge.load(root / "examples/models/emoji-judge/judge.safetensors")
        self.emoji = load_emoji(data) if data.is_file() else None
        super().__init__(
            f"tiny-flow-emoji@{guidance:g}",
            "reporting",
            DiffusionPipeline.from_pretrained(folder),
            guidance,
            fingerprint(folder),
            in_turn(lines(listed) if listed.is_file() else EMOJI_PROMPTS),
            group="shipped",
        )

    @torch.no_grad()
    def features(self, end: Tensor) -> Tensor | None:
        return self.judge.embedded(self._seen(end))

    def accuracy(self, end: Tensor, seed: int) -> float | None:
        if self.emoji is None:
            return None
        asked = torch.tensor([self.emoji.names.index(prompt) for prompt in self.prompts(len(end), seed)])
        return (self.judge.ranks(self._seen(end), asked, self.emoji.all()) < 1).float().mean().item()

    def _seen(self, end: Tensor) -> Tensor:
        """Pictures of the size that the judge knows."""
        return functional.interpolate(self.decoded(end).clamp(-1.0, 1.0), size=64, mode="area")


def lines(path: Path) -> list[str]:
    """The prompts of a file, one a line."""
    return [line.strip() for line in path.read_text().splitlines() if line.strip()]


EMOJI_PROMPTS = (
    "red apple",
    "smiling face with sunglasses",
    "red heart",
    "dog face",
    "rocket",
    "slice of pizza",
    "green book",
    "party popper",
    "clown face",
    "snowman",
    "tomato",
    "soccer ball",
    "fire",
    "octopus",
    "crown",
    "house",
    "blue circle",
    "lemon",
    "grinning face",
    "cat face",
    "tulip",
    "full moon",
    "hot beverage",
    "bicycle",
)


def in_turn(prompts: Sequence[str]) -> Callable[[int, int], list[str]]:
    """Prompts drawn by the seed, all of them before any comes again."""

    def draw(number: int, seed: int) -> list[str]:
        order = torch.randperm(len(prompts), generator=torch.Generator().manual_seed(seed)).tolist()
        return [prompts[order[i % len(order)]] for i in range(number)]

    return draw


def any_model(model: str, prompts: Sequence[str], guidance: float) -> Problem:
    """A text-to-image pipeline from a folder or by its name on the Hub.

    Raises:
        TypeError: It is a pipeline of another kind: it has no network and autoencoder of the known names.
    """
    pipe, folder = DiffusionPipeline.from_pretrained(model), Path(model)
    if getattr(pipe, "vae", None) is None or not (hasattr(pipe, "unet") or hasattr(pipe, "transformer")):
        raise TypeError(
            f"{type(pipe).__name__} is no text-to-image pipeline with latents, which is all that is known here"
        )
    print_of = fingerprint(folder) if folder.is_dir() else str(pipe.config.get("_commit_hash", "hub"))[:8]
    return Text(label(folder.name, guidance, ()), "reporting", pipe, guidance, print_of, in_turn(prompts))


# ------------------------------------------------------------------------------------------------------------ ../shared


class Digit(Loop):
    """Pixels from 0 to 1."""

    shape = (1, 28, 28)

    def pictures(self, end: Tensor) -> Tensor | None:
        return end.clamp(0.0, 1.0)


def vit(shared: Path, process: str, guidance: float) -> Problem:
    """A pretrained transformer for MNIST digits: trained as a flow, also presented as a model of betas."""
    tool = mnist_tool(shared)
    net = tool.load_mnist_vit()

    def velocity(x: Tensor, t: float, labels: Tensor | None, scale: float) -> Tensor:
        sigma = t / 1000.0
        time, x32 = torch.full((len(x),), 1.0 - sigma), x.float()
        clean = net(x32, time, labels)
        if scale != 1.0:
            free = net(x32, time, torch.full_like(labels, tool.NULL_CLASS))
            clean = free + scale * (clean - free)
        return (x - clean.to(x.dtype)) / sigma

    def epsilon(x: Tensor, t: float, labels: Tensor | None, scale: float) -> Tensor:
        return tool.EpsilonView(net, betas.alphas_cumprod, labels, scale)(x, t)

    betas = DDIMScheduler(clip_sample=False, set_alpha_to_one=False)
    scheduler = FlowMatchEulerDiscreteScheduler() if process == "flow" else betas
    network = velocity if process == "flow" else epsilon
    pipe = LoopPipeline("mnist-vit", scheduler, network, (1, 28, 28), classes=tool.NULL_CLASS)
    return Digit(f"mnist-vit-{process}@{guidance:g}", "reporting", pipe, guidance, fingerprint(tool.WEIGHTS))
