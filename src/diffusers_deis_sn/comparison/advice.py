"""The one recommendation, from the rows alone: which scheduler to take, and what that is worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from diffusers_deis_sn.comparison.rows import Ratio, Row, at, nearest
from diffusers_deis_sn.errors import ComparisonError

OURS, RIVAL, DRAW, ALONE = "ours", "rival", "draw", "alone"


@dataclass(frozen=True)
class Equal:
    """How many calls a rival needs to come as near as ours.

    Args:
        scheduler: The rival that needs fewest.
        calls: How many; None where none up to `most` are enough.
        most: As many as were looked at.
    """

    scheduler: str
    calls: int | None
    most: int


@dataclass(frozen=True)
class Advice:
    """A recommendation.

    Args:
        verdict: "ours", "rival", "draw" where the difference is within its error bars, or "alone" without rivals.
        scheduler: To take.
        calls: Network calls that it was judged in.
        sentence: What to do, for people.
        detail: The figures that it rests on.
        best_of_ours: Nearest of ours in so many calls; None of none.
        best_rival: Nearest of the others; None of none.
        ratio: Distances of ours over the rival's.
        equal: How many calls a rival needs for ours; None where ours do not win, or nobody looked.
    """

    verdict: str
    scheduler: str
    calls: int
    sentence: str
    detail: str
    best_of_ours: str | None = None
    best_rival: str | None = None
    ratio: Ratio | None = None
    equal: Equal | None = None

    @property
    def times_fewer(self) -> float | None:
        """How many times as many calls the rival needs."""
        if self.equal is None:
            return None
        return (self.equal.calls or self.equal.most) / self.calls


def judged_at(steps: Sequence[int]) -> int:
    """The number of calls that is judged where nobody chose one: the middle one."""
    return sorted(steps)[(len(steps) - 1) // 2]


def verdict_of(rows: Sequence[Row], calls: int) -> tuple[str, Row | None, Row | None, Ratio | None]:
    """Who wins in so many calls, the nearest of ours and of the rivals, and the ratio of their distances.

    Raises:
        ComparisonError: No row of so many calls.
    """
    ours, rival = (nearest(at(rows, calls), kind) for kind in (True, False))
    if ours is None and rival is None:
        raise ComparisonError(f"No scheduler made {calls} network calls, so there is nothing to judge.")
    if ours is None or rival is None:
        return ALONE, ours, rival, None
    ratio = Ratio.of(ours.distances, rival.distances)
    verdict = OURS if ratio.surely_less else RIVAL if ratio.surely_more else DRAW
    return verdict, ours, rival, ratio


def advise(rows: Sequence[Row], calls: int, own: str | None = None, equal: Equal | None = None) -> Advice:
    """What to take in so many calls.

    Args:
        rows: Everything that was measured.
        calls: The column that is judged.
        own: Name of the pipeline's own scheduler, which is kept where nothing is surely nearer.
        equal: How many calls a rival needs for the nearest of ours, if that was looked for.

    Raises:
        ComparisonError: No row of so many calls.
    """
    verdict, ours, rival, ratio = verdict_of(rows, calls)
    if ours is None or rival is None or ratio is None:
        only = ours or rival
        assert only is not None
        sentence = f"There was nothing to compare {only.scheduler} with: see below why the others do not take part."
        return Advice(verdict, only.scheduler, calls, sentence, "")
    names: dict[str, Any] = {"best_of_ours": ours.scheduler, "best_rival": rival.scheduler, "ratio": ratio}
    detail = _detail(calls, ours, rival, ratio)
    if verdict == OURS:
        sentence = _won(calls, ours, rival, equal)
        return Advice(verdict, ours.scheduler, calls, sentence, detail, **names, equal=equal)
    if verdict == RIVAL:
        sentence = (
            f"Take {rival.scheduler}: in {calls} steps it is nearer to the converged picture than ours, of which "
            f"{ours.scheduler} is nearest."
        )
        return Advice(verdict, rival.scheduler, calls, sentence, detail, **names)
    kept = _kept(rows, calls, own)
    why = "one prompt has no error bars" if ratio.error is None else "the difference is within its error bars"
    sentence = (
        f"In {calls} steps it is not clear whether {ours.scheduler} or {rival.scheduler} is nearer to the converged "
        f"picture: {why}. {'Keep' if kept == own else 'Take'} {kept}, or compare on more prompts."
    )
    return Advice(verdict, kept, calls, sentence, detail, **names)


def _won(calls: int, ours: Row, rival: Row, equal: Equal | None) -> str:
    start = f"{ours.scheduler} at {calls} steps is"
    if equal is None:
        return f"{start} nearer to the converged picture than {rival.scheduler}, the nearest of the others."
    times = (equal.calls or equal.most) / calls
    if equal.calls is None:
        return (
            f"{start} nearer to the converged picture than {equal.scheduler} at {equal.most} steps: more than "
            f"{times:.1f} times fewer network calls."
        )
    return f"{start} as near to the converged picture as {equal.scheduler} at {equal.calls} steps: " + (
        f"{times:.1f} times fewer network calls."
    )


def _detail(calls: int, ours: Row, rival: Row, ratio: Ratio) -> str:
    bars = "" if ratio.low is None else f" (95 % interval {ratio.low:.2f} to {ratio.high:.2f})"
    prompts = len(ours.distances)
    text = (
        f"In {calls} steps the distance of {ours.scheduler} is {ratio.value:.2f} times that of {rival.scheduler}, the "
        f"nearest of the others{bars}: geometric mean over {prompts} prompt{'s' if prompts > 1 else ''}."
    )
    spread = ours.rms / rival.rms
    if (spread - 1.0) * (ratio.value - 1.0) < 0.0:
        text += f" By RMS, which a few pictures decide, it is the other way round: {spread:.2f} times."
    return text


def _kept(rows: Sequence[Row], calls: int, own: str | None) -> str:
    """The pipeline's own scheduler unless another is surely nearer; then the nearest."""
    column = at(rows, calls)
    best = nearest(column)
    assert best is not None
    mine = next((row for row in column if row.scheduler == own), None)
    if mine is not None and (mine is best or not Ratio.of(best.distances, mine.distances).surely_less):
        return mine.scheduler
    return best.scheduler
