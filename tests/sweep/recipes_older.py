"""Classes that Diffusers keeps without care, some of which fail with any scheduler: those are mended here and run."""

from __future__ import annotations

import pkgutil
from types import SimpleNamespace

from diffusers.models import DualTransformer2DModel

from tiny_pipelines.registry import PIXELS
from tiny_pipelines.stable_diffusion import latent_unet, loud
from tiny_pipelines.text import CLIP_WIDTH, clip_text_config

from .parts import PARTS, model
from .pictures import picture
from .recipes import LEFT_OUT, recipe, words

OLD = "diffusers.pipelines.deprecated"


def named(path, *arguments, **options):
    """One of a class by its path, which other versions of Diffusers lack."""
    return pkgutil.resolve_name(path)(*arguments, **options)


# ---------------------------------------------------------------------------------------------- those that need mending


def chroma_with_flag():
    """A network with the value that the pipeline reads, and its class has no more."""
    network = PARTS["ChromaTransformer2DModel"]()
    network.register_to_config(guidance_embeds=False)
    return network


class Unmasked(DualTransformer2DModel):
    """A network that takes the mask which it is given today, and leaves it."""

    def forward(self, *arguments, encoder_attention_mask=None, **options):
        return super().forward(*arguments, **options)


def blip_pictures():
    """What prepares a picture of the subject."""
    square = {"height": PIXELS, "width": PIXELS}
    return named(f"{OLD}.blip_diffusion.blip_image_processing.BlipImageProcessor", size=square, crop_size=square)


class Queries:
    """As much of a Q-Former as is read where its answer is given."""

    config = SimpleNamespace(num_query_tokens=16)


recipe(r"ChromaInpaint", parts={"transformer": chroma_with_flag})
recipe(r"I2VGenXL", parts={"unet": lambda: model("I2VGenXLUNet", attention_head_dim=2)}, call={"clip_skip": None})
recipe(
    r"BlipDiffusion(ControlNet)?",
    parts={
        "text_encoder": lambda: named(
            f"{OLD}.blip_diffusion.modeling_ctx_clip.ContextCLIPTextModel", clip_text_config()
        ),
        "tokenizer": PARTS["CLIPTokenizer"],
        "qformer": Queries,
        "image_processor": blip_pictures,
    },
    call={
        "prompt": ["in snow"],
        "reference_image": picture,
        "condtioning_image": picture,  # Diffusers' own spelling
        "source_subject_category": ["fox"],
        "target_subject_category": ["fox"],
    },
    attributes={"get_query_embeddings": lambda *_: words(CLIP_WIDTH, 16)},
)
recipe(r"VersatileDiffusionDualGuided", patches={"DualTransformer2DModel": Unmasked})


# ------------------------------------------------------------------------------------------------------------ others


def flat_unet():
    """A UNet of text."""
    return loud(
        named(
            f"{OLD}.versatile_diffusion.modeling_text_unet.UNetFlatConditionModel",
            down_block_types=("DownBlockFlat", "CrossAttnDownBlockFlat"),
            up_block_types=("CrossAttnUpBlockFlat", "UpBlockFlat"),
            block_out_channels=(8, 16),
            layers_per_block=1,
            norm_num_groups=4,
            attention_head_dim=2,
            cross_attention_dim=CLIP_WIDTH,
        )
    )


def uvit():
    """Of text, of a picture's meaning and of its latents."""
    return loud(
        named(
            f"{OLD}.unidiffuser.modeling_uvit.UniDiffuserModel",
            text_dim=CLIP_WIDTH,
            clip_img_dim=CLIP_WIDTH,
            attention_head_dim=8,
            num_attention_heads=2,
            in_channels=4,
            out_channels=4,
            sample_size=16,
            patch_size=2,
            num_embeds_ada_norm=1000,
            activation_fn="gelu",
        )
    )


def text_decoder():
    """What narrows embeddings of text."""
    width = {"prefix_inner_dim": CLIP_WIDTH, "prefix_hidden_dim": CLIP_WIDTH}
    sizes = {"prefix_length": 77, "vocab_size": 1025, "n_embd": 32, "n_layer": 1, "n_head": 2}
    return loud(named(f"{OLD}.unidiffuser.modeling_text_decoder.UniDiffuserTextDecoder", **sizes, **width))


class PicturesAndText:
    """CLIP's processor of either."""

    def __init__(self):
        self.pictures, self.words = PARTS["CLIPImageProcessorPil"](), PARTS["CLIPTokenizer"]()

    def __call__(self, text=None, images=None, **options):
        return self.words(text, **options) if images is None else self.pictures(images, **options)


recipe(r"VersatileDiffusion.*", parts={"text_unet": flat_unet}, call={"negative_prompt": LEFT_OUT})
recipe(r"VersatileDiffusion", parts={"text_encoder": PARTS["CLIPTextModelWithProjection"]})
recipe(
    r"UniDiffuser",
    parts={"unet": uvit, "text_decoder": text_decoder, "text_tokenizer": None},
    call={"image": LEFT_OUT, "negative_prompt": LEFT_OUT},
)
recipe(
    r"LDMTextToImage",
    parts={
        "unet": PARTS["UNet2DConditionModel"],
        "vqvae": PARTS["AutoencoderKL"],
        "bert": PARTS["CLIPTextModel"],
        "tokenizer": PARTS["CLIPTokenizer"],
    },
)
recipe(
    r"StableDiffusionGLIGENTextImage",
    parts={
        "unet": lambda: loud(latent_unet(attention_type="gated-text-image")),
        "processor": PicturesAndText,
        "image_project": lambda: named("diffusers.pipelines.stable_diffusion.CLIPImageProjection", CLIP_WIDTH),
    },
    call={
        "gligen_phrases": ["a fox"],
        "gligen_images": lambda: [picture()],
        "gligen_boxes": [[0.1, 0.1, 0.5, 0.5]],
        "input_phrases_mask": None,
    },
)
