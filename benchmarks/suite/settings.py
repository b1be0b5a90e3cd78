"""What to set, by guidance and number of calls; where we lose; and error against calls. From results.csv of a suite.

Plans that were fitted to the networks (`benchmarks.tuning.run`) are beside the rest where their rows are known.

python -m benchmarks.suite.settings                                       # of benchmarks/suite-results, beside it
python -m benchmarks.suite.settings --folder runs/suite

Writes settings.md, losses.md, error-words.md, rivals.md, error-against-calls.png, ratios.png and both for dark pages.
"""

from __future__ import annotations

import argparse
import csv
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.places import write_figure
from benchmarks.suite.measures import geometric_mean
from benchmarks.suite.report import markdown
from benchmarks.suite.rival_names import rivals_table
from benchmarks.suite.rows import OURS, RIVAL
from benchmarks.suite.samplers import LEARNED, PLAIN, TUNED
from benchmarks.suite.samplers import OURS as DEIS_SN

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "benchmarks/suite-results"
PLANS = ROOT / "benchmarks/tuning/results.csv"  # of the same networks, noise and prompts
GUIDANCES = (("1 (none)", 0.0, 1.5), ("2 to 3", 1.5, 4.5), ("6 to 7.5", 4.5, 10.0))
SHOWN = (5, 6, 8, 10, 15, 20)
TOLD = (5, 8, 10)
NAMES = {
    DEIS_SN: "DEIS-SN",
    LEARNED: "ScoreOptimal",
    PLAIN: "DEIS-SN without statistics",
    TUNED: "tuned",
}


@dataclass(frozen=True)
class Setting:
    """A network at one guidance in so many calls: everybody's error, the geometric mean over samples of all seeds."""

    problem: str
    role: str
    group: str
    calls: int
    ours: Mapping[str, float]
    rivals: Mapping[str, float]

    @property
    def guidance(self) -> float:
        """Scale of classifier-free guidance; 1 of networks that know none."""
        return float(self.problem.rpartition("@")[2]) if "@" in self.problem else 1.0

    @property
    def best(self) -> str:
        """The best rival."""
        return min(self.rivals, key=self.rivals.__getitem__)

    def ratio(self, name: str) -> float:
        """Error of one of ours over the best rival's."""
        return self.ours[name] / self.rivals[self.best]


def settings_of(*results: Path) -> list[Setting]:
    """All settings of one or several results.csv in which every seed was run by both ours and rivals."""
    found: dict[tuple[str, int], dict[str, list[dict[str, str]]]] = defaultdict(lambda: defaultdict(list))
    for path in results:
        with path.open(newline="") as file:
            for row in csv.DictReader(file):
                if not row["failure"]:
                    found[row["problem"], int(row["asked"])][row["sampler"]].append(row)
    made = (_setting(problem, calls, samplers) for (problem, calls), samplers in found.items())
    return sorted((one for one in made if one is not None), key=lambda one: (one.role, one.problem, one.calls))


def _setting(problem: str, calls: int, samplers: Mapping[str, list[dict[str, str]]]) -> Setting | None:
    most = max(int(row["samples"]) for rows in samplers.values() for row in rows)
    whole = {name: [row for row in rows if int(row["samples"]) == most] for name, rows in samplers.items()}
    seeds = max(len(rows) for rows in whole.values())
    errors = {
        name: (rows[0]["kind"], geometric_mean(np.array([float(row["geometric"]) for row in rows])))
        for name, rows in whole.items()
        if len(rows) == seeds
    }
    ours, rivals = ({name: e for name, (kind, e) in errors.items() if kind == wanted} for wanted in (OURS, RIVAL))
    first = next(iter(samplers.values()))[0]
    return Setting(problem, first["role"], first["group"], calls, ours, rivals) if ours and rivals else None


# -------------------------------------------------------------------------------------------------------- what to set


def settings_table(settings: Iterable[Setting]) -> str:
    """By guidance and number of calls what came nearest, with statistics and without, on the reporting half."""
    some = [one for one in settings if one.role == "reporting"]
    lines = []
    for title, least, most in GUIDANCES:
        own = [one for one in some if least <= one.guidance < most]
        lines.append([title, "yes", *(_nearest([s for s in own if s.calls == n], (DEIS_SN, LEARNED)) for n in SHOWN)])
        tuned = [_all_tuned([s for s in own if s.calls == n]) for n in SHOWN]
        if any(tuned):
            lines.append(["", "yes, and tuned", *(_nearest(some, (TUNED,)) for some in tuned)])
        lines.append(["", "no", *(_nearest([s for s in own if s.calls == n], (PLAIN,)) for n in SHOWN)])
    words = (
        "DEIS-SN is `DEISSNScheduler`, ScoreOptimal `ScoreOptimalScheduler`, tuned `DEISSNScheduler` after `tune`. "
        "A cell names the scheduler to take, and its error divided by that of the best of some 25 samplers of "
        "Diffusers (each on its own best time grid, picked after the fact for every model and number of calls): "
        "below 1 is better. Where a sampler of Diffusers is nearer, the cell names the one that was best most often. "
        f"Geometric mean over the models kept for judging ({_numbers(some)}). By `benchmarks/suite/settings.py`."
    )
    head = ["guidance", "statistics", *(f"{n} calls" for n in SHOWN)]
    return f"{markdown(head, lines)}\n\n{words}\n"


def _all_tuned(settings: Sequence[Setting]) -> Sequence[Setting]:
    """These, or none where some were not tuned: those that were are often those that needed it most."""
    return settings if all(TUNED in one.ours for one in settings) else ()


def _nearest(settings: Sequence[Setting], names: Sequence[str]) -> str:
    if not settings:
        return "–"
    ratios = {name: geometric_mean(np.array([one.ratio(name) for one in settings])) for name in names}
    name = min(ratios, key=ratios.__getitem__)
    if ratios[name] < 1.0:
        return f"{NAMES[name].removesuffix(' without statistics')} {ratios[name]:.2f}"
    rival, _ = Counter(one.best for one in settings).most_common(1)[0]
    return f"{rival} (ours {ratios[name]:.2f})"


def _numbers(settings: Sequence[Setting]) -> str:
    problems = {one.problem: one.guidance for one in settings}
    return ", ".join(
        f"{sum(least <= g < most for g in problems.values())} at guidance {title}" for title, least, most in GUIDANCES
    )


# ------------------------------------------------------------------------------------------------------ where we lose


def losses(settings: Sequence[Setting]) -> str:
    """Every setting in which the best rival is nearer than DEIS-SN with statistics."""
    lost = sorted((one for one in settings if one.ratio(DEIS_SN) > 1.0), key=lambda one: -one.ratio(DEIS_SN))
    head = ["network @ guidance", "role", "calls", "best rival", "its error", "ours", "ours / its", "tuned / its"]
    lines = [
        [
            one.problem,
            one.role,
            str(one.calls),
            one.best,
            f"{one.rivals[one.best]:.4f}",
            f"{one.ours[DEIS_SN]:.4f}",
            f"{one.ratio(DEIS_SN):.2f}",
            f"{one.ratio(TUNED):.2f}" if TUNED in one.ours else "–",
        ]
        for one in lost
    ]
    words = f"The best rival is nearer than `DEISSNScheduler` with statistics in {len(lost)} of {len(settings)} cells:"
    return f"{words}\n\n{markdown(head, lines)}\n"


# ---------------------------------------------------------------------------------------------------------- the figure


def mean_errors(settings: Iterable[Setting], role: str = "reporting") -> dict[str, dict[int, float]]:
    """Geometric mean of the error over the settings of a role, by calls: of the best rivals, and of ours."""
    by_calls: dict[int, list[Setting]] = defaultdict(list)
    for one in settings:
        if one.role == role:
            by_calls[one.calls].append(one)
    most = max(map(len, by_calls.values()), default=0)
    whole = {n: some for n, some in sorted(by_calls.items()) if len(some) == most}
    lines = {"best rival": {n: _mean([s.rivals[s.best] for s in some]) for n, some in whole.items()}}
    for name in (PLAIN, LEARNED, DEIS_SN, TUNED):
        run = {n: [s.ours[name] for s in some if name in s.ours] for n, some in whole.items()}
        lines[name] = {n: _mean(errors) for n, errors in run.items() if len(errors) == most}
    return {name: line for name, line in lines.items() if line}


def _mean(values: Sequence[float]) -> float:
    return geometric_mean(np.array(values))


def calls_for(errors: Mapping[int, float], error: float) -> float | None:
    """Calls that a line needs for an error, between its points straight in logarithms; None beyond its last."""
    calls, log_errors = np.log(list(errors)), np.log(list(errors.values()))
    if np.log(error) < log_errors.min():
        return None
    return float(np.exp(np.interp(-np.log(error), -np.minimum.accumulate(log_errors), calls)))


def figure_words(settings: Sequence[Setting]) -> str:
    """What the figure says, in words."""
    lines = mean_errors(settings)
    number = len({one.problem for one in settings if one.role == "reporting"})
    names = {
        DEIS_SN: "if ours has statistics of the model",
        TUNED: "if it is tuned as well (`tune`)",
        PLAIN: "if it has no statistics",
    }
    if DEIS_SN not in lines:
        return "No model is kept for judging here.\n"
    rival = lines["best rival"]
    told = [f"{_needed(lines[name], rival)} {words}" for name, words in names.items() if name in lines]
    calls = _listed([str(n) for n in TOLD if n in lines[DEIS_SN]])
    return (
        f"For the error that `DEISSNScheduler` has in {calls} calls, the best rival of some 25 samplers of Diffusers "
        f"(picked after the fact) needs {'; '.join(told)}. Geometric mean over {number} pairs of model and guidance "
        "scale. No default was chosen on them, with one exception: the caution of guided runs without statistics, "
        "which the shipped models asked for.\n"
    )


def _needed(ours: Mapping[int, float], rival: Mapping[int, float]) -> str:
    """Calls that the rival needs for the errors of ours."""
    found = [calls_for(rival, ours[n]) for n in TOLD if n in ours]
    return _listed([f"more than {max(rival)}" if one is None else f"{one:.0f}" for one in found])


def _listed(words: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def write_settings(folder: Path, *plans: Path) -> None:
    """Write all of it beside results.csv; `plans` are more such files, of runs with plans."""
    from benchmarks.suite.error_figure import error_figure
    from benchmarks.suite.ratios_figure import draw_ratios

    settings = settings_of(folder / "results.csv", *plans)
    (folder / "settings.md").write_text(settings_table(settings))
    (folder / "losses.md").write_text(losses(settings))
    (folder / "error-words.md").write_text(figure_words(settings))
    (folder / "rivals.md").write_text(rivals_table())
    if lines := mean_errors(settings):  # of networks that report
        write_figure(folder / "error-against-calls.png", lambda palette: error_figure(lines, palette))
    draw_ratios(settings, folder / "ratios.png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--plans", type=Path, default=PLANS, help="rows of tuned runs; left out where there are none")
    given = parser.parse_args()
    write_settings(given.folder, *(path for path in (given.plans,) if path.is_file()))


if __name__ == "__main__":
    main()
