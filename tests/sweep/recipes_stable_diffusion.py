"""Stable Diffusion 1, 2 and XL and all that is built on their U-Nets."""

from __future__ import annotations

import inspect

import diffusers
import torch

from tiny_pipelines.other import deepfloyd_components, kandinsky_call, kandinsky_components
from tiny_pipelines.registry import PIXELS
from tiny_pipelines.stable_diffusion import SD_BETAS, latent_unet, loud, vae, xl_unet
from tiny_pipelines.text import CLIP_WIDTH, clip_encoder, clip_tokenizer

from .parts import model, vision_config
from .pictures import picture
from .recipes import LEFT_OUT, NO_PROMPT, both, recipe

SMALL = (8, 16)


def bilingual_unet(in_channels):
    """The decoder of Kandinsky 2.1, for embeddings of text and picture."""
    made = kandinsky_components()["unet"]
    both_kinds = {
        "encoder_hid_dim": CLIP_WIDTH,
        "encoder_hid_dim_type": "text_image_proj",
        "addition_embed_type": "text_image",
        "cross_attention_dim": CLIP_WIDTH,
    }
    return type(made)(**{**made.config, **both_kinds, "in_channels": in_channels})


def unclip():
    """The scheduler of priors."""
    return diffusers.UnCLIPScheduler(
        variance_type="fixed_small_log", prediction_type="sample", num_train_timesteps=1000, clip_sample_range=5.0
    )


def example_encoder():
    """What sees the example to paint by."""
    module = inspect.getmodule(diffusers.PaintByExamplePipeline)
    return module.PaintByExampleImageEncoder(vision_config(), proj_size=CLIP_WIDTH)


def combined_unet(in_channels):
    """The decoder of Kandinsky 2.2 for embeddings as wide as the prior's."""
    made = kandinsky_components()["unet"]
    return type(made)(**{**made.config, "in_channels": in_channels, "encoder_hid_dim": CLIP_WIDTH})


def controlnet_for(unet, cls=diffusers.ControlNetModel, **changes):
    """A ControlNet with the sizes of a U-Net."""
    return loud(cls.from_unet(unet, conditioning_embedding_out_channels=SMALL, **changes))


recipe(r".*", call={"pag_applied_layers": LEFT_OUT, "processing_resolution": 0})
recipe(r"StableDiffusionXL.*|AnimateDiffSDXL|TextToVideoZeroSDXL", parts={"unet": xl_unet})
recipe(r"StableDiffusionXLControlNet.*", parts={"controlnet": lambda: controlnet_for(xl_unet())})
recipe(
    r"StableDiffusionXLControlNetUnion.*",
    parts={"controlnet": lambda: loud(diffusers.ControlNetUnionModel.from_unet(xl_unet()))},
    call={"control_mode": [0]},
)
recipe(r"StableDiffusion(XL)?InstructPix2Pix", parts={"unet": lambda: latent_unet(8)})
recipe(r"StableDiffusionXLInstructPix2Pix", parts={"unet": lambda: xl_unet(8)})
recipe(
    r"StableDiffusionUpscale",
    parts={
        "unet": lambda: latent_unet(7, num_class_embeds=1000),
        "low_res_scheduler": lambda: diffusers.DDPMScheduler(**SD_BETAS),
        "max_noise_level": 350,
    },
)
recipe(
    r"StableDiffusionDepth2Img",
    parts={"unet": lambda: latent_unet(5), "depth_estimator": None, "feature_extractor": None},
    call={"depth_map": torch.linspace(0.0, 1.0, PIXELS * PIXELS).reshape(1, PIXELS, PIXELS)},
)
recipe(r"StableDiffusionLDM3D", call={"output_type": "np"})
recipe(
    r"Marigold.*",
    parts={"unet": lambda: latent_unet(8), "default_denoising_steps": 2, "default_processing_resolution": 0},
    call={"output_type": "np"},
)
recipe(
    r"MarigoldIntrinsics",
    parts={
        "unet": lambda: latent_unet(12, out_channels=8),
        "target_properties": {
            "target_names": ["albedo", "roughness"],
            "albedo": {"prediction_space": "srgb", "up_to_scale": False},
        },
    },
)
recipe(r"AnimateDiff.*ControlNet", call={"conditioning_frames": lambda: [torch.rand(1, 3, PIXELS, PIXELS)] * 9})
recipe(r"PIA", parts={"unet": lambda: latent_unet(9)})
recipe(
    r"IF.*",
    parts={name: (lambda name=name: deepfloyd_components()[name]) for name in ("unet", "scheduler")},
    call={"height": PIXELS, "width": PIXELS},
)
recipe(
    r"IF.*SuperResolution",
    parts={
        "unet": lambda: latent_unet(
            6, out_channels=6, encoder_hid_dim=48, encoder_hid_dim_type="text_proj", class_embed_type="timestep"
        ),
        "image_noising_scheduler": lambda: diffusers.DDPMScheduler(beta_schedule="squaredcos_cap_v2"),
    },
    call={
        "original_image": lambda: torch.rand(1, 3, PIXELS, PIXELS),
        "image": lambda: torch.rand(1, 3, PIXELS // 2, PIXELS // 2),
    },
)
recipe(r"IFSuperResolution", call={"image": lambda: torch.rand(1, 3, PIXELS, PIXELS)})
recipe(r"StableDiffusion.*Adapter", parts={"adapter": lambda: model("T2IAdapter")})
recipe(
    r"StableDiffusion(XL)?ControlNetXS",
    parts={
        "controlnet": lambda: loud(
            diffusers.ControlNetXSAdapter.from_unet(
                latent_unet(norm_num_groups=4), size_ratio=0.5, conditioning_embedding_out_channels=(8, 8)
            )
        )
    },
)
recipe(r"StableDiffusionAttendAndExcite", call={"token_indices": [1, 2], "max_iter_to_alter": 1})
recipe(
    r"StableDiffusionDiffEdit",
    call={
        "image": LEFT_OUT,
        "mask_image": lambda: torch.ones(1, 16, 16),
        "image_latents": lambda: torch.rand(1, 3, 4, 16, 16),
    },
)
recipe(
    r"StableDiffusionPix2PixZero",
    parts={"caption_generator": None, "caption_processor": None},
    call={
        "source_embeds": lambda: torch.rand(1, 77, CLIP_WIDTH),
        "target_embeds": lambda: torch.rand(1, 77, CLIP_WIDTH),
    },
)
recipe(
    r"TextToVideoZero.*", call={"num_frames": LEFT_OUT, "video_length": 2, "t0": 1, "t1": 2, "output_type": "latent"}
)
recipe(r"LatentConsistencyModel.*", parts={"unet": lambda: latent_unet(time_cond_proj_dim=8)})
recipe(
    r"KandinskyV22.*",
    parts={name: (lambda name=name: kandinsky_components()[name]) for name in ("unet", "movq", "scheduler")},
    call={**kandinsky_call(), "hint": torch.rand(1, 3, PIXELS, PIXELS)},
)
recipe(
    r"StableUnCLIP.*",
    parts={
        "image_normalizer": lambda: diffusers.pipelines.stable_diffusion.StableUnCLIPImageNormalizer(
            embedding_dim=CLIP_WIDTH
        ),
        "unet": lambda: latent_unet(
            class_embed_type="projection", projection_class_embeddings_input_dim=2 * CLIP_WIDTH
        ),
    },
)
recipe(r"LDM", parts={"vqvae": lambda: diffusers.VQModel(latent_channels=3), "vae": None})
recipe(
    r"StableDiffusionXLControlNetUnion.*",
    parts={
        "controlnet": lambda: loud(
            diffusers.ControlNetUnionModel(
                block_out_channels=SMALL,
                down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
                layers_per_block=1,
                norm_num_groups=4,
                attention_head_dim=(1, 2),
                use_linear_projection=True,
                cross_attention_dim=2 * CLIP_WIDTH,
                addition_embed_type="text_time",
                addition_time_embed_dim=4,
                projection_class_embeddings_input_dim=24 + CLIP_WIDTH,
                conditioning_embedding_out_channels=SMALL,
                num_trans_channel=8,
                num_proj_channel=8,
            )
        )
    },
)
TWO_LAYERS = {"layers_per_block": 2}
recipe(
    r"StableDiffusionControlNetXS",
    parts={
        "unet": lambda: latent_unet(**TWO_LAYERS),
        "controlnet": lambda: loud(
            diffusers.ControlNetXSAdapter.from_unet(
                latent_unet(**TWO_LAYERS), size_ratio=0.5, conditioning_embedding_out_channels=SMALL
            )
        ),
    },
)
recipe(
    r"StableDiffusionXLControlNetXS",
    parts={
        "unet": lambda: xl_unet(**TWO_LAYERS),
        "controlnet": lambda: loud(
            diffusers.ControlNetXSAdapter.from_unet(
                xl_unet(**TWO_LAYERS), size_ratio=0.5, conditioning_embedding_out_channels=SMALL
            )
        ),
    },
)
ATTENTIVE_FIRST = {
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
}
recipe(r"StableDiffusionAdapter", parts={"unet": lambda: latent_unet(**ATTENTIVE_FIRST)})
recipe(r"StableDiffusionXLAdapter", parts={"unet": lambda: xl_unet(**ATTENTIVE_FIRST)})
recipe(r"CycleDiffusion", call={"source_prompt": "a grey fox in the snow"})
recipe(
    r"StableDiffusionGLIGEN",
    parts={"unet": lambda: latent_unet(attention_type="gated")},
    call={"gligen_phrases": ["a fox"], "gligen_boxes": [[0.1, 0.1, 0.6, 0.6]]},
)
recipe(r"StableDiffusionModelEditing", parts={"scheduler": lambda: diffusers.DDIMScheduler(**SD_BETAS)})
recipe(
    r"StableDiffusionLatentUpscale",
    parts={
        "unet": lambda: latent_unet(8, out_channels=5, time_cond_proj_dim=128 + CLIP_WIDTH),
        "scheduler": lambda: diffusers.EulerDiscreteScheduler(**SD_BETAS, prediction_type="sample"),
    },
)
recipe(
    r"KandinskyV22Inpaint.*",
    parts={
        "unet": lambda: type(kandinsky_components()["unet"])(
            **{**kandinsky_components()["unet"].config, "in_channels": 9}
        )
    },
)
recipe(r"IFInpaintingSuperResolution", call={"mask_image": lambda: torch.ones(1, 1, PIXELS, PIXELS)})
recipe(
    r"LDMSuperResolution",
    parts={
        "vqvae": lambda: diffusers.VQModel(latent_channels=3, norm_num_groups=32),
        "unet": lambda: diffusers.UNet2DModel(
            sample_size=16,
            in_channels=6,
            out_channels=3,
            block_out_channels=(12, 24),
            norm_num_groups=4,
            down_block_types=("DownBlock2D", "AttnDownBlock2D"),
            up_block_types=("AttnUpBlock2D", "UpBlock2D"),
            layers_per_block=1,
            attention_head_dim=6,
        ),
    },
)
recipe(r"TextToVideoZero.*", call={"t0": 1, "t1": 3})
recipe(r"VersatileDiffusionImageVariation", call={"negative_prompt": LEFT_OUT})
recipe(
    r"KandinskyV22.*Combined",
    parts={
        "unet": lambda: combined_unet(4),
        "prior_scheduler": unclip,
    },
    call={"prior_num_inference_steps": 2},
)
recipe(r"KandinskyV22InpaintCombined", parts={"unet": lambda: combined_unet(9)})
recipe(
    r"Kandinsky(V22)?Prior.*",
    parts={"scheduler": unclip},
)
recipe(r"StableDiffusionSAG|TextToVideoZero|KandinskyImg2Img(Combined)?", options={"whole_timesteps": True})
recipe(
    r"StableDiffusionLatentUpscale",
    options={"process": "edm", "sigma_data": 1.0, "sigma_min": 0.03, "sigma_max": 14.6, "prediction_type": "sample"},
)

# ---------------------------------------------------------------------------------------------------- with other words

recipe(r"AltDiffusion.*", parts={"text_encoder": clip_encoder, "tokenizer": clip_tokenizer})
recipe(
    r"AnimateDiffSparseControlNet",
    parts={
        "controlnet": lambda: loud(
            diffusers.SparseControlNetModel(
                block_out_channels=SMALL,
                down_block_types=("CrossAttnDownBlockMotion", "DownBlockMotion"),
                layers_per_block=1,
                norm_num_groups=2,
                attention_head_dim=4,
                cross_attention_dim=CLIP_WIDTH,
                motion_num_attention_heads=2,
                conditioning_embedding_out_channels=SMALL,
                conditioning_channels=3,
                use_simplified_condition_embedding=False,
                concat_conditioning_mask=False,
            )
        )
    },
    call={"conditioning_frames": lambda: [picture()], "controlnet_frame_indices": [0]},
)
recipe(r"StableDiffusionAttendAndExcite", call={"attn_res": (8, 8)})
recipe(
    r"(Audio|Music)LDM",
    parts={
        "vae": lambda: vae(in_channels=1, out_channels=1),
        "feature_extractor": None,
        "unet": lambda: latent_unet(
            class_embed_type="simple_projection",
            projection_class_embeddings_input_dim=16,
            class_embeddings_concat=True,
            cross_attention_dim=SMALL,
        ),
    },
    call={
        **NO_PROMPT,
        **both(prompt_embeds=torch.rand(1, 16)),
        "audio_length_in_s": 0.01,
    },
)
recipe(
    r"Kandinsky((Img2Img|Inpaint)?(Combined)?)",
    parts={
        "unet": lambda: bilingual_unet(4),
        "movq": lambda: kandinsky_components()["movq"],
        "scheduler": lambda: kandinsky_components()["scheduler"],
        "prior_scheduler": unclip,
    },
    call={**both(image_embeds=torch.rand(1, CLIP_WIDTH)), "prior_num_inference_steps": 2},
)
recipe(r"KandinskyInpaint(Combined)?", parts={"unet": lambda: bilingual_unet(9)})
recipe(
    r"PaintByExample",
    parts={"unet": lambda: latent_unet(9), "image_encoder": example_encoder},
    call={"example_image": picture},
)
