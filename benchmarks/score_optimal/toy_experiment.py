"""What cantor.py and bimodal.py share: samplers that go down a schedule, and a figure that compares schedules."""

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.distributions import Distribution

from benchmarks.places import results, write_figure
from diffusers_deis_sn.learn.costs import Epsilon
from diffusers_deis_sn.plots.style import Palette, house_style, panels

SAMPLERS = {"annealed Langevin": 5, "Euler": 0}
"""Langevin steps at each level that is entered; without any, it is entered by an Euler step."""


def looks(palette: Palette) -> dict[str, dict[str, Any]]:
    """How each schedule is drawn."""
    return {
        "linear": {"color": palette.orange},
        "log-linear": {"color": palette.muted, "ls": (0, (4, 1))},
        "optimised": {"color": palette.blue},
    }


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


@dataclass
class Panel:
    """Curves of schedules, x and values, with a note to each in the legend; before a true density, shaded in grey."""

    title: str
    xlabel: str
    scales: dict[str, str] = field(default_factory=dict)
    truth: tuple[Any, Any] | None = None
    curves: dict[str, tuple[Any, Any]] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)


def draw(path: Path, *drawn: Panel) -> None:
    """Write a figure of these panels, on light paper and on dark."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_figure(path, lambda palette: figure(drawn, palette))


def figure(drawn: Sequence[Panel], palette: Palette) -> Any:
    """Panels in rows of two, so that they are legible at half size, each with its legend below."""
    with house_style(palette):
        made, axes = panels(2, 4.2, 3.4, rows=len(drawn) // 2)
        for axis, panel in zip(axes, drawn, strict=True):
            if panel.truth is not None:
                axis.fill_between(*panel.truth, color=palette.rule, label="true density")
            for name, curve in panel.curves.items():
                marker = "." if len(curve[0]) < 100 else None
                axis.plot(*curve, marker=marker, label=f"{name}{panel.notes.get(name, '')}", **looks(palette)[name])
            axis.set(title=panel.title, xlabel=panel.xlabel, **panel.scales)
            axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=2)
    return made


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
