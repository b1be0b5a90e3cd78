"""Write stats/RECIPES.md: how to measure and tune four public models on one GPU, and what it would take. No GPU.

    python -m benchmarks.recipes            # rewrite, ten seconds
    python -m benchmarks.recipes --check    # exit status 1 if a file is not what this program writes

The table of times, benchmarks/times.md, is also taken in by pages of the site.
Nothing is downloaded: the networks are built without weights from the shapes that their authors published, and PyTorch
counts their parameters and the operations of one evaluation. Only the speed of the GPU is assumed.
"""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from torch import empty, nn
from torch.utils.flop_counter import FlopCounterMode

from diffusers_deis_sn.collect.arguments import CHEAP, MARKS
from diffusers_deis_sn.collect.run import TRIAL_CALLS
from diffusers_deis_sn.tuning.arguments import HELD_OUT
from diffusers_deis_sn.tuning.arguments import SAMPLES as FITTED
from diffusers_deis_sn.tuning.arguments import STEPS as TUNED
from diffusers_deis_sn.tuning.meter import Meter
from diffusers_deis_sn.tuning.running import rivals

ROOT = Path(__file__).resolve().parent.parent
MEASURED = ROOT / "benchmarks/tuning/table.md"
CARDS = {24: 60.0, 80: 300.0}  # GB of a consumer's and of a data centre's, and TFLOP/s that a network keeps up: assumed
SAMPLES, STEPS, TRIALS = MARKS[0], CHEAP.num_inference_steps, CHEAP.trials
HALF = 2  # bytes of a number
SPARE = 2.0  # GB beside the weights, at least
ONE = 8  # steps, where a single number is tuned

Counted = tuple[nn.Module, Callable[[nn.Module], Any]]


def unet(**shape: Any) -> nn.Module:
    return diffusers.UNet2DConditionModel(**shape)


def sd15() -> Counted:
    net = unet(sample_size=64, cross_attention_dim=768)
    return net, lambda net: net(empty(1, 4, 64, 64), empty(1), empty(1, 77, 768))


def sdxl() -> Counted:
    net = unet(
        sample_size=128,
        block_out_channels=(320, 640, 1280),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=(1, 2, 10),
        attention_head_dim=(5, 10, 20),
        cross_attention_dim=2048,
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=256,
        projection_class_embeddings_input_dim=2816,
    )
    added = {"text_embeds": empty(1, 1280), "time_ids": empty(1, 6)}
    return net, lambda net: net(empty(1, 4, 128, 128), empty(1), empty(1, 77, 2048), added_cond_kwargs=added)


def sd3() -> Counted:
    net = diffusers.SD3Transformer2DModel(
        sample_size=128,
        num_layers=24,
        num_attention_heads=24,
        joint_attention_dim=4096,
        caption_projection_dim=1536,
        pos_embed_max_size=192,
    )
    return net, lambda net: net(empty(1, 16, 128, 128), empty(1, 333, 4096), empty(1, 2048), empty(1))


def flux() -> Counted:
    net = diffusers.FluxTransformer2DModel(guidance_embeds=True)
    places, words = empty(4096, 3), empty(512, 3)
    inputs = (empty(1, 4096, 64), empty(1, 512, 4096), empty(1, 768), empty(1), places, words, empty(1))
    return net, lambda net: net(*inputs)


def clip_l() -> nn.Module:
    return transformers.CLIPTextModel(transformers.CLIPTextConfig(hidden_size=768, intermediate_size=3072))


def clip_g() -> nn.Module:
    shape = {"hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32, "num_attention_heads": 20}
    return transformers.CLIPTextModelWithProjection(transformers.CLIPTextConfig(**shape, projection_dim=1280))


def t5() -> nn.Module:
    shape = {"d_model": 4096, "d_ff": 10240, "num_layers": 24, "num_heads": 64, "feed_forward_proj": "gated-gelu"}
    return transformers.T5EncoderModel(transformers.T5Config(**shape))


def autoencoder(channels: int) -> Callable[[], nn.Module]:
    blocks = {"down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4}
    shape = {"block_out_channels": (128, 256, 512, 512), "layers_per_block": 2, "latent_channels": channels}
    return lambda: diffusers.AutoencoderKL(**blocks, **shape)


@dataclass(frozen=True)
class Recipe:
    """One model: how to measure it, and what its networks are."""

    title: str
    model: str
    network: Callable[[], Counted]
    others: tuple[Callable[[], nn.Module], ...]
    guidance: float
    dtype: str
    evaluations: int  # of the network in one call: two where guidance compares with and without prompt
    remark: str
    options: str = ""  # further ones of the commands that load it

    @property
    def folder(self) -> str:
        return f"stats/{self.model.rpartition('/')[2]}"

    @property
    def command(self) -> str:
        load = f"--dtype {self.dtype}{self.options}"
        asked = f"--prompts prompts.txt --guidance-scale {self.guidance:g}"
        pushed = f"deis-sn push {self.folder} your-name/{self.model.rpartition('/')[2]}-score-statistics"
        return (
            f"deis-sn calibrate {self.model} \\\n    {asked} {load} -o {self.folder}\n"
            f"deis-sn tune {self.model} \\\n    {asked} --steps {ONE} {load} -o {self.folder}\n"
            f"deis-sn inspect {self.folder}\n"
            f"{pushed} --dry-run\n{pushed}"
        )


RECIPES = (
    Recipe(
        "Stable Diffusion 1.5, 512 x 512",
        "stable-diffusion-v1-5/stable-diffusion-v1-5",
        sd15,
        (clip_l, autoencoder(4)),
        7.5,
        "float16",
        2,
        "The safety checker, 0.3 billion parameters more, is loaded with the pipeline and never called.",
    ),
    Recipe(
        "Stable Diffusion XL, 1024 x 1024",
        "stabilityai/stable-diffusion-xl-base-1.0",
        sdxl,
        (clip_l, clip_g, autoencoder(4)),
        5.0,
        "float16",
        2,
        "",
        " --variant fp16",
    ),
    Recipe(
        "Stable Diffusion 3 medium, 1024 x 1024",
        "stabilityai/stable-diffusion-3-medium-diffusers",
        sd3,
        (clip_l, clip_g, t5, autoencoder(16)),
        7.0,
        "float16",
        2,
        "Gated: accept its terms on its page and log in with `hf auth login`.",
    ),
    Recipe(
        "FLUX.1-dev, 1024 x 1024",
        "black-forest-labs/FLUX.1-dev",
        flux,
        (clip_l, t5, autoencoder(16)),
        3.5,
        "bfloat16",
        1,
        "Gated, like the one before. Guidance is an input of the network, so that a call is one evaluation. On a card "
        "with 24 GB add `--offload sequential`, which is slow: the network alone fills the card, so `--offload model` "
        "is not enough.",
    ),
)


def billions(module: nn.Module) -> float:
    return sum(parameter.numel() for parameter in module.parameters()) / 1e9


@dataclass(frozen=True)
class Counts:
    """What a recipe takes.

    Args:
        own: Parameters of the network, in 10^9.
        others: Those of text encoders and autoencoder.
        one: 10^12 operations of one evaluation.
        evaluations: Of the measurement, of the recipes that are tried, of tuning all default numbers of steps, and one.
    """

    own: float
    others: float
    one: float
    evaluations: tuple[int, int, int, int]

    @classmethod
    def of(cls, recipe: Recipe) -> Counts:
        with torch.device("meta"), torch.no_grad():
            network, evaluate = recipe.network()
            with FlopCounterMode(display=False) as counter:
                evaluate(network)
            own, others = billions(network), sum(billions(make()) for make in recipe.others)
        calls = (SAMPLES * (STEPS + 1), TRIALS * TRIAL_CALLS, tune_calls(*TUNED), tune_calls(ONE))
        first, trials, tuned, single = (number * recipe.evaluations for number in calls)
        return cls(own, others, counter.get_total_flops() / 1e12, (first, trials, tuned, single))

    @property
    def weights(self) -> float:
        """GB of all of the pipeline."""
        return HALF * (self.own + self.others)

    def fits(self, size: int) -> bool:
        return self.weights + SPARE < size

    def times(self, size: int) -> list[str]:
        """Of measuring, of tuning one number of steps, and of all, on a card."""
        if not self.fits(size):
            enough = HALF * self.own + SPARE < size
            return [f"slow, `--offload {'model' if enough else 'sequential'}`", "slow", "slow"]
        first, trials, tuned, single = self.evaluations
        return [duration(number * self.one / CARDS[size]) for number in (first + trials, single, tuned)]


def tune_calls(*steps: int) -> int:
    """About how many calls of the network `tune` makes, on one sample each, of a model of betas."""
    return Meter(False, FITTED, HELD_OUT, steps, 1 + len(rivals({}, "vp"))).total


def formula() -> str:
    """The same in N steps: it is one of order two."""
    one, two, three = (tune_calls(n) for n in (1, 2, 3))
    square = (three - 2 * two + one) // 2
    linear = two - one - 3 * square
    return f"{one - linear - square} + {linear} N + {square} N^2"


def row(recipe: Recipe, counts: Counts) -> str:
    first, trials, tuned, single = counts.evaluations
    cells = [
        recipe.title,
        f"{counts.own:.2f} + {counts.others:.2f}",
        f"{counts.weights:.1f} GB",
        f"{counts.one:.2f}",
        f"{first} + {trials}",
        f"{single}",
        f"{tuned}",
    ]
    return f"| {' | '.join(cells)} |"


def times_table(counted: dict[str, Counts]) -> str:
    """What measuring and tuning take, by model and card."""
    lines = [
        [title if size == min(CARDS) else "", f"{size} GB", *counts.times(size)]
        for title, counts in counted.items()
        for size in CARDS
    ]
    return table(["model", "GPU", "`calibrate`", f"`tune --steps {ONE}`", "`tune`, default"], lines)


def times_words() -> str:
    speeds = " and ".join(f"{speed:g} TFLOP/s on a card with {size} GB" for size, speed in CARDS.items())
    steps = ",".join(map(str, TUNED))
    return wrapped(
        f"""**Estimates, not measurements**: they assume {speeds}, and that the rest takes no time. `tune` of N steps
        makes about {formula()} calls of the network (for several N the first number counts once): {tune_calls(ONE)}
        for `--steps {ONE}`, and {tune_calls(*TUNED)} for the default, `--steps {steps}`. With guidance (CFG) a call is
        two evaluations. A hard case takes more, for finer long runs and a second fit on twice as many pictures: on our
        test models up to {hardest():.1f} times as many calls. `--budget 1h` sets a limit; half as many pictures
        (`--num-samples 12 --num-held-out 8`) take half the time."""
    )


def hardest() -> float:
    """What `tune` took at most, over what was to be expected, of all networks that were tuned."""
    lines = re.findall(r"^\| \S+ \| ([\d.]+) \| \d+ \| ([^|]*) \|([^|]*)\|$", MEASURED.read_text(), re.MULTILINE)
    steps = [tuple(int(one) for one in re.findall(r"(\d+): ", plans + failed)) for _, plans, failed in lines]
    return max(1e3 * float(line[0]) / tune_calls(*own) for line, own in zip(lines, steps, strict=True))


def table(header: list[str], lines: list[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(one)} |" for one in (header, ["---"] * len(header), *lines))


def duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{seconds / 60:.0f} min"


def wrapped(paragraph: str) -> str:
    return textwrap.fill(" ".join(paragraph.split()), 120, break_on_hyphens=False, break_long_words=False)


def text(counted: dict[str, Counts]) -> str:
    header = ["model", "parameters, 10^9", "weights", "TFLOP", "evaluations: `calibrate`"]
    header += [f"`tune --steps {ONE}`", "`tune`, default"]
    parts = [
        "# Recipes for public models",
        wrapped(
            """**None of these has been measured yet**, so no statistics of them are published, and the index of the
            package names none. Here are the commands, and what they would take. Written by `benchmarks/recipes.py`."""
        ),
        "## How long it would take",
        times_table(counted),
        times_words(),
        "## What is counted",
        "\n".join([*table(header, []).splitlines(), *(row(one, counted[one.title]) for one in RECIPES)]),
        wrapped(
            f"""Parameters are those of the network, plus those of text encoders and autoencoder; TFLOP are 10^12
            operations of one evaluation. Both are counted by PyTorch on networks without weights, of the shapes that
            their authors published. Evaluations of `calibrate` are those of the measurement, {SAMPLES} samples of
            {STEPS} steps if they are enough, and of the recipes that are tried on {TRIALS} of them (`--trials 0` for
            none). Weights are the memory that all of the pipeline takes in half precision; a few GB for intermediate
            results come on top, fewer with a smaller `--batch-size`. `--offload model` keeps only one network at a
            time on the card, and `--offload sequential` only one layer of it, which is slow."""
        ),
        wrapped(
            """`prompts.txt` has one prompt per line: some hundred that you would use with the model. The licence of the
            statistics is yours to choose, as far as the model's licence lets you; `calibrate --licence` saves it in the
            file. `push` draws the figures of the card and needs `pip install "diffusers-deis-sn[plot]"`; `push
            --dry-run` shows what would be uploaded, without contacting the Hub. `inspect` says how precise each number
            is: if that is not enough, take more samples. `tune` is optional: leave it out, or name other `--steps`."""
        ),
    ]
    for recipe in RECIPES:
        remark = [wrapped(recipe.remark)] if recipe.remark else []
        parts += [f"## {recipe.title}", *remark, f"```bash\n{recipe.command}\n```"]
    return "\n\n".join(parts) + "\n"


def files() -> dict[Path, str]:
    counted = {recipe.title: Counts.of(recipe) for recipe in RECIPES}
    short = f"{times_table(counted)}\n\n{times_words()}\n"
    return {ROOT / "stats/RECIPES.md": text(counted), ROOT / "benchmarks/times.md": short}


def main() -> None:
    written = files()
    if "--check" in sys.argv[1:]:
        sys.exit(any(not path.is_file() or path.read_text() != said for path, said in written.items()))
    for path, said in written.items():
        path.write_text(said)


if __name__ == "__main__":
    main()
