"""Keyword arguments that the pipelines of the installed Diffusers pass to their schedulers: each is judged."""

from __future__ import annotations

import ast
import inspect
from collections import defaultdict
from functools import cache
from pathlib import Path

import diffusers
import pytest
import torch

from benchmarks.exact.flows import SD_BETAS
from benchmarks.exact.runs import start_noise
from diffusers_deis_sn import DEISSNScheduler, ScoreOptimalScheduler
from diffusers_deis_sn.errors import ConfigurationError, StepError
from diffusers_deis_sn.schedulers._callers import ITS_BOUNDS, REFUSED, STOCHASTIC
from refusals import refused

METHODS = ("step", "set_timesteps", "add_noise", "scale_noise", "scale_model_input", "set_begin_index")
HELIOS = "Helios: stages of several resolutions; its configs are refused"
TOKENS = "models of discrete tokens, whose schedulers have no noise levels"
PROTEIN = "RFD4-Proteina: its own scheduler of atoms, without noise levels of betas or sigmas"
# What no scheduler for continuous models is ever passed, and whose.
OTHERS = {
    "set_timesteps": {
        **{"block_length": TOKENS, "is_amplify_first_chunk": HELIOS, "start_time": PROTEIN},
        **dict.fromkeys(("intermediate_timesteps", "max_timesteps", "original_inference_steps", "strength"), REFUSED),
    },
    "step": {
        **dict.fromkeys(
            ("all_timesteps", "cur_sampling_step", "dmd_noisy_tensor", "dmd_sigmas", "dmd_timesteps"), HELIOS
        ),
        **dict.fromkeys(
            ("editing_threshold", "mask_token_id", "minimal_topk", "prompt_mask", "sampling_method"), TOKENS
        ),
        **dict.fromkeys(("starting_mask_ratio", "temperature", "threshold", "top_k", "top_p"), TOKENS),
        # Refused by the class of the pipeline, before the run.
        **dict.fromkeys(("pred_original_sample", "variance_noise"), REFUSED),
    },
    "add_noise": {"generator": TOKENS},
}


def passed_in(tree: ast.AST) -> set[tuple[str, str]]:
    """(method, keyword) of calls on whatever is called a scheduler, and of functions that hand their keywords on."""
    found = set()
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        names = {one.arg for one in node.keywords if one.arg is not None}
        if isinstance(node.func, ast.Attribute) and node.func.attr in METHODS:
            if "scheduler" in ast.unparse(node.func.value):
                found |= {(node.func.attr, name) for name in names}
        elif "retrieve_timesteps" in ast.unparse(node.func):
            found |= {("set_timesteps", name) for name in names - {"scheduler"}}
    for node in ast.walk(tree):  # extra_step_kwargs["eta"] = eta
        if isinstance(node, ast.Subscript) and ast.unparse(node.value).endswith(("step_kwargs", "step_extra_kwargs")):
            if isinstance(node.slice, ast.Constant) and isinstance(node.ctx, ast.Store):
                found.add(("step", str(node.slice.value)))
    return found


@cache
def installed() -> dict[tuple[str, str], frozenset[str]]:
    """The same over the installed package, with the names of the classes that do it."""
    root, found = Path(diffusers.__file__).parent, defaultdict(set)
    for file in sorted(root.rglob("*.py")):
        if not {"pipelines", "modular_pipelines", "guiders", "experimental"} & set(file.relative_to(root).parts):
            continue
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            for one in passed_in(node):
                found[one].add(getattr(node, "name", file.stem))
    return {one: frozenset(classes) for one, classes in found.items()}


@pytest.mark.parametrize("kind", [DEISSNScheduler, ScoreOptimalScheduler])
def test_every_keyword_of_every_pipeline_is_honoured_or_judged(kind):
    assert len(installed()) > 15  # the program sees them
    for (method, keyword), classes in sorted(installed().items()):
        honoured = keyword in inspect.signature(getattr(kind, method)).parameters
        judged = keyword in OTHERS.get(method, {})
        assert honoured != judged, f"{keyword}= of {method}, passed by {sorted(classes)}: honour it, or say why not"


def test_what_is_judged_is_still_passed_by_somebody():
    for method, keywords in OTHERS.items():
        for keyword in keywords:
            assert (method, keyword) in installed(), f"nobody passes {keyword} to {method} any more"


def test_pipelines_that_pass_what_is_refused_are_known_by_name():
    refused_ones = {(method, keyword) for method in OTHERS for keyword, why in OTHERS[method].items() if why is REFUSED}
    assert set().union(*(installed()[one] for one in refused_ones)) == set(REFUSED)
    for name, (keyword, _) in REFUSED.items():
        assert any(name in installed().get((method, keyword), ()) for method in METHODS)


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_a_pipeline_that_cannot_be_walked_is_told_before_its_run(name):
    class Holder:
        scheduler: object = None

        def __call__(self):
            self.scheduler.set_timesteps(4)

    Holder.__name__, Holder.__qualname__ = name, name
    pipe = Holder()
    pipe.scheduler = DEISSNScheduler(**SD_BETAS)
    refused(ConfigurationError, [name, REFUSED[name][0], "Keep the pipeline's own"], pipe)
    assert pipe.scheduler.num_inference_steps is None
    refused(ConfigurationError, [name], DEISSNScheduler.for_pipeline, pipe, stats=None)


NOISY = {"eta": (0.0, 0.5), "s_churn": (0, 0.5), "variance_noise": (None, torch.zeros(1))}
"""What asks for noise: a value that asks for none, and another one."""


def keywords_of_step() -> dict[str, object]:
    """Arguments of `step` of all schedulers of the installed Diffusers that ours does not have, with their defaults."""
    found: dict[str, object] = {}
    for cls in (getattr(diffusers, name) for name in dir(diffusers) if name.endswith("Scheduler")):
        step = vars(cls).get("step") if isinstance(cls, type) else None
        for name, one in inspect.signature(step).parameters.items() if step else ():
            if name not in inspect.signature(DEISSNScheduler.step).parameters and name not in (
                "sigma_prev",
                "sigma_hat",
            ):
                found.setdefault(name, None if one.default is one.empty else one.default)
    return found


def stepped(**options: object) -> torch.Tensor:
    scheduler, x = DEISSNScheduler(**SD_BETAS), start_noise(2)
    scheduler.set_timesteps(5)
    return scheduler.step(0.1 * x, scheduler.timesteps[0], x, **options).prev_sample


@pytest.mark.parametrize(("name", "values"), NOISY.items())
def test_noise_in_a_step_is_refused_and_none_is_what_there_is(name, values):
    none, some = values
    assert torch.equal(stepped(**{name: none}), stepped())
    for value in (some, "x", float("nan"), [], True):
        refused(StepError, [f"`{name}`", "DEIS draws no noise"], stepped, **{name: value})


def test_keywords_of_other_steps_are_honoured_at_defaults_that_draw_no_noise_or_refused_by_name():
    found = keywords_of_step()
    assert {"s_churn", "s_tmin", "s_tmax", "s_noise", "variance_noise"} <= found.keys() and len(found) > 20
    for name, default in found.items():
        if name in (*STOCHASTIC, *ITS_BOUNDS):
            assert torch.equal(stepped(**{name: default}), stepped()), name
        else:
            refused(StepError, [f"no argument `{name}`", "Leave it out"], stepped, **{name: default})
    refused(StepError, ["no argument `etaa`"], stepped, etaa=0.0)


@pytest.mark.parametrize("hand", [lambda t: t, float, lambda t: t.clone()])
def test_the_time_to_go_to_is_that_of_the_plan(hand):
    """Kandinsky's priors pass the next of their list, and none in the end."""
    scheduler, plain, x = DEISSNScheduler(**SD_BETAS), DEISSNScheduler(**SD_BETAS), start_noise(2)
    y = x
    for one in (scheduler, plain):
        one.set_timesteps(5)
    times = scheduler.timesteps
    for n, t in enumerate(times):
        following = hand(times[n + 1]) if n + 1 < len(times) else None
        x = scheduler.step(torch.tanh(x), t, x, prev_timestep=following).prev_sample
        y = plain.step(torch.tanh(y), plain.timesteps[n], y).prev_sample
    assert torch.equal(x, y)
    scheduler.set_timesteps(5)
    refused(StepError, ["`prev_timestep`"], scheduler.step, x, times[0], x, prev_timestep=hand(times[3]))
