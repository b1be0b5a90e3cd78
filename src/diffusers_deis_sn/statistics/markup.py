"""Score statistics as HTML, for notebooks: where they come from, r(t), and the recipe that is followed."""

from __future__ import annotations

from typing import Any, Protocol

from diffusers_deis_sn import escaping
from diffusers_deis_sn.core.markup import Curve, chart, table
from diffusers_deis_sn.statistics.report import Reported, costs_told, count_told, origin_told


class Shown(Reported, Protocol):
    """What is shown of a record, beside what `report` tells."""

    @property
    def members(self) -> tuple[Any, ...]:
        """One record for each guidance."""
        ...


def html(statistics: Shown) -> str:
    """One block: a line, r(t) of each guidance, the best recipes, and folded up the known facts of the origin."""
    origin = [(name, value) for name, value in origin_told(statistics) if value != "unknown"]
    several = len(statistics.members) > 1
    curves = [
        Curve(
            one.timesteps,
            one.mean_abs,
            one.mean_abs_error,
            f"guidance {one.origin.guidance_scale:g}" if several else "",
        )
        for one in statistics.members
    ]
    head = f"Score statistics at {len(statistics)} times, from {count_told(statistics)} samples of "
    head += statistics.origin.base_model or "an unknown model"
    return (
        f'<div><strong>{escaping.html(head)}</strong><div style="display:flex;flex-wrap:wrap;gap:16px">'
        f"<div>{chart(curves, 'time t of the network', 'r(t) = E|eps|')}</div><div>{_trials(statistics)}</div></div>"
        f"<details><summary>measured so</summary>{table([*origin, *costs_told(statistics)])}</details></div>"
    )


def _trials(statistics: Shown) -> str:
    """The recipe that is followed for each number of calls, and the next best."""
    trials = statistics.trials
    if trials is None:
        return ""
    rows = []
    for calls in trials.calls:
        best = trials.ranking(calls)[:2]
        rows.append([calls, *(cell for recipe, error in best for cell in (recipe, f"{error:.3g}"))])
    scale = statistics.origin.guidance_scale
    of = f" at guidance {scale:g}" if len(statistics.members) > 1 and scale is not None else ""
    return table(rows, ("calls", f"best recipe{of}", "error", "second", "error"))
