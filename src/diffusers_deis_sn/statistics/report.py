"""Score statistics as text for a person."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from diffusers_deis_sn.statistics.record import ScoreStatistics

ROWS = 12
COLUMNS = (  # curve, title, width, format
    ("timesteps", "t", 8, "g"),
    ("log_snr", "log SNR", 9, ".3f"),
    ("mean_abs", "r = E|eps|", 12, ".5f"),
    ("mean_abs_error", "std. err.", 9, ".2g"),
    ("mean_square", "E eps^2", 10, ".5f"),
    ("mean_square_error", "std. err.", 9, ".2g"),
)


def report(statistics: ScoreStatistics) -> str:
    """The origin, one fact a line, then `ROWS` rows of the known curves, dense at the clean end; no line break last."""
    return "\n".join([*_origin(statistics), "", *_curves(statistics)])


def _origin(statistics: ScoreStatistics) -> list[str]:
    facts = statistics.origin.as_dict()
    if facts["source"] is None:
        del facts["source"]  # not unknown: the statistics come from no other file
    return [
        f"Score statistics at {len(statistics)} times, from {_count(statistics)} samples",
        *(f"  {name.replace('_', ' '):<20} {_fact(value)}" for name, value in facts.items()),
    ]


def _count(statistics: ScoreStatistics) -> str:
    counts = statistics.num_samples
    if counts is None:
        return "an unknown number of"
    few, many = counts.min(), counts.max()
    return str(few) if few == many else f"{few} to {many}"


def _fact(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {version}" for name, version in value.items()) or "unknown"
    if isinstance(value, list):
        return " x ".join(map(str, value))
    return "unknown" if value is None else str(value)


def _curves(statistics: ScoreStatistics) -> list[str]:
    known = [column for column in COLUMNS if getattr(statistics, column[0]) is not None]
    # Positions spaced like squares: r falls at the clean end, and the plateau needs few rows.
    places = np.unique(np.round(np.linspace(0.0, 1.0, ROWS) ** 2 * (len(statistics) - 1)).astype(int))
    lines = [" ".join(f"{title:>{width}}" for _, title, width, _ in known)]
    for k in places:
        lines.append(" ".join(f"{getattr(statistics, name)[k]:{width}{form}}" for name, _, width, form in known))
    return [f"  {line}" for line in lines]
