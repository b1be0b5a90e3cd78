"""Pipelines that make videos: flow matching, and Stable Diffusion with motion."""

from __future__ import annotations

from typing import Any

import diffusers
import transformers

from .registry import PIXELS, PROMPT, SIZE, Pipeline, builder, image
from .stable_diffusion import SD_BETAS, latent_unet, sd_components, vae
from .text import CLIP_WIDTH, T5_WIDTH, t5_encoder, t5_tokenizer

SHORT = {"max_sequence_length": 24}


def ltx_components() -> dict[str, Any]:
    """The components of LTX-Video."""
    latent_channels = 6
    transformer = diffusers.LTXVideoTransformer3DModel(
        in_channels=latent_channels,
        out_channels=latent_channels,
        num_layers=1,
        num_attention_heads=3,
        attention_head_dim=8,
        cross_attention_dim=24,
        caption_channels=T5_WIDTH,
    )
    video_vae = diffusers.AutoencoderKLLTXVideo(
        latent_channels=latent_channels,
        block_out_channels=(8, 8, 8, 8),
        layers_per_block=(1, 1, 1, 1, 1),
        spatio_temporal_scaling=(True, True, False, False),
        decoder_block_out_channels=(8, 8, 8, 8),
        decoder_layers_per_block=(1, 1, 1, 1, 1),
        decoder_spatio_temporal_scaling=(True, True, False, False),
        patch_size=2,
    )
    return {
        "transformer": transformer,
        "vae": video_vae,
        "scheduler": diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        "text_encoder": t5_encoder(),
        "tokenizer": t5_tokenizer(),
    }


LTX_CALL = {**PROMPT, **SIZE, **SHORT, "num_frames": 9, "negative_prompt": ""}


@builder
def ltx() -> Pipeline:
    """LTX-Video; passes mu= and sigmas= that start at exactly 1.0."""
    return diffusers.LTXPipeline(**ltx_components()), dict(LTX_CALL)


@builder
def ltx_image_to_video() -> Pipeline:
    """LTX-Video from a first frame, which is left out of the step."""
    return diffusers.LTXImageToVideoPipeline(**ltx_components()), {**LTX_CALL, "image": image()}


def wan_components(in_channels: int = 16) -> dict[str, Any]:
    """The components of Wan."""
    transformer = diffusers.WanTransformer3DModel(
        in_channels=in_channels,
        num_layers=1,
        num_attention_heads=2,
        attention_head_dim=16,
        text_dim=T5_WIDTH,
        freq_dim=32,
        ffn_dim=40,
        rope_max_seq_len=24,
    )
    return {
        "transformer": transformer,
        "vae": diffusers.AutoencoderKLWan(base_dim=4, dim_mult=[1, 1, 2, 2], num_res_blocks=1),
        "scheduler": diffusers.UniPCMultistepScheduler(
            prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0
        ),
        "text_encoder": t5_encoder(),
        "tokenizer": t5_tokenizer(),
    }


WAN_CALL = {**PROMPT, **SIZE, **SHORT, "num_frames": 5, "negative_prompt": ""}


@builder
def wan() -> Pipeline:
    """Wan text to video, whose checkpoints ship UniPC with flow sigmas; set_timesteps(n, device=)."""
    return diffusers.WanPipeline(**wan_components()), dict(WAN_CALL)


@builder
def wan_flow_euler() -> Pipeline:
    """Wan with the scheduler that others of its checkpoints ship."""
    components = wan_components()
    components["scheduler"] = diffusers.FlowMatchEulerDiscreteScheduler(shift=7.0)
    return diffusers.WanPipeline(**components), dict(WAN_CALL)


@builder
def animatediff() -> Pipeline:
    """AnimateDiff: Stable Diffusion with a motion adapter."""
    components = sd_components()
    adapter = diffusers.MotionAdapter(
        block_out_channels=(8, 16),
        motion_layers_per_block=1,
        motion_norm_num_groups=2,
        motion_num_attention_heads=2,
    )
    unet = latent_unet(
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "CrossAttnUpBlock2D")
    )
    pipe = diffusers.AnimateDiffPipeline(
        vae=components["vae"],
        text_encoder=components["text_encoder"],
        tokenizer=components["tokenizer"],
        unet=unet,
        motion_adapter=adapter,
        scheduler=diffusers.DDIMScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="linear", clip_sample=False, steps_offset=1
        ),
    )
    return pipe, {**PROMPT, **SIZE, "num_frames": 2}


@builder
def latte() -> Pipeline:
    """Latte: a video transformer with a learned variance, which it hands to step where the config says so."""
    transformer = diffusers.LatteTransformer3DModel(
        sample_size=8,
        patch_size=2,
        in_channels=4,
        out_channels=8,
        num_layers=1,
        num_attention_heads=2,
        attention_head_dim=10,
        cross_attention_dim=20,
        caption_channels=T5_WIDTH,
        video_length=1,
        norm_type="ada_norm_single",
        norm_elementwise_affine=False,
        num_embeds_ada_norm=1000,
        attention_bias=True,
        activation_fn="gelu-approximate",
    )
    pipe = diffusers.LattePipeline(
        transformer=transformer,
        vae=vae(),
        scheduler=diffusers.DDPMScheduler(variance_type="learned_range", clip_sample=False),
        text_encoder=t5_encoder(),
        tokenizer=t5_tokenizer(),
    )
    return pipe, {**PROMPT, "height": 16, "width": 16, "video_length": 1, "clean_caption": False}


@builder
def cogvideox() -> Pipeline:
    """CogVideoX; its betas are shifted, and v is predicted."""
    transformer = diffusers.CogVideoXTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=16,
        in_channels=4,
        out_channels=4,
        time_embed_dim=2,
        text_embed_dim=T5_WIDTH,
        num_layers=1,
        sample_width=2,
        sample_height=2,
        sample_frames=9,
        patch_size=2,
        temporal_compression_ratio=4,
        max_text_seq_length=16,
    )
    video_vae = diffusers.AutoencoderKLCogVideoX(
        down_block_types=("CogVideoXDownBlock3D",) * 4,
        up_block_types=("CogVideoXUpBlock3D",) * 4,
        block_out_channels=(8, 8, 8, 8),
        latent_channels=4,
        layers_per_block=1,
        norm_num_groups=2,
        temporal_compression_ratio=4,
    )
    pipe = diffusers.CogVideoXPipeline(
        tokenizer=t5_tokenizer(),
        text_encoder=t5_encoder(),
        vae=video_vae,
        transformer=transformer,
        scheduler=diffusers.CogVideoXDDIMScheduler(
            **SD_BETAS,
            snr_shift_scale=3.0,
            prediction_type="v_prediction",
            rescale_betas_zero_snr=True,
            timestep_spacing="trailing",
            clip_sample=False,
        ),
    )
    return pipe, {**PROMPT, "height": 16, "width": 16, "num_frames": 9, "max_sequence_length": 16}


@builder
def svd() -> Pipeline:
    """Stable Video Diffusion: preconditioned for sigma up to 700, called with log(sigma) / 4, from a first frame."""
    unet = diffusers.UNetSpatioTemporalConditionModel(
        sample_size=PIXELS // 2,
        in_channels=8,
        out_channels=4,
        block_out_channels=(32, 64),  # its group norms always have 32 groups
        down_block_types=("CrossAttnDownBlockSpatioTemporal", "DownBlockSpatioTemporal"),
        up_block_types=("UpBlockSpatioTemporal", "CrossAttnUpBlockSpatioTemporal"),
        layers_per_block=1,
        num_attention_heads=(2, 4),
        cross_attention_dim=CLIP_WIDTH,
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=24,
    )
    video_vae = diffusers.AutoencoderKLTemporalDecoder(
        block_out_channels=(32, 32),
        down_block_types=("DownEncoderBlock2D",) * 2,
        latent_channels=4,
        sample_size=PIXELS,
        force_upcast=False,
    )
    vision = transformers.CLIPVisionConfig(
        hidden_size=CLIP_WIDTH,
        projection_dim=CLIP_WIDTH,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=3,
        image_size=PIXELS,
        patch_size=8,
    )
    pipe = diffusers.StableVideoDiffusionPipeline(
        unet=unet,
        vae=video_vae,
        image_encoder=transformers.CLIPVisionModelWithProjection(vision),
        scheduler=diffusers.EulerDiscreteScheduler(
            **SD_BETAS,
            interpolation_type="linear",
            prediction_type="v_prediction",
            sigma_min=0.002,
            sigma_max=700.0,
            steps_offset=1,
            timestep_spacing="leading",
            timestep_type="continuous",
            use_karras_sigmas=True,
        ),
        feature_extractor=transformers.CLIPImageProcessor(
            crop_size={"height": PIXELS, "width": PIXELS}, size={"shortest_edge": PIXELS}
        ),
    )
    return pipe, {**SIZE, "image": image(), "num_frames": 2, "output_type": "np"}
