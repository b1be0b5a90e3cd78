"""What programs that measure on the suite's networks are asked for on the command line."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path


def parser(what: str | None, problems: Sequence[str], calls: Sequence[int]) -> argparse.ArgumentParser:
    """Problems by name, OUTPUT with the suite's rows, numbers of calls, samples and seeds to compare on.

    Args:
        what: The program's docstring.
        problems: Those that are taken if none is named.
        calls: Numbers of calls, likewise.
    """
    made = argparse.ArgumentParser(description=what, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("problems", nargs="*", default=list(problems), metavar="PROBLEM", help="their names")
    made.add_argument("--output", type=Path, default=Path("runs/suite"), help="of the suite, whose rows are used")
    made.add_argument("--calls", type=int, nargs="+", default=list(calls))
    made.add_argument("--samples", type=int, default=16, help="of a seed, that errors are measured on")
    made.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    made.add_argument("--table", action="store_true", help="write tables and figures alone")
    return made
