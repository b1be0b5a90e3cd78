"""Tiny Diffusers pipelines with random weights, for testing schedulers on a CPU without network.

Every pipeline is assembled in memory: small models drawn from a fixed seed, a tokenizer made from the byte alphabet,
the scheduler class that public checkpoints of that family ship. Building takes hundredths of a second. The images are
noise; what is exercised is the real control flow between a pipeline and its scheduler.

    pipe, call_kwargs = BUILDERS["sd"]()
    pipe.scheduler = MyScheduler.from_config(pipe.scheduler.config)
    images = run_pipeline(pipe, call_kwargs, num_inference_steps=4)

Compare the outputs of a reloaded pipeline with `torch.allclose(a, b, atol=1e-4)` rather than bit for bit: memory-mapped
weights may take other kernels.
"""

from __future__ import annotations

import functools
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from diffusers import DiffusionPipeline
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

Pipeline = tuple[DiffusionPipeline, dict[str, Any]]

BUILDERS: dict[str, Callable[[], Pipeline]] = {}
"""Name -> function that returns (pipeline, keyword arguments for calling it)."""

CLIP_WIDTH = 24  # hidden size of the text encoder
PIXELS = 32  # height and width of the text-to-image outputs


def builder(function: Callable[[], Pipeline]) -> Callable[[], Pipeline]:
    """Registers a function in BUILDERS; runs it with a fixed seed, leaving the global generator as it was."""

    @functools.wraps(function)
    def build() -> Pipeline:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            pipe, call_kwargs = function()
        for component in pipe.components.values():
            if isinstance(component, torch.nn.Module):
                component.eval().requires_grad_(False)
        pipe.set_progress_bar_config(disable=True)
        return pipe, call_kwargs

    BUILDERS[function.__name__] = build
    return build


# ------------------------------------------------------------------------------------------------------- components


def byte_alphabet() -> list[str]:
    """One visible character for each of the 256 byte values, as byte-level BPE vocabularies have them."""
    visible = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    return [chr(byte) for byte in visible] + [chr(0x100 + i) for i in range(256 - len(visible))]


@functools.cache
def clip_vocabulary() -> dict[str, int]:
    """Every byte, every byte as the end of a word, and the two special tokens: 514 ids."""
    letters = byte_alphabet()
    tokens = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    return {token: index for index, token in enumerate(tokens)}


def clip_tokenizer(max_length: int = 77) -> CLIPTokenizer:
    """A CLIP tokenizer without merges: one token per byte."""
    if int(transformers.__version__.split(".")[0]) >= 5:
        return CLIPTokenizer(vocab=clip_vocabulary(), merges=[], model_max_length=max_length)
    with tempfile.TemporaryDirectory() as folder:  # transformers 4 reads its vocabulary from files only
        vocab, merges = Path(folder, "vocab.json"), Path(folder, "merges.txt")
        vocab.write_text(json.dumps(clip_vocabulary()), encoding="utf-8")
        merges.write_text("#version: 0.2\n", encoding="utf-8")
        return CLIPTokenizer(str(vocab), str(merges), model_max_length=max_length)


def clip_text_config() -> CLIPTextConfig:
    """Configuration of a two-layer CLIP text encoder that fits `clip_tokenizer`."""
    vocabulary = clip_vocabulary()
    return CLIPTextConfig(
        vocab_size=len(vocabulary),
        bos_token_id=vocabulary["<|startoftext|>"],
        eos_token_id=vocabulary["<|endoftext|>"],
        pad_token_id=vocabulary["<|endoftext|>"],
        hidden_size=CLIP_WIDTH,
        projection_dim=CLIP_WIDTH,
        intermediate_size=2 * CLIP_WIDTH,
        num_hidden_layers=2,
        num_attention_heads=3,
    )


def image(channels: int = 3) -> torch.Tensor:
    """A fixed random picture with values in [0, 1]."""
    return torch.rand(1, channels, PIXELS, PIXELS, generator=torch.Generator().manual_seed(0))


def vae() -> diffusers.AutoencoderKL:
    """An autoencoder that halves height and width."""
    return diffusers.AutoencoderKL(
        block_out_channels=(8, 16),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4,
        norm_num_groups=4,
        sample_size=PIXELS,
    )


def sd_components() -> dict[str, Any]:
    """The components of the Stable Diffusion 1.x pipelines."""
    unet = diffusers.UNet2DConditionModel(
        sample_size=PIXELS // 2,
        in_channels=4,
        out_channels=4,
        block_out_channels=(8, 16),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        norm_num_groups=4,
        attention_head_dim=2,
        cross_attention_dim=CLIP_WIDTH,
    )
    scheduler = diffusers.PNDMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        steps_offset=1,
        skip_prk_steps=True,
        set_alpha_to_one=False,
    )
    return {
        "unet": unet,
        "vae": vae(),
        "scheduler": scheduler,
        "text_encoder": CLIPTextModel(clip_text_config()),
        "tokenizer": clip_tokenizer(),
        "safety_checker": None,
        "feature_extractor": None,
        "requires_safety_checker": False,
    }


def pixel_unet() -> diffusers.UNet2DModel:
    """An unconditional U-Net on 16x16 pictures."""
    return diffusers.UNet2DModel(
        sample_size=16,
        block_out_channels=(12, 24),
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        norm_num_groups=4,
        attention_head_dim=6,
    )


PROMPT = {"prompt": "a red fox in the snow", "output_type": "np"}


# ---------------------------------------------------------------------------------------------------- the pipelines


@builder
def sd() -> Pipeline:
    """Stable Diffusion 1.x text to image; its __init__ edits the scheduler's config."""
    return diffusers.StableDiffusionPipeline(**sd_components()), dict(PROMPT)


@builder
def sd_img2img() -> Pipeline:
    """Stable Diffusion image to image; set_begin_index, then add_noise."""
    pipe = diffusers.StableDiffusionImg2ImgPipeline(**sd_components())
    return pipe, {**PROMPT, "image": image(), "strength": 0.6}


@builder
def ddpm() -> Pipeline:
    """Unconditional DDPM; always passes generator= to step."""
    return diffusers.DDPMPipeline(pixel_unet(), diffusers.DDPMScheduler()), {"output_type": "np"}


# ------------------------------------------------------------------------------------------------------------ usage


def run_pipeline(
    pipe: DiffusionPipeline, call_kwargs: dict[str, Any], num_inference_steps: int = 3, seed: int = 0
) -> torch.Tensor:
    """Calls the pipeline with a fresh generator and returns its images."""
    generator = torch.Generator().manual_seed(seed)
    output = pipe(**call_kwargs, num_inference_steps=num_inference_steps, generator=generator)
    return torch.as_tensor(output.images)


def reload_pipeline(pipe: DiffusionPipeline) -> DiffusionPipeline:
    """Saves the pipeline to a temporary folder and loads it from there."""
    with tempfile.TemporaryDirectory() as folder:
        pipe.save_pretrained(folder)
        loaded = DiffusionPipeline.from_pretrained(folder)
    loaded.set_progress_bar_config(disable=True)
    return loaded
