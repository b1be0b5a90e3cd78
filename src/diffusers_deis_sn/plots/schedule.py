"""The figure of a learned schedule."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from diffusers_deis_sn.core.flow import FlowSchedule
from diffusers_deis_sn.core.grids import Power
from diffusers_deis_sn.core.process import Array
from diffusers_deis_sn.core.value_types import checked
from diffusers_deis_sn.errors import ConfigurationError, ScheduleError, StatisticsError, TimestepsError
from diffusers_deis_sn.learn import measured
from diffusers_deis_sn.learn.export import cost_with_velocity, learned_levels, own_spread
from diffusers_deis_sn.learn.grid import PATH_TOP, learned_path
from diffusers_deis_sn.learn.path import SchedulePath
from diffusers_deis_sn.plots.figures import BAND, title
from diffusers_deis_sn.plots.style import LIGHT, Palette, house_style, panels
from diffusers_deis_sn.statistics.cost import COST_ORDERS, LocalCost, preferred_cost
from diffusers_deis_sn.statistics.record import ScoreStatistics

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

KARRAS, LOG_LINEAR = Power("sigma", 7.0), Power("sigma", np.inf)
STRETCHES = 60  # at most so many points a curve: single intervals of a fine measurement are noise


@checked(ConfigurationError, steps=TimestepsError, statistics=StatisticsError, velocity=ScheduleError)
def schedule_figure(
    statistics: ScoreStatistics,
    steps: int = 10,
    cost: str | None = None,
    velocity: str = "sigma",
    palette: Palette = LIGHT,
) -> Figure:
    """Local cost, the length it adds up to, and the levels of a run beside those of three named grids.

    At the left the speed L^(1/p) / d log sigma of every cost in the record, as a share of its path, so that the area
    below each curve is one; the band is what two standard errors of L either side make of it. In the middle the same,
    added up, with the levels of the calls: equal steps of length, read off on sigma; the solver's path with the share
    that is spread evenly (`learn.grid.Learned`). At the right those levels beside named grids. Noise alone, where flows
    start, has no level, and is drawn at that below which steps begin.

    Args:
        statistics: A record with costs.
        steps: Number of network calls of the schedules; they end at zero.
        cost: The cost that is drawn first and whose schedule is marked on the path; `preferred_cost` if None.
        velocity: v of the costs.
        palette: Colours, for light paper or for dark.

    Returns:
        A figure of three panels; `figure.savefig("name.png")` writes it.

    Raises:
        MissingExtraError: matplotlib is not installed.
        MissingCostError: The cost is not in the record.
        ScheduleError: Costs that are no path, or an unknown velocity.
        TimestepsError: No step.
    """
    cost = preferred_cost(statistics.costs, velocity) if cost is None else cost
    names = [cost, *(name for name in COST_ORDERS if name in statistics.costs and name != cost)]
    tau = measured.progress(statistics)
    measured_paths = {name: SchedulePath.of(statistics, name, velocity) for name in names}
    spreads = {name: own_spread(statistics, steps, name, velocity, None) for name in names}
    shared_paths = {name: learned_path(statistics, tau, name, velocity, spreads[name]) for name in names}
    learned = {name: learned_levels(statistics, steps, name, velocity)[:-1] for name in names}
    edge = PATH_TOP if measured.starts_from_noise(statistics) else np.inf
    symbol = "σ / α" if measured.path_of(statistics) == "flow" else "σ"
    colours = {"corrector": palette.blue, "predictor": palette.orange, "solver": palette.green}
    with house_style(palette):
        figure, (local, length, levels) = panels(3)
        low, high = np.minimum(measured_paths[cost].levels[[0, -1]], edge)
        for axes in (local, length, levels):
            axes.set(
                xscale="log", xlim=(low / 1.25, high * 1.25), xlabel=f"noise level {symbol}  (clean data at the left)"
            )
            axes.xaxis.set_major_formatter("{x:g}")
        for name, path in measured_paths.items():
            _draw_speed(local, name, path, cost_with_velocity(statistics, name, velocity), colours[name])
        local.fill_between([], [], color=palette.muted, alpha=0.22, linewidth=0, label="± 2 standard errors")
        local.set(title="local cost", ylabel="share of the path per unit of ln σ")
        local.set_ylim(0.0, 1.4 * local.get_ylim()[1])  # room for the legend
        local.legend(loc="upper left")
        for name, path in shared_paths.items():
            _draw_length(length, name, path, measured_paths[name].path_length, edge, colours[name])
        _draw_calls(length, colours[cost], shared_paths[cost], np.minimum(learned[cost], edge))
        length.set(title="cumulative length", ylabel=f"share of the path below {symbol}", ylim=(0.0, 1.04))
        length.legend(loc="upper left")
        rows = {f"equal {name} cost": row for name, row in learned.items()} | named_levels(statistics, steps)
        dots = [colours[name] for name in names] + [palette.muted] * (len(rows) - len(names))
        _draw_rows(levels, {name: np.minimum(row, edge) for name, row in rows.items()}, dots)
        heading = title(statistics, statistics.cost(cost).num_samples)
        heading += "" if velocity == "sigma" else f", v = {velocity}"
        figure.suptitle(heading, x=0.01, horizontalalignment="left", fontsize=10.0, wrap=True)
    return figure


def named_levels(statistics: ScoreStatistics, steps: int) -> dict[str, Array]:
    """Levels of the calls of three grids, as samplers have them; (N,) each, by title.

    All start at the noisiest measured level. Karras' with rho = 7 and the one uniform in log sigma make their last call
    at the cleanest; the one uniform in t, "trailing", a step before it. Where t is sigma or its logarithm, sigma is
    taken for it. Of flows sigma is that of Diffusers, rho / (1 + rho).
    """
    ramp = np.linspace(0.0, 1.0, steps)
    known, flow = statistics.log_rho, measured.path_of(statistics) == "flow"
    bottom, top = measured.as_sigma(statistics, np.exp(known[[0, -1]])).tolist()
    grids = {f"Karras, ρ = {KARRAS.exponent:g}": KARRAS.ramp(top, bottom, ramp)}
    grids["log-linear"] = LOG_LINEAR.ramp(top, bottom, ramp)
    if flow:
        grids = {name: FlowSchedule().from_sigma(levels) for name, levels in grids.items()}
    trailing = np.arange(steps) / steps
    if measured.path_of(statistics) == "ve":
        return grids | {"linear in σ": top + trailing * (bottom - top)}
    first, last = statistics.timesteps[[-1, 0]]
    times = first + trailing * (last - first)
    return grids | {"linear in t": np.exp(np.interp(times, statistics.timesteps, known))}


def _draw_speed(axes: Axes, name: str, path: SchedulePath, local: LocalCost, colour: str) -> None:
    """Share of the path in each unit of log sigma, over stretches of one or more intervals."""
    u = np.log(path.levels)
    place = (0.5 * (u[1:] + u[:-1]) - u[0]) / (u[-1] - u[0])
    first = np.flatnonzero(np.diff(np.floor(STRETCHES * place), prepend=-1.0))
    ends = np.append(u[first], u[-1])
    below, speed, above = (
        np.add.reduceat(np.maximum(local.values + side * local.error, 0.0) ** (1.0 / local.order), first)
        / (path.path_length * np.diff(ends))
        for side in (-BAND, 0.0, BAND)
    )
    middle = np.exp(0.5 * (ends[1:] + ends[:-1]))
    axes.fill_between(middle, below, above, color=colour, alpha=0.22, linewidth=0)
    axes.plot(middle, speed, color=colour, label=f"{name}, p = {local.order}")


def _draw_length(axes: Axes, name: str, path: SchedulePath, measured_length: float, edge: float, colour: str) -> None:
    """Share of the path below each level, of all that lies below noise alone."""
    whole = path.position(min(edge, path.levels[-1]))
    label = f"{name}, length {measured_length:.3g}"
    axes.plot(path.levels, path.cumulative / whole, color=colour, label=label)


def _draw_calls(axes: Axes, colour: str, path: SchedulePath, calls: Array) -> None:
    """Where the levels of the calls lie on the path; the first is at its top."""
    share = path.position(calls) / path.position(calls[0])
    axes.vlines(calls, 0.0, share, color=colour, linewidth=0.7, alpha=0.5)
    axes.plot(calls, share, color=colour, marker="o", markersize=3.5, linestyle="none", label="calls")


def _draw_rows(axes: Axes, rows: dict[str, Array], colours: list[str]) -> None:
    """One row of dots for each grid."""
    for place, (levels, colour) in enumerate(zip(rows.values(), colours, strict=True)):
        axes.plot(levels, np.full(len(levels), place), color=colour, marker="o", markersize=4.0, linewidth=0.7)
    axes.set(title="where the network is called", yticks=range(len(rows)))
    axes.set_yticklabels(list(rows))
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
