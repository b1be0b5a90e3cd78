"""Tiny Diffusers pipelines with random weights, for testing schedulers on a CPU without network.

Every pipeline is assembled in memory: small models drawn from a fixed seed, tokenizers made from an alphabet, the
scheduler class that public checkpoints of that family ship. Building takes hundredths of a second. The images are
noise; what is exercised is the real control flow between a pipeline and its scheduler.

    pipe, call_kwargs = BUILDERS["sd"]()
    pipe.scheduler = MyScheduler.from_config(pipe.scheduler.config)
    images = run_pipeline(pipe, call_kwargs, num_inference_steps=4)

Compare the outputs of a reloaded pipeline with `torch.allclose(a, b, atol=1e-4)` rather than bit for bit: memory-mapped
weights may take other kernels.
"""

from . import flow, other, stable_diffusion, video
from .registry import BUILDERS, PIXELS, PROMPT, SIZE, image, masked_image, network_of, reload_pipeline, run_pipeline
from .stable_diffusion import sd_components
from .text import clip_text_config, clip_tokenizer

__all__ = [
    "BUILDERS",
    "PIXELS",
    "PROMPT",
    "SIZE",
    "clip_text_config",
    "clip_tokenizer",
    "flow",
    "image",
    "masked_image",
    "network_of",
    "other",
    "reload_pipeline",
    "run_pipeline",
    "sd_components",
    "stable_diffusion",
    "video",
]
