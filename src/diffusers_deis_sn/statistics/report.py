"""Score statistics as text for a person."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from diffusers_deis_sn.statistics.format import DTYPES

if TYPE_CHECKING:
    from diffusers_deis_sn.statistics.record import ScoreStatistics

ROWS = 12


def report(statistics: ScoreStatistics) -> str:
    """The origin, one fact a line, then `ROWS` rows of the curves, dense at the clean end; no line break at the end."""
    return "\n".join([*_origin(statistics), "", *_curves(statistics)])


def _origin(statistics: ScoreStatistics) -> list[str]:
    counts = statistics.num_samples
    few, many = counts.min(), counts.max()
    count = str(few) if few == many else f"{few} to {many}"
    facts = statistics.origin.as_dict().items()
    return [
        f"Score statistics at {len(statistics)} times, from {count} samples",
        *(f"  {name.replace('_', ' '):<20} {_fact(value)}" for name, value in facts),
    ]


def _fact(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {version}" for name, version in value.items()) or "unknown"
    if isinstance(value, list):
        return " x ".join(map(str, value))
    return "unknown" if value is None else str(value)


def _curves(statistics: ScoreStatistics) -> list[str]:
    # Positions spaced like squares: r falls at the clean end, and the plateau needs few rows.
    places = np.unique(np.round(np.linspace(0.0, 1.0, ROWS) ** 2 * (len(statistics) - 1)).astype(int))
    lines = [f"  {'t':>8} {'log SNR':>9} {'r = E|eps|':>12} {'std. err.':>9} {'E eps^2':>10} {'std. err.':>9}"]
    for k in places:
        of = {name: getattr(statistics, name)[k] for name in DTYPES}
        lines.append(
            f"  {of['timesteps']:8g} {of['log_snr']:9.3f} {of['mean_abs']:12.5f} {of['mean_abs_error']:9.2g} "
            f"{of['mean_square']:10.5f} {of['mean_square_error']:9.2g}"
        )
    return lines
