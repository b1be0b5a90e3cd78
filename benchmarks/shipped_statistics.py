"""Measure the statistics of the shipped model: stats/tiny-sd-digits with file, figure and card. Minutes on two cores.

    python benchmarks/shipped_statistics.py

The same as `deis-sn calibrate` with the arguments that the card names, and the card.
"""

from __future__ import annotations

from pathlib import Path

from diffusers import DiffusionPipeline

from diffusers_deis_sn import ScoreStatistics, calibrate
from diffusers_deis_sn.plots.figures import normaliser_figure

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "stats/tiny-sd-digits"
SAMPLES = 128
GUIDANCE = 3.0


def card(statistics: ScoreStatistics) -> str:
    return f"""---
license: {statistics.origin.licence}
library_name: diffusers-deis-sn
tags: [score-statistics, deis-sn]
---
# Score statistics of tiny-sd-digits

r(t), the mean absolute output of the model in `examples/models/tiny-sd-digits` at guidance {GUIDANCE:g}, for
`DEISSNScheduler.from_config(pipe.scheduler.config, stats="stats/tiny-sd-digits")`.

![r(t) with its error band](normaliser.png)

What `deis-sn inspect stats/tiny-sd-digits` prints:

```
{statistics.inspect()}
```

Measured on `prompts.txt` by

```bash
deis-sn calibrate examples/models/tiny-sd-digits --prompts stats/tiny-sd-digits/prompts.txt \\
    --num-samples {SAMPLES} --batch-size 64 --guidance-scale {GUIDANCE:g} --licence apache-2.0 -o stats/tiny-sd-digits
```
"""


def main() -> None:
    pipe = DiffusionPipeline.from_pretrained(ROOT / "examples/models/tiny-sd-digits")
    prompts = (FOLDER / "prompts.txt").read_text().splitlines()
    statistics = calibrate(
        pipe, prompts, num_samples=SAMPLES, batch_size=64, guidance_scale=GUIDANCE, licence="apache-2.0"
    )
    statistics.save(FOLDER)
    normaliser_figure(statistics).savefig(FOLDER / "normaliser.png", dpi=110)
    (FOLDER / "README.md").write_text(card(statistics))
    print(statistics.inspect())


if __name__ == "__main__":
    main()
