"""Score statistics as HTML, for notebooks: where they come from, r(t), and the recipe that is followed."""

from __future__ import annotations

from html import escape
from typing import Any, Protocol

from diffusers_deis_sn.core.markup import Curve, chart, table
from diffusers_deis_sn.statistics.report import Reported, costs_told, count_told, origin_told, trials_told


class Shown(Reported, Protocol):
    """What is shown of a record, beside what `report` tells."""

    @property
    def members(self) -> tuple[Any, ...]:
        """One record for each guidance."""
        ...


def html(statistics: Shown) -> str:
    """One block: a line, the known facts of the origin, r(t) of each guidance, costs and the best recipes."""
    origin = [(name, value) for name, value in origin_told(statistics) if value != "unknown"]
    facts = [*origin, *costs_told(statistics), *trials_told(statistics)]
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
    head = f"Score statistics at {len(statistics)} times, from {count_told(statistics)} samples"
    return (
        f'<div><strong>{escape(head)}</strong><div style="display:flex;flex-wrap:wrap;gap:16px">'
        f"<div>{table(facts)}</div><div>{chart(curves, 'time t of the network', 'r(t) = E|eps|')}</div></div></div>"
    )
