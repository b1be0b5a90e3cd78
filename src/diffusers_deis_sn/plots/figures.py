"""The figures."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from diffusers_deis_sn.core.value_types import checked
from diffusers_deis_sn.errors import StatisticsError
from diffusers_deis_sn.escaping import drawn
from diffusers_deis_sn.plots.style import LIGHT, Palette, house_style, panels
from diffusers_deis_sn.statistics.record import ScoreStatistics

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

PLATEAU = math.sqrt(2.0 / math.pi)
"""Mean absolute value of N(0, 1), which r(t) tends to where there is nothing but noise."""

BAND = 2.0  # standard errors either side
HEALTHY = (
    "healthy: smooth, about 0.8 where there is only noise, falling towards clean data, "
    "with a band that is narrower than the fall"
)


@checked(StatisticsError)
def normaliser_figure(statistics: ScoreStatistics, palette: Palette = LIGHT) -> Figure:
    """r(t) = E|eps| over training time, and over log SNR, which spreads out the clean end where r falls.

    Bands are two standard errors either side, where they are known; the broken line is the plateau sqrt(2 / pi) of pure
    noise. A line below says what a healthy curve looks like. Of statistics of several guidances each has a thin line,
    and that nearest to 7.5 the band.

    Args:
        statistics: The measurement.
        palette: Colours, for light paper or for dark.

    Returns:
        A figure of two panels; `figure.savefig("name.png")` writes it.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    with house_style(palette):
        figure, (by_time, by_noise) = panels(2)
        _draw(by_time, statistics.timesteps, statistics, palette)
        by_time.set(xlabel="training time t  (clean data at the left)", ylabel="r = E|ε|", title="all training times")
        by_time.legend(loc="lower right")
        # A mark at each measured time, where marks do not touch: a hundredth of the panel's diagonal apart.
        _draw(by_noise, statistics.log_snr, statistics, palette, marker="o", markersize=2.2, markevery=0.01)
        by_noise.set(xlabel="log SNR  (clean data at the left)", title="the clean end, spread out")
        by_noise.invert_xaxis()
        heading = title(statistics, statistics.most_samples)
        figure.suptitle(heading, x=0.01, horizontalalignment="left", fontsize=10.0, wrap=True)
        figure.supxlabel(HEALTHY, x=0.01, horizontalalignment="left", fontsize=8.0, color=palette.muted)
    return figure


def _draw(axes: Axes, x: NDArray[np.float64], statistics: ScoreStatistics, palette: Palette, **look: Any) -> None:
    r, error = statistics.mean_abs, statistics.mean_abs_error
    below, above = (r, r) if error is None else (r - BAND * error, r + BAND * error)
    axes.axhline(PLATEAU, color=palette.orange, linestyle=(0, (5, 3)), linewidth=1.1, label="pure noise, √(2/π)")
    if error is not None:
        axes.fill_between(x, below, above, color=palette.blue, alpha=0.22, linewidth=0, label="± 2 standard errors")
    name = f"guidance {statistics.origin.guidance_scale:g}" if statistics.others else "measured"
    axes.plot(x, r, color=palette.blue, label=name, **look)
    low, high = float(np.min(below)), max(PLATEAU, float(np.max(above)))
    for other, shade in zip(statistics.others, np.linspace(0.25, 0.75, len(statistics.others)), strict=True):
        name = f"guidance {other.origin.guidance_scale:g}"
        axes.plot(x, other.mean_abs, color=str(shade), linewidth=0.9, label=name)
        low, high = min(low, float(other.mean_abs.min())), max(high, float(other.mean_abs.max()))
    axes.set_ylim(max(0.0, low - 0.15 * (high - low)), high + 0.08 * (high - low))


def title(statistics: ScoreStatistics, samples: int | None) -> str:
    """What a figure is of: model, number of samples and guidance, as far as they are known."""
    parts = [drawn(statistics.origin.base_model or "unknown model")]
    if samples is not None:
        parts.append(f"{samples} samples")
    if statistics.guidances:
        parts.append(f"guidance {', '.join(f'{one:g}' for one in statistics.guidances)}")
    return ", ".join(parts)
