"""Measure the statistics of the shipped model: stats/tiny-sd-digits with file, figures and card. Half an hour.

    python benchmarks/shipped_statistics.py
    python benchmarks/shipped_statistics.py --draw-only     # figures and card of what was measured before

The same as `deis-sn calibrate` with the arguments that the card names, and the card.
"""

from __future__ import annotations

import sys
from pathlib import Path

from diffusers import DiffusionPipeline

from diffusers_deis_sn import ScoreStatistics, calibrate
from diffusers_deis_sn.plots.figures import normaliser_figure
from diffusers_deis_sn.plots.schedule import schedule_figure

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "stats/tiny-sd-digits"
SAMPLES = 128
FEW_SAMPLES = 32
BATCH = 32
GUIDANCE = 3.0


def card(statistics: ScoreStatistics) -> str:
    return f"""---
license: {statistics.origin.licence}
library_name: diffusers-deis-sn
tags: [score-statistics, deis-sn]
---
# Score statistics of tiny-sd-digits

r(t), the mean absolute output of the model in `examples/models/tiny-sd-digits` at guidance {GUIDANCE:g}, for
`DEISSNScheduler.from_config(pipe.scheduler.config, stats="stats/tiny-sd-digits")`; and the costs of its steps, from
which `ScoreOptimalScheduler.from_config(...)`, with the same file, takes its time grid.

![r(t) with its error band](normaliser.png)

![Local costs, cumulative length, and the times of ten steps](schedule.png)

What `deis-sn inspect stats/tiny-sd-digits` prints:

```
{statistics.inspect()}
```

Measured by `benchmarks/shipped_statistics.py`, which is

```bash
deis-sn calibrate examples/models/tiny-sd-digits --prompts stats/tiny-sd-digits/prompts.txt \\
    --num-samples {SAMPLES} --batch-size {BATCH} --guidance-scale {GUIDANCE:g} --licence apache-2.0 \\
    --cost corrector --tolerance 0 -o stats/tiny-sd-digits
```

and the same with `--num-samples {FEW_SAMPLES} --cost predictor`, whose cost is put into the same file.
"""


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
    statistics.save(FOLDER)
    normaliser_figure(statistics).savefig(FOLDER / "normaliser.png", dpi=110)
    schedule_figure(statistics).savefig(FOLDER / "schedule.png", dpi=110)
    (FOLDER / "README.md").write_text(card(statistics))
    print(statistics.inspect())


if __name__ == "__main__":
    main()
