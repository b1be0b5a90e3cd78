"""Stable Diffusion 1 and XL and what is built on their U-Nets."""

from __future__ import annotations

from typing import Any

import diffusers
import torch

from .registry import PIXELS, PROMPT, Pipeline, builder, image, masked_image
from .text import CLIP_WIDTH, clip_encoder, clip_tokenizer, projecting_clip_encoder

SD_BETAS: dict[str, Any] = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


def vae(latent_channels: int = 4, **config: Any) -> diffusers.AutoencoderKL:
    """An autoencoder that halves height and width."""
    settings = {"latent_channels": latent_channels, "norm_num_groups": 4, "sample_size": PIXELS} | config
    return diffusers.AutoencoderKL(
        block_out_channels=(8, 16),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        **settings,
    )


def latent_unet(in_channels: int = 4, **config: Any) -> diffusers.UNet2DConditionModel:
    """The U-Net of Stable Diffusion 1."""
    settings = {
        "sample_size": PIXELS // 2,
        "out_channels": 4,
        "block_out_channels": (8, 16),
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
        "layers_per_block": 1,
        "norm_num_groups": 4,
        "attention_head_dim": 2,
        "cross_attention_dim": CLIP_WIDTH,
    }
    return diffusers.UNet2DConditionModel(in_channels=in_channels, **settings | config)


def xl_unet(in_channels: int = 4, cross_attention_dim: int = 2 * CLIP_WIDTH, **config: Any) -> Any:
    """The U-Net of Stable Diffusion XL, which is told the picture's size."""
    width = 4
    return latent_unet(
        in_channels,
        transformer_layers_per_block=1,
        attention_head_dim=(1, 2),
        use_linear_projection=True,
        cross_attention_dim=cross_attention_dim,
        addition_embed_type="text_time",
        addition_time_embed_dim=width,
        projection_class_embeddings_input_dim=6 * width + CLIP_WIDTH,
        **config,
    )


def sd_components(unet_channels: int = 4) -> dict[str, Any]:
    """The components of the Stable Diffusion 1.x pipelines."""
    scheduler = diffusers.PNDMScheduler(**SD_BETAS, steps_offset=1, skip_prk_steps=True, set_alpha_to_one=False)
    return {
        "unet": latent_unet(unet_channels),
        "vae": vae(),
        "scheduler": scheduler,
        "text_encoder": clip_encoder(),
        "tokenizer": clip_tokenizer(),
        "safety_checker": None,
        "feature_extractor": None,
        "requires_safety_checker": False,
    }


def sdxl_components(unet_channels: int = 4) -> dict[str, Any]:
    """The components of the Stable Diffusion XL pipelines."""
    return {
        "unet": xl_unet(unet_channels),
        "vae": vae(),
        "scheduler": diffusers.EulerDiscreteScheduler(**SD_BETAS, steps_offset=1, timestep_spacing="leading"),
        "text_encoder": clip_encoder(),
        "tokenizer": clip_tokenizer(),
        "text_encoder_2": projecting_clip_encoder(),
        "tokenizer_2": clip_tokenizer(),
        "add_watermarker": False,
    }


def controlnet() -> diffusers.ControlNetModel:
    """A ControlNet that fits `latent_unet`."""
    return diffusers.ControlNetModel(
        block_out_channels=(8, 16),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        layers_per_block=1,
        norm_num_groups=4,
        attention_head_dim=2,
        cross_attention_dim=CLIP_WIDTH,
        conditioning_embedding_out_channels=(8, 16),
    )


def loud(model: torch.nn.Module, factor: float = 8.0) -> torch.nn.Module:
    """Scales the zero-initialised ends of a control branch, so that it has something to say."""
    for name, weight in model.named_parameters():
        if weight.numel() and not weight.any():
            torch.nn.init.normal_(weight, std=0.02 * factor if name.endswith("weight") else 0.02)
    return model


# ------------------------------------------------------------------------------------------------ Stable Diffusion 1


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
def sd_inpaint() -> Pipeline:
    """Inpainting with a 4-channel U-Net; add_noise is called inside the loop, after step."""
    pipe = diffusers.StableDiffusionInpaintPipeline(**sd_components())
    return pipe, {**PROMPT, **masked_image(), "strength": 0.8}


@builder
def sd_inpaint9() -> Pipeline:
    """Inpainting with a 9-channel U-Net that also sees the mask and the masked picture."""
    pipe = diffusers.StableDiffusionInpaintPipeline(**sd_components(9))
    return pipe, {**PROMPT, **masked_image(), "strength": 1.0}


@builder
def sd_controlnet() -> Pipeline:
    """Stable Diffusion with one ControlNet."""
    pipe = diffusers.StableDiffusionControlNetPipeline(**sd_components(), controlnet=loud(controlnet()))
    return pipe, {**PROMPT, "image": image()}


@builder
def sd_controlnet_img2img() -> Pipeline:
    """Image to image with one ControlNet."""
    pipe = diffusers.StableDiffusionControlNetImg2ImgPipeline(**sd_components(), controlnet=loud(controlnet()))
    return pipe, {**PROMPT, "image": image(), "control_image": image(), "strength": 0.6}


@builder
def instruct_pix2pix() -> Pipeline:
    """Editing by instruction: the U-Net sees the image in four more channels; three evaluations are guided."""
    pipe = diffusers.StableDiffusionInstructPix2PixPipeline(**sd_components(8))
    return pipe, {**PROMPT, "image": image(), "image_guidance_scale": 1.5}


@builder
def ledits_pp() -> Pipeline:
    """LEDITS++; __init__ replaces any scheduler but DDIM and DPM-Solver by DPM-Solver++ SDE."""
    components = sd_components()
    del components["requires_safety_checker"]
    components["scheduler"] = diffusers.DPMSolverMultistepScheduler(
        **SD_BETAS, algorithm_type="sde-dpmsolver++", solver_order=2, steps_offset=1
    )
    return diffusers.LEditsPPPipelineStableDiffusion(**components), {}


# ----------------------------------------------------------------------------------------------- Stable Diffusion XL


@builder
def sdxl() -> Pipeline:
    """Stable Diffusion XL text to image."""
    return diffusers.StableDiffusionXLPipeline(**sdxl_components()), dict(PROMPT)


@builder
def sdxl_img2img() -> Pipeline:
    """Stable Diffusion XL image to image."""
    pipe = diffusers.StableDiffusionXLImg2ImgPipeline(**sdxl_components())
    return pipe, {**PROMPT, "image": image(), "strength": 0.6}


@builder
def sdxl_inpaint() -> Pipeline:
    """Stable Diffusion XL inpainting with a 4-channel U-Net."""
    pipe = diffusers.StableDiffusionXLInpaintPipeline(**sdxl_components())
    return pipe, {**PROMPT, **masked_image(), "strength": 0.8}


@builder
def marigold() -> Pipeline:
    """Marigold depth: the image in four more channels, no guidance, an ensemble of one."""
    components = sd_components(8)
    scheduler = diffusers.DDIMScheduler(**SD_BETAS, prediction_type="v_prediction", steps_offset=1, clip_sample=False)
    names = ("unet", "vae", "text_encoder", "tokenizer")
    pipe = diffusers.MarigoldDepthPipeline(
        **{name: components[name] for name in names},
        scheduler=scheduler,
        scale_invariant=True,
        shift_invariant=True,
        default_denoising_steps=2,
        default_processing_resolution=0,
    )
    return pipe, {"image": image(), "output_type": "np", "processing_resolution": 0}
