"""Pictures by the newest transformers: OmniGen, Bria FIBO, Ideogram 4, GLM-Image, Qwen-Image 2.1, DreamLite."""

from __future__ import annotations

import diffusers
import torch

from tiny_pipelines.stable_diffusion import loud
from tiny_pipelines.text import T5_WIDTH

from .parts import PARTS, model
from .recipes import LEFT_OUT, ONES, both, recipe, words
from .recipes_images import eightfold_vae
from .torchvision import names_of

NO_WORDS = {name: LEFT_OUT for name in both(prompt_embeds=None, prompt_embeds_mask=None)}

recipe(
    r"OmniGen",
    parts={
        "vae": eightfold_vae,
        "scheduler": lambda: diffusers.FlowMatchEulerDiscreteScheduler(invert_sigmas=True, num_train_timesteps=1),
    },
    patches=names_of("omnigen"),
)

# ----------------------------------------------------------------------------------------------------- Bria's FIBO


def prompt_in_layers(*_, **__):
    """What FIBO's encoding gives: embeddings, places and masks of both prompts, and all layers of the encoder."""
    text, mask, layers = words(2 * T5_WIDTH), torch.ones(1, 8), [words()] * 2
    return text, text, torch.zeros(1, 8, 3), mask, mask, layers, layers


def fibo2():
    """Which reads its text through a perceiver and again in one layer."""
    return loud(
        diffusers.BriaFibo2Transformer2DModel(
            in_channels=4,
            dim=24,
            n_layers=1,
            n_refiner_layers=1,
            n_heads=2,
            cap_feat_dim=T5_WIDTH,
            injection_layer_ids=(0,),
            perceiver_num_layers=1,
            min_num_gist_tokens=4,
            max_num_gist_tokens=8,
            gist_step=4,
            gist_min_text_len=4,
            gist_max_text_len=16,
            axes_dims=(4, 4, 4),
            axes_lens=(64, 32, 32),
        )
    )


recipe(
    r"BriaFibo(Edit)?",
    parts={"transformer": lambda: model("BriaFiboTransformer2DModel")},
    call={"prompt": '{"edit_instruction": "a fox"}', "negative_prompt": "", "_auto_resize": False},
    attributes={"encode_prompt": prompt_in_layers},
)
recipe(
    r"BriaFibo2",
    parts={"processor": None, "transformer": fibo2},
    call={
        **both(prompt_embeds=words(length=16).view(1, 2, 8, T5_WIDTH), prompt_embeds_mask=ONES.bool()),
        "image": LEFT_OUT,
    },
)

# ------------------------------------------------------------------------------------------- Ideogram, GLM, JoyImage


def ideogram():
    """Of text and picture in one sequence."""
    return loud(
        diffusers.Ideogram4Transformer2DModel(
            in_channels=16,
            num_layers=1,
            attention_head_dim=12,
            num_attention_heads=2,
            intermediate_size=32,
            adaln_dim=16,
            llm_features_dim=T5_WIDTH,
            mrope_section=(2, 2, 2),
        )
    )


def packed_prompt(prompt, grid_h, grid_w, max_sequence_length, device):
    """Eight words before a picture, packed by Diffusers' own function."""
    none = torch.zeros(1, grid_h * grid_w, T5_WIDTH)
    packed = diffusers.Ideogram4Pipeline._prepare_ids([8], grid_h, grid_w, max_sequence_length, device)
    return torch.cat([words(length=max_sequence_length), none], dim=1), *packed


recipe(
    r"Ideogram4",
    parts={"transformer": ideogram, "unconditional_transformer": ideogram, "prompt_enhancer_head": None},
    call={**NO_WORDS, "prompt": "a fox", "guidance_scale": 4.0, "guidance_schedule": None},
    attributes={"encode_prompt": packed_prompt},
)
recipe(
    r"GlmImage",
    parts={"vision_language_encoder": None, "vae": eightfold_vae},
    call={"prior_token_ids": lambda: torch.arange(16).view(1, 16), "image": LEFT_OUT, "height": 64, "width": 64},
)
recipe(
    r"JoyImageEditPlus",
    call={**NO_WORDS, "prompt": "a fox", "negative_prompt": None},
    attributes={"encode_prompt_multiple_images": lambda **_: (words(), ONES)},
)
recipe(
    r"JoyImageEdit(Plus)?",
    patches={"diffusers.pipelines.joyimage.image_processor.find_best_bucket": lambda *_: (32, 32)},
)

# ------------------------------------------------------------------------------------------ Qwen-Image 2.1, DreamLite


class Templates:
    """As much of a processor as is read when the pipeline is built."""

    class tokenizer:  # the name that is asked
        @staticmethod
        def encode(text):
            return [3]

    @staticmethod
    def apply_chat_template(messages, **options):
        return [[1] * 4]


def qwen21_vae():
    """An autoencoder that makes a sixteenth of height and width."""
    return loud(
        diffusers.AutoencoderKLQwenImage21(
            base_dim=4,
            decoder_base_dim=4,
            z_dim=8,
            dim_mult=[1] * 5,
            num_res_blocks=1,
            latents_mean=[0.0] * 8,
            latents_std=[1.0] * 8,
        )
    )


def qwen21():
    """Of one layer."""
    return loud(
        diffusers.QwenImage21Transformer2DModel(
            in_channels=8,
            out_channels=8,
            num_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            context_in_dim=T5_WIDTH,
            mlp_ratio=2,
            axes_dims_rope=(4, 6, 6),
        )
    )


def dreamlite_unet():
    """Of two levels."""
    return loud(
        diffusers.DreamLiteUNetModel(
            down_block_types=("DreamLiteCrossAttnNoSelfAttnDownBlock2D", "DreamLiteCrossAttnDownBlock2D"),
            up_block_types=("DreamLiteCrossAttnUpBlock2D", "DreamLiteUpBlock2D"),
            block_out_channels=(32, 64),
            cross_attention_dim=T5_WIDTH,
            attention_head_dim=8,
            layers_per_block=1,
            norm_num_groups=8,
        )
    )


def tiny_vae():
    """Of two levels."""
    levels = {"encoder_block_out_channels": (8, 8), "decoder_block_out_channels": (8, 8)}
    return loud(diffusers.AutoencoderTiny(num_encoder_blocks=(1, 1), num_decoder_blocks=(1, 1), **levels))


recipe(
    r"QwenImage21",
    parts={"processor": Templates, "vae": qwen21_vae, "transformer": qwen21},
    call={**both(prompt_embeds_mask=None), "true_cfg_scale": 4.0},
)
recipe(
    r"DreamLite(Mobile)?",
    parts={
        "text_encoder": PARTS["T5EncoderModel"],
        "tokenizer": None,
        "processor": None,
        "unet": dreamlite_unet,
        "vae": tiny_vae,
        "scheduler": lambda: diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
    },
    attributes={
        "encode_prompt": lambda prompts, **_: (
            words(batch=len(prompts)),
            torch.ones(len(prompts), 8, dtype=torch.long),
        )
    },
)
