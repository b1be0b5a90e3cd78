"""What tuning has come to as HTML, for notebooks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from diffusers_deis_sn import escaping
from diffusers_deis_sn.core.markup import Curve, chart, table

FOLDER = "my-statistics"
LINE = "\n"
COLUMNS = ("calls", "best of Diffusers", "without a plan", "with it", "")


class Shown(Protocol):
    """What is shown of a tuning."""

    @property
    def outcomes(self) -> tuple[Any, ...]:
        """One for each number of calls and guidance."""
        ...

    @property
    def plans(self) -> tuple[Any, ...]:
        """Those that were accepted."""
        ...

    @property
    def by_guidance(self) -> Mapping[float, Sequence[Any]]:
        """The outcomes of each guidance."""
        ...

    def code(self) -> str:
        """How plans are used."""
        ...


def html(tuning: Shown) -> str:
    """One block: for each guidance a table and, of several numbers of calls, error against calls; then the code."""
    groups = tuning.by_guidance
    parts = [f"<strong>{len(tuning.plans)} of {len(tuning.outcomes)} plans accepted</strong>"]
    for guidance, outcomes in groups.items():
        if len(groups) > 1:
            parts.append(f"<div>guidance {guidance:g}</div>")
        drawn = _errors(outcomes) if len(outcomes) > 1 else ""
        listed = table([one.cells() for one in outcomes], COLUMNS)
        parts.append(f'<div style="display:flex;flex-wrap:wrap;gap:16px"><div>{listed}</div><div>{drawn}</div></div>')
    if tuning.plans:
        lines = (f'tuning.statistics.save("{FOLDER}")', *tuning.code().split("\n"))
        parts.append(f"<pre>{LINE.join(escaping.html(one, None) for one in lines)}</pre>")
    return f"<div>{''.join(parts)}</div>"


def _errors(outcomes: Sequence[Any]) -> str:
    """Distances before and after, and of the best rival."""
    calls = np.array([float(one.calls) for one in outcomes])
    errors = {
        "best of Diffusers": [one.best_rival[1].geometric for one in outcomes],
        "without a plan": [one.default.geometric for one in outcomes],
        "with plans": [one.after.geometric for one in outcomes],
    }
    curves = [Curve(calls, np.array(values), None, name) for name, values in errors.items()]
    return chart([one for one in curves if np.all(np.isfinite(one.y))], "network calls", "distance to the fine run")
