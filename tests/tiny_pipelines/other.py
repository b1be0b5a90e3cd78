"""Pipelines on other networks than Stable Diffusion's: class-conditional, unconditional, cascades, sound."""

from __future__ import annotations

from typing import Any

import diffusers
import torch
import transformers

from .registry import PROMPT, SIZE, Pipeline, builder, image, masked_image
from .stable_diffusion import SD_BETAS, latent_unet, vae
from .text import CLIP_WIDTH, T5_WIDTH, t5_encoder, t5_tokenizer

NP = {"output_type": "np"}
IMAGE_WIDTH = 20  # of Kandinsky's image embeddings


# ----------------------------------------------------------------------------------------------------- unconditional


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


@builder
def ddpm() -> Pipeline:
    """Unconditional DDPM; always passes generator= to step."""
    return diffusers.DDPMPipeline(pixel_unet(), diffusers.DDPMScheduler()), dict(NP)


@builder
def ddim() -> Pipeline:
    """Unconditional DDIM; __init__ converts any scheduler to DDIM; eta= and use_clipped_model_output= reach step."""
    return diffusers.DDIMPipeline(pixel_unet(), diffusers.DDIMScheduler()), dict(NP)


@builder
def pndm() -> Pipeline:
    """Unconditional PNDM; __init__ converts any scheduler to PNDM."""
    return diffusers.PNDMPipeline(pixel_unet(), diffusers.PNDMScheduler()), dict(NP)


# ------------------------------------------------------------------------------------------------------ transformers


@builder
def dit() -> Pipeline:
    """Class-conditional DiT; timesteps stay on the CPU, the pipeline splits the learned variance itself."""
    transformer = diffusers.DiTTransformer2DModel(
        sample_size=8,
        patch_size=2,
        in_channels=4,
        out_channels=8,
        num_layers=1,
        num_attention_heads=3,
        attention_head_dim=8,
        num_embeds_ada_norm=1000,
    )
    labels = {0: "fox", 1: "owl, bird"}
    pipe = diffusers.DiTPipeline(
        transformer=transformer, vae=vae(), scheduler=diffusers.DDIMScheduler(), id2label=labels
    )
    return pipe, {"class_labels": [1], **NP}


def pixart_components() -> dict[str, Any]:
    """The components of PixArt, whose network also predicts a variance."""
    transformer = diffusers.PixArtTransformer2DModel(
        sample_size=8,
        patch_size=2,
        in_channels=4,
        out_channels=8,
        num_layers=1,
        num_attention_heads=2,
        attention_head_dim=10,
        cross_attention_dim=20,
        caption_channels=T5_WIDTH,
        use_additional_conditions=False,
    )
    return {
        "transformer": transformer,
        "vae": vae(),
        "scheduler": diffusers.DPMSolverMultistepScheduler(),
        "text_encoder": t5_encoder(),
        "tokenizer": t5_tokenizer(),
    }


PIXART_CALL = {
    **PROMPT,
    "height": 16,
    "width": 16,
    "use_resolution_binning": False,
    "max_sequence_length": 24,
    "clean_caption": False,
}


@builder
def pixart_alpha() -> Pipeline:
    """PixArt-alpha; learned variance, split by the pipeline itself."""
    return diffusers.PixArtAlphaPipeline(**pixart_components()), dict(PIXART_CALL)


@builder
def pixart_sigma() -> Pipeline:
    """PixArt-Sigma; learned variance, split by the pipeline itself."""
    return diffusers.PixArtSigmaPipeline(**pixart_components()), dict(PIXART_CALL)


# ---------------------------------------------------------------------------------------------------------- cascades


def kandinsky_components() -> dict[str, Any]:
    """A decoder of Kandinsky 2.2, which gives `step` twice the channels and never calls `set_begin_index`."""
    unet = diffusers.UNet2DConditionModel(
        in_channels=4,
        out_channels=8,
        block_out_channels=(16, 32),
        down_block_types=("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
        mid_block_type="UNetMidBlock2DSimpleCrossAttn",
        up_block_types=("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
        layers_per_block=1,
        norm_num_groups=8,
        attention_head_dim=8,
        cross_attention_dim=24,
        encoder_hid_dim=IMAGE_WIDTH,
        encoder_hid_dim_type="image_proj",
        addition_embed_type="image",
        resnet_time_scale_shift="scale_shift",
    )
    movq = diffusers.VQModel(
        block_out_channels=(32, 32),  # its spatial norm always has 32 groups
        down_block_types=("DownEncoderBlock2D", "AttnDownEncoderBlock2D"),
        up_block_types=("AttnUpDecoderBlock2D", "UpDecoderBlock2D"),
        latent_channels=4,
        norm_num_groups=8,
        norm_type="spatial",
        num_vq_embeddings=16,
        vq_embed_dim=4,
    )
    betas = {"beta_start": 0.00085, "beta_end": 0.012}
    scheduler = diffusers.DDPMScheduler(**betas, variance_type="learned_range", clip_sample=False)
    return {"unet": unet, "movq": movq, "scheduler": scheduler}


def kandinsky_call() -> dict[str, Any]:
    """Embeddings of the picture that is asked for, and of none."""
    positive, negative = torch.rand(2, 1, IMAGE_WIDTH, generator=torch.Generator().manual_seed(0))
    return {"image_embeds": positive, "negative_image_embeds": negative, **SIZE, **NP}


@builder
def kandinsky22() -> Pipeline:
    """Kandinsky 2.2 decoder; passes generator= and a model output with 2C channels (learned_range) to step."""
    return diffusers.KandinskyV22Pipeline(**kandinsky_components()), kandinsky_call()


@builder
def kandinsky22_img2img() -> Pipeline:
    """Kandinsky 2.2 image to image; cuts the list of times without set_begin_index."""
    pipe = diffusers.KandinskyV22Img2ImgPipeline(**kandinsky_components())
    return pipe, {**kandinsky_call(), "image": image(), "strength": 0.6}


def deepfloyd_components(in_channels: int = 3) -> dict[str, Any]:
    """The first stage of DeepFloyd IF: pixels, T5, a learned variance."""
    unet = latent_unet(
        in_channels,
        out_channels=6,
        attention_head_dim=2,
        cross_attention_dim=CLIP_WIDTH,
        encoder_hid_dim=T5_WIDTH,
        encoder_hid_dim_type="text_proj",
    )
    scheduler = diffusers.DDPMScheduler(
        beta_schedule="squaredcos_cap_v2",
        variance_type="learned_range",
        thresholding=True,
        dynamic_thresholding_ratio=0.95,
        sample_max_value=1.5,
    )
    return {
        "unet": unet,
        "scheduler": scheduler,
        "text_encoder": t5_encoder(),
        "tokenizer": t5_tokenizer(),
        "safety_checker": None,
        "feature_extractor": None,
        "watermarker": None,
        "requires_safety_checker": False,
    }


@builder
def deepfloyd() -> Pipeline:
    """DeepFloyd IF, first stage; reads config.variance_type and hands the learned variance to step."""
    return diffusers.IFPipeline(**deepfloyd_components()), {**PROMPT, **SIZE, "clean_caption": False}


@builder
def deepfloyd_img2img() -> Pipeline:
    """DeepFloyd IF, image to image."""
    pipe = diffusers.IFImg2ImgPipeline(**deepfloyd_components())
    return pipe, {**PROMPT, "image": image(), "strength": 0.7, "clean_caption": False}


@builder
def deepfloyd_inpaint() -> Pipeline:
    """DeepFloyd IF, inpainting."""
    pipe = diffusers.IFInpaintingPipeline(**deepfloyd_components())
    masked = {name: value for name, value in masked_image().items() if name not in SIZE}
    return pipe, {**PROMPT, **masked, "strength": 1.0, "clean_caption": False}


# ------------------------------------------------------------------------------------------------------------- sound


def clap_encoder() -> transformers.ClapTextModelWithProjection:
    """The text encoder of AudioLDM."""
    config = transformers.ClapTextConfig(
        vocab_size=112,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=32,
        projection_dim=16,
    )
    return transformers.ClapTextModelWithProjection(config)


def vocoder() -> transformers.SpeechT5HifiGan:
    """What makes a wave of a spectrum."""
    return transformers.SpeechT5HifiGan(
        transformers.SpeechT5HifiGanConfig(
            model_in_dim=8,
            sampling_rate=16000,
            upsample_initial_channel=16,
            upsample_rates=[2, 2],
            upsample_kernel_sizes=[4, 4],
            resblock_kernel_sizes=[3],
            resblock_dilation_sizes=[[1, 3]],
            normalize_before=False,
        )
    )


@builder
def audioldm2() -> Pipeline:
    """AudioLDM 2 with its own U-Net, autoencoder and vocoder; what its language model would say is given."""
    unet = diffusers.AudioLDM2UNet2DConditionModel(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        block_out_channels=(8, 16),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        norm_num_groups=4,
        attention_head_dim=2,
        cross_attention_dim=(16, 16),
        transformer_layers_per_block=1,
    )
    speech = transformers.GPT2Config(vocab_size=112, n_embd=16, n_layer=1, n_head=2, n_positions=32)
    pipe = diffusers.AudioLDM2Pipeline(
        vae=vae(in_channels=1, out_channels=1),
        text_encoder=clap_encoder(),
        text_encoder_2=t5_encoder(),
        projection_model=diffusers.AudioLDM2ProjectionModel(16, T5_WIDTH, 16),
        language_model=transformers.GPT2LMHeadModel(speech),
        tokenizer=t5_tokenizer(),
        tokenizer_2=t5_tokenizer(),
        feature_extractor=transformers.ClapFeatureExtractor(),
        unet=unet,
        scheduler=diffusers.DDIMScheduler(**SD_BETAS, clip_sample=False, set_alpha_to_one=False, steps_offset=1),
        vocoder=vocoder(),
    )
    draw = torch.Generator().manual_seed(0)
    embeds = {
        f"{sign}{name}": torch.randn(1, 5, 16, generator=draw)
        for sign in ("", "negative_")
        for name in ("prompt_embeds", "generated_prompt_embeds")
    }
    masks = {f"{sign}attention_mask": torch.ones(1, 5, dtype=torch.long) for sign in ("", "negative_")}
    return pipe, {**embeds, **masks, "audio_length_in_s": 0.01, **NP}
