"""Measure the statistics of the shipped models: folders in stats/ with file, figures and card, and stats/index.json.

Half an hour for the digits, a quarter for the emoji.

    python -m benchmarks.shipped_statistics                       # all of them
    python -m benchmarks.shipped_statistics tiny-flow-emoji       # those of one model
    python -m benchmarks.shipped_statistics --draw-only           # figures and cards of what was measured before

The same as the calls that the cards name, and the cards of `deis-sn card`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffusers import DiffusionPipeline

from benchmarks.places import committing, results
from diffusers_deis_sn import ScoreStatistics, calibrate
from diffusers_deis_sn.hub.names import FILE_NAME
from diffusers_deis_sn.publish.folder import write_folder
from diffusers_deis_sn.statistics.index import INDEX_NAME, INDEX_VERSION

ROOT = Path(__file__).resolve().parent.parent
BATCH = 32
INDEXED = 3.0  # the guidance of those that the index names where a model has several
INDEX_COMMENT = (
    "Published statistics by model; the form is specified in README.md beside this file. Written by "
    "benchmarks/shipped_statistics.py."
)


@dataclass(frozen=True)
class Shipped:
    """One folder of statistics and how they are measured.

    Args:
        model: The shipped model, a folder of examples/models; its prompts are in stats/MODEL/prompts.txt.
        folder: The folder in stats/.
        guidance: Guidance scale.
        samples: Number of samples for r and the corrector's cost.
        steps: Steps of each trajectory.
        few: Number of samples for the predictor's cost, of sixteen calls a step; 0 for none.
        options: Further arguments of the pipeline's call.
    """

    model: str
    folder: str
    guidance: float
    samples: int
    steps: int
    few: int
    options: dict[str, Any]

    @property
    def place(self) -> Path:
        """The folder's path."""
        return ROOT / "stats" / self.folder

    @property
    def notes(self) -> str:
        """The end of the card: how it was measured."""
        return f"## How it was measured\n\n{self._call() if self.options else self._command()}"

    def _command(self) -> str:
        few = f"""
and the same with `--num-samples {self.few} --cost predictor`, whose cost is put into the same file.
"""
        return f"""By `benchmarks/shipped_statistics.py`, which is

```bash
deis-sn calibrate examples/models/{self.model} --prompts stats/{self.model}/prompts.txt \\
    --num-samples {self.samples} --batch-size {BATCH} --guidance-scale {self.guidance:g} --licence apache-2.0 \\
    --cost corrector --tolerance 0 -o stats/{self.folder}
```
{few if self.few else ""}"""

    def _call(self) -> str:
        options = "".join(f", {name}={value!r}" for name, value in self.options.items())
        return f"""By `python -m benchmarks.shipped_statistics {self.model}`, which is

```python
pipe = DiffusionPipeline.from_pretrained("examples/models/{self.model}")
prompts = Path("stats/{self.model}/prompts.txt").read_text().splitlines()
options = {{"guidance_scale": {self.guidance:g}, "costs": ["corrector"], "tolerance": 0}}
calibrate(pipe, prompts, {self.samples}, {self.steps}, batch_size={BATCH}, **options{options})
```
"""


SHIPPED = (
    Shipped("tiny-sd-digits", "tiny-sd-digits", 3.0, samples=64, steps=200, few=32, options={}),
    *(
        Shipped(
            "tiny-flow-emoji",
            f"tiny-flow-emoji/guidance-{guidance:g}",
            guidance,
            samples=16,
            steps=100,
            few=0,
            options={"max_sequence_length": 16},
        )
        for guidance in (1.0, 3.0, 6.0)
    ),
)


def index() -> str:
    """The index of all folders beside it that hold statistics: of each model's, those measured at guidance 3."""
    models: dict[str, dict[str, str]] = {}
    for file in sorted((ROOT / "stats").rglob(FILE_NAME)):
        statistics, folder = ScoreStatistics.load(file), file.parent.relative_to(ROOT / "stats").as_posix()
        origin = statistics.origin
        if statistics.plans is not None:
            continue  # the same with plans, for who wants them
        if origin.base_model not in models or origin.guidance_scale == INDEXED:
            sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
            models[origin.base_model] = {"sha256": sha256, "stats": f"./{folder}"}
    return json.dumps({"comment": INDEX_COMMENT, "format_version": INDEX_VERSION, "models": models}, indent=2) + "\n"


def measure(shipped: Shipped) -> ScoreStatistics:
    """r, the corrector's cost and the recipes from all samples; the predictor's cost, if asked for, from fewer."""
    pipe = DiffusionPipeline.from_pretrained(ROOT / "examples/models" / shipped.model)
    prompts = (ROOT / "stats" / shipped.model / "prompts.txt").read_text().splitlines()
    options = {"guidance_scale": shipped.guidance, "licence": "apache-2.0", "tolerance": 0.0, **shipped.options}
    options |= {"num_inference_steps": shipped.steps, "batch_size": BATCH}
    statistics = calibrate(pipe, prompts, shipped.samples, costs=["corrector"], **options)
    if not shipped.few:
        return statistics
    few = calibrate(pipe, prompts, shipped.few, costs=["predictor"], trials=0, **options)
    return statistics.with_costs(predictor=few.costs["predictor"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", choices=sorted({shipped.model for shipped in SHIPPED}))
    parser.add_argument("--draw-only", action="store_true", help="figures and cards of what was measured before")
    options = parser.parse_args()
    for shipped in SHIPPED:
        if options.model not in (None, shipped.model):
            continue
        statistics = ScoreStatistics.load(shipped.place) if options.draw_only else measure(shipped)
        name, model = f"stats/{shipped.folder}", f"examples/models/{shipped.model}"
        place = shipped.place if committing() else results("stats", shipped.folder)
        write_folder(statistics, place, name, model=model, notes=shipped.notes)
        print(statistics.inspect())
    if committing():
        (ROOT / "stats" / INDEX_NAME).write_text(index())


if __name__ == "__main__":
    main()
