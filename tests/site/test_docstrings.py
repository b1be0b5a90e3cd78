"""Docstrings of the public names: their examples run, and mathematics names the paper and the place in it."""

from __future__ import annotations

import doctest
import importlib
import inspect
import logging
import re
from pathlib import Path
from typing import Any

import pytest

import diffusers_deis_sn
from comparisons import pipeline
from diffusers_deis_sn import ScoreStatistics, compare
from diffusers_deis_sn.core.vp import vp_schedule
from records import costed_record, solver_cost

OWN = sorted(set(diffusers_deis_sn.__all__) - {"SchedulerMixin", "__version__"})
CLASSES = [
    name for name in OWN if inspect.isclass(one := getattr(diffusers_deis_sn, name)) and not issubclass(one, Exception)
]
MATHEMATICS = {  # what each says it is from
    "diffusers_deis_sn.DEISSNScheduler": ("2204.13902", "tAB-DEIS", "2311.00157"),
    "diffusers_deis_sn.ScoreOptimalScheduler": ("2412.07877", "theorem 3.1", "eq. 13"),
    "diffusers_deis_sn.ScoreStatistics": ("2311.00157", "2412.07877", "eq. 13"),
    "diffusers_deis_sn.Corrector": ("2302.04867",),
    "diffusers_deis_sn.EqualCost": ("2412.07877", "theorem 3.1", "section 3.3"),
    "diffusers_deis_sn.Multistep": ("2204.13902", "tAB-DEIS", "2311.00157"),
    "diffusers_deis_sn.Power": ("2206.00364", "eq. 5"),
    "diffusers_deis_sn.learned_sigmas": ("2412.07877", "theorem 3.1"),
    "diffusers_deis_sn.learn.path.SchedulePath": ("2412.07877", "theorem 3.1"),
    "diffusers_deis_sn.learn.search.update_schedule": ("2412.07877", "Algorithm 1"),
    "diffusers_deis_sn.learn.adaptive.AdaptiveSchedule": ("2412.07877", "Algorithm 2"),
    "diffusers_deis_sn.learn.costs.corrector_cost": ("2412.07877", "eq. 13"),
    "diffusers_deis_sn.learn.costs.predictor_cost": ("2412.07877", "eq. 14"),
    "diffusers_deis_sn.core.coefficients.coefficient_table": ("2204.13902", "tAB-DEIS", "2311.00157"),
    "diffusers_deis_sn.core.runge_kutta.runge_kutta_table": ("2204.13902", "rhoRK-DEIS"),
    "diffusers_deis_sn.core.normaliser.Normaliser": ("2311.00157",),
    "diffusers_deis_sn.core.update.threshold": ("2205.11487", "section 2.3"),
}


STABLE_DIFFUSION = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}


def statistics(name: str) -> ScoreStatistics:
    """For the model of an example: the exact pipeline's, else that of the default betas."""
    betas = STABLE_DIFFUSION if name == "Comparison" else {}
    return solver_cost(costed_record(vp_schedule(**betas)))


@pytest.mark.parametrize("name", CLASSES)
def test_a_public_class_has_an_example_that_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    logging.getLogger("diffusers_deis_sn").setLevel(logging.ERROR)
    one = getattr(diffusers_deis_sn, name)
    names: dict[str, Any] = dict(vars(importlib.import_module(diffusers_deis_sn._HOMES[name])))
    names |= {name: one, "statistics": statistics(name), "pipe": pipeline(), "compare": compare}
    (test,) = doctest.DocTestFinder(recurse=False).find(one, name, module=False, globs=names)
    assert test.examples, f"{name} has no example"
    report: list[str] = []
    doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test, out=report.append)
    assert not report, "".join(report)


@pytest.mark.parametrize("path", sorted(MATHEMATICS))
def test_mathematics_names_its_source(path: str) -> None:
    module, _, name = path.rpartition(".")
    one = getattr(importlib.import_module(module), name)
    said = " ".join((inspect.getdoc(one) or "").split())
    for part in MATHEMATICS[path]:
        assert part in said, f"{path} does not say {part}"


@pytest.mark.parametrize("name", OWN)
def test_every_public_name_says_what_it_is(name: str) -> None:
    text = inspect.getdoc(getattr(diffusers_deis_sn, name)) or ""
    assert re.match(r"[A-Z`t].*[.:]", text.splitlines()[0]), name
