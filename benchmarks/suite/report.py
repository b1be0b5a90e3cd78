"""From rows to tables and figures: results.csv, table.md, cells.md, ratios.png, and pictures at five calls.

python -m benchmarks.suite.report                                      # of runs/suite, into it
python -m benchmarks.suite.report --output benchmarks/suite-results    # what `make bench` does
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from benchmarks.suite.cells import (
    DEIS_SN,
    FIXED,
    GEOMETRIC,
    LEARNED,
    MEASURES,
    PLAIN,
    SUBSETS,
    Cell,
    Entrant,
    Summary,
    cells_of,
    summary,
)
from benchmarks.suite.rows import Row, read_all, write

ROOT = Path(__file__).resolve().parent.parent.parent
Ratio = Callable[[Cell], float | None]


def number(value: float | None, digits: int = 2) -> str:
    """A number as tables have it, a dash for none."""
    return "–" if value is None else f"{value:.{digits}f}"


def markdown(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    rule = "|---" * len(header) + "|"
    return "\n".join(["| " + " | ".join(header) + " |", rule, *("| " + " | ".join(line) + " |" for line in lines)])


# -------------------------------------------------------------------------------------------------------- one overview


def overview(cells: Sequence[Cell]) -> str:
    """The suite in one table a question: ratios over settings, by number of calls."""
    calls = sorted({cell.calls for cell in cells})
    by_calls = {n: [cell for cell in cells if cell.calls == n] for n in calls}
    header = ["", *map(str, calls)]

    def line(title: str, ratio: Ratio, keep: Callable[[Cell], bool] = SUBSETS["all"], form: str = "mean") -> list[str]:
        return [title, *(_entry(summary([c for c in by_calls[n] if keep(c)], ratio), form) for n in calls)]

    parts = ["# The suite", _settings(cells)]
    for measure in MEASURES:
        lines = [line(name, _over_best(DEIS_SN, measure), keep) for name, keep in SUBSETS.items()]
        lines.append(line("largest", _over_best(DEIS_SN, measure), form="largest"))
        parts += [f"## DEIS-SN over the best rival, {measure}", markdown(header, lines)]
    grains = [
        line("grain over the best rival's, mean", lambda c: _grain(c, excess=False), form="plain"),
        line("largest", lambda c: _grain(c, excess=False), form="largest"),
        line("the same, blur counting as none, largest", lambda c: _grain(c, excess=True), form="largest"),
    ]
    others = [
        line("without statistics, over the best rival", _over_best(PLAIN)),
        line("learned times, over the best rival", _over_best(LEARNED)),
        line("trailing times without recipes, over the best rival", _over_best(FIXED)),
        line("learned times over trailing", _over_ours(LEARNED, FIXED)),
        line("largest", _over_ours(LEARNED, FIXED), form="largest"),
        line("the same, reporting", _over_ours(LEARNED, FIXED), SUBSETS["reporting"]),
        line("learned times over DEIS-SN", _over_ours(LEARNED, DEIS_SN)),
    ]
    parts += [
        "## Grain",
        markdown(header, grains),
        "## Without statistics, and on learned times",
        markdown(header, others),
    ]
    parts += ["## Who is the best rival", _champions(cells, calls), _notes(cells)]
    return "\n\n".join(parts) + "\n"


def short(cells: Sequence[Cell]) -> str:
    """What README shows: both schedulers over the best rival on the problems that only report, and on all."""
    calls = sorted({cell.calls for cell in cells})
    lines = []
    for title, name, subset in (
        ("`DEISSNScheduler`, reporting", DEIS_SN, "reporting"),
        ("`DEISSNScheduler`, all", DEIS_SN, "all"),
        ("`ScoreOptimalScheduler`, reporting", LEARNED, "reporting"),
        ("`ScoreOptimalScheduler`, all", LEARNED, "all"),
        ("without statistics, all", PLAIN, "all"),
    ):
        own = [[c for c in cells if c.calls == n and SUBSETS[subset](c)] for n in calls]
        lines.append([title, *(_entry(summary(some, _over_best(name)), "mean") for some in own)])
    worst = [summary([c for c in cells if c.calls == n], _over_best(DEIS_SN)) for n in calls]
    lines.append(["`DEISSNScheduler`, largest", *(_entry(one, "largest") for one in worst)])
    return f"{markdown(['error over the best rival', *map(str, calls)], lines)}\n\n{_settings(cells)}\n"


def _over_best(name: str, measure: str = GEOMETRIC) -> Ratio:
    return lambda cell: cell.ratio(name, measure)


def _over_ours(name: str, other: str) -> Ratio:
    return lambda cell: cell.ratio(name, over=other)


def _grain(cell: Cell, excess: bool) -> float | None:
    return cell.grain_over_best(DEIS_SN, excess) if DEIS_SN in cell.entrants else None


def _entry(found: Summary | None, form: str) -> str:
    if found is None:
        return "–"
    if form == "largest":
        return f"{found.largest:.2f} ({found.worst})"
    if form == "plain":
        return f"{found.mean:.2f}"
    return f"{found.mean:.2f} ({found.won}/{found.run})"


def _settings(cells: Sequence[Cell]) -> str:
    some = [next(iter(cell.entrants.values())) for cell in cells]
    samples, seeds = ({f(one) for one in some} for f in (lambda one: len(one.errors), lambda one: len(one.rows)))
    problems = list(dict.fromkeys(cell.problem for cell in cells))
    roles = {role: [p for p in problems if _role(cells, p) == role] for role in ("choosing", "reporting")}
    listed = "; ".join(f"{len(names)} {role} ({', '.join(names)})" for role, names in roles.items() if names)
    return (
        f"{len(problems)} settings: {listed}. {_range(samples)} samples each, of {_range(seeds)} seeds. Columns are "
        "network calls; entries are the geometric mean of the ratio over settings (settings won / run). The error is "
        "the RMS distance of a sample to that of a converged run; each cell has its own best rival, see cells.md."
    )


def _range(numbers: set[int]) -> str:
    return str(min(numbers)) if len(numbers) == 1 else f"{min(numbers)} to {max(numbers)}"


def _role(cells: Sequence[Cell], problem: str) -> str:
    return next(cell.role for cell in cells if cell.problem == problem)


def _champions(cells: Sequence[Cell], calls: Sequence[int]) -> str:
    found = Counter((cell.best().name, cell.calls) for cell in cells)
    total = Counter(cell.best().name for cell in cells)
    lines = [[name, *(str(found[name, n] or "") for n in calls), str(count)] for name, count in total.most_common()]
    return markdown(["cells", *map(str, calls), "all"], lines)


def failures(rows: Sequence[Row]) -> str:
    """What failed, a line for each sampler of a problem; nothing where nothing did."""
    places: dict[tuple[str, str, str], list[str]] = {}
    for row in rows:
        places.setdefault((row.problem, row.sampler, row.failure), []).append(f"{row.asked} (seed {row.seed})")
    lines = [f"* {problem}, {name}, {', '.join(calls)} calls: {why}" for (problem, name, why), calls in places.items()]
    return "" if not lines else "\n## Runs that failed\n\n" + "\n".join(lines) + "\n"


def _notes(cells: Sequence[Cell]) -> str:
    doubtful = [f"{cell.problem} at {cell.calls} ({cell.doubt:.0%})" for cell in cells if cell.doubtful]
    if not doubtful:
        return "In every cell two converged runs, of two solvers, agree to 5 % of the smallest error."
    return f"Two converged runs, of two solvers, differ by more than 5 % of the smallest error: {', '.join(doubtful)}."


# ---------------------------------------------------------------------------------------------------------- every cell

COLUMNS = (
    "calls",
    "best rival",
    "its error",
    "DEIS-SN",
    "ratio [95 %]",
    "RMS",
    "trimmed",
    "worst tenth",
    "grain",
    "Frechet",
    "accuracy",
    "DEIS",
    "ScoreOptimal",
)


def every_cell(cells: Sequence[Cell]) -> str:
    """All cells, a table for each problem."""
    parts = ["# Every cell", CELL_WORDS]
    for problem in dict.fromkeys(cell.problem for cell in cells):
        own = sorted((cell for cell in cells if cell.problem == problem), key=lambda cell: cell.calls)
        lines = [_cell_line(cell) for cell in own if DEIS_SN in cell.entrants]
        parts += [f"## {problem} ({own[0].role})", markdown(COLUMNS, lines)]
    return "\n\n".join(parts) + "\n"


CELL_WORDS = (
    "Error: geometric mean over samples of the RMS distance to the converged run, and its ratio to the best rival's "
    "with the paired bootstrap's interval. RMS and trimmed (without the worst tenth of the samples): ratios to the "
    "rival that is best by that measure. Worst tenth: its share in the squared error, rival's · ours. Grain (energy of "
    "the highest band over the converged run's), Frechet (distance to the converged run in the judge's features, or in "
    "the samples' own values; of means and deviations, a seed at a time) and accuracy (in brackets the converged "
    "run's): rival's · ours. DEIS is without statistics, ScoreOptimal on learned times: ratios to the best rival. An "
    "asterisk: two converged runs differ by more than 5 % of the smallest error."
)


def _cell_line(cell: Cell) -> list[str]:
    best, ours, ratio = cell.best(), cell.entrants[DEIS_SN], cell.interval(DEIS_SN)
    truth = ours.mean("converged_accuracy")
    return [
        f"{cell.calls}{'*' if cell.doubtful else ''}",
        best.name,
        number(best.error(GEOMETRIC), 4),
        number(ours.error(GEOMETRIC), 4),
        f"{ratio.value:.2f} [{ratio.low:.2f}, {ratio.high:.2f}]",
        number(cell.ratio(DEIS_SN, "RMS")),
        number(cell.ratio(DEIS_SN, "RMS without the worst tenth")),
        f"{best.share:.0%} · {ours.share:.0%}",
        _pair(best, ours, "grain"),
        _pair(best, ours, "frechet", 3),
        "–" if truth is None else f"{_pair(best, ours, 'accuracy')} ({truth:.2f})",
        number(cell.ratio(PLAIN)),
        number(cell.ratio(LEARNED)),
    ]


def _pair(one: Entrant, other: Entrant, name: str, digits: int = 2) -> str:
    if one.mean(name) is None:
        return "–"
    return f"{number(one.mean(name), digits)} · {number(other.mean(name), digits)}"


# --------------------------------------------------------------------------------------------------------------- write


def write_report(rows: Path, output: Path, pictures: bool = True, references: Path | None = None) -> None:
    """Write tables and figures of the rows in a folder.

    Args:
        rows: Where the rows lie.
        output: Where tables and figures go.
        pictures: Also draw what every network makes of five calls, for which it runs again.
        references: Where the converged runs lie; beside the rows if None.
    """
    found = read_all(rows)
    cells = cells_of(found)
    if not cells:
        print(f"{rows} has no problem with both rivals and ours in it yet: no report.")
        return
    output.mkdir(parents=True, exist_ok=True)
    write(output / "results.csv", found, without=("errors", "stamp"))
    _write_errors(output / "errors.npz", cells)
    failed = [row for row in found if row.failure]
    (output / "table.md").write_text(overview(cells) + failures(failed))
    (output / "summary.md").write_text(short(cells))
    (output / "cells.md").write_text(every_cell(cells))
    from benchmarks.suite.figures import draw_pictures
    from benchmarks.suite.settings import write_settings

    write_settings(output)
    if pictures:
        draw_pictures(cells, references or rows.parent / "references", rows.parent / "statistics", output / "pictures")
    print(f"{len(found)} rows ({len(failed)} failed), {len(cells)} cells: {output / 'table.md'}, cells.md, ratios.png")


def _write_errors(path: Path, cells: Sequence[Cell]) -> None:
    """Per-sample errors of ours and of each cell's best rival, for whoever wants to pool them otherwise."""
    kept: dict[str, np.ndarray] = {}
    for cell in cells:
        for one in (*[e for e in cell.entrants.values() if e.kind != "rival"], cell.best()):
            kept[f"{cell.problem}/{cell.calls}/{one.name}"] = one.errors.astype(np.float16)
    np.savez_compressed(path, **kept)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=Path, default=ROOT / "runs/suite/rows")
    parser.add_argument("--output", type=Path, default=ROOT / "runs/suite")
    parser.add_argument("--no-pictures", action="store_true")
    options = parser.parse_args()
    write_report(options.rows, options.output, not options.no_pictures)


if __name__ == "__main__":
    main()
