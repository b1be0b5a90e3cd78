"""Measure the statistics of the shipped model: stats/tiny-sd-digits with file, figures and card, and stats/index.json.

Half an hour.

    python benchmarks/shipped_statistics.py
    python benchmarks/shipped_statistics.py --draw-only     # figures and card of what was measured before

The same as `deis-sn calibrate` with the arguments that the card names, and the card of
`deis-sn card`.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

from diffusers import DiffusionPipeline

from diffusers_deis_sn import ScoreStatistics, calibrate
from diffusers_deis_sn.publish.folder import write_folder
from diffusers_deis_sn.statistics.format import FILE_NAME
from diffusers_deis_sn.statistics.index import INDEX_NAME, INDEX_VERSION

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "stats/tiny-sd-digits"
SAMPLES = 128
FEW_SAMPLES = 32
BATCH = 32
GUIDANCE = 3.0


NOTES = f"""## How it was measured

By `benchmarks/shipped_statistics.py`, which is

```bash
deis-sn calibrate examples/models/tiny-sd-digits --prompts stats/tiny-sd-digits/prompts.txt \\
    --num-samples {SAMPLES} --batch-size {BATCH} --guidance-scale {GUIDANCE:g} --licence apache-2.0 \\
    --cost corrector --tolerance 0 -o stats/tiny-sd-digits
```

and the same with `--num-samples {FEW_SAMPLES} --cost predictor`, whose cost is put into the same file.
"""
INDEX_COMMENT = (
    "Published statistics by model; the form is specified in README.md beside this file. Written by "
    "benchmarks/shipped_statistics.py."
)


def index() -> str:
    """The index of all folders beside it that hold statistics."""
    models = {}
    for file in sorted((ROOT / "stats").glob(f"*/{FILE_NAME}")):
        sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
        models[ScoreStatistics.load(file).origin.base_model] = {"sha256": sha256, "stats": f"./{file.parent.name}"}
    return json.dumps({"comment": INDEX_COMMENT, "format_version": INDEX_VERSION, "models": models}, indent=2) + "\n"


def measure() -> ScoreStatistics:
    """r and the corrector's cost from all samples; the predictor's, of sixteen calls a step, from fewer."""
    pipe = DiffusionPipeline.from_pretrained(ROOT / "examples/models/tiny-sd-digits")
    prompts = (FOLDER / "prompts.txt").read_text().splitlines()
    options = {"guidance_scale": GUIDANCE, "licence": "apache-2.0", "tolerance": 0.0}
    statistics = calibrate(pipe, prompts, SAMPLES, batch_size=BATCH, costs=["corrector"], **options)
    few = calibrate(pipe, prompts, FEW_SAMPLES, batch_size=BATCH, costs=["predictor"], **options)
    return statistics.with_costs(predictor=few.costs["predictor"])


def main() -> None:
    statistics = ScoreStatistics.load(FOLDER) if "--draw-only" in sys.argv[1:] else measure()
    model = "examples/models/tiny-sd-digits"
    write_folder(statistics, FOLDER, FOLDER.relative_to(ROOT).as_posix(), model=model, notes=NOTES)
    (ROOT / "stats" / INDEX_NAME).write_text(index())
    print(statistics.inspect())


if __name__ == "__main__":
    main()
