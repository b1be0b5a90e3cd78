"""Stable Diffusion 1 as one file, under the names of the first releases, as people share it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

_UNET = {"time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2"}
_UNET |= {"conv_in": "input_blocks.0.0", "conv_norm_out": "out.0", "conv_out": "out.2"}
_RESNET = {"norm1": "in_layers.0", "conv1": "in_layers.2", "norm2": "out_layers.0", "conv2": "out_layers.3"}
_RESNET |= {"time_emb_proj": "emb_layers.1", "conv_shortcut": "skip_connection"}
_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}


def save_single_file(pipe: Any, path: Path) -> Path:
    """Write the pipeline's three networks into one file."""
    tensors = {f"model.diffusion_model.{name}": one for name, one in _unet(pipe.unet)}
    tensors |= {f"first_stage_model.{name}": one for name, one in _vae(pipe.vae)}
    for name, one in pipe.text_encoder.state_dict().items():
        tensors[f"cond_stage_model.transformer.text_model.{name.removeprefix('text_model.')}"] = one
    save_file({name: one.contiguous().clone() for name, one in tensors.items()}, path)
    return path


def _renamed(name: str, table: dict[str, str]) -> str:
    for ours, theirs in table.items():
        if name == ours or name.startswith(f"{ours}."):
            return theirs + name[len(ours) :]
    return name


def _unet(unet: Any) -> Iterator[tuple[str, Tensor]]:
    """The layers of each block, and between two blocks the sampler, are numbered through."""
    layers = unet.config.layers_per_block + 1
    for name, one in unet.state_dict().items():
        match = re.match(r"(down|up|mid)_blocks?\.(?:(\d+)\.)?(resnets|attentions|\w+samplers)\.(\d+)\.(.*)", name)
        if match is None:
            yield _renamed(name, _UNET), one
            continue
        side, block, kind, index, rest = match.groups()
        rest = _renamed(rest, _RESNET) if kind == "resnets" else rest
        if side == "mid":
            yield f"middle_block.{2 * int(index) if kind == 'resnets' else 1}.{rest}", one
        elif kind == "downsamplers":
            yield f"input_blocks.{layers * (int(block) + 1)}.0.{rest.replace('conv', 'op')}", one
        elif kind == "upsamplers":
            last = layers * (int(block) + 1) - 1
            attends = "Attn" in unet.config.up_block_types[int(block)]
            yield f"output_blocks.{last}.{2 if attends else 1}.{rest}", one
        else:
            number = layers * int(block) + int(index) + (side == "down")
            name = "input_blocks" if side == "down" else "output_blocks"
            yield f"{name}.{number}.{0 if kind == 'resnets' else 1}.{rest}", one


def _vae(vae: Any) -> Iterator[tuple[str, Tensor]]:
    """Blocks of the decoder are counted from the finest."""
    last = len(vae.config.up_block_types) - 1
    for name, one in vae.state_dict().items():
        name = name.replace("conv_norm_out", "norm_out").replace("conv_shortcut", "nin_shortcut")
        name = re.sub(r"mid_block\.resnets\.(\d)", lambda found: f"mid.block_{int(found[1]) + 1}", name)
        if (found := re.match(r"(.*)mid_block\.attentions\.0\.(.*)", name)) is not None:
            yield f"{found[1]}mid.attn_1.{_renamed(found[2], _ATTENTION)}", one
            continue
        name = re.sub(r"down_blocks\.(\d)", r"down.\1", name)
        name = re.sub(r"up_blocks\.(\d)", lambda found: f"up.{last - int(found[1])}", name)
        name = re.sub(r"resnets\.(\d)", r"block.\1", name)
        yield re.sub(r"(down|up)samplers\.0", r"\1sample", name), one
