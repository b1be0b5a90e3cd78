"""All measurements, one after the other, then README's tables: `make bench`. Three hours or more on two cores."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DEMO = ["examples/demo.py", "--reference-steps", "500"]
PROGRAMS = (
    ["benchmarks/shipped_statistics.py"],
    ["benchmarks/overhead.py"],
    ["benchmarks/mixture.py"],
    [*DEMO, *"--models digits --prompts 100 --other-ends --output benchmarks/tiny-sd-digits".split()],
    [*DEMO, *"--models emoji --output benchmarks/tiny-flow-emoji".split()],
    ["benchmarks/choices.py"],
    ["examples/family.py"],
    ["examples/cantor.py"],
    ["examples/bimodal.py"],
    ["examples/learned_grids.py"],
    ["benchmarks/other_images.py"],
    ["examples/train_adaptive.py"],
    ["benchmarks/suite/run.py", "--workers", "2", "--no-report"],
    ["benchmarks/suite/report.py", "--output", "benchmarks/suite-results"],
    ["benchmarks/recipes.py"],
    ["benchmarks/readme.py"],
)

if __name__ == "__main__":
    for program in PROGRAMS:
        print("\n" + " ".join(program), flush=True)
        subprocess.run([sys.executable, *program], cwd=ROOT, check=True)
