"""What tuning has come to: for each number of calls a plan, or why there is none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from diffusers_deis_sn.core.tuned import Tuned
from diffusers_deis_sn.core.value_types import checked
from diffusers_deis_sn.errors import CalibrationError
from diffusers_deis_sn.escaping import literal
from diffusers_deis_sn.statistics.plans import TunedPlan
from diffusers_deis_sn.statistics.record import ScoreStatistics
from diffusers_deis_sn.tuning.arguments import MORE
from diffusers_deis_sn.tuning.judging import Judged
from diffusers_deis_sn.tuning.markup import COLUMNS, FOLDER, html
from diffusers_deis_sn.tuning.meter import search_calls


@dataclass(frozen=True)
class Outcome:
    """What tuning found for one number of steps, judged on samples that nothing was fitted on.

    Args:
        calls: Number of network evaluations.
        guidance: Guidance scale of the runs.
        default: Errors of the run without a plan.
        rivals: Errors of Diffusers' schedulers, by name.
        plan: The plan that was accepted; None if none was.
        tuned: Errors of that plan, else of the best one that was found; None if none was found.
        freedom: What was fitted in it (weights, the first time, all times), and how much of it was blended in.
        objections: Why it was not accepted.
        tries: Errors of all plans that were tried, by what was fitted in them.
        goal: Whether the fine run is fine enough to judge by.
    """

    calls: int
    guidance: float
    default: Judged
    rivals: Mapping[str, Judged]
    plan: TunedPlan | None = None
    tuned: Judged | None = None
    freedom: str = ""
    objections: tuple[str, ...] = ()
    tries: Mapping[str, Judged] = field(default_factory=dict)
    goal: bool = True

    @property
    def undecided(self) -> bool:
        """Whether more samples may lead to a plan: there is none, though one was found and there is a goal for it."""
        return self.plan is None and self.tuned is not None and self.goal

    @property
    def best_rival(self) -> tuple[str, Judged]:
        """The rival of least geometric mean; the default where there are none."""
        named = min(self.rivals.items(), key=lambda one: one[1].geometric, default=("none", self.default))
        return named

    @property
    def after(self) -> Judged:
        """What runs of so many calls are worth from now on: the plan's, or the default's where there is none."""
        return self.default if self.plan is None or self.tuned is None else self.tuned

    def cells(self) -> tuple[str, ...]:
        """A row of the table."""
        name, rival = self.best_rival
        tuned = "" if self.tuned is None else _errors(self.tuned)
        said = self.freedom if self.plan is not None else "no plan: " + "; ".join(self.objections or ("nothing found",))
        return (str(self.calls), f"{_errors(rival)} ({name})", _errors(self.default), tuned, said)

    def row(self) -> str:
        """The same in Markdown."""
        return f"| {' | '.join(self.cells())} |"


def _errors(judged: Judged) -> str:
    return f"{judged.geometric:.4g} / {judged.rms:.4g}"


HEAD = f"| {' | '.join(COLUMNS)} |\n|{' --- |' * len(COLUMNS)}"


@checked(CalibrationError)
@dataclass(frozen=True)
class Tuning:
    """What `tune` found: an outcome for each number of steps, and the statistics with the plans that were accepted.

    `print` shows a table of errors with and without a plan, on samples that nothing was fitted on.

    Args:
        statistics: With the new plans and those from before; `save` them for your scheduler.
        outcomes: One for each number of steps and guidance scale.
        asked: Number of samples that the network was evaluated on, all evaluations together.
        seconds: Time that it took.

    Examples:
        >>> tuning = Tuning(statistics, outcomes=())
        >>> print(tuning.code("my-statistics"))
        pipe.scheduler = DEISSNScheduler.from_config(pipe.scheduler.config, stats="my-statistics")
    """

    statistics: ScoreStatistics
    outcomes: tuple[Outcome, ...]
    asked: int = 0
    seconds: float = 0.0

    @property
    def plans(self) -> tuple[TunedPlan, ...]:
        """The plans that were accepted."""
        return tuple(one.plan for one in self.outcomes if one.plan is not None)

    def and_then(self, later: Tuning) -> Tuning:
        """This and what was done after it, with the statistics of then."""
        outcomes = (*self.outcomes, *later.outcomes)
        return Tuning(later.statistics, outcomes, self.asked + later.asked, self.seconds + later.seconds)

    def undecided(self, budget: float | None) -> tuple[int, ...]:
        """Numbers of calls that twice as many samples may lead to a plan for, where there is time for them.

        Args:
            budget: Seconds for this and for that; None for as long as it takes.
        """
        left = tuple(one.calls for one in self.outcomes if one.undecided)
        share = sum(map(search_calls, left)) / max(sum(search_calls(one.calls) for one in self.outcomes), 1.0)
        takes = MORE * self.seconds * share
        return left if budget is None or self.seconds + takes <= budget else ()

    def or_rather(self, later: Tuning) -> Tuning:
        """This with the outcomes of another in the place of its own for the same guidance and number of calls."""
        new = {(one.guidance, one.calls): one for one in later.outcomes}
        outcomes = tuple(new.get((one.guidance, one.calls), one) for one in self.outcomes)
        return replace(self.and_then(later), outcomes=outcomes)

    @property
    def by_guidance(self) -> dict[float, tuple[Outcome, ...]]:
        """The outcomes of each guidance, rising, by their numbers of calls."""
        groups: dict[float, list[Outcome]] = {}
        for one in sorted(self.outcomes, key=lambda one: (one.guidance, one.calls)):
            groups.setdefault(one.guidance, []).append(one)
        return {guidance: tuple(group) for guidance, group in groups.items()}

    @checked(CalibrationError)
    def code(self, place: str = FOLDER) -> str:
        """The line of code with which a pipeline uses the plans, once the statistics are saved at `place`."""
        return f"pipe.scheduler = DEISSNScheduler.from_config(pipe.scheduler.config, stats={literal(place)})"

    def __str__(self) -> str:
        """A table: geometric mean and RMS of the distances to the fine run, on samples that were held out."""
        groups = self.by_guidance
        tables = ["\n".join([HEAD, *(one.row() for one in group)]) for group in groups.values()]
        if len(tables) > 1:
            tables = [f"Guidance {scale:g}:\n\n{text}" for scale, text in zip(groups, tables, strict=True)]
        return "\n\n".join(tables)

    def _repr_html_(self) -> str:
        """For notebooks: the table, error against calls, and the lines that use the plans."""
        return html(self)


@dataclass(frozen=True, eq=False)
class Candidate:
    """A plan that may be accepted.

    Args:
        run: Its numbers.
        freedom: What was left free in it.
        judged: What it is worth on samples that were held out.
        score: See `judging.score`.
        objections: Why not.
    """

    run: Tuned
    freedom: str
    judged: Judged
    score: float = 0.0
    objections: tuple[str, ...] = field(default=())
