"""The figure of what tuning has come to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from diffusers_deis_sn.core.value_types import checked
from diffusers_deis_sn.errors import StatisticsError
from diffusers_deis_sn.escaping import drawn
from diffusers_deis_sn.plots.style import BLUE, GREEN, INK, MUTED, house_style, panels
from diffusers_deis_sn.tuning.outcome import Outcome, Tuning

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

RIVAL, BEFORE, AFTER = "best of Diffusers", "without a plan", "with plans"


@checked(StatisticsError)
def tuning_figure(tuning: Tuning) -> Figure:
    """Error against calls before and after, beside the rivals; and where the plans call the network.

    At the left the geometric mean of the distances to the fine run on samples that were held out: of each scheduler of
    Diffusers that was run, thin, of the best of them, of runs without a plan, and of what runs are from now on: the
    plan's error, or, hollow, that of the run without where none was accepted. At the right the times of the plans.
    A row for each guidance.

    Args:
        tuning: With at least one number of calls.

    Returns:
        A figure of two panels for each guidance; `figure.savefig("name.png")` writes it.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    groups = tuning.by_guidance
    with house_style():
        figure, axes = panels(2, rows=len(groups))
        for place, (guidance, outcomes) in enumerate(groups.items()):
            errors, times = axes[2 * place : 2 * place + 2]
            _draw_errors(errors, outcomes)
            _draw_times(times, outcomes)
            if len(groups) > 1 or guidance != 1.0:
                errors.set_title(f"guidance {guidance:g}")
        model = tuning.statistics.origin.base_model or "unknown model"
        heading = f"{drawn(model)}, tuned: {len(tuning.plans)} of {len(tuning.outcomes)} plans accepted"
        figure.suptitle(heading, x=0.01, horizontalalignment="left", fontsize=10.0, wrap=True)
    return figure


def _draw_errors(axes: Axes, outcomes: Sequence[Outcome]) -> None:
    calls = [one.calls for one in outcomes]
    for name in dict.fromkeys(name for one in outcomes for name in one.rivals):
        known = [(one.calls, one.rivals[name].geometric) for one in outcomes if name in one.rivals]
        axes.plot(*zip(*known, strict=True), color=MUTED, linewidth=0.7, alpha=0.6, marker=".", markersize=3.0)
    mark: dict[str, Any] = {"marker": "o", "markersize": 4.5}
    if any(one.rivals for one in outcomes):
        axes.plot(calls, [one.best_rival[1].geometric for one in outcomes], color=INK, label=RIVAL, **mark)
    axes.plot(calls, [one.default.geometric for one in outcomes], color=BLUE, label=BEFORE, **mark)
    axes.plot(calls, [one.after.geometric for one in outcomes], color=GREEN, label=AFTER, **mark)
    kept = [one for one in outcomes if one.plan is None]
    hollow = {"color": GREEN, "markerfacecolor": "white", "linestyle": "none"} | mark
    axes.plot([one.calls for one in kept], [one.default.geometric for one in kept], **hollow)
    axes.set(yscale="log", xlabel="network calls", ylabel="distance to the fine run", xticks=calls)
    axes.legend(loc="best")


def _draw_times(axes: Axes, outcomes: Sequence[Outcome]) -> None:
    """A row of dots for each plan."""
    for place, one in enumerate(outcomes):
        if one.plan is not None:
            times = one.plan.run.times
            axes.plot(times, [place] * len(times), color=GREEN, marker="o", markersize=4.0, linewidth=0.7)
    axes.set(title="where plans call the network", xlabel="training time t  (clean data at the left)")
    axes.set_yticks(range(len(outcomes)), [f"{one.calls} calls" for one in outcomes], color=INK)
    axes.set_ylim(len(outcomes) - 0.5, -0.5)
    axes.grid(axis="y", visible=False)
