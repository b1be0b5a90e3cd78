"""Score statistics as text for a person."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from diffusers_deis_sn.escaping import plain
from diffusers_deis_sn.statistics.guidances import Guided
from diffusers_deis_sn.statistics.plans import Plans


class Reported(Guided, Protocol):
    """What is told of a record."""

    def __len__(self) -> int:
        """Number of times."""
        ...

    @property
    def guidances(self) -> tuple[float, ...]:
        """Measured in all."""
        ...

    @property
    def plans(self) -> Plans | None:
        """Fitted to the model."""
        ...

    @property
    def num_samples(self) -> NDArray[Any] | None:
        """At each time."""
        ...


ROWS = 12
COLUMNS = (  # curve, title, width, format
    ("timesteps", "t", 8, "g"),
    ("log_snr", "log SNR", 9, ".3f"),
    ("mean_abs", "r = E|eps|", 12, ".5f"),
    ("mean_abs_error", "std. err.", 9, ".2g"),
    ("mean_square", "E eps^2", 10, ".5f"),
    ("mean_square_error", "std. err.", 9, ".2g"),
    ("mean_abs_data", "nu = E|x0|", 11, ".5f"),
    ("mean_abs_data_error", "std. err.", 9, ".2g"),
)


def report(statistics: Reported) -> str:
    """Origin, costs, trials and plans, one fact a line, then `ROWS` rows of the known curves, dense at the clean end.

    L of a row is the cost of the interval that ends at its time, coming from the next noisier one; so the last has
    none. No line break last.
    """
    several = statistics.guidances
    told = f", at {len(several)} guidances: {', '.join(f'{one:g}' for one in several)}" if len(several) > 1 else ""
    head = f"Score statistics at {len(statistics)} times, from {count_told(statistics)} samples{told}"
    facts = [*origin_told(statistics), *costs_told(statistics), *trials_told(statistics), *plans_told(statistics)]
    return "\n".join([head, *(f"  {name:<20} {fact}" for name, fact in facts), "", *_curves(statistics)])


def origin_told(statistics: Reported) -> list[tuple[str, str]]:
    """The facts of the origin, by name."""
    facts = statistics.origin.as_dict()
    if facts["source"] is None:
        del facts["source"]  # not unknown: the statistics come from no other file
    if len(statistics.guidances) > 1:
        facts["guidance_scale"] = f"{facts['guidance_scale']:g}, which all below is of"
    return [(name.replace("_", " "), _fact(value)) for name, value in facts.items()]


def costs_told(statistics: Reported) -> list[tuple[str, str]]:
    """One for each cost: the length of the path, how well it is known, and from what."""
    lines = []
    for name, cost in statistics.costs.items():
        length = float(np.sum(cost.values ** (1.0 / cost.order)))
        known = f" ± {cost.uncertainty:.1%}" if length > 0.0 else ""
        fact = f"path length {length:.4g}{known}, order {cost.order}, from {cost.num_samples} samples"
        lines.append((f"{name} cost", fact))
    return lines


def trials_told(statistics: Reported) -> list[tuple[str, str]]:
    """One for each number of calls: the recipe that is followed, and by how much it beats the next."""
    trials, lines = statistics.trials, list[tuple[str, str]]()
    if trials is None:
        return lines
    for calls in trials.calls:
        best, *others = trials.ranking(calls)
        fact = f"{best[0]}, error {best[1]:.3g}"
        if others:
            fact += f"; second {others[0][0]}, error {others[0][1]:.3g}"
        lines.append((f"best in {calls} calls", fact))
    return lines


def plans_told(statistics: Reported) -> list[tuple[str, str]]:
    """What each plan is for, and what it was worth."""
    return [] if statistics.plans is None else [("plan", str(one)) for one in statistics.plans.entries]


def count_told(statistics: Reported) -> str:
    """Number of samples."""
    counts = statistics.num_samples
    if counts is None:
        return "an unknown number of"
    few, many = counts.min(), counts.max()
    return str(few) if few == many else f"{few} to {many}"


def _fact(value: object) -> str:
    if isinstance(value, dict):
        return plain(", ".join(f"{name} {version}" for name, version in value.items())) or "unknown"
    if isinstance(value, list):
        return " x ".join(map(str, value))
    return "unknown" if value is None else plain(value)


def _curves(statistics: Reported) -> list[str]:
    columns = [
        (title, width, [f"{value:{form}}" for value in getattr(statistics, name)])
        for name, title, width, form in COLUMNS
        if getattr(statistics, name) is not None
    ]
    for name, cost in statistics.costs.items():
        columns.append((f"L {name}", 11, [*(f"{value:.3g}" for value in cost.values), "-"]))
        columns.append(("std. err.", 9, [*(f"{value:.2g}" for value in cost.error), "-"]))
    # Positions spaced like squares: r falls at the clean end, and the plateau needs few rows.
    places = np.unique(np.round(np.linspace(0.0, 1.0, ROWS) ** 2 * (len(statistics) - 1)).astype(int))
    lines = [" ".join(f"{title:>{width}}" for title, width, _ in columns)]
    for k in places:
        lines.append(" ".join(f"{cells[k]:>{width}}" for _, width, cells in columns))
    return [f"  {line}" for line in lines]
