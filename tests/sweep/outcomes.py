"""The table of every pipeline, from what a sweep found."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from .judged import NO, NOT_BUILT, REMARKS, UNMEASURED

HEAD = (
    "| pipeline | its scheduler | `DEISSNScheduler` | `ScoreOptimalScheduler` | `calibrate` | "
    "calls in 4 steps: its own, ours | order one against Diffusers | what to know |\n" + 8 * "|---" + "|\n"
)
FOOT = """
Written by `make sweep` from what it found: every pipeline class of Diffusers {version} with a scheduler, built from
tiny components with random weights and run with its own scheduler and both of ours. *Order one*: with one output per
step, all calls of the network and the result are those of Diffusers' own solver of first order at the same times, DDIM,
or Euler's method for flows and for models with the process of EDM; the largest difference, relative to the largest
value. *calibrate*: two samples of four steps are measured, and a run of four steps with these statistics is finite.
{yes} run with both, {no} cannot, {not_built} are not built by these tests; {measured} can be measured.
"""
BOUNDS = (1e-6, 1e-5, 1e-4, 1e-3)


@dataclass(frozen=True)
class Row:
    """What was found of one class.

    Attributes:
        name: The class.
        own: Class of its own scheduler, empty where it was not built.
        calls: Calls of its network with its own, and with ours.
        error: Difference of order one, or None where it does not run.
    """

    name: str
    own: str = ""
    calls: tuple[int, int] | list[int] | None = None
    error: float | None = None

    def told(self) -> dict[str, object]:
        """As a report takes it from one process to another."""
        return asdict(self)

    @property
    def line(self) -> str:
        """Its line in Markdown."""
        if self.name in NOT_BUILT:
            verdict, told = "not built", NOT_BUILT[self.name]
        elif self.name in NO:
            verdict, told = "no", NO[self.name]
        else:
            verdict, told = "yes", remark(self.name)
        measured = "no" if self.name in UNMEASURED else verdict
        calls = "" if self.calls is None else f"{self.calls[0]}, {self.calls[1]}"
        own = f"`{self.own}`" if self.own else ""
        return f"| `{self.name}` | {own} | {verdict} | {verdict} | {measured} | {calls} | {self.bound} | {told} |\n"

    @property
    def bound(self) -> str:
        """Its difference as a round bound, which is the same on every machine."""
        error = self.error
        return "" if error is None else next((f"< {bound:g}" for bound in BOUNDS if error < bound), f"{error:.0e}")


def remark(name: str) -> str:
    """What a user of a class that runs has to know, and why it cannot be measured if it cannot."""
    reason = f"`calibrate`: {UNMEASURED[name]}" if name in UNMEASURED else ""
    return "; ".join(filter(None, [REMARKS.get(name, ""), reason]))


def table(rows: list[Row], version: str, former: str = "") -> str:
    """All rows, in the order of the alphabet; those of a former table for classes that were not run now."""
    lines = {line.split("`")[1]: f"{line}\n" for line in former.splitlines() if line.startswith("| `")}
    lines |= {row.name: row.line for row in rows}
    counts = {
        "yes": sum(name not in NO and name not in NOT_BUILT for name in lines),
        "no": sum(name in NO for name in lines),
        "not_built": sum(name in NOT_BUILT for name in lines),
        "measured": sum(name not in NO | NOT_BUILT | UNMEASURED for name in lines),
    }
    return HEAD + "".join(lines[name] for name in sorted(lines)) + FOOT.format(version=version, **counts)
