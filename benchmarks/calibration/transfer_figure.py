"""Figures of `benchmarks.calibration.transfer`: ratios and curves, and samples of each variant."""

from __future__ import annotations

from itertools import cycle, product
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from benchmarks.calibration.transfer_table import AGAIN, BEST, NONE, SCHEDULERS, Result, base_over_own
from benchmarks.places import write_figure
from benchmarks.suite.problems import slug
from diffusers_deis_sn.plots.style import LIGHT, Palette, house_style


def draw(found: list[dict[str, Any]], path: Path) -> None:
    """Write the figure, on light paper and on dark."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_figure(path, lambda palette: figure(found, palette))


def figure(found: list[dict[str, Any]], palette: Palette = LIGHT) -> Any:
    """Ratios of every variant on the left; r of every variant on the right."""
    from matplotlib.figure import Figure

    results = [Result(one) for one in found]
    with house_style(palette):
        drawn = Figure(figsize=(9.6, 0.34 * len(results) + 1.8), dpi=130, layout="constrained")
        grid = drawn.add_gridspec(2, 2, width_ratios=(1.5, 1.0))
        _ratios(drawn.add_subplot(grid[:, 0]), results, palette)
        for row, model in enumerate(dict.fromkeys(one.model for one in results)):
            own = [one for one in results if one.model == model]
            _curves(drawn.add_subplot(grid[row, 1]), own, model, palette)
    return drawn


def _ratios(axes: Any, results: list[Result], palette: Palette) -> None:
    own = (SCHEDULERS[0], "own")
    for place, one in enumerate(results):
        marks = {
            "base's statistics, DEIS-SN": (one.ratio((SCHEDULERS[0], "base"), own), palette.blue, "o", 0.13),
            "base's statistics, ScoreOptimal": (base_over_own(one)[1], palette.orange, "D", -0.13),
            "no statistics": (one.ratio(NONE, own), palette.purple, "x", 0.0),
            "best of DPM++ 2M and UniPC": (one.ratio(BEST, own), palette.muted, "s", 0.0),
        }
        for label, (ratio, colour, mark, lift) in marks.items():
            reach = [[ratio.value * (1 - np.exp(-2 * ratio.error))], [ratio.value * (np.exp(2 * ratio.error) - 1)]]
            where = {"xerr": reach, "fmt": mark, "color": colour, "ms": 5, "lw": 1, "label": None if place else label}
            axes.errorbar(ratio.value, place + lift, **where)
    axes.axvline(1.0, color=palette.ink, lw=0.9)
    ticks = [0.8, 1, 1.5, 2, 3, 4, 6, 8]
    axes.set(xscale="log", yticks=range(len(results)), yticklabels=[one.name for one in results])
    axes.set_xticks(ticks, [f"{one:g}" for one in ticks])
    axes.minorticks_off()
    axes.invert_yaxis()
    axes.set_xlabel("error over that with the variant's own statistics (bars: two standard errors)")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)


def _curves(axes: Any, results: list[Result], model: str, palette: Palette) -> None:
    """Variants are told apart by colour and stroke."""
    colours = (palette.blue, palette.orange, palette.green, palette.purple, palette.sky)
    looks = cycle(product(("-", (0, (4, 1.5))), colours))
    for number, (one, (stroke, colour)) in enumerate(zip(results, looks, strict=False)):
        curves = {name: np.array(values) for name, values in one.apart["curves"].items()}
        if number == 0:
            axes.plot(curves["log_rho"], curves["base"], color=palette.ink, lw=2.6, label="base")
        axes.plot(curves["log_rho"], curves["own"], color=colour, ls=stroke, lw=1.1, label=one.variant)
    axes.set(xlabel="log(sigma / alpha)", ylabel="r", title=f"{model}: r of each variant")
    axes.legend(fontsize=7, ncols=2)


def save_strip(pictures: Tensor, path: Path) -> None:
    """Pictures (B, 3, H, W) in [0, 1] side by side as a file."""
    strip = (255.0 * pictures.float()).round().byte().permute(2, 0, 3, 1).flatten(1, 2).numpy()
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(strip).save(path)


def draw_samples(found: list[dict[str, Any]], folder: Path, path: Path) -> None:
    """Samples of each variant's fine run, a row each; the same noise wherever the size is the same."""
    from matplotlib.figure import Figure

    rows = [(one.name, folder / f"{slug(one.name)}.png") for one in map(Result, found)]
    rows = [(name, file) for name, file in rows if file.is_file()]
    figure = Figure(figsize=(6.5, 0.78 * len(rows)))
    for place, (name, file) in zip(figure.subplots(len(rows), 1, squeeze=False)[:, 0], rows, strict=True):
        place.imshow(np.asarray(Image.open(file)), interpolation="nearest")
        place.set(xticks=[], yticks=[])
        place.set_ylabel(name.replace(AGAIN, "as shipped"), rotation=0, ha="right", va="center", fontsize=8)
    figure.savefig(path, dpi=110, bbox_inches="tight")
