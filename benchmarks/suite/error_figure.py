"""Error against network calls: ours, and the best rival of each network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.suite.samplers import LEARNED, PLAIN, TUNED
from benchmarks.suite.samplers import OURS as DEIS_SN
from diffusers_deis_sn.plots.style import LIGHT, Palette, house_style


def error_figure(lines: Mapping[str, Mapping[int, float]], palette: Palette = LIGHT) -> Any:
    """One panel, a line for each sampler, named at its end; legible at half the size."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import FixedLocator, NullLocator, ScalarFormatter

    looks = {
        "best rival": ("best rival of each network", palette.ink, "s", (0, (4, 1.5))),
        PLAIN: ("DEISSNScheduler,\nwithout statistics", palette.green, "^", "-"),
        LEARNED: ("ScoreOptimalScheduler", palette.orange, "D", "-"),
        DEIS_SN: ("DEISSNScheduler", palette.blue, "o", "-"),
        TUNED: ("DEISSNScheduler, tuned", palette.purple, "v", "-"),
    }
    with house_style(palette):
        figure = Figure(figsize=(8.4, 3.7), dpi=160, layout="constrained")
        axis = figure.subplots()
        for name, errors in lines.items():
            words, colour, marker, stroke = looks[name]
            axis.plot(
                list(errors), list(errors.values()), color=colour, linestyle=stroke, marker=marker, markersize=5.5,
                linewidth=2.2, label=words,
            )  # fmt: skip
        axis.set(xscale="log", yscale="log")
        axis.set_title("Distance to the converged picture: lower is better", fontsize=12)
        axis.set_xlabel("network calls", fontsize=11)
        axis.set_ylabel("error", fontsize=11)
        calls = list(next(iter(lines.values())))
        axis.xaxis.set_major_locator(FixedLocator(calls))
        axis.xaxis.set_major_formatter(ScalarFormatter())
        axis.yaxis.set_major_locator(FixedLocator([0.005, 0.01, 0.02, 0.05, 0.1, 0.2]))
        axis.yaxis.set_major_formatter("{x:g}")
        for side in (axis.xaxis, axis.yaxis):
            side.set_minor_locator(NullLocator())
        axis.tick_params(labelsize=10.5)
        figure.legend(fontsize=10.5, loc="outside right center")
    return figure
