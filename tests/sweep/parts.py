"""A tiny component for each class that constructors of pipelines name.

Everything fits together by a few conventions: text is T5_WIDTH wide, pooled text and pictures CLIP_WIDTH, latents have
four channels unless their autoencoder or network wants another number.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import diffusers
import transformers

from tiny_pipelines.flow import flux_components, sana_components, sd3_components
from tiny_pipelines.other import clap_encoder, kandinsky_components, pixart_components, pixel_unet, vocoder
from tiny_pipelines.registry import PIXELS
from tiny_pipelines.stable_diffusion import SD_BETAS, controlnet, latent_unet, loud, vae
from tiny_pipelines.text import (
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
from tiny_pipelines.video import ltx_components, wan_components

from .sizes import SIZES


def model(name: str, **changes: Any) -> Any:
    """A tiny model of a class of Diffusers, by its sizes and changes to them."""
    return loud(getattr(diffusers, name)(**{**SIZES[name], **changes}))


def vision_config(**changes: Any) -> transformers.CLIPVisionConfig:
    """Of a one-layer CLIP that sees the tiny pictures."""
    sizes = {"hidden_size": CLIP_WIDTH, "projection_dim": CLIP_WIDTH, "intermediate_size": 32, "num_hidden_layers": 1}
    return transformers.CLIPVisionConfig(
        **sizes | {"num_attention_heads": 3, "image_size": PIXELS, "patch_size": 8} | changes
    )


def siglip_config() -> transformers.SiglipVisionConfig:
    """Of a one-layer SigLIP."""
    return transformers.SiglipVisionConfig(
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        image_size=PIXELS,
        patch_size=8,
    )


def clip_pictures() -> transformers.CLIPImageProcessor:
    """What prepares a picture for it."""
    square = {"height": PIXELS, "width": PIXELS}
    return transformers.CLIPImageProcessor(crop_size=square, size={"shortest_edge": PIXELS})


def llama(**changes: Any) -> transformers.LlamaConfig:
    """Of a one-layer Llama that fits `language_tokenizer`."""
    sizes = {"hidden_size": T5_WIDTH, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    return transformers.LlamaConfig(vocab_size=112, num_key_value_heads=2, **sizes | changes)


def qwen(cls: type, config: type, **changes: Any) -> Any:
    """A one-layer language model of the family of Qwen."""
    sizes = {"hidden_size": T5_WIDTH, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    return cls(config(vocab_size=112, num_key_value_heads=2, head_dim=24, **sizes | changes))


def glm() -> transformers.GlmModel:
    """A one-layer GLM."""
    sizes = {"hidden_size": T5_WIDTH, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    return transformers.GlmModel(
        transformers.GlmConfig(vocab_size=112, num_key_value_heads=2, head_dim=24, pad_token_id=0, **sizes)
    )


def multilingual_clip() -> Any:
    """The text encoder of Kandinsky 2.1."""
    from diffusers.pipelines.kandinsky.text_encoder import MCLIPConfig, MultilingualCLIP

    sizes = {"hidden_size": CLIP_WIDTH, "intermediate_size": 32, "num_attention_heads": 3, "num_hidden_layers": 1}
    return MultilingualCLIP(MCLIPConfig(CLIP_WIDTH, CLIP_WIDTH, vocab_size=1005, **sizes))


PARTS: dict[str, Callable[[], Any]] = {
    # text
    "CLIPTokenizer": clip_tokenizer,
    "CLIPTextModel": clip_encoder,
    "CLIPTextModelWithProjection": projecting_clip_encoder,
    "T5Tokenizer": t5_tokenizer,
    "T5TokenizerFast": t5_tokenizer,
    "T5EncoderModel": t5_encoder,
    "UMT5EncoderModel": t5_encoder,
    "AutoTokenizer": t5_tokenizer,
    "GemmaTokenizer": language_tokenizer,
    "LlamaTokenizer": language_tokenizer,
    "Gemma2PreTrainedModel": gemma2,
    "GemmaPreTrainedModel": gemma2,
    "GlmModel": glm,
    "LlamaModel": lambda: transformers.LlamaModel(llama()),
    "ClapTextModelWithProjection": clap_encoder,
    "RobertaTokenizer": t5_tokenizer,
    "XLMRobertaTokenizer": t5_tokenizer,
    "MultilingualCLIP": multilingual_clip,
    "SpeechT5HifiGan": vocoder,
    # pictures
    "CLIPVisionModel": lambda: transformers.CLIPVisionModel(vision_config()),
    "CLIPVisionModelWithProjection": lambda: transformers.CLIPVisionModelWithProjection(vision_config()),
    "CLIPImageProcessorPil": clip_pictures,
    "SiglipImageProcessorPil": lambda: transformers.SiglipImageProcessor(size={"height": PIXELS, "width": PIXELS}),
    "SiglipVisionModel": lambda: transformers.SiglipVisionModel(siglip_config()),
    # autoencoders
    "AutoencoderKL": vae,
    "AutoencoderDC": lambda: sana_components()["vae"],
    "AutoencoderKLLTXVideo": lambda: ltx_components()["vae"],
    "VQModel": lambda: kandinsky_components()["movq"],
    # networks
    "UNet2DConditionModel": latent_unet,
    "UNet2DModel": pixel_unet,
    "ControlNetModel": lambda: loud(controlnet()),
    "FluxTransformer2DModel": lambda: flux_components()["transformer"],
    "SD3Transformer2DModel": lambda: sd3_components()["transformer"],
    "SanaTransformer2DModel": lambda: sana_components()["transformer"],
    "PixArtTransformer2DModel": lambda: pixart_components()["transformer"],
    "LTXVideoTransformer3DModel": lambda: ltx_components()["transformer"],
    "WanTransformer3DModel": lambda: wan_components()["transformer"],
    # schedulers
    "KarrasDiffusionSchedulers": lambda: diffusers.DDIMScheduler(**SD_BETAS, clip_sample=False, steps_offset=1),
    "DDIMScheduler": lambda: diffusers.DDIMScheduler(**SD_BETAS, clip_sample=False, steps_offset=1),
    "PNDMScheduler": lambda: diffusers.PNDMScheduler(**SD_BETAS, steps_offset=1, skip_prk_steps=True),
    "EulerDiscreteScheduler": lambda: diffusers.EulerDiscreteScheduler(**SD_BETAS, steps_offset=1),
    "DDPMScheduler": lambda: diffusers.DDPMScheduler(**SD_BETAS, clip_sample=False),
    "FlowMatchEulerDiscreteScheduler": lambda: diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0),
    "UniPCMultistepScheduler": lambda: wan_components()["scheduler"],
    "DPMSolverMultistepScheduler": lambda: diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0),
    "SchedulerMixin": lambda: diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0),
    "CogVideoXDDIMScheduler": lambda: diffusers.CogVideoXDDIMScheduler(
        **SD_BETAS,
        snr_shift_scale=3.0,
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
        clip_sample=False,
    ),
    "RePaintScheduler": lambda: diffusers.RePaintScheduler(),
    "KarrasVeScheduler": lambda: diffusers.KarrasVeScheduler(),
    "ScoreSdeVeScheduler": lambda: diffusers.ScoreSdeVeScheduler(),
    "CMStochasticIterativeScheduler": lambda: diffusers.CMStochasticIterativeScheduler(),
    "EDMEulerScheduler": lambda: diffusers.EDMEulerScheduler(),
    "UnCLIPScheduler": lambda: diffusers.UnCLIPScheduler(),
    "DDPMWuerstchenScheduler": lambda: diffusers.DDPMWuerstchenScheduler(),
    "VQDiffusionScheduler": lambda: diffusers.VQDiffusionScheduler(),
    "AmusedScheduler": lambda: diffusers.AmusedScheduler(),
    "DDIMInverseScheduler": lambda: diffusers.DDIMInverseScheduler(),
    "HeliosScheduler": lambda: diffusers.HeliosScheduler(),
    "HeliosDMDScheduler": lambda: diffusers.HeliosDMDScheduler(),
    "FlowMapEulerDiscreteScheduler": lambda: diffusers.FlowMapEulerDiscreteScheduler(),
    "LTXEulerAncestralRFScheduler": lambda: diffusers.LTXEulerAncestralRFScheduler(),
    "HeunDiscreteScheduler": lambda: diffusers.HeunDiscreteScheduler(),
    "BlockRefinementScheduler": lambda: diffusers.BlockRefinementScheduler(),
    "LCMScheduler": lambda: diffusers.LCMScheduler(**SD_BETAS),
}
PARTS |= {name: lambda name=name: model(name) for name in SIZES}
