"""Pipelines of flow-matching models that make pictures."""

from __future__ import annotations

import warnings
from typing import Any

import diffusers
import torch

from .registry import PIXELS, PROMPT, SIZE, Pipeline, builder, image, masked_image
from .stable_diffusion import vae
from .text import (
    CLIP_WIDTH,
    T5_WIDTH,
    clip_encoder,
    clip_tokenizer,
    gemma2,
    language_tokenizer,
    projecting_clip_encoder,
    t5_encoder,
    t5_tokenizer,
)

SHORT = {"max_sequence_length": 24}


def flow_vae(latent_channels: int) -> diffusers.AutoencoderKL:
    """The autoencoder variant of SD3 and Flux: no quantisation layers, shifted latents."""
    return vae(latent_channels, use_quant_conv=False, use_post_quant_conv=False, shift_factor=0.05, scaling_factor=1.5)


# ------------------------------------------------------------------------------------------------ Stable Diffusion 3


def sd3_components(latent_channels: int = 8) -> dict[str, Any]:
    """The components of Stable Diffusion 3: two CLIP encoders and T5."""
    transformer = diffusers.SD3Transformer2DModel(
        sample_size=PIXELS // 2,
        patch_size=2,
        in_channels=latent_channels,
        out_channels=latent_channels,
        num_layers=1,
        num_attention_heads=3,
        attention_head_dim=8,
        caption_projection_dim=24,
        joint_attention_dim=T5_WIDTH,
        pooled_projection_dim=2 * CLIP_WIDTH,
        pos_embed_max_size=16,
    )
    return {
        "transformer": transformer,
        "scheduler": diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0),
        "vae": flow_vae(latent_channels),
        "text_encoder": projecting_clip_encoder(),
        "tokenizer": clip_tokenizer(),
        "text_encoder_2": projecting_clip_encoder(),
        "tokenizer_2": clip_tokenizer(),
        "text_encoder_3": t5_encoder(),
        "tokenizer_3": t5_tokenizer(),
    }


@builder
def sd3() -> Pipeline:
    """Stable Diffusion 3; chooses its own times only when asked to."""
    return diffusers.StableDiffusion3Pipeline(**sd3_components()), {**PROMPT, **SIZE, **SHORT}


@builder
def sd3_dynamic() -> Pipeline:
    """Stable Diffusion 3.5 with a shift that depends on the number of pixels; passes mu= alone."""
    components = sd3_components()
    components["scheduler"] = diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True)
    return diffusers.StableDiffusion3Pipeline(**components), {**PROMPT, **SIZE, **SHORT}


@builder
def sd3_img2img() -> Pipeline:
    """Stable Diffusion 3 image to image; scale_noise at the first time."""
    pipe = diffusers.StableDiffusion3Img2ImgPipeline(**sd3_components())
    return pipe, {**PROMPT, **SIZE, **SHORT, "image": image(), "strength": 0.6}


@builder
def sd3_inpaint() -> Pipeline:
    """Stable Diffusion 3 inpainting; scale_noise within the loop."""
    pipe = diffusers.StableDiffusion3InpaintPipeline(
        **sd3_components(16)
    )  # the number of channels tells it apart from a masked one
    return pipe, {**PROMPT, **SHORT, **masked_image(), "strength": 0.8}


# -------------------------------------------------------------------------------------------------------------- Flux


def flux_components() -> dict[str, Any]:
    """The components of the Flux pipelines."""
    latent_channels = 4  # not 3: image to image takes three channels for a picture, as many as the latents for latents
    transformer = diffusers.FluxTransformer2DModel(
        in_channels=4 * latent_channels,  # Flux packs 2x2 latents into one token
        num_layers=1,
        num_single_layers=1,
        num_attention_heads=2,
        attention_head_dim=12,
        axes_dims_rope=(4, 4, 4),
        joint_attention_dim=T5_WIDTH,
        pooled_projection_dim=CLIP_WIDTH,
    )
    return {
        "transformer": transformer,
        "scheduler": diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True),
        "vae": flow_vae(latent_channels),
        "text_encoder": clip_encoder(),
        "tokenizer": clip_tokenizer(),
        "text_encoder_2": t5_encoder(),
        "tokenizer_2": t5_tokenizer(),
    }


@builder
def flux() -> Pipeline:
    """Flux text to image; always passes mu=, drops its own sigmas when config.use_flow_sigmas is set."""
    return diffusers.FluxPipeline(**flux_components()), {**PROMPT, **SIZE, **SHORT}


@builder
def flux_img2img() -> Pipeline:
    """Flux image to image; passes sigmas= and mu=, uses scale_noise."""
    pipe = diffusers.FluxImg2ImgPipeline(**flux_components())
    return pipe, {**PROMPT, **SIZE, **SHORT, "image": image(), "strength": 0.6}


@builder
def flux_inpaint() -> Pipeline:
    """Flux inpainting; scale_noise within the loop."""
    pipe = diffusers.FluxInpaintPipeline(**flux_components())
    return pipe, {**PROMPT, **SHORT, **masked_image(), "strength": 0.8}


# ------------------------------------------------------------------------------------------------------------ others


def sana_components() -> dict[str, Any]:
    """The components of Sana: linear attention, Gemma, a deeply compressing autoencoder."""
    latent_channels = 4
    transformer = diffusers.SanaTransformer2DModel(
        patch_size=1,
        in_channels=latent_channels,
        out_channels=latent_channels,
        num_layers=1,
        num_attention_heads=2,
        attention_head_dim=4,
        num_cross_attention_heads=2,
        cross_attention_head_dim=4,
        cross_attention_dim=8,
        caption_channels=T5_WIDTH,
        sample_size=16,
    )
    autoencoder = diffusers.AutoencoderDC(
        in_channels=3,
        latent_channels=latent_channels,
        attention_head_dim=2,
        encoder_block_types=("ResBlock", "EfficientViTBlock"),
        decoder_block_types=("ResBlock", "EfficientViTBlock"),
        encoder_block_out_channels=(8, 8),
        decoder_block_out_channels=(8, 8),
        encoder_qkv_multiscales=((), (5,)),
        decoder_qkv_multiscales=((), (5,)),
        encoder_layers_per_block=(1, 1),
        decoder_layers_per_block=(1, 1),
        downsample_block_type="conv",
        upsample_block_type="interpolate",
        decoder_norm_types="rms_norm",
        decoder_act_fns="silu",
        scaling_factor=0.41407,
    )
    return {
        "transformer": transformer,
        "vae": autoencoder,
        "scheduler": diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0),
        "text_encoder": gemma2(),
        "tokenizer": language_tokenizer(),
    }


@builder
def sana() -> Pipeline:
    """Sana text to image; eta and generator only where the signature has them."""
    pipe = diffusers.SanaPipeline(**sana_components())
    quiet = {"use_resolution_binning": False, "complex_human_instruction": None}
    return pipe, {**PROMPT, **SIZE, **SHORT, **quiet}


@builder
def lumina2() -> Pipeline:
    """Lumina 2; its network is called with 1 - t, and answers with the velocity the other way round."""
    transformer = diffusers.Lumina2Transformer2DModel(
        sample_size=PIXELS // 2,
        patch_size=2,
        in_channels=4,
        hidden_size=24,
        num_layers=1,
        num_refiner_layers=1,
        num_attention_heads=3,
        num_kv_heads=1,
        multiple_of=2,
        axes_dim_rope=(4, 2, 2),
        axes_lens=(96, 32, 32),
        cap_feat_dim=T5_WIDTH,
    )
    pipe = diffusers.Lumina2Pipeline(
        transformer=transformer,
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        vae=flow_vae(4),
        text_encoder=gemma2(),
        tokenizer=language_tokenizer(),
    )
    return pipe, {**PROMPT, **SIZE, **SHORT, "system_prompt": ""}


@builder
def aura_flow() -> Pipeline:
    """AuraFlow; calls its network with t / 1000."""
    transformer = diffusers.AuraFlowTransformer2DModel(
        sample_size=PIXELS // 2,
        patch_size=2,
        in_channels=4,
        out_channels=4,
        num_mmdit_layers=1,
        num_single_dit_layers=1,
        attention_head_dim=8,
        num_attention_heads=3,
        joint_attention_dim=T5_WIDTH,
        caption_projection_dim=24,
        pos_embed_max_size=64,
    )
    pipe = diffusers.AuraFlowPipeline(
        tokenizer=t5_tokenizer(),
        text_encoder=t5_encoder(),
        vae=vae(),
        transformer=transformer,
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=1.73),
    )
    return pipe, {**PROMPT, **SIZE, **SHORT}


@builder
def cogview4() -> Pipeline:
    """CogView 4; gives timesteps= and sigmas= at once, and mu=; its text embeddings are given."""
    transformer = diffusers.CogView4Transformer2DModel(
        patch_size=2,
        in_channels=4,
        out_channels=4,
        num_layers=1,
        attention_head_dim=8,
        num_attention_heads=3,
        text_embed_dim=T5_WIDTH,
        time_embed_dim=8,
        condition_dim=4,
        sample_size=PIXELS // 2,
    )
    pipe = diffusers.CogView4Pipeline(
        tokenizer=None,
        text_encoder=None,
        vae=flow_vae(4),
        transformer=transformer,
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(
            base_shift=0.25, max_shift=0.75, base_image_seq_len=256, use_dynamic_shifting=True, time_shift_type="linear"
        ),
    )
    draw = torch.Generator().manual_seed(0)
    embeds = {
        name: torch.randn(1, 16, T5_WIDTH, generator=draw) for name in ("prompt_embeds", "negative_prompt_embeds")
    }
    return pipe, {**embeds, **SIZE, "output_type": "np"}


@builder
def chroma() -> Pipeline:
    """Chroma, a Flux without guidance embedding; passes sigmas= and mu=."""
    components = flux_components()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # it uses a name of Diffusers that Diffusers has deprecated
        transformer = diffusers.ChromaTransformer2DModel(
            in_channels=16,
            num_layers=1,
            num_single_layers=1,
            num_attention_heads=2,
            attention_head_dim=12,
            axes_dims_rope=(4, 4, 4),
            joint_attention_dim=T5_WIDTH,
            approximator_num_channels=16,
            approximator_hidden_dim=16,
            approximator_layers=1,
        )
    pipe = diffusers.ChromaPipeline(
        transformer=transformer,
        scheduler=components["scheduler"],
        vae=components["vae"],
        text_encoder=components["text_encoder_2"],
        tokenizer=components["tokenizer_2"],
    )
    return pipe, {**PROMPT, **SIZE, **SHORT}
