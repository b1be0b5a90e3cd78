"""Figures of `benchmarks.calibration.transfer`: ratios and curves, and samples of each variant."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from PIL import Image
from torch import Tensor

from benchmarks.calibration.transfer_table import AGAIN, BEST, NONE, SCHEDULERS, Result, base_over_own
from benchmarks.suite.problems import slug

matplotlib.use("Agg")
from matplotlib import pyplot as plt


def draw(found: list[dict[str, Any]], path: Path) -> None:
    """Ratios of every variant on the left; r of every variant on the right."""
    results = [Result(one) for one in found]
    figure = plt.figure(figsize=(12.0, 0.32 * len(results) + 1.6), layout="constrained")
    grid = figure.add_gridspec(2, 2, width_ratios=(1.5, 1.0))
    _ratios(figure.add_subplot(grid[:, 0]), results)
    for row, model in enumerate(dict.fromkeys(one.model for one in results)):
        _curves(figure.add_subplot(grid[row, 1]), [one for one in results if one.model == model], model)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def _ratios(axes: Any, results: list[Result]) -> None:
    own = (SCHEDULERS[0], "own")
    for place, one in enumerate(results):
        marks = {
            "base's statistics, DEIS-SN": (one.ratio((SCHEDULERS[0], "base"), own), "tab:blue", "o", 0.13),
            "base's statistics, ScoreOptimal": (base_over_own(one)[1], "tab:orange", "o", -0.13),
            "no statistics": (one.ratio(NONE, own), "tab:red", "x", 0.0),
            "best of DPM++ 2M and UniPC": (one.ratio(BEST, own), "0.45", "s", 0.0),
        }
        for label, (ratio, colour, mark, lift) in marks.items():
            reach = [[ratio.value * (1 - np.exp(-2 * ratio.error))], [ratio.value * (np.exp(2 * ratio.error) - 1)]]
            where = {"xerr": reach, "fmt": mark, "color": colour, "ms": 5, "lw": 1, "label": None if place else label}
            axes.errorbar(ratio.value, place + lift, **where)
    axes.axvline(1.0, color="0.6", lw=0.8)
    ticks = [0.8, 1, 1.5, 2, 3, 4, 6, 8]
    axes.set(xscale="log", yticks=range(len(results)), yticklabels=[one.name for one in results])
    axes.set_xticks(ticks, [f"{one:g}" for one in ticks])
    axes.minorticks_off()
    axes.invert_yaxis()
    axes.set_xlabel("error over that with the variant's own statistics (bars: two standard errors)")
    axes.grid(axis="y", color="0.92", lw=0.6)
    axes.legend(frameon=False, fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)


def _curves(axes: Any, results: list[Result], model: str) -> None:
    colours = plt.get_cmap("tab10")
    for number, one in enumerate(results):
        curves = {name: np.array(values) for name, values in one.apart["curves"].items()}
        if number == 0:
            axes.plot(curves["log_rho"], curves["base"], color="black", lw=2.0, label="base")
        axes.plot(curves["log_rho"], curves["own"], color=colours(number % 10), lw=1.0, label=one.variant)
    axes.set(xlabel="log(sigma / alpha)", ylabel="r", title=f"{model}: r of each variant")
    axes.legend(frameon=False, fontsize=6, ncols=2)


def save_strip(pictures: Tensor, path: Path) -> None:
    """Pictures (B, 3, H, W) in [0, 1] side by side as a file."""
    strip = (255.0 * pictures.float()).round().byte().permute(2, 0, 3, 1).flatten(1, 2).numpy()
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(strip).save(path)


def draw_samples(found: list[dict[str, Any]], folder: Path, path: Path) -> None:
    """Samples of each variant's fine run, a row each; the same noise wherever the size is the same."""
    rows = [(one.name, folder / f"{slug(one.name)}.png") for one in map(Result, found)]
    rows = [(name, file) for name, file in rows if file.is_file()]
    figure, axes = plt.subplots(len(rows), 1, figsize=(6.5, 0.78 * len(rows)), squeeze=False)
    for place, (name, file) in zip(axes[:, 0], rows, strict=True):
        place.imshow(np.asarray(Image.open(file)), interpolation="nearest")
        place.set(xticks=[], yticks=[])
        place.set_ylabel(name.replace(AGAIN, "as shipped"), rotation=0, ha="right", va="center", fontsize=8)
    figure.savefig(path, dpi=110, bbox_inches="tight")
    plt.close(figure)
