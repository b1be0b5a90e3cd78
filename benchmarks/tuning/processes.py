"""Speed-up of `tune --num-processes 2` over one process: the same tuning in turns, on as many cores.

    python -m benchmarks.tuning.processes

Each process has one thread. Two figures are told: the wall clock, which other programs on the machine disturb, and the
processor time of the process that has most to do, which they do not: it is what the wall clock would be on idle cores.
Start-up and imports are not counted. The table goes to processes.md.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.places import results
from benchmarks.suite.problems import Text, load, names
from benchmarks.suite.runner import settle
from benchmarks.tuning.run import TUNED_FROM
from diffusers_deis_sn.cli.launching import LAUNCHER
from diffusers_deis_sn.collect.sharing import join, leave
from diffusers_deis_sn.tuning.run import tune

PROBLEMS = ("digits-dit@1",)
STEPS, SAMPLES = (5,), 8
RANK = "RANK"

HEADING = f"""# Several processes

`tune` of {STEPS[0]} steps with {SAMPLES} samples to fit on and as many held out, in one process and in two that share
them, in turns on one machine (`python -m benchmarks.tuning.processes`); one thread each, start-up not counted. Wall is
seconds of the clock, processor those of the process that has most to do: what the clock says where nothing else runs.
All is that of all processes together, over that of one: what sharing costs. The least of the rounds is told. On a
busy machine two processes also get more of it than one, so the wall clock flatters.

| network | processes | wall | processor | all | speed-up, wall | speed-up, processor |
| --- | --- | --- | --- | --- | --- | --- |
"""


def main() -> None:
    """Measure in turns and write; or be one of the processes."""
    arguments = _parsed()
    if arguments.out is not None:
        _tuned(arguments.problems[0], arguments.out, arguments.output)
        return
    lines = []
    for name in arguments.problems:
        rounds: dict[int, list[dict[str, float]]] = {1: [], 2: []}
        for _ in range(arguments.rounds):
            for number, found in rounds.items():
                found.append(_run(name, number, arguments.output))
                print(name, number, found[-1], flush=True)
        lines += _rows(name, rounds)
        results("tuning", "processes.md").write_text(HEADING + "\n".join(lines) + "\n")


def _run(name: str, number: int, output: Path) -> dict[str, float]:
    """Seconds of a tuning by so many processes."""
    with tempfile.TemporaryDirectory() as folder:
        ours = ["-m", "benchmarks.tuning.processes", name, "--out", folder, "--output", str(output)]
        command = [sys.executable, *LAUNCHER, str(number), *ours]
        subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
        found = [json.loads(path.read_text()) for path in sorted(Path(folder).glob("*.json"))]
    assert len(found) == number
    return {
        "wall": max(one["wall"] for one in found),
        "processor": max(one["processor"] for one in found),
        "all": sum(one["processor"] for one in found),
    }


def _tuned(name: str, folder: Path, output: Path) -> None:
    """Tune in this process, with those beside it, and write what it took."""
    settle()
    join("cpu")
    problem = load(name)
    prompts = problem.prompts(40, TUNED_FROM) if isinstance(problem, Text) else None
    statistics = problem.statistics(output / "statistics")
    wall, processor = time.perf_counter(), time.process_time()
    tune(
        problem.pipe,
        prompts,
        STEPS,
        statistics=statistics,
        num_samples=SAMPLES,
        num_held_out=SAMPLES,
        batch_size=SAMPLES // 2,
        seed=TUNED_FROM,
        progress=False,
        guidance_scale=problem.guidance,
    )
    took = {"wall": time.perf_counter() - wall, "processor": time.process_time() - processor}
    (folder / f"{os.environ.get(RANK, '0')}.json").write_text(json.dumps(took))
    leave()


def _rows(name: str, rounds: Mapping[int, Sequence[Mapping[str, float]]]) -> list[str]:
    """A row for each number of processes, of the least that each took."""
    least = {
        number: {what: min(one[what] for one in found) for what in ("wall", "processor", "all")}
        for number, found in rounds.items()
    }
    lines = []
    for number, one in least.items():
        cells: list[Any] = [name, number, f"{one['wall']:.0f}", f"{one['processor']:.0f}"]
        cells += [f"{one['all'] / least[1]['all']:.2f}"]
        cells += [f"{least[1][what] / one[what]:.2f}" for what in ("wall", "processor")]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return lines


def _parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("problems", nargs="*", default=list(PROBLEMS), metavar="PROBLEM", help=", ".join(names()))
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument(
        "--output", type=Path, default=Path("runs/suite"), help="of the suite, whose statistics are used"
    )
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
