"""All measurements, one after the other, then README's tables: `make bench`. Three hours or more on two cores."""

from __future__ import annotations

import os
import subprocess
import sys

from benchmarks.places import ROOT, VARIABLE

PROGRAMS = (
    ["shipped_statistics"],
    ["overhead"],
    ["mixture"],
    ["shipped_models"],
    ["strength"],
    ["choices"],
    ["family.run"],
    ["score_optimal.cantor"],
    ["score_optimal.bimodal"],
    ["score_optimal.learned_grids"],
    ["score_optimal.other_images"],
    ["adaptive.train"],
    ["calibration.size"],
    ["calibration.guidance"],
    ["calibration.guidances"],
    ["calibration.overhead"],
    ["suite.run", "--workers", "2", "--no-report"],
    ["suite.report", "--output", "benchmarks/suite-results"],
    ["tuning.run"],
    ["suite.settings"],
    ["tuning.published"],
    ["tuning.curve"],
    ["unmeasured"],
    ["recipes"],
    ["readme"],
)

if __name__ == "__main__":
    for name, *options in PROGRAMS:
        program = ["-m", f"benchmarks.{name}", *options]
        print("\n" + " ".join(program), flush=True)
        subprocess.run([sys.executable, *program], cwd=ROOT, check=True, env=os.environ | {VARIABLE: "benchmarks"})
