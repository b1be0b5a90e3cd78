"""Tables, verdict and figure of `benchmarks.calibration.transfer`. Pure functions of its rows but for the drawing."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from numpy.typing import NDArray

from benchmarks.suite.measures import TRIMMED, geometric_mean, rms
from benchmarks.suite.rows import unpacked

matplotlib.use("Agg")
from matplotlib import pyplot as plt

Array = NDArray[np.float64]
Key = tuple[str, str]  # of a sampler and whose statistics it has

SCHEDULERS, RIVAL, AGAIN = ("DEIS-SN", "ScoreOptimal"), "rival", "measured again"
NONE: Key = (SCHEDULERS[0], "none")  # the other scheduler is the same without statistics
BEST: Key = ("best rival", RIVAL)
KINDS = {
    "fine-tune": ("fine-tune",),
    "LoRA": ("LoRA", "LoRA at 0.5"),
    "half precision": ("bfloat16", "float16"),
    "another size": ("48 x 48", "48 x 64"),
    "other prompts": ("other prompts", "negative prompt"),
}
WORTH, SURE = 1.05, 2.0  # measuring again pays from so much on, by so many standard errors


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

    def ratio(self, one: Key, other: Key) -> Ratio:
        """Geometric mean over calls and samples of one's error over the other's; pairs are samples."""
        logs = np.log(self.errors[one] / self.errors[other]).mean(0)
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
    def same(self) -> tuple[int, int]:
        """How many runs followed the same method with either statistics, and of how many."""
        pairs = [zip(self.methods(one, "own"), self.methods(one, "base"), strict=True) for one in SCHEDULERS]
        equal = [a == b for every in pairs for a, b in every]
        return sum(equal), len(equal)


def mean(ratios: Iterable[Ratio | float]) -> float:
    """Geometric mean."""
    return float(np.exp(np.mean([np.log(one.value if isinstance(one, Ratio) else one) for one in ratios])))


def base_over_own(result: Result) -> list[Ratio]:
    """That of both schedulers."""
    return [result.ratio((one, "base"), (one, "own")) for one in SCHEDULERS]


def again_pays(results: list[Result]) -> list[str]:
    """Variants and schedulers whose own statistics are better by more than a measurement's noise and by `WORTH`."""
    noise = max((abs(np.log(one.value)) for r in results if r.variant == AGAIN for one in base_over_own(r)), default=0)
    least = max(float(np.log(WORTH)), noise)
    return [
        f"{result.name} ({scheduler}, {ratio})"
        for result in results
        for scheduler, ratio in zip(SCHEDULERS, base_over_own(result), strict=True)
        if result.variant != AGAIN and np.log(ratio.value) - SURE * ratio.error > least
    ]


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
    kinds = [
        f"{kind} {mean(found):.2f}"
        for kind, names in KINDS.items()
        if (found := [ratio for one in changed if one.variant in names for ratio in base_over_own(one)])
    ]
    lines = [
        f"**The base's statistics leave {over:.2f} times the error of a variant's own** (geometric mean over "
        f"{len(changed)} variants, both schedulers and {results[0].words} calls; at most {worst:.2f}, {whose}). "
        f"Measuring the same model again, from other samples, gives {noise:.2f}. No statistics leave {none:.2f} times the error of "
        f"the variant's own, the best of DPM++ 2M and UniPC {rival:.2f} times.",
        f"By what was changed: {', '.join(kinds)}.",
    ]
    pays = again_pays(results)
    if pays:
        lines.append(
            f"**Measure again** where own statistics are better by more than {100 * (WORTH - 1):.0f} %, than two "
            f"standard errors and than the same model measured again: {'; '.join(pays)}."
        )
    else:
        lines.append(
            "**No variant calls for a measurement of its own**: none is better with it by more than "
            f"{100 * (WORTH - 1):.0f} %, than two standard errors and than the same model measured again."
        )
    return "\n\n".join(lines)


def samples(results: list[Result]) -> int:
    """Number of samples behind an error."""
    return int(results[0].errors[NONE].shape[1])


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
        far = [f"{100 * one.apart['r']:.1f} %", f"{one.apart['path']:.3f}", "{} of {}".format(*one.same)]
        rows.append([one.name, *far, *map(str, [*found_ratios, one.ratio(second[1], second[0])])])
    notes = (
        f"Ratios of geometric means over {samples(results)} samples and {results[0].words} calls, ± a paired standard "
        "error over the samples; r apart is the largest relative difference of r(t), path apart that of the share of the learned "
        "grid's path. Recipes are those that runs followed. RMS, worst tenth, grain and every cell: "
        "[transfer-cells.md](transfer-cells.md)."
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
            values = [(f(one.errors[key][place]) for f in (geometric_mean, rms)) for key in shown]
            row = [one.name, str(n), *("{:.4f} · {:.4f}".format(*pair) for pair in values), f"{one.disagreement:.4f}"]
            errors.append(row)
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
            f"Geometric mean · RMS of the distance to the converged run, {samples(results)} samples; the last column is "
            "how far two solvers are apart that both claim to be converged.",
            markdown(followed),
            "The recipes that runs followed.",
        ]
    )


# ------------------------------------------------------------------------------------------------------------ figure


def draw(found: list[dict[str, Any]], path: Path) -> None:
    """Ratios of every variant on the left; r of every variant on the right."""
    results = [Result(one) for one in found]
    figure = plt.figure(figsize=(12.0, 0.32 * len(results) + 1.6), layout="constrained")
    grid = figure.add_gridspec(2, 2, width_ratios=(1.5, 1.0))
    _ratios(figure.add_subplot(grid[:, 0]), results)
    for row, model in enumerate(dict.fromkeys(one.model for one in results)):
        _curves(figure.add_subplot(grid[row, 1]), [one for one in results if one.model == model], model)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def _ratios(axes: Any, results: list[Result]) -> None:
    own = (SCHEDULERS[0], "own")
    for place, one in enumerate(results):
        marks = {
            "base's statistics, DEIS-SN": (one.ratio((SCHEDULERS[0], "base"), own), "tab:blue", "o", 0.13),
            "base's statistics, ScoreOptimal": (base_over_own(one)[1], "tab:orange", "o", -0.13),
            "no statistics": (one.ratio(NONE, own), "tab:red", "x", 0.0),
            "best of DPM++ 2M and UniPC": (one.ratio(BEST, own), "0.45", "s", 0.0),
        }
        for label, (ratio, colour, mark, lift) in marks.items():
            reach = [[ratio.value * (1 - np.exp(-2 * ratio.error))], [ratio.value * (np.exp(2 * ratio.error) - 1)]]
            where = {"xerr": reach, "fmt": mark, "color": colour, "ms": 5, "lw": 1, "label": None if place else label}
            axes.errorbar(ratio.value, place + lift, **where)
    axes.axvline(1.0, color="0.6", lw=0.8)
    ticks = [0.8, 1, 1.5, 2, 3, 4, 6, 8]
    axes.set(xscale="log", yticks=range(len(results)), yticklabels=[one.name for one in results])
    axes.set_xticks(ticks, [f"{one:g}" for one in ticks])
    axes.minorticks_off()
    axes.invert_yaxis()
    axes.set_xlabel("error over that with the variant's own statistics (bars: two standard errors)")
    axes.grid(axis="y", color="0.92", lw=0.6)
    axes.legend(frameon=False, fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)


def _curves(axes: Any, results: list[Result], model: str) -> None:
    colours = plt.get_cmap("tab10")
    for number, one in enumerate(results):
        curves = {name: np.array(values) for name, values in one.apart["curves"].items()}
        if number == 0:
            axes.plot(curves["log_rho"], curves["base"], color="black", lw=2.0, label="base")
        axes.plot(curves["log_rho"], curves["own"], color=colours(number % 10), lw=1.0, label=one.variant)
    axes.set(xlabel="log(sigma / alpha)", ylabel="r", title=f"{model}: r of each variant")
    axes.legend(frameon=False, fontsize=6, ncols=2)
