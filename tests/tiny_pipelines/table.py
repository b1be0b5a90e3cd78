"""The table of README: which pipelines work with which scheduler, from the outcomes of tests."""

from __future__ import annotations

from collections import defaultdict

from .families import FAMILIES, HOW, IMPOSSIBLE, REFUSED, REPLACED, SWAP, Family, Impossible

SCHEDULERS = ("DEISSNScheduler", "ScoreOptimalScheduler")
HEAD = (
    "| pipeline | `DEISSNScheduler` | `ScoreOptimalScheduler` | tested with | what to know |\n|---|---|---|---|---|\n"
)
FOOT = """
Written by the tests from what passed (`pytest tests/pipelines --pipeline-table`), on tiny models with random weights:
*calls*, N steps are N calls of the network, at the scheduler's times; *first order*, with one output all calls and the
result are those of DDIM, or of Euler's method for flow models, of Diffusers; *strength* from 0.05 to 1, from the level
of its time; *experts*, `denoising_end` and `denoising_start` cut one run in two; *offload*, `enable_model_cpu_offload`,
its hooks on a CPU; *reload*, saved and loaded again. Callbacks, offload and reload were run with `DEISSNScheduler` in
all, and with `ScoreOptimalScheduler` in one pipeline of each kind of process. All other pipeline classes of Diffusers,
what runs and what does not, are in `benchmarks/every-pipeline.md`, with calls and first order tried in each.
"""
SHOWN = ("calls", "first order", "strength", "experts", "callback_on_step_end", "guidance_rescale", "offload", "reload")
"""What tests can show, in the order of the table."""


class Outcomes:
    """Whether the tests of each row, scheduler and topic passed."""

    def __init__(self) -> None:
        self._passed: dict[tuple[str, str, str], bool] = defaultdict(lambda: True)

    def add(self, row: str, scheduler: str, topic: str, passed: bool) -> None:
        """Count one test; one that failed decides."""
        assert topic in SHOWN and scheduler in SCHEDULERS, (topic, scheduler)
        self._passed[row, scheduler, topic] &= passed

    def verdict(self, row: str, scheduler: str) -> str:
        """One word: yes if all tests passed, and there were those that everything has to pass."""
        passed = {topic: ok for (r, s, topic), ok in self._passed.items() if (r, s) == (row, scheduler)}
        if not {"calls", "first order"} <= set(passed):
            return "not tested"
        failed = [topic for topic in SHOWN if not passed.get(topic, True)]
        return f"no: {', '.join(failed)}" if failed else "yes"

    def topics(self, row: str) -> list[str]:
        """What was shown, in the order of `SHOWN`."""
        told = {topic for (r, _, topic), ok in self._passed.items() if r == row and ok}
        return [topic for topic in SHOWN if topic in told]

    def table(self) -> str:
        """The whole table in Markdown."""
        rows = [
            line(f, *(self.verdict(f.builder, name) for name in SCHEDULERS), self.topics(f.builder)) for f in FAMILIES
        ]
        return HEAD + "".join([*rows, *map(impossible_line, IMPOSSIBLE)]) + FOOT


def line(family: Family, ours: str, optimal: str, topics: list[str]) -> str:
    """The row of a family that runs."""
    how = [*([] if family.how == SWAP else [HOW[family.how]]), *([family.remark] if family.remark else [])]
    told = "; ".join(how)
    return f"| {title(family.name, (family.pipeline,))} | {ours} | {optimal} | {', '.join(topics)} | {told} |\n"


def impossible_line(row: Impossible) -> str:
    """The row of a family that does not."""
    assert row.how in (REFUSED, REPLACED)
    return f"| {title(row.name, row.pipelines)} | no | no | | {row.reason} |\n"


def title(name: str, pipelines: tuple[str, ...]) -> str:
    """A family and the classes of its pipelines."""
    return f"{name}: {', '.join(f'`{pipeline}`' for pipeline in pipelines)}"
