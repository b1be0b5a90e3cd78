"""Run the suite: every sampler in 4 to 20 network calls on every problem, from the same noise, then the tables.

    python -m benchmarks.suite.run                                # everything, to runs/suite; goes on where it stopped
    python -m benchmarks.suite.run --only ours                    # ours anew after a change, the rivals' rows stay
    python -m benchmarks.suite.run --problems 'digits-dit*' --samplers 'UniPC*' DEIS-SN
    python -m benchmarks.suite.run --model FOLDER_OR_NAME --prompts prompts.txt --guidance-scale 7.5

`make suite` is the first. The networks are in benchmarks/models; `suite/train.py` trains them. Tables and figures are
those of all rows in the folder, see `suite/report.py`.
"""

from __future__ import annotations

import argparse
import sys
from concurrent.futures import ProcessPoolExecutor
from fnmatch import fnmatch
from multiprocessing import get_context
from pathlib import Path

from benchmarks.suite import rows
from benchmarks.suite.problems import names
from benchmarks.suite.report import write_report
from benchmarks.suite.runner import CALLS, KINDS, SAMPLES, SEEDS, Order, run_problem

ROOT = Path(__file__).resolve().parent.parent.parent


def run(chosen: list[str], order: Order, workers: int) -> list[str]:
    """Problems one after the other, or in `workers` processes of one thread each."""
    if workers == 1:
        return [failure for name in chosen for failure in run_problem(name, order)]
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        results = [pool.submit(run_problem, name, order) for name in chosen]
        return [failure for result in results for failure in result.result()]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", nargs="+", default=["*"], metavar="PATTERN", help="names or patterns; see --list")
    parser.add_argument("--samplers", nargs="+", default=["*"], metavar="PATTERN")
    parser.add_argument("--role", choices=("choosing", "reporting"), help="one half of the problems")
    parser.add_argument("--only", choices=("ours", "rivals"))
    parser.add_argument("--calls", nargs="+", type=int, default=list(CALLS))
    parser.add_argument("--samples", type=int, default=SAMPLES)
    parser.add_argument("--seeds", nargs="+", type=int, default=list(SEEDS))
    parser.add_argument("--workers", type=int, default=1, help="processes of one thread each")
    parser.add_argument("--output", type=Path, default=ROOT / "runs/suite")
    parser.add_argument("--every", action="store_true", help="also run rivals to the end that are hopeless")
    parser.add_argument("--recalibrate", action="store_true", help="measure score statistics again")
    parser.add_argument("--strict", action="store_true", help="stop at the first run that fails")
    parser.add_argument("--no-report", action="store_true", help="rows only")
    parser.add_argument("--list", action="store_true", help="the problems that can run here")
    parser.add_argument("--model", help="a text-to-image pipeline instead: a folder, or a name on the Hub")
    parser.add_argument("--prompts", type=Path, help="a text file with a prompt a line, for --model")
    parser.add_argument("--guidance-scale", type=float, default=7.5, help="for --model")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    available = names((options.role,) if options.role else ("choosing", "reporting"))
    if options.list:
        print("\n".join(available))
        return
    chosen = [name for name in available if any(fnmatch(name, pattern) for pattern in options.problems)]
    if options.model:
        chosen = [options.model]
    if not chosen:
        sys.exit(f"No problem matches {' '.join(options.problems)}. There are {', '.join(available)}.")
    order = Order(
        options.output.resolve(),
        tuple(options.calls),
        options.samples,
        tuple(options.seeds),
        {"ours": (rows.OURS,), "rivals": (rows.RIVAL,), None: KINDS}[options.only],
        tuple(options.samplers),
        options.strict,
        options.every,
        options.recalibrate,
        options.model,
        options.prompts,
        options.guidance_scale,
    )
    failures = run(chosen, order, options.workers)
    if failures:
        print(f"{len(failures)} runs failed:\n" + "\n".join(failures), file=sys.stderr)
    if not options.no_report:
        write_report(order.output / "rows", order.output)


if __name__ == "__main__":
    main()
