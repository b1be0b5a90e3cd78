"""Error of ours over the best rival's against network calls: a panel a network, a line a guidance."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.places import write_figure
from benchmarks.suite.samplers import LEARNED
from benchmarks.suite.samplers import OURS as DEIS_SN
from diffusers_deis_sn.plots.style import LIGHT, Palette, house_style

if TYPE_CHECKING:
    from benchmarks.suite.settings import Setting

ACROSS = 3  # panels in a row
AIM = 0.85  # up to ten calls
STROKES = ("-", (0, (4, 1.5)), (0, (1, 1.2)))  # guidances, in rising order


def draw_ratios(settings: Sequence[Setting], path: Path) -> None:
    """Error of DEIS-SN and of ScoreOptimal over the best rival's against calls; below 1 they win."""
    write_figure(path, lambda palette: ratios_figure(settings, palette))


def ratios_figure(settings: Sequence[Setting], palette: Palette = LIGHT) -> Any:
    """The figure: a panel a network, a line a guidance."""
    from matplotlib.figure import Figure

    networks = list(dict.fromkeys(network_of(one.problem) for one in settings))
    down = -(-len(networks) // ACROSS)
    with house_style(palette):
        figure = Figure(figsize=(3.0 * ACROSS, 2.35 * down + 0.7), dpi=160, layout="constrained")
        axes = figure.subplots(down, ACROSS, sharex=True, sharey=True, squeeze=False).flatten()
        for axis, network in zip(axes, networks, strict=False):
            _panel(axis, network, [one for one in settings if network_of(one.problem) == network], palette)
        for axis in axes[len(networks) :]:
            axis.set_visible(False)
        for axis in axes[: len(networks)][-ACROSS:]:
            axis.set_xlabel("network calls")
            axis.tick_params(labelbottom=True)
        figure.legend(handles=_legend(palette), loc="outside upper center", ncols=3)
        figure.supylabel("error / best rival's (geometric mean)", fontsize=9)
    return figure


def network_of(problem: str) -> str:
    """The name without the guidance."""
    return problem.rpartition("@")[0] or problem


def _panel(axis: Any, network: str, settings: Sequence[Setting], palette: Palette) -> None:
    from matplotlib.ticker import FixedLocator, NullLocator

    problems = list(dict.fromkeys(one.problem for one in settings))
    axis.axhline(1.0, color=palette.ink, linewidth=0.9)
    axis.axhline(AIM, color=palette.muted, linewidth=0.7, linestyle=(0, (2, 2)))
    for name, colour, broad in ((LEARNED, palette.orange, 2.8), (DEIS_SN, palette.blue, 1.4)):  # both where equal
        for problem, stroke in zip(problems, STROKES, strict=False):
            own = sorted((c for c in settings if c.problem == problem and name in c.ours), key=lambda c: c.calls)
            values = [one.ratio(name) for one in own]
            look = {"color": colour, "linestyle": stroke, "linewidth": broad, "marker": "o", "markersize": 2 * broad}
            axis.plot([c.calls for c in own], values, **look)
    guidances = [problem.rpartition("@")[2] for problem in problems if "@" in problem]
    suffix = f", guidance {', '.join(guidances)}" if guidances else ""
    axis.set_title(f"{network}{suffix}", fontsize=9.5)
    role = settings[0].role if settings[0].group != "shipped" else "reporting, shipped"
    axis.text(0.98, 0.04, role, transform=axis.transAxes, color=palette.muted, ha="right")
    axis.set(xscale="log", yscale="log", ylim=(0.03, 4.5))
    axis.xaxis.set_major_locator(FixedLocator([4, 5, 6, 8, 10, 15, 20]))
    axis.yaxis.set_major_locator(FixedLocator([0.05, 0.1, 0.2, 0.5, 1.0, 2.0]))
    for side in (axis.xaxis, axis.yaxis):
        side.set_major_formatter("{x:g}")
        side.set_minor_locator(NullLocator())


def _legend(palette: Palette) -> list[Any]:
    from matplotlib.lines import Line2D

    known = [
        Line2D([], [], color=palette.blue, label=DEIS_SN),
        Line2D([], [], color=palette.orange, label=f"{LEARNED} (learned times)"),
    ]
    words = ("least guidance", "middle", "most")
    known.append(
        Line2D([], [], color=palette.muted, linewidth=0.7, linestyle=(0, (2, 2)), label=f"{AIM:g}: aim up to ten calls")
    )
    return known + [
        Line2D([], [], color=palette.ink, linestyle=s, label=w) for s, w in zip(STROKES, words, strict=True)
    ]
