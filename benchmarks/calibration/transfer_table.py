"""Tables and verdict of `benchmarks.calibration.transfer`. Pure functions of its rows."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.suite.measures import TRIMMED, geometric_mean, rms
from benchmarks.suite.reference import ALLOWED
from benchmarks.suite.rows import unpacked

Array = NDArray[np.float64]
Key = tuple[str, str]  # of a sampler and whose statistics it has

SCHEDULERS, RIVAL, AGAIN = ("DEIS-SN", "ScoreOptimal"), "rival", "measured again"
NONE: Key = (SCHEDULERS[0], "none")  # the other scheduler is the same without statistics
BEST: Key = ("best rival", RIVAL)
KINDS = {
    "fine-tune": ("fine-tune",),
    "LoRA": ("LoRA", "LoRA at 0.5"),
    "half precision": ("bfloat16", "float16"),
    "another size": ("48 x 32", "48 x 64"),
    "other prompts": ("other prompts", "negative prompt"),
}
WORTH, SURE = 1.05, 2.0  # measuring again pays from so much on, by so many standard errors
FAR = 2.0


def worst_tenth(errors: Array) -> float:
    """RMS of the worst tenth of the samples."""
    return rms(np.sort(errors)[-int(np.ceil(TRIMMED * len(errors))) :])


@dataclass(frozen=True)
class Ratio:
    """A ratio of errors, and the standard error of its logarithm over the samples."""

    value: float
    error: float

    def __str__(self) -> str:
        return f"{self.value:.2f} ± {self.value * self.error:.2f}"


class Result:
    """One variant's rows."""

    def __init__(self, found: dict[str, Any]) -> None:
        self.model, self.variant, self.apart = found["model"], found["variant"], found["apart"]
        self.disagreement, self.rows = found["disagreement"], found["rows"]
        self.name = f"{self.model}, {self.variant}"
        self.calls = sorted({row["calls"] for row in self.rows})

    @property
    def words(self) -> str:
        """The numbers of calls in words."""
        return f"{', '.join(map(str, self.calls[:-1]))} and {self.calls[-1]}"

    @cached_property
    def errors(self) -> dict[Key, Array]:
        """Errors (calls, samples) of each sampler; of the rivals the best by geometric mean in each number of calls."""
        at = {(row["sampler"], row["statistics"], row["calls"]): unpacked(row["errors"]) for row in self.rows}
        keys = {key[:2] for key in at}
        found = {key: np.stack([at[(*key, n)] for n in self.calls]) for key in keys if key[1] != RIVAL}
        rivals = [[at[(*key, n)] for key in sorted(keys) if key[1] == RIVAL] for n in self.calls]
        return found | {BEST: np.stack([min(every, key=geometric_mean) for every in rivals])}

    def ratio(self, one: Key, other: Key, place: int | None = None) -> Ratio:
        """Geometric mean over samples, and calls but for a `place`, of one's error over the other's, paired."""
        logs = np.log(self.errors[one] / self.errors[other])
        logs = logs.mean(0) if place is None else logs[place]
        return Ratio(float(np.exp(logs.mean())), float(logs.std(ddof=1) / len(logs) ** 0.5))

    def by(self, measure: Callable[[Array], float], one: Key, other: Key) -> float:
        """Geometric mean over calls of the ratio of another measure of the samples' errors."""
        pairs = zip(self.errors[one], self.errors[other], strict=True)
        return float(np.exp(np.mean([np.log(measure(a) / measure(b)) for a, b in pairs])))

    def grain(self, key: Key) -> float:
        """Geometric mean over calls of the energy of the finest band over that of the fine run."""
        values = [row["grain"] for row in self.rows if (row["sampler"], row["statistics"]) == key]
        return float(np.exp(np.mean(np.log(values))))

    def methods(self, scheduler: str, statistics: str) -> list[str | None]:
        """What was followed, by number of calls."""
        wanted = (scheduler, statistics)
        rows = [row for row in self.rows if (row["sampler"], row["statistics"]) == wanted]
        return [row["method"] for row in sorted(rows, key=lambda row: row["calls"])]

    @property
    def doubt(self) -> float:
        """How far two converged runs are apart, in terms of the smallest error in a cell."""
        return float(self.disagreement / min(geometric_mean(row) for errors in self.errors.values() for row in errors))

    @property
    def same(self) -> tuple[int, int]:
        """How many runs followed the same method with either statistics, and of how many."""
        pairs = [zip(self.methods(one, "own"), self.methods(one, "base"), strict=True) for one in SCHEDULERS]
        equal = [a == b for every in pairs for a, b in every]
        return sum(equal), len(equal)


def mean(ratios: Iterable[Ratio | float]) -> float:
    """Geometric mean."""
    return float(np.exp(np.mean([np.log(one.value if isinstance(one, Ratio) else one) for one in ratios])))


def spread(ratios: list[Ratio]) -> str:
    """The geometric mean, the smallest and the largest."""
    values = [one.value for one in ratios]
    return f"{mean(values):.2f} ({min(values):.2f} to {max(values):.2f})" if values else "(none)"


def base_over_own(result: Result) -> list[Ratio]:
    """That of both schedulers."""
    return [result.ratio((one, "base"), (one, "own")) for one in SCHEDULERS]


def by_kind(results: list[Result]) -> dict[str, float]:
    """What was changed -> base over own, of all its variants and both schedulers."""
    found = {
        kind: [ratio for one in results if one.variant in names for ratio in base_over_own(one)]
        for kind, names in KINDS.items()
    }
    return {kind: mean(ratios) for kind, ratios in found.items() if ratios}


@dataclass(frozen=True)
class Cell:
    """Base over own of one variant, scheduler and number of calls."""

    name: str
    scheduler: str
    calls: int
    ratio: Ratio
    same: bool  # whether both followed the same recipe

    def __str__(self) -> str:
        return f"{self.name}, {self.scheduler} in {self.calls} calls ({self.ratio})"


def cells_of(result: Result) -> list[Cell]:
    """The cells of a variant, once where both schedulers do the same."""
    found: list[Cell] = []
    for place, n in enumerate(result.calls):
        ratios = [result.ratio((one, "base"), (one, "own"), place) for one in SCHEDULERS]
        names = ["both"] if ratios[0] == ratios[1] else list(SCHEDULERS)
        same = [result.methods(one, "own")[place] == result.methods(one, "base")[place] for one in SCHEDULERS]
        parts = zip(names, ratios, same, strict=False)
        found += [Cell(result.name, name, n, ratio, equal) for name, ratio, equal in parts]
    return found


def clear(results: list[Result]) -> tuple[list[Cell], list[Cell], int, float]:
    """Cells that own statistics make better, cells that they make worse, of how many, and what counts as either.

    That is `WORTH`, or the largest ratio of all cells of the same model measured again, by `SURE` standard errors.
    """
    again = [cell for one in results if one.variant == AGAIN for cell in cells_of(one)]
    changed = [cell for one in results if one.variant != AGAIN for cell in cells_of(one)]
    least = max([float(np.log(WORTH)), *(abs(float(np.log(cell.ratio.value))) for cell in again)])
    pays, costs = (
        [one for one in changed if sign * np.log(one.ratio.value) - SURE * one.ratio.error > least] for sign in (1, -1)
    )
    return pays, costs, len(changed), float(np.exp(least))


def far(results: list[Result]) -> list[Result]:
    """Variants whose r or path is more than `FAR` times as far from the base's as that of the model measured again."""
    same = {one.model: one.apart for one in results if one.variant == AGAIN}
    return [one for one in results if any(one.apart[k] > FAR * same[one.model][k] for k in ("r", "path"))]


# --------------------------------------------------------------------------------------------------------- in words


def verdict(results: list[Result]) -> str:
    """What the numbers say."""
    changed = [one for one in results if one.variant != AGAIN]
    again = [one for one in results if one.variant == AGAIN]
    if not changed or not again:
        return "Not all variants are measured yet."
    over = mean(ratio for one in changed for ratio in base_over_own(one))
    noise = mean(ratio for one in again for ratio in base_over_own(one))
    own = (SCHEDULERS[0], "own")
    none, rival = (mean(one.ratio(key, own) for one in changed) for key in (NONE, BEST))
    worst, whose = max((max(r.value for r in base_over_own(one)), one.name) for one in changed)
    lines = [
        f"**The base's statistics leave {over:.2f} times the error of a variant's own** (geometric mean over "
        f"{len(changed)} variants, both schedulers and {results[0].words} calls; at most {worst:.2f}, {whose}). "
        f"Measuring the same model again, from other samples, gives {noise:.2f}. No statistics leave {none:.2f} times "
        f"the error of the variant's own, the best of DPM++ 2M and UniPC {rival:.2f} times.",
        "By what was changed: " + ", ".join(f"{kind} {value:.2f}" for kind, value in by_kind(results).items()) + ".",
    ]
    pays, costs, number, least = clear(results)
    listed = "".join(f"\n* {cell}" for cell in sorted(pays, key=lambda one: -one.ratio.value))
    every = [cell for one in changed for cell in cells_of(one)]
    alike, unlike = ([cell.ratio for cell in every if cell.same is same] for same in (True, False))
    lines += [
        f"Of {number} cells (a variant, scheduler and number of calls), own statistics are clearly better in "
        f"{len(pays)}: by more than {100 * (least - 1):.0f} %, which is the most that the same model measured again is "
        f"apart, and two standard errors. In {len(costs)} they are as clearly worse. In the {len(alike)} cells where "
        f"both follow the same recipe, so that only curves differ, the base's leave {spread(alike)} times the error, "
        f"in the {len(unlike)} others {spread(unlike)}: recipes are chosen on a few samples.",
        f"**Measure again** for these:\n{listed}" if listed else "**No cell calls for a measurement of its own.**",
    ]
    names = ", ".join(one.name for one in far(results))
    if names:
        lines.append(f"Curves are more than {FAR:g} times as far apart as those of the model measured again: {names}.")
    return "\n\n".join(lines)


def samples(results: list[Result]) -> int:
    """Number of samples behind an error."""
    return int(results[0].errors[NONE].shape[1])


def summary(found: list[dict[str, Any]]) -> str:
    """The answer for a user, in a paragraph."""
    results = [Result(one) for one in found]
    changed = [one for one in results if one.variant != AGAIN]
    names = ", ".join(f"{kind} {value:.2f}" for kind, value in by_kind(results).items())
    none = mean(one.ratio(NONE, (SCHEDULERS[0], "own")) for one in changed)
    least, most = (f(one.ratio(BEST, (SCHEDULERS[0], "base")).value for one in changed) for f in (min, max))
    better = dict.fromkeys(f"{cell.name} in {cell.calls} calls" for cell in clear(results)[0])
    where = f"only for {' and '.join(better)}" if better else "for none"
    text = f"""We made variants of both shipped models, and divided the error with the base model's statistics by that
        with the variant's own (1.00: no difference): {names}; without statistics it was {none:.2f}. Statistics of its
        own were clearly better {where}. The best of DPM++ 2M and UniPC had {least:.1f} to {most:.1f} times the error
        that we have with the base's statistics: [table](benchmarks/README.md#does-a-file-survive)."""
    return textwrap.fill(" ".join(text.split()), 120, break_on_hyphens=False, break_long_words=False)


def markdown(rows: list[list[str]]) -> str:
    """A table whose first row is its head."""
    head, *body = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([head, "|---" * len(rows[0]) + "|", *body])


def table(found: list[dict[str, Any]]) -> str:
    """The verdict, and a line for each variant."""
    results = [Result(one) for one in found]
    first, second = ([(one, whose) for whose in ("own", "base")] for one in SCHEDULERS)
    ratios = ["DEIS-SN: base / own", "none / own", "best rival / own", "ScoreOptimal: base / own"]
    rows = [["variant", "r apart", "path apart", "same recipe", *ratios]]
    for one in results:
        found_ratios = [one.ratio(key, first[0]) for key in (first[1], NONE, BEST)]
        curves = [f"{100 * one.apart['r']:.1f} %", f"{one.apart['path']:.3f}", "{} of {}".format(*one.same)]
        rows.append([one.name, *curves, *map(str, [*found_ratios, one.ratio(second[1], second[0])])])
    doubtful = ", ".join(f"{one.name} ({100 * one.doubt:.0f} %)" for one in results if one.doubt > ALLOWED) or "none"
    notes = (
        f"Ratios of geometric means over {samples(results)} samples and {results[0].words} calls, ± a paired standard "
        "error over the samples; r apart is the largest relative difference of r(t), path apart the largest difference "
        "of the share of the learned grid's path. Recipes are those that runs followed. Variants whose two converged "
        f"runs are apart by more than {100 * ALLOWED:.0f} % of the smallest error: {doubtful}. A model's variants "
        "share one measurement of the base, and with it the luck of its recipes. RMS, worst tenth, grain and every "
        "cell: benchmarks/calibration/transfer-cells.md."
    )
    return "\n\n".join([verdict(results), markdown(rows), notes])


def cells(found: list[dict[str, Any]]) -> str:
    """The other measures, and the errors of every cell."""
    results = [Result(one) for one in found]
    keys = [(one, whose) for one in SCHEDULERS for whose in ("own", "base")]
    rows = [["variant", *(f"{one}: {what}" for one in SCHEDULERS for what in ("RMS", "worst tenth", "grain"))]]
    for one in results:
        row = [one.name]
        for scheduler in SCHEDULERS:
            own, base = (scheduler, "own"), (scheduler, "base")
            row += [f"{one.by(measure, base, own):.2f}" for measure in (rms, worst_tenth)]
            row.append(f"{one.grain(own):.3f}, {one.grain(base):.3f}")
        rows.append(row)
    shown = [*keys[:2], NONE, *keys[2:], BEST]
    errors = [["variant", "calls", *(f"{one}, {whose}" for one, whose in shown[:-1]), BEST[0], "converged runs differ"]]
    for one in results:
        for place, n in enumerate(one.calls):
            here = [one.errors[key][place] for key in shown]
            values = [f"{geometric_mean(found):.4f} · {rms(found):.4f}" for found in here]
            errors.append([one.name, str(n), *values, f"{one.disagreement:.4f}"])
    followed = [["variant", "scheduler", "statistics", *(f"{n} calls" for n in results[0].calls)]]
    for one in results:
        for scheduler, whose in keys:
            names = [str(name) for name in one.methods(scheduler, whose)]
            followed.append([one.name, scheduler, whose, *names])
    return "\n\n".join(
        [
            markdown(rows),
            "RMS and that of the worst tenth: base over own, geometric mean over calls. Grain, own and base: energy of "
            "the finest band of latents over that of the fine run.",
            markdown(errors),
            f"Geometric mean · RMS of the distance to the converged run, {samples(results)} samples; last, how far two "
            "solvers are apart that both claim to be converged.",
            markdown(followed),
            "The recipes that runs followed.",
        ]
    )
