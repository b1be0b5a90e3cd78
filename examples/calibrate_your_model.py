"""Measure the score statistics of a model once, on its own prompts. The shipped model by default, or any other.

python examples/calibrate_your_model.py [MODEL] [OUTPUT] [PROMPT ...]
"""

import sys

from diffusers import DiffusionPipeline

from diffusers_deis_sn import calibrate

defaults = ["examples/models/tiny-sd-digits", "my-statistics"]
model, output = sys.argv[1:3] + defaults[len(sys.argv[1:3]) :]
prompts = sys.argv[3:] or ["a red three on a black background", "a white five on a grey background"]

pipe = DiffusionPipeline.from_pretrained(model)
statistics = calibrate(pipe, prompts=prompts, num_samples=16, guidance_scale=3.0)

print(statistics.inspect())
print(f"wrote {statistics.save(output)}")
