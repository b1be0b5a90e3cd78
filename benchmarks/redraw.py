"""Draw the figures again whose numbers are committed, on light paper and on dark: after a change of their look.

    python -m benchmarks.redraw                # all of them
    python -m benchmarks.redraw family stats   # some

Nothing is measured. Figures of other numbers are drawn when those are measured (`benchmarks.run`).
"""

from __future__ import annotations

import argparse
import json
from typing import Any

from benchmarks.places import ROOT, write_figure

BENCHMARKS = ROOT / "benchmarks"
SHOWN = ("tiny-sd-digits",)  # statistics whose figures the site shows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(DRAWN))
    for name in parser.parse_args().names or DRAWN:
        DRAWN[name]()
        print(name, flush=True)


def _read(*parts: str) -> Any:
    return json.loads(BENCHMARKS.joinpath(*parts).read_text())


def _adaptive() -> None:
    from benchmarks.adaptive.figure import draw

    draw(_read("adaptive", "results.json")["problems"], BENCHMARKS / "adaptive/train_adaptive.png")


def _family() -> None:
    from benchmarks.family.figure import draw

    rows = [row for name in ("mixture", "guidance-1", "guidance-5") for row in _read("family", f"{name}.json")]
    draw(rows, BENCHMARKS / "family/family.png")


def _grids() -> None:
    from benchmarks.score_optimal.learned_grids_figure import draw

    rows = [row for name in ("mixture", "pipeline") for row in _read("score_optimal", f"{name}.json")]
    draw(rows, BENCHMARKS / "score_optimal/learned_grids.png")


def _stats() -> None:
    from diffusers_deis_sn import ScoreStatistics
    from diffusers_deis_sn.plots.figures import normaliser_figure
    from diffusers_deis_sn.plots.schedule import schedule_figure

    for name in SHOWN:
        folder = ROOT / "stats" / name
        statistics = ScoreStatistics.load(folder)
        write_figure(folder / "normaliser.png", lambda palette, one=statistics: normaliser_figure(one, palette))
        write_figure(folder / "schedule.png", lambda palette, one=statistics: schedule_figure(one, palette=palette))


def _suite() -> None:
    from benchmarks.suite.settings import FOLDER, PLANS, write_settings

    write_settings(FOLDER, PLANS)


def _transfer() -> None:
    from benchmarks.calibration.transfer_figure import draw
    from benchmarks.calibration.transfer_table import summary

    found = _read("calibration", "transfer.json")
    draw(found, BENCHMARKS / "calibration/transfer.png")
    (BENCHMARKS / "calibration/transfer-summary.md").write_text(summary(found) + "\n")


DRAWN = {
    "adaptive": _adaptive,
    "family": _family,
    "grids": _grids,
    "stats": _stats,
    "suite": _suite,
    "transfer": _transfer,
}


if __name__ == "__main__":
    main()
