"""Swap one line: ten steps with DEIS-SN. The shipped model by default; any model and its statistics as arguments.

python examples/swap_scheduler.py [MODEL] [STATISTICS] [PROMPT]
"""

import sys

from diffusers import DiffusionPipeline

from diffusers_deis_sn import DEISSNScheduler

defaults = ["examples/models/tiny-sd-digits", "stats/tiny-sd-digits", "a yellow seven on a dark blue background"]
model, statistics, prompt = sys.argv[1:] + defaults[len(sys.argv) - 1 :]

pipe = DiffusionPipeline.from_pretrained(model)
pipe.scheduler = DEISSNScheduler.from_config(pipe.scheduler.config, stats=statistics)
image = pipe(prompt, num_inference_steps=10, guidance_scale=3.0).images[0]

image.save("swap_scheduler.png")
print(f"{image.width}x{image.height} picture of {prompt!r}: swap_scheduler.png")
