"""Flow-matching and other transformers that make pictures."""

from __future__ import annotations

import diffusers
import torch

from tiny_pipelines.flow import flow_vae, sd3_components
from tiny_pipelines.other import kandinsky_components
from tiny_pipelines.registry import PIXELS
from tiny_pipelines.stable_diffusion import loud
from tiny_pipelines.text import CLIP_WIDTH, T5_WIDTH, language_tokenizer, t5_encoder

from .parts import PARTS, model
from .pictures import mask as picture_mask
from .pictures import picture
from .recipes import LEFT_OUT, NO_PROMPT, NO_TEXT, ONES, WITH_WORDS, both, recipe, words


def flux(**changes):
    return diffusers.FluxTransformer2DModel(
        **{
            "in_channels": 16,
            "num_layers": 1,
            "num_single_layers": 1,
            "num_attention_heads": 2,
            "attention_head_dim": 12,
            "axes_dims_rope": (4, 4, 4),
            "joint_attention_dim": T5_WIDTH,
            "pooled_projection_dim": CLIP_WIDTH,
            **changes,
        }
    )


def small_dimensions(area, ratio):
    """Where pipelines scale a picture to a megapixel: the tiny size."""
    return PIXELS, PIXELS, None


def small_dimensions_in_two(area, ratio):
    """Likewise, for those that take two values."""
    return PIXELS, PIXELS


class NoPictures:
    """A processor of text and pictures for pipelines whose embeddings are given."""

    image_processor = None


def eightfold_vae():
    """An autoencoder that makes an eighth of height and width."""
    return diffusers.AutoencoderKL(
        block_out_channels=(8, 8, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 4,
        latent_channels=4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        norm_num_groups=4,
    )


def model_of(name, **changes):
    """A model with the sizes of the tiny one, and changes."""
    made = PARTS[name]()
    return type(made)(**{**made.config, **changes})


def vq():
    return kandinsky_components()["movq"]


def dynamic(**changes):
    return diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True, **changes)


recipe(r"Flux.*|Chroma.*|QwenImage.*|HiDream.*|Bria.*|LongCatImage.*|OvisImage", parts={"scheduler": dynamic})
recipe(r"FluxControl(Img2Img)?", parts={"transformer": lambda: flux(in_channels=32, out_channels=16)})
recipe(r"FluxControlInpaint", parts={"transformer": lambda: flux(in_channels=32, out_channels=16)})
recipe(r"FluxFill", parts={"transformer": lambda: flux(in_channels=36, out_channels=16)})
recipe(r"FluxKontext.*", call={"max_area": PIXELS * PIXELS, "_auto_resize": False})
recipe(r"FluxControlNet.*", parts={"controlnet": lambda: model("FluxControlNetModel")})
recipe(r"VisualCloze.*", call={"task_prompt": "a fox", "content_prompt": "in snow", "image": LEFT_OUT})
recipe(r"Flux2.*", parts={**NO_TEXT}, call={**NO_PROMPT, **both(prompt_embeds=words())})
recipe(r"QwenImage.*", parts={**NO_TEXT}, call=WITH_WORDS)
recipe(r"QwenImageControlNet.*", parts={"controlnet": lambda: model("QwenImageControlNetModel")})
recipe(
    r"ZImage.*",
    parts={**NO_TEXT, "siglip": None, "siglip_processor": None},
    call={**NO_PROMPT, **both(prompt_embeds=[words()[0]])},
)
recipe(
    r"HiDreamImage",
    parts={f"{part}_{n}": None for part in ("text_encoder", "tokenizer") for n in (2, 3, 4)} | NO_TEXT,
    attributes={"default_sample_size": 16},
    call={
        **NO_PROMPT,
        **both(
            prompt_embeds_t5=words(),
            prompt_embeds_llama3=torch.rand(2, 1, 8, T5_WIDTH),
            pooled_prompt_embeds=torch.rand(1, 2 * CLIP_WIDTH),
        ),
    },
)
recipe(
    r"HunyuanDiT.*",
    parts={"text_encoder": None, "tokenizer": None, "text_encoder_2": None, "tokenizer_2": None},
    call={
        **NO_PROMPT,
        **both(
            prompt_embeds=words(CLIP_WIDTH, 77),
            prompt_attention_mask=torch.ones(1, 77),
            prompt_embeds_2=words(T5_WIDTH, 256),
            prompt_attention_mask_2=torch.ones(1, 256),
        ),
    },
)
recipe(r"CogView4Control", parts={"transformer": lambda: model("CogView4Transformer2DModel", in_channels=8)})
recipe(r"StableDiffusion3.*PAG.*|PixArtSigmaPAG|SanaPAG", parts={"pag_applied_layers": ["blocks.0"]})
recipe(r"StableDiffusion3(PAG)?(Img2Img|Inpaint)", parts={"vae": lambda: flow_vae(8)})
recipe(r"StableDiffusion3.*", parts={"vae": lambda: flow_vae(8)})
recipe(
    r"StableDiffusion3Inpaint",
    parts={"vae": lambda: flow_vae(16), "transformer": lambda: sd3_components(16)["transformer"]},
)
recipe(r"StableDiffusion3ControlNet.*", parts={"controlnet": lambda: model("SD3ControlNetModel")})
recipe(r"SanaControlNet", parts={"controlnet": lambda: model("SanaControlNetModel")})
recipe(r"Bria", parts={"vae": lambda: flow_vae(4)})
recipe(
    r"BriaFibo.*|LongCatImage.*|OvisImage|PRX.*|Krea2|ErnieImage|GlmImage|Joy.*|Ideogram4|NucleusMoEImage",
    parts={**NO_TEXT},
    call=WITH_WORDS,
)
recipe(
    r"HunyuanImage.*",
    parts={**NO_TEXT, "text_encoder_2": None, "tokenizer_2": None},
    call={**WITH_WORDS, **both(prompt_embeds_2=words(), prompt_embeds_mask_2=ONES)},
)
recipe(r"FluxFill", parts={"transformer": lambda: flux(in_channels=48, out_channels=16)})
recipe(r"ChromaInpaint", parts={}, call={})
recipe(r"Flux2|Flux2Klein(KV)?|ZImageOmni|QwenImage21", call={"image": LEFT_OUT})
recipe(r"QwenImageLayered", parts={"text_encoder": t5_encoder}, call={"prompt": "a fox", "resolution": 640})
recipe(
    r"QwenImageControlNetInpaint",
    parts={"controlnet": lambda: model("QwenImageControlNetModel", extra_condition_channels=4)},
    call={"control_mask": lambda: picture_mask()},
)
recipe(r"StableDiffusion3ControlNetInpainting", call={"control_mask": lambda: picture_mask()})
recipe(
    r"ZImageControlNet.*",
    parts={
        "controlnet": lambda: loud(
            diffusers.ZImageControlNetModel(
                control_layers_places=[0],
                control_refiner_layers_places=[0],
                control_in_dim=4,
                dim=32,
                n_refiner_layers=1,
                n_heads=2,
                n_kv_heads=2,
            )
        )
    },
)
recipe(
    r"VisualCloze.*",
    call={
        "task_prompt": "a fox",
        "content_prompt": "in snow",
        "image": lambda: [[picture(), picture()], [picture(), None]],
    },
)
recipe(r"HunyuanDiTPAG", parts={"pag_applied_layers": ["blocks.0"]})
recipe(r"Kandinsky5I2I", attributes={"resolutions": [(PIXELS, PIXELS)]})
recipe(r"OvisImage", call={"negative_prompt": LEFT_OUT})
recipe(r"Krea2", call={**both(prompt_embeds=torch.rand(1, 8, 2, T5_WIDTH))})
recipe(r"QwenImageEditPlus|QwenImageLayered", patches={"calculate_dimensions": small_dimensions_in_two})
recipe(r"QwenImageEdit(Inpaint)?", patches={"calculate_dimensions": small_dimensions})
recipe(r"Kandinsky3.*", parts={"movq": lambda: vq(), "unet": lambda: model("Kandinsky3UNet", layers_per_block=3)})
recipe(r"PixArtAlpha", parts={"scheduler": lambda: diffusers.DPMSolverMultistepScheduler()})
recipe(r"SanaSprint.*", parts={"scheduler": lambda: diffusers.SCMScheduler()})
recipe(r"HunyuanDiT.*", parts={"vae": lambda: eightfold_vae()}, call={"height": 2 * PIXELS, "width": 2 * PIXELS})
recipe(
    r"HunyuanDiTControlNet",
    parts={
        "controlnet": lambda: loud(
            diffusers.HunyuanDiT2DControlNetModel(
                sample_size=16,
                in_channels=4,
                patch_size=2,
                num_attention_heads=2,
                attention_head_dim=8,
                hidden_size=16,
                cross_attention_dim=CLIP_WIDTH,
                cross_attention_dim_t5=T5_WIDTH,
                pooled_projection_dim=16,
                text_len=77,
                text_len_t5=256,
                transformer_num_layers=2,
            )
        )
    },
    call={"control_image": lambda: picture().resize((64, 64))},
)
recipe(r"Bria", parts={"scheduler": lambda: diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0)})
recipe(r"SanaSprint.*", parts={"transformer": lambda: model_of("SanaTransformer2DModel", guidance_embeds=True)})
recipe(r"JoyImageEditPlus", call={"images": lambda: [[picture()]]})
recipe(r"Kandinsky5I2I", parts={"vae": lambda: eightfold_vae()})
recipe(r"Krea2", call={**both(prompt_embeds_mask=ONES.bool())})
recipe(r"VisualCloze.*", parts={"transformer": lambda: flux(in_channels=48, out_channels=16), "resolution": PIXELS})
recipe(r"Kandinsky5I2I", parts={"transformer": lambda: model("Kandinsky5Transformer3DModel", visual_cond=True)})
recipe(
    r"ZImageControlNetInpaint",
    parts={
        "controlnet": lambda: loud(
            diffusers.ZImageControlNetModel(
                control_layers_places=[0],
                control_refiner_layers_places=[0],
                control_in_dim=9,
                dim=32,
                n_refiner_layers=1,
                n_heads=2,
                n_kv_heads=2,
                add_control_noise_refiner="control_layers",
            )
        )
    },
)
recipe(r"OvisImage", call={"negative_prompt": None})
recipe(r"QwenImageLayered", call={"output_type": "pt"})
recipe(r"SanaSprint.*", call={"intermediate_timesteps": None})
recipe(
    r"StableDiffusion3ControlNetInpainting",
    parts={"controlnet": lambda: model("SD3ControlNetModel", extra_conditioning_channels=1)},
)
recipe(
    r"OmniGen",
    parts={
        "transformer": lambda: model(
            "OmniGenTransformer2DModel", rope_scaling={"long_factor": [1.0] * 4, "short_factor": [1.0] * 4}
        ),
        "tokenizer": language_tokenizer,
    },
)
recipe(r"VisualCloze", call={"upsampling_height": PIXELS, "upsampling_width": PIXELS})
recipe(r"ZImageOmni", call={**both(prompt_embeds=[[words()[0]]])})
recipe(
    r"LongCatImage",
    call={
        "prompt": "a fox",
        "negative_prompt": "",
        "prompt_embeds": LEFT_OUT,
        "negative_prompt_embeds": LEFT_OUT,
        "enable_prompt_rewrite": False,
    },
    attributes={"encode_prompt": lambda *_, **__: (words(), torch.zeros(8, 3))},
)
recipe(
    r"LongCatImage(Edit)?",
    parts={"vae": lambda: flow_vae(16), "transformer": lambda: model("LongCatImageTransformer2DModel", in_channels=64)},
)
recipe(
    r"LongCatImageEdit",
    parts={"text_processor": NoPictures},
    call={"prompt": "a fox", "negative_prompt": "", "prompt_embeds": LEFT_OUT, "negative_prompt_embeds": LEFT_OUT},
    attributes={"encode_prompt": lambda *_, **__: (words(), torch.zeros(8, 3))},
    patches={"calculate_dimensions": small_dimensions_in_two},
)
recipe(
    r"HunyuanImageRefiner",
    parts={
        "transformer": lambda: model(
            "HunyuanImageTransformer2DModel",
            in_channels=16,
            out_channels=8,
            patch_size=(1, 1, 1),
            rope_axes_dim=(2, 4, 4),
            text_embed_2_dim=None,
            guidance_embeds=True,
        )
    },
)
recipe(
    r"ShapE(Img2Img)?",
    parts={
        "prior": lambda: diffusers.PriorTransformer(
            num_attention_heads=2,
            attention_head_dim=16,
            num_layers=1,
            embedding_dim=CLIP_WIDTH,
            num_embeddings=8,
            embedding_proj_dim=CLIP_WIDTH,
            time_embed_dim=4 * CLIP_WIDTH,
            clip_embed_dim=2 * CLIP_WIDTH,
            additional_embeddings=0,
            time_embed_act_fn="gelu",
            norm_in_type="layer",
            encoder_hid_proj_type=None,
            added_emb_type=None,
        ),
        "scheduler": lambda: diffusers.HeunDiscreteScheduler(
            beta_schedule="exp", prediction_type="sample", use_karras_sigmas=True, clip_sample=True
        ),
        "shap_e_renderer": None,
    },
    call={"frame_size": 16},
    options={"whole_timesteps": True},
)
