"""What cantor.py and bimodal.py share: samplers that go down a schedule, and what is written of them."""

import argparse
import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.distributions import Distribution

from benchmarks.places import results
from diffusers_deis_sn.learn.costs import Epsilon

SAMPLERS = {"annealed Langevin": 5, "Euler": 0}
"""Langevin steps at each level that is entered; without any, it is entered by an Euler step."""


def sample(epsilon: Epsilon, start: Distribution, levels: np.ndarray, langevin: int) -> np.ndarray:
    """Ten thousand samples y at the last of the levels, from the same random numbers for all levels.

    Annealed Langevin dynamics with v = sigma takes steps of .1 sigma in time; the corrector's cost measures its work.
    """
    torch.manual_seed(0)
    y = start.sample((10000, 1))
    for sigma, entered in pairwise(levels):
        if langevin == 0:
            y = y + (entered - sigma) * epsilon(y, sigma)
        for _ in range(langevin):
            y = y + entered * (0.2**0.5 * torch.randn(y.shape) - 0.1 * epsilon(y, entered))
    return y[:, 0].numpy()


def script(main: Callable[[Path], dict[str, Any]], name: str, description: str) -> None:
    """Run main on the folder of the command line, and write and print the figures that it returns."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--output", type=Path, default=results("score_optimal"))
    output = parser.parse_args().output
    output.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    report = json.loads(json.dumps(main(output)), parse_float=lambda digits: float(f"{float(digits):.6g}"))
    text = json.dumps(report, indent=1)
    (output / f"{name}.json").write_text(text + "\n")
    print(text)
