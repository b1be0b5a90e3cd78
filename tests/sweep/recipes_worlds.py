"""Videos, worlds and sound: Cosmos 2 to 3, Kandinsky 6, Sana-WM, EasyAnimate with a condition, LongCat-Audio."""

from __future__ import annotations

from types import SimpleNamespace

import diffusers
import torch

from tiny_pipelines.registry import PIXELS
from tiny_pipelines.stable_diffusion import loud
from tiny_pipelines.text import CLIP_WIDTH, T5_WIDTH

from . import recipes_videos  # whose recipes are of more classes, so that these have to win
from .parts import PARTS, model
from .pictures import picture
from .recipes import LEFT_OUT, NO_PROMPT, NO_TEXT, ONES, both, recipe, words
from .torchvision import names_of

PROMPT = {"prompt": "a fox", "negative_prompt": ""} | {name: LEFT_OUT for name in both(prompt_embeds=None)}

# ----------------------------------------------------------------------------------------------------------- Cosmos

CONTEXT = {"extra_pos_embed_type": "learnable", "img_context_dim_in": 32, "img_context_dim_out": 32}
CONTROLLED = {"in_channels": 17, "controlnet_block_every_n": 1, "img_context_num_tokens": 4, **CONTEXT}


def cosmos_controlnet():
    """With the condition's mask and that of padding in its eighteen channels."""
    return loud(
        diffusers.CosmosControlNetModel(
            n_controlnet_blocks=1,
            in_channels=18,
            latent_channels=18,
            model_channels=32,
            num_attention_heads=2,
            attention_head_dim=16,
            mlp_ratio=2.0,
            text_embed_dim=T5_WIDTH,
            adaln_lora_dim=4,
            max_size=(4, 32, 32),
            encoder_hidden_states_channels=T5_WIDTH,
            **CONTEXT,
        )
    )


def cosmos3():
    """A language model that makes a video in the same sequence."""
    return loud(
        diffusers.Cosmos3OmniTransformer(
            head_dim=6,
            hidden_act="relu2",
            hidden_size=12,
            intermediate_size=24,
            latent_channel=16,
            latent_patch_size=1,
            num_attention_heads=2,
            num_hidden_layers=1,
            num_key_value_heads=1,
            patch_latent_dim=16,
            qk_norm_for_text=False,
            rope_axes_dim=[1, 1, 1],
            vocab_size=112,
            dtype="float32",
        )
    )


class Chat:
    """A tokenizer of conversations, to which every prompt is the same."""

    eos_token_id = 1

    def convert_tokens_to_ids(self, token):
        return 3

    def apply_chat_template(self, messages, **options):
        return SimpleNamespace(input_ids=list(range(4, 12)))


recipe(r"Cosmos2.*", patches=names_of("cosmos"))
recipe(r"Cosmos2_5_PredictBase", patches=names_of("cosmos 2.5 predict"))
recipe(r"Cosmos2_5_Transfer", patches=names_of("cosmos 2.5 transfer"))
recipe(
    r"Cosmos2(TextToImage|VideoToWorld)",
    parts={"scheduler": lambda: diffusers.FlowMatchEulerDiscreteScheduler(use_karras_sigmas=True)},
)
recipe(
    r"Cosmos2_5_Transfer",
    parts={
        "transformer": lambda: model("CosmosTransformer3DModel", **CONTROLLED),
        "controlnet": cosmos_controlnet,
    },
    call={"controls": lambda: [picture()] * 5, "num_frames": 5, "num_frames_per_chunk": 9},
)
recipe(
    r"Cosmos3Omni",
    parts={
        "transformer": cosmos3,
        "text_tokenizer": Chat,
        "vae": lambda: model("AutoencoderKLWan"),
        "enable_safety_checker": False,
    },
    call={**PROMPT, "num_frames": 5, "image": LEFT_OUT},
)

# ----------------------------------------------------------------------------------------------------- Kandinsky 6


def hunyuan_vae():
    """An autoencoder that makes an eighth of height and width, a fourth of time."""
    return loud(
        diffusers.AutoencoderKLHunyuanVideo(
            block_out_channels=[8, 8, 8],
            down_block_types=["HunyuanVideoDownBlock3D"] * 3,
            up_block_types=["HunyuanVideoUpBlock3D"] * 3,
            latent_channels=4,
            layers_per_block=1,
            mid_block_add_attention=False,
            norm_num_groups=2,
        )
    )


def audio_vae():
    """Of spectra of eight bands."""
    sizes = {"mel_bins": 8, "latent_channels": 4, "hidden_channels": 8, "channel_multipliers": (1, 2)}
    return diffusers.MMAudioVAE(layers_per_block=1, sample_rate=64, n_fft=16, hop_length=4, **sizes)


def vocoder():
    """What makes four samples of each frame of a spectrum."""
    return diffusers.MMAudioVocoder(
        num_mels=8,
        upsample_initial_channel=8,
        upsample_rates=(2, 2),
        upsample_kernel_sizes=(4, 4),
        resblock_kernel_sizes=(3,),
        resblock_dilation_sizes=((1, 3),),
    )


def kandinsky6():
    """Of pictures and sound together, each with a scheduler of its own: the pipeline copies the one it has."""
    return loud(
        diffusers.Kandinsky6Transformer3DModel(
            in_visual_dim=4,
            out_visual_dim=4,
            in_text_dim=T5_WIDTH,
            in_text_dim2=CLIP_WIDTH,
            time_dim=16,
            model_dim=12,
            ff_dim=24,
            num_text_blocks=1,
            num_visual_blocks=1,
            axes_dims=(2, 1, 1),
            visual_cond=True,
            in_audio_dim=4,
            out_audio_dim=4,
            visual_token_type_num_embeddings=2,
        )
    )


def kandinsky6_sr():
    """Of tiles that are 32 high and wide."""
    return loud(
        diffusers.Kandinsky6SRTransformer3DModel(
            in_visual_dim=4,
            out_visual_dim=4,
            time_dim=16,
            patch_size=(1, 1, 1),
            model_dim=24,
            ff_dim=32,
            num_visual_blocks=1,
            axes_dims=(4, 4, 4),
            tile_sizes=((32, 32),),
        )
    )


def sr_vae():
    """A fourth of height, width and time."""
    return loud(
        diffusers.Kandinsky6SRVAE(
            latent_channels=4,
            encoder_block_out_channels=(4, 8, 8),
            decoder_block_out_channels=(4, 8, 8),
            layers_per_block=1,
            temporal_compression_ratio=4,
            temporal_compression_start_level=0,
        )
    )


recipe(
    r"Kandinsky6TI2VA",
    parts={
        **NO_TEXT,
        "text_encoder_2": None,
        "tokenizer_2": None,
        "vae": hunyuan_vae,
        "audio_vae": audio_vae,
        "vocoder": vocoder,
        "transformer": kandinsky6,
    },
    call={
        **NO_PROMPT,
        **both(prompt_embeds=words(), pooled_prompt_embeds=torch.rand(1, CLIP_WIDTH)),
        "num_frames": 5,
    },
)
recipe(
    r"Kandinsky6SR",
    parts={"transformer": kandinsky6_sr, "vae": sr_vae, "latent_upscaler": None},
    call={"video": lambda: torch.rand(5, 3, 16, 16), "resolution_scale": 2, "min_overlap": 0.2},
)

# ------------------------------------------------------------------------------ Sana-WM, EasyAnimate, LTX 2's decoder


def sana_wm():
    """Of one layer, which sees the ways of a camera."""
    return loud(
        diffusers.SanaWMTransformer3DModel(
            in_channels=4,
            num_layers=1,
            hidden_size=32,
            num_attention_heads=2,
            linear_head_dim=16,
            softmax_every_n=0,
            caption_channels=T5_WIDTH,
            chunk_plucker_channels=12,
            chunk_plucker_post_attn_blocks=1,
            image_size=16,
        )
    )


def magvit_with_flag():
    """An autoencoder with the value that the pipeline reads, and its class has no more."""
    autoencoder = PARTS["AutoencoderKLMagvit"]()
    autoencoder.register_to_config(cache_mag_vae=True)
    return autoencoder


def embeddings_given(prompt_embeds, negative_prompt_embeds, prompt_attention_mask, negative_prompt_attention_mask, **_):
    """In place of an encoding that takes one argument less than the pipeline gives."""
    return prompt_embeds, negative_prompt_embeds, prompt_attention_mask, negative_prompt_attention_mask


def diffusion_decoder():
    """A decoder that takes steps of its own."""
    return loud(
        diffusers.LTX2VideoDiffusionDecoderModel(
            latent_channels=8,
            patch_size=2,
            decoder_head_dim=16,
            decoder_stage_channels=(32, 16, 16, 16, 16),
            decoder_stage_depths=(1, 1, 1, 1, 1),
            decoder_stage_kernels=((3, 3, 3),) * 4,
            decoder_upsample_channel_reductions=(2, 1, 1, 1),
            decoder_stage5_kernel=(3, 3, 3),
            decoder_t_emb_dim=32,
            spatial_compression_ratio=16,
        )
    )


recipe(
    r"SanaWM",
    parts={"vae": recipes_videos.framewise, "transformer": sana_wm},
    call={
        **both(prompt_embeds=words()[:, None], prompt_attention_mask=ONES),
        "prompt": "a fox",
        "action": "w-8",
        "intrinsics": [30.0, 30.0, 16.0, 16.0],
    },
)
recipe(r"EasyAnimateInpaint", parts={"vae": magvit_with_flag})
recipe(
    r"EasyAnimateControl",
    parts={"transformer": lambda: model("EasyAnimateTransformer3DModel", in_channels=12)},
    call={"control_video": lambda: torch.rand(1, 3, 9, PIXELS, PIXELS)},
    attributes={"encode_prompt": embeddings_given},
)
recipe(
    r"LTX2VideoDiffusionDecode",
    parts={
        "diffusion_decoder": diffusion_decoder,
        "scheduler": lambda: diffusers.FlowMatchEulerDiscreteScheduler(),
        "connectors": None,
        "vae": None,
    },
    call={"latents": lambda: torch.randn(1, 8, 2, 3, 3), "output_type": "np"},
)

# ----------------------------------------------------------------------------------------------------- LongCat-Audio


def longcat_vae():
    """An autoencoder of waves."""
    return loud(
        diffusers.LongCatAudioDiTVae(
            channels=16, c_mults=[1, 2], strides=[2], latent_dim=8, encoder_latent_dim=16, downsampling_ratio=2
        )
    )


def longcat_transformer():
    """Which predicts the velocity of a flow from noise at 0 to data at 1."""
    return loud(
        diffusers.LongCatAudioDiTTransformer(
            dit_dim=32, dit_depth=2, dit_heads=4, dit_text_dim=T5_WIDTH, latent_dim=8, text_conv=False
        )
    )


recipe(
    r"LongCatAudioDiT",
    parts={
        "text_encoder": PARTS["T5EncoderModel"],
        "tokenizer": PARTS["T5Tokenizer"],
        "vae": longcat_vae,
        "transformer": longcat_transformer,
        "scheduler": lambda: diffusers.FlowMatchEulerDiscreteScheduler(invert_sigmas=True),
    },
    call={"audio_duration_s": 0.01},
)
recipe(r"Mochi", parts={"scheduler": lambda: diffusers.FlowMatchEulerDiscreteScheduler(invert_sigmas=True)})
