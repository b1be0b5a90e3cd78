"""Python on the pages of the site runs as it stands, top to bottom; models of the Hub are tiny ones of their kind."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from inspect import signature
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import diffusers
import pytest
import torch
from PIL import Image

import diffusers_deis_sn
from records import solver_cost
from site_pages import PAGES, ROOT, blocks
from tiny_pipelines import BUILDERS
from tiny_pipelines.ours import statistics
from tiny_pipelines.stable_diffusion import controlnet

pytestmark = pytest.mark.filterwarnings("ignore:__array:DeprecationWarning")  # Diffusers calls NumPy on tensors

# Families by what is loaded, the longest name that fits: of the class, then of the model.
CLASSES = {
    "StableDiffusionImg2ImgPipeline": "sd_img2img",
    "StableDiffusionControlNetPipeline": "sd_controlnet",
    "DDIMPipeline": "ddim",
    "DDPMPipeline": "ddpm",
}
MODELS = {
    "xl-base": "sdxl",
    "xl-refiner": "sdxl_img2img",
    "stable-diffusion-3": "sd3",
    "FLUX": "flux",
    "Wan": "wan",
    "animatediff": "animatediff",
}
MEASURED = {"stats/tiny-sd-digits"}  # shipped: with the model that it was measured on
GIVEN = {
    "coming-from.md",
    "explanation/score-optimal.md",
    "reference/options.md",
    "tuning.md",
}  # pages that begin with a `pipe`
ALONE = {"how-to/own-loop.md"}  # pages each block of which runs by itself, as somebody pastes it
STEPS = 4  # at most so many are run
PROGRAMS = PAGES | {"README.md": (ROOT / "README.md").read_text()}
PYTHON = sorted(page for page, text in PROGRAMS.items() if blocks(text, "python"))


@pytest.mark.parametrize("page", PYTHON)
def test_code_of_a_page_runs(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _substitute(monkeypatch, tmp_path)
    names: dict[str, Any] = {"__name__": "__main__"}
    if page in GIVEN:
        names["pipe"] = _tiny("sd")
    parts = blocks(PROGRAMS[page], "python")
    for code in parts if page in ALONE else ["\n\n".join(parts)]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            exec(compile(code, page, "exec"), dict(names))  # the page's own text


def test_the_blocks_of_all_pages_are_found() -> None:
    assert len(PYTHON) >= 20
    assert sum(len(blocks(text, "python")) for text in PROGRAMS.values()) == sum(
        text.count("```python") for text in PROGRAMS.values()
    )


def _substitute(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """What the pages name: models, statistics, pictures; and measurements that take a second."""
    monkeypatch.chdir(folder)
    for name in ("examples", "stats"):
        (folder / name).symlink_to(ROOT / name)
    for name in ("cat.png", "edges.png"):
        Image.new("RGB", (32, 32), "orange").save(folder / name)
    real = diffusers.DiffusionPipeline.from_pretrained.__func__
    monkeypatch.setattr(diffusers.DiffusionPipeline, "from_pretrained", classmethod(_loader(real)))
    monkeypatch.setattr(diffusers.ControlNetModel, "from_pretrained", lambda *_, **__: controlnet())
    monkeypatch.setattr(torch.nn.Module, "to", _staying(torch.nn.Module.to))
    measure = diffusers_deis_sn.calibrate
    quick = {"num_samples": 2, "num_inference_steps": STEPS, "trials": 0, "progress": False}
    monkeypatch.setattr(diffusers_deis_sn, "calibrate", lambda *args, **options: measure(*args, **options | quick))
    for name in ("tune", "compare"):  # minutes, and tested in rooms of their own: here their arguments are
        monkeypatch.setattr(diffusers_deis_sn, name, _checked(getattr(diffusers_deis_sn, name)))
    for scheduler in (diffusers_deis_sn.DEISSNScheduler, diffusers_deis_sn.ScoreOptimalScheduler):
        monkeypatch.setattr(scheduler, "from_config", classmethod(_with_statistics(scheduler.from_config.__func__)))
        monkeypatch.setattr(scheduler, "from_pretrained", classmethod(lambda cls, *_, **__: cls()))
    solver_cost(statistics("sd")).save(folder / "my-statistics")


def _loader(real: Callable[..., Any]) -> Callable[..., Any]:
    def from_pretrained(cls: type, name: str, **options: Any) -> Any:
        if Path(name).is_dir():
            return real(cls, name, **options)
        family = CLASSES.get(cls.__name__)
        return _tiny(family or next((one for part, one in MODELS.items() if part in name), "sd"))

    return from_pretrained


def _tiny(family: str) -> Any:
    """A tiny pipeline, small pictures and few steps by default."""
    pipe, defaults = BUILDERS[family]()
    kind, call = type(pipe), type(pipe).__call__

    @functools.wraps(call)
    def few(self: Any, prompt: Any = None, *args: Any, **options: Any) -> Any:
        if prompt is not None:
            options["prompt"] = prompt
        options = {k: v for k, v in defaults.items() if k not in ("output_type", "prompt_embeds")} | options
        options["num_inference_steps"] = min(STEPS, options.get("num_inference_steps", STEPS))
        return call(self, *args, **options)

    pipe.__class__ = type(kind.__name__, (kind,), {"__call__": few, "__module__": kind.__module__})
    for move in ("to", "enable_model_cpu_offload"):
        setattr(pipe, move, lambda *_, **__: pipe)
    return pipe


def _staying(to: Callable[..., Any]) -> Callable[..., Any]:
    return lambda self, *args, **options: self if args[:1] == ("cuda",) else to(self, *args, **options)


def _with_statistics(real: Callable[..., Any]) -> Callable[..., Any]:
    """Statistics that a page names and nobody measured: those of the model at hand, made up."""

    def from_config(cls: type, config: Any, **options: Any) -> Any:
        stats = options.get("stats")
        if isinstance(stats, str) and stats not in MEASURED and stats != "auto":
            options["stats"] = solver_cost(statistics(_family(config)))
        return real(cls, config, **options)

    return from_config


def _family(config: Any) -> str:
    flow = config.get("use_flow_sigmas") or "beta_schedule" not in config
    return "sd3" if flow else "ddpm" if config.get("beta_schedule") == "linear" else "sd"


def _checked(function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any, **options: Any) -> Any:
        signature(function).bind(*args, **options)
        return SimpleNamespace(statistics=statistics("sd"))

    return call
