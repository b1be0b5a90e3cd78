"""The frozen numbers of a run: what breaks a law is refused before any step, by the name of the class that made it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from benchmarks.exact.flows import SD_BETAS
from diffusers_deis_sn import DEISSNScheduler, ScoreOptimalScheduler
from diffusers_deis_sn.core.codec import register
from diffusers_deis_sn.core.table import CoefficientTable
from diffusers_deis_sn.errors import CoefficientError
from refusals import refused

BOTH = pytest.mark.parametrize("ours", [DEISSNScheduler, ScoreOptimalScheduler])


@register("strange-solver")
@dataclass(frozen=True)
class Odd:
    """DDIM with something done to its table."""

    what: str = "good"
    of = "noise"
    calls_per_step = 1

    def table(self, process: Any, scale: Any, levels: np.ndarray) -> Any:
        alpha, one = process.alpha(levels), np.ones(len(levels) - 1)
        weight = alpha[1:] * np.diff(levels)
        parts = {"levels": levels, "transfer": alpha[1:] / alpha[:-1], "weights": weight[None, :, None]}
        parts |= {"node_scale": one, "row_sum": weight, "needs": one.astype(int)}
        change = TABLES[self.what][0](parts)
        return CoefficientTable(**parts | change) if isinstance(change, dict) else change


TABLES: dict[str, tuple[Callable[[dict[str, Any]], Any], list[str]]] = {
    "nothing": (lambda p: None, ["`Odd.table` must give a CoefficientTable", "NoneType"]),
    "short transfer": (lambda p: {"transfer": p["transfer"][:-1]}, ["must have the shape"]),
    "long transfer": (lambda p: {"transfer": np.append(p["transfer"], 1.0)}, ["must have the shape"]),
    "weights of one axis": (lambda p: {"weights": p["row_sum"]}, ["`weights`", "shape"]),
    "transposed weights": (lambda p: {"weights": p["weights"].transpose(1, 0, 2)}, ["`weights`", "shape"]),
    "short needs": (lambda p: {"needs": p["needs"][:-1]}, ["`needs`", "(5,)"]),
    "needs of nothing": (lambda p: {"needs": 0 * p["needs"]}, ["`needs`", "1 to 1"]),
    "needs of fractions": (lambda p: {"needs": 0.5 + p["needs"]}, ["`needs`", "int64"]),
    "complex": (lambda p: {"weights": p["weights"] * 1j}, ["`weights`"]),
    "wrong sum": (lambda p: {"weights": 1.1 * p["weights"]}, ["partition of unity", "correct its `table`"]),
    "not finite": (lambda p: {"transfer": np.inf * p["transfer"]}, ["not finite", "correct its `table`"]),
    "words": (lambda p: {"row_sum": ["a"] * 5}, ["`row_sum`", "numbers"]),
    "other levels": (lambda p: {"levels": 0.5 * p["levels"]}, ["`Odd.table`", "other levels"]),
}


@pytest.mark.parametrize("what", TABLES)
@BOTH
def test_tables_that_no_run_has(ours, what):
    scheduler = ours(**SD_BETAS, solver=Odd(what))
    before = scheduler.timesteps
    refused(CoefficientError, TABLES[what][1], scheduler.set_timesteps, 5)
    assert scheduler.timesteps is before and scheduler._plan is None
