"""The networks of the suite: a U-Net on patches of pixels, a small transformer and a perceptron.

All are called alike, `network(sample, time, labels)`: sample (B, C, H, W) float32, time (B,) float32 as the scheduler
has it, fractional or not, labels (B,) int64 or None where the network knows no classes. The label behind the last
class stands for "any", which is what classifier-free guidance compares with.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from diffusers import DDIMScheduler, UNet2DModel
from diffusers.models.embeddings import TimestepEmbedding, Timesteps, get_2d_sincos_pos_embed
from torch import Tensor, nn
from torch.nn import functional

FREQUENCIES = 64  # sines and cosines of the time


class PatchUnet(nn.Module):
    """Diffusers' U-Net on patches of `patch` by `patch` pixels.

    Args:
        size: Height and width of the pictures.
        channels: Colours.
        widths: Channels at each resolution, the finest first.
        attention: Which resolutions attend, counted from 0; the middle always does.
        patch: Side of a patch. With 2 the finest resolution has a quarter of the places, which is three times as fast.
        classes: How many there are, or None.
        time_scale: Factor of the time. EDM's is log(sigma) / 4, too narrow for sines that are made for 0 to 1000.
    """

    def __init__(
        self,
        size: int,
        channels: int,
        widths: tuple[int, ...] = (32, 64),
        attention: tuple[int, ...] = (),
        patch: int = 2,
        classes: int | None = None,
        time_scale: float = 1.0,
    ) -> None:
        super().__init__()
        self.patch, self.time_scale = patch, time_scale
        levels = range(len(widths))
        self.unet = UNet2DModel(
            sample_size=size // patch,
            in_channels=channels * patch**2,
            out_channels=channels * patch**2,
            block_out_channels=tuple(widths),
            down_block_types=tuple("AttnDownBlock2D" if i in attention else "DownBlock2D" for i in levels),
            up_block_types=tuple("AttnUpBlock2D" if i in attention else "UpBlock2D" for i in reversed(levels)),
            layers_per_block=1,
            norm_num_groups=8,
            attention_head_dim=16,
            num_class_embeds=None if classes is None else classes + 1,
        )

    def forward(self, sample: Tensor, time: Tensor, labels: Tensor | None = None) -> Tensor:
        """What the network predicts, of the shape of the sample."""
        patches = functional.pixel_unshuffle(sample, self.patch)
        out = self.unet(patches, time * self.time_scale, labels).sample
        return functional.pixel_shuffle(out, self.patch)


class Condition(nn.Module):
    """Time and class as one vector (B, width)."""

    def __init__(self, width: int, classes: int | None) -> None:
        super().__init__()
        self.waves = Timesteps(FREQUENCIES, flip_sin_to_cos=True, downscale_freq_shift=0)
        self.time = TimestepEmbedding(FREQUENCIES, width)
        self.label = None if classes is None else nn.Embedding(classes + 1, width)
        if self.label is not None:
            nn.init.normal_(self.label.weight, std=0.02)

    def forward(self, time: Tensor, labels: Tensor | None) -> Tensor:
        """The vector, behind a nonlinearity."""
        vector = self.time(self.waves(time))
        return functional.silu(vector if self.label is None else vector + self.label(labels))


class Block(nn.Module):
    """Attention and a perceptron, each shifted, scaled and gated by the condition (adaLN-zero).

    The projection of the condition is shared by all blocks and each adds a table of its own, as in PixArt (arXiv
    2310.00426, section 2.3): most of DiT's parameters are in those projections.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.table = nn.Parameter(torch.randn(6, width) / width**0.5)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU("tanh"), nn.Linear(4 * width, width))

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Tokens (B, N, width) to tokens; condition (B, 6, width)."""
        shift, scale, gate, shift_mlp, scale_mlp, gate_mlp = (condition + self.table).unsqueeze(2).unbind(1)
        x = x + gate * self.attend(_normed(x) * (1.0 + scale) + shift)
        return x + gate_mlp * self.mlp(_normed(x) * (1.0 + scale_mlp) + shift_mlp)

    def attend(self, x: Tensor) -> Tensor:
        batch, tokens, width = x.shape
        qkv = self.qkv(x).view(batch, tokens, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        if torch.is_grad_enabled():  # on CPUs the fused kernel's backward is the slower one, above all in bfloat16
            q, k, v = qkv.unbind(0)
            mixed = torch.softmax(q @ k.transpose(-1, -2) * (width // self.heads) ** -0.5, dim=-1).to(v.dtype) @ v
        else:
            mixed = functional.scaled_dot_product_attention(*qkv.unbind(0))
        return self.out(mixed.transpose(1, 2).reshape(batch, tokens, width))


class Transformer(nn.Module):
    """A diffusion transformer (DiT, arXiv 2212.09748) on patches of pixels."""

    def __init__(
        self,
        size: int,
        channels: int,
        patch: int = 4,
        width: int = 128,
        depth: int = 4,
        heads: int = 4,
        classes: int | None = None,
    ) -> None:
        super().__init__()
        self.side, self.patch, pixels = size // patch, patch, channels * patch**2
        self.embed = nn.Linear(pixels, width)
        places = get_2d_sincos_pos_embed(width, self.side, output_type="pt")
        self.places = nn.Parameter(torch.as_tensor(places).float())  # random ones take long to find their order
        self.condition = Condition(width, classes)
        self.modulation = nn.Linear(width, 6 * width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.last = nn.Linear(width, 2 * width)
        self.head = nn.Linear(width, pixels)
        for layer in (self.modulation, self.last, self.head):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, sample: Tensor, time: Tensor, labels: Tensor | None = None) -> Tensor:
        """What the network predicts, of the shape of the sample."""
        x = self.embed(functional.pixel_unshuffle(sample, self.patch).flatten(2).transpose(1, 2)) + self.places
        vector = self.condition(time, labels)
        modulation = self.modulation(vector).unflatten(1, (6, -1))
        for block in self.blocks:
            x = block(x, modulation)
        shift, scale = self.last(vector).unsqueeze(1).chunk(2, dim=2)
        x = self.head(_normed(x) * (1.0 + scale) + shift)
        return functional.pixel_shuffle(x.transpose(1, 2).unflatten(2, (self.side, self.side)), self.patch)


class Perceptron(nn.Module):
    """Residual layers on the flattened sample, each shifted and scaled by the condition."""

    def __init__(self, size: int, channels: int, width: int = 192, depth: int = 4, classes: int | None = None) -> None:
        super().__init__()
        numbers = channels * size**2
        self.embed, self.head = nn.Linear(numbers, width), nn.Linear(width, numbers)
        self.condition = Condition(width, classes)
        self.modulations = nn.ModuleList(nn.Linear(width, 2 * width) for _ in range(depth))
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Linear(width, 2 * width), nn.SiLU(), nn.Linear(2 * width, width)) for _ in range(depth)
        )
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, sample: Tensor, time: Tensor, labels: Tensor | None = None) -> Tensor:
        """What the network predicts, of the shape of the sample."""
        x, vector = self.embed(sample.flatten(1)), self.condition(time, labels)
        for modulation, layer in zip(self.modulations, self.layers, strict=True):
            shift, scale = modulation(vector).chunk(2, dim=1)
            x = x + layer(_normed(x) * (1.0 + scale) + shift)
        return self.head(_normed(x)).view_as(sample)


class NoiseFromVelocity(nn.Module):
    """A network of the noise whose inner network predicts v (arXiv 2202.00512): epsilon = alpha v + sigma x.

    Near the noisy end the noise is nearly the sample. A large network learns that in days; a small one is told so, or
    its colours drift: an error of epsilon counts there 1 / alpha times in the picture.

    Args:
        inner: Called with sample, time and labels.
        betas: `beta_start`, `beta_end` and `beta_schedule`, as in Diffusers.
    """

    def __init__(self, inner: nn.Module, betas: Mapping[str, Any]) -> None:
        super().__init__()
        self.inner = inner
        alphas = DDIMScheduler(**betas).alphas_cumprod.double()
        self.register_buffer("log_odds", (alphas.log() - (-alphas).log1p()).float(), persistent=False)

    def forward(self, sample: Tensor, time: Tensor, labels: Tensor | None = None) -> Tensor:
        """The noise; between two training times the log odds of alpha^2 are interpolated."""
        time = time.clamp(0.0, len(self.log_odds) - 1.0)
        low = time.long().clamp(max=len(self.log_odds) - 2)
        odds = torch.lerp(self.log_odds[low], self.log_odds[low + 1], time - low)[:, None, None, None]
        alpha, sigma = torch.sigmoid(odds).sqrt(), torch.sigmoid(-odds).sqrt()
        return alpha * self.inner(sample, time, labels).float() + sigma * sample


class PreconditionedFlow(nn.Module):
    """A network of the velocity noise - data whose inner network predicts what the sample does not tell, at unit size.

    With x = (1 - s) x_0 + s eps, data of width d = 1 / 2 and n = s^2 + (1 - s)^2 d^2, linear regression on x leaves

        v = (s - (1 - s) d^2) / n x + d / sqrt(n) F(x, s)
    """

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, sample: Tensor, time: Tensor, labels: Tensor | None = None) -> Tensor:
        """The velocity; time from 0 to 1000."""
        s = time[:, None, None, None] / 1000.0
        size = s**2 + 0.25 * (1.0 - s) ** 2
        out = self.inner(sample / size.sqrt(), time, labels).float()
        return (s - 0.25 * (1.0 - s)) / size * sample + 0.5 / size.sqrt() * out


ARCHITECTURES: Mapping[str, Callable[..., nn.Module]] = {
    "unet": PatchUnet,
    "transformer": Transformer,
    "perceptron": Perceptron,
}


def build(architecture: Mapping[str, Any], scheduler: tuple[str, Mapping[str, Any]]) -> nn.Module:
    """A network with fresh weights, as config.json has it: its kind and sizes, and the scheduler it is made for."""
    sizes = dict(architecture)
    inner, (name, settings) = ARCHITECTURES[sizes.pop("kind")](**sizes), scheduler
    if name == "FlowMatchEulerDiscreteScheduler":
        return PreconditionedFlow(inner)
    if name == "DDIMScheduler" and settings.get("prediction_type", "epsilon") == "epsilon":
        return NoiseFromVelocity(inner, {key: settings[key] for key in settings if key.startswith("beta")})
    return inner


def _normed(x: Tensor) -> Tensor:
    return functional.layer_norm(x, x.shape[-1:])
