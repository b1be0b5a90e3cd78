"""Transformers that make videos or sound."""

from __future__ import annotations

import diffusers
import torch
import transformers

from tiny_pipelines.registry import PIXELS
from tiny_pipelines.text import CLIP_WIDTH, T5_WIDTH, language_tokenizer
from tiny_pipelines.video import wan_components

from .parts import PARTS, clip_pictures, model, qwen, vision_config
from .pictures import picture
from .recipes import LEFT_OUT, NO_PROMPT, NO_TEXT, ONES, WITH_WORDS, both, recipe, words


class Harmless:
    """Finds nothing wrong with any text or video; the real checker downloads a language model."""

    def to(self, *where):
        return self

    def check_text_safety(self, prompt):
        return True

    def check_video_safety(self, video):
        return video


def two_layers_of_vision():
    """Of which the last but one is looked at."""
    return transformers.CLIPVisionModel(vision_config(num_hidden_layers=2))


WORDS = {**NO_PROMPT, **both(prompt_embeds=words())}

recipe(r"Wan.*|ChronoEdit|LucyEdit|SkyReelsV2.*|AnyFlow.*|Cosmos.*|Helios.*", parts={**NO_TEXT}, call=WORDS)
recipe(r"Wan.*|LucyEdit", call={"num_frames": 5})
recipe(
    r"WanImageToVideo|SkyReelsV2ImageToVideo|ChronoEdit",
    parts={"image_processor": None, "image_encoder": None, "transformer": lambda: wan_components(36)["transformer"]},
)
recipe(r"WanVACE", parts={"transformer": lambda: model("WanVACETransformer3DModel")}, call={"video": LEFT_OUT})
recipe(r"ChronoEdit", parts={"transformer": lambda: model("ChronoEditTransformer3DModel", in_channels=36)})
recipe(
    r"HunyuanVideo.*|HunyuanSkyreels.*",
    parts={**NO_TEXT, "text_encoder_2": None, "tokenizer_2": None, "image_processor": None, "image_encoder": None},
    call={
        **WITH_WORDS,
        **both(pooled_prompt_embeds=torch.rand(1, CLIP_WIDTH), prompt_attention_mask=ONES),
        **both(prompt_embeds_2=words(), prompt_embeds_mask_2=ONES),
        "num_frames": 9,
    },
)
recipe(
    r"Kandinsky5.*",
    parts={**NO_TEXT, "text_encoder_2": None, "tokenizer_2": None},
    call={
        **NO_PROMPT,
        **both(
            prompt_embeds_qwen=words(),
            prompt_embeds_clip=torch.rand(1, CLIP_WIDTH),
            prompt_cu_seqlens=torch.tensor([0, 8], dtype=torch.int32),
        ),
    },
)
recipe(r"Mochi|MotifVideo.*", parts=NO_TEXT, call={**WITH_WORDS, **both(prompt_attention_mask=ONES)})
recipe(r"CogVideoXFunControl", call={"control_video_latents": LEFT_OUT})
WITH_FRAME = {"in_channels": 8, "out_channels": 4}
recipe(r"CogVideoXImageToVideo", parts={"transformer": lambda: model("CogVideoXTransformer3DModel", **WITH_FRAME)})
recipe(
    r"CogVideoXFunControl",
    parts={"transformer": lambda: model("CogVideoXTransformer3DModel", **WITH_FRAME)},
    call={"control_video": lambda: [picture()] * 9},
)
recipe(
    r"HunyuanSkyreelsImageToVideo", parts={"transformer": lambda: model("HunyuanVideoTransformer3DModel", **WITH_FRAME)}
)
recipe(
    r"HunyuanVideoImageToVideo",
    parts={
        "transformer": lambda: model(
            "HunyuanVideoTransformer3DModel", in_channels=9, out_channels=4, image_condition_type="latent_concat"
        )
    },
)
recipe(r"HunyuanVideo15.*", parts={"guider": lambda: diffusers.ClassifierFreeGuidance()})
recipe(r"MotifVideo.*", parts={"guider": lambda: diffusers.ClassifierFreeGuidance()}, call={"prompt": None})
recipe(
    r"SanaVideo|SanaImageToVideo",
    parts={"vae": lambda: model("AutoencoderKLWan")},
    call={"frames": 5, "image": picture},
)
recipe(r"LucyEdit", parts={"transformer": lambda: wan_components(32)["transformer"]})
recipe(r"SkyReelsV2DiffusionForcing.*", call={"prompt": None, "base_num_frames": 9, "num_frames": 9})
recipe(
    r"ChronoEdit|SkyReelsV2ImageToVideo",
    parts={"image_processor": clip_pictures, "image_encoder": two_layers_of_vision},
)
recipe(
    r"SkyReelsV2ImageToVideo",
    parts={
        "transformer": lambda: model(
            "SkyReelsV2Transformer3DModel", in_channels=36, image_dim=CLIP_WIDTH, added_kv_proj_dim=32
        )
    },
)
recipe(
    r"ChronoEdit",
    parts={
        "transformer": lambda: model(
            "ChronoEditTransformer3DModel", in_channels=36, image_dim=CLIP_WIDTH, added_kv_proj_dim=32
        )
    },
)
recipe(r"Cosmos.*", parts={"safety_checker": Harmless}, call={"output_type": "latent"})
recipe(
    r"CosmosVideoToWorld|Cosmos2VideoToWorld|Cosmos2_5_PredictBase",
    parts={"transformer": lambda: model("CosmosTransformer3DModel", in_channels=17)},
)
recipe(r"EasyAnimate.*", parts=NO_TEXT, call={**NO_PROMPT, **both(prompt_embeds=words(), prompt_attention_mask=ONES)})
recipe(
    r"Mochi", call={"num_frames": 7, **both(prompt_embeds=words(length=24), prompt_attention_mask=torch.ones(1, 24))}
)
recipe(
    r"WanAnimate",
    parts={
        "image_processor": clip_pictures,
        "image_encoder": two_layers_of_vision,
        "transformer": lambda: model("WanAnimateTransformer3DModel"),
    },
    call={"pose_video": lambda: [picture()] * 5, "face_video": lambda: [picture()] * 5, "segment_frame_length": 5},
)
recipe(r"AnyFlowFAR", call={"video": LEFT_OUT})


# It passes `timesteps` alone, whose levels Diffusers shifts and whose labels it does not; its models have no shift.
recipe(r"LTXCondition", parts={"scheduler": lambda: diffusers.FlowMatchEulerDiscreteScheduler()})

# ------------------------------------------------------------------------------------------------- LTX 2, with a sound


def connectors():
    """What leads text into picture and sound."""
    from diffusers.pipelines.ltx2 import LTX2TextConnectors

    half = {"num_attention_heads": 4, "attention_head_dim": 8, "num_layers": 1, "num_learnable_registers": None}
    sizes = {f"{kind}_connector_{name}": value for kind in ("video", "audio") for name, value in half.items()}
    return LTX2TextConnectors(
        caption_channels=32,
        text_proj_in_factor=3,
        connector_rope_base_seq_len=32,
        rope_double_precision=False,
        rope_type="split",
        **sizes,
    )


def vocoder():
    """What makes waves of spectra."""
    from diffusers.pipelines.ltx2.vocoder import LTX2Vocoder

    return LTX2Vocoder(
        in_channels=16,
        hidden_channels=32,
        upsample_kernel_sizes=[4, 4],
        upsample_factors=[2, 2],
        resnet_kernel_sizes=[3],
        resnet_dilations=[[1, 3, 5]],
        output_sampling_rate=16000,
    )


def duration_embedder():
    """What tells Stable Audio 3 how long a sound is."""
    from diffusers.pipelines.stable_audio_3.modeling_stable_audio_3 import StableAudio3DurationEmbedder

    return StableAudio3DurationEmbedder(output_dim=16, fourier_dim=16)


def condition_encoder():
    """What ACE-Step joins text, lyrics and timbre with."""
    from diffusers.pipelines.ace_step import AceStepConditionEncoder

    return AceStepConditionEncoder(
        hidden_size=32,
        intermediate_size=64,
        text_hidden_dim=T5_WIDTH,
        timbre_hidden_dim=8,
        head_dim=8,
        num_lyric_encoder_hidden_layers=1,
        num_timbre_encoder_hidden_layers=1,
        num_attention_heads=4,
        num_key_value_heads=2,
        sliding_window=16,
    )


def framewise(**changes):
    """The autoencoder of LTX 2 without tiles in time, for which the tiny videos are too short."""
    autoencoder = model("AutoencoderKLLTX2Video", **changes)
    autoencoder.use_framewise_encoding = autoencoder.use_framewise_decoding = False
    return autoencoder


recipe(
    r"LTX2.*",
    parts={**NO_TEXT, "connectors": connectors, "vocoder": vocoder, "vae": framewise},
    call={
        **NO_PROMPT,
        **both(prompt_embeds=words(96), prompt_attention_mask=ONES),
        "num_frames": 5,
        "frame_rate": 25.0,
        "stg_scale": 0.0,
        "spatio_temporal_guidance_blocks": None,
        "audio_stg_scale": 0.0,
        "use_cross_timestep": False,
    },
)
recipe(
    r"StableAudio3.*",
    parts={
        "text_encoder": None,
        "tokenizer": None,
        "scheduler": lambda: diffusers.FlowMatchEulerDiscreteScheduler(),
        "duration_embedder": duration_embedder,
    },
    call={
        **NO_PROMPT,
        "prompt_embeds": words(16),
        "encoder_attention_mask": ONES,
        "duration": 1.0,
        "audio": lambda: torch.rand(1, 2, 16),
        "mask_start_seconds": 0.2,
        "mask_end_seconds": 0.5,
    },
)

recipe(r"Cosmos.*VideoToWorld|Cosmos2_5_PredictBase", call={"video": LEFT_OUT})
recipe(
    r"EasyAnimateInpaint",
    parts={"transformer": lambda: model("EasyAnimateTransformer3DModel", in_channels=9)},
    call={
        "video": lambda: torch.rand(1, 3, 9, PIXELS, PIXELS),
        "mask_video": lambda: torch.ones(1, 1, 9, PIXELS, PIXELS),
    },
)
recipe(
    r"LTX2DFR",
    parts={
        "transformer": lambda: model(
            "LTX2VideoTransformer3DModel", vae_scale_factors=(2, 2, 2), use_keyframes_abs_pos_embedding=True
        )
    },
    call={"num_frames": 9, "sigmas": [1.0, 0.75, 0.5, 0.25]},
)
recipe(r"LTX2ImageToVideo", call={"image_crf": 0})
recipe(r"Kandinsky5I2V", call={"num_frames": 25})
recipe(
    r"HunyuanVideo15ImageToVideo|HunyuanVideoFramepack", parts={"image_encoder": lambda: PARTS["SiglipVisionModel"]()}
)
recipe(r"HunyuanVideoFramepack", call={"latent_window_size": 3})
recipe(
    r"AceStep",
    parts={
        "text_encoder": lambda: qwen(transformers.Qwen3Model, transformers.Qwen3Config),
        "tokenizer": language_tokenizer,
        "condition_encoder": condition_encoder,
        "scheduler": lambda: diffusers.FlowMatchEulerDiscreteScheduler(num_train_timesteps=1),
    },
    call={"lyrics": "a fox", "audio_duration": 0.4, "max_text_length": 32},
)
recipe(r"SkyReelsV2DiffusionForcingVideoToVideo", call={"overlap_history": 1, "num_frames": 17})
recipe(r"WanAnimate", parts={"transformer": lambda: model("WanAnimateTransformer3DModel", num_layers=2)})
