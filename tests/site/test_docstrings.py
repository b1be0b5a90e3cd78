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
from site_pages import PAGES

OWN = sorted(set(diffusers_deis_sn.__all__) - {"SchedulerMixin", "__version__"})
SHOWN = re.findall(
    r"^::: (\S+)$", "\n".join(text for page, text in PAGES.items() if page.startswith("reference/")), re.M
)
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
    "diffusers_deis_sn.core.step.threshold": ("2205.11487", "section 2.3"),
}


def public() -> dict[str, Any]:
    """Classes and functions of the top level, and of the reference, by name."""
    found = {name: getattr(diffusers_deis_sn, name) for name in OWN}
    for module, _, name in (path.rpartition(".") for path in SHOWN if path != "diffusers_deis_sn.errors"):
        found[name] = getattr(importlib.import_module(module), name)
    return {name: one for name, one in found.items() if not (inspect.isclass(one) and issubclass(one, Exception))}


PUBLIC = public()
CLASSES = sorted(name for name, one in PUBLIC.items() if inspect.isclass(one))
EXAMPLES = sorted(name for name, one in PUBLIC.items() if ">>>" in (inspect.getdoc(one) or ""))

STABLE_DIFFUSION = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}


def statistics(name: str) -> ScoreStatistics:
    """For the model of an example: the exact pipeline's, else that of the default betas."""
    betas = STABLE_DIFFUSION if name in ("Comparison", "compare", "tune") else {}
    return solver_cost(costed_record(vp_schedule(**betas)))


@pytest.mark.parametrize("name", CLASSES)
def test_a_public_class_has_an_example(name: str) -> None:
    assert "Examples:\n    >>>" in (inspect.getdoc(PUBLIC[name]) or ""), f"{name} has no example"


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    logging.getLogger("diffusers_deis_sn").setLevel(logging.ERROR)
    one = PUBLIC[name]
    home = diffusers_deis_sn._HOMES.get(name, one.__module__)
    names: dict[str, Any] = dict(vars(importlib.import_module(home)))
    names |= {name: one, "statistics": statistics(name), "pipe": pipeline(), "compare": compare}
    (test,) = doctest.DocTestFinder(recurse=False).find(one, name, module=False, globs=names)
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
