"""Every scheduler class of the installed Diffusers, judged: its config is taken, with the same process, or refused."""

from __future__ import annotations

from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from diffusers import (
    DDIMParallelScheduler,
    DDIMScheduler,
    DDPMScheduler,
    DEISMultistepScheduler,
    DPMSolverMultistepScheduler,
    DPMSolverSinglestepScheduler,
    EDMDPMSolverMultistepScheduler,
    EDMEulerScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    LCMScheduler,
    UniPCMultistepScheduler,
)
from torch import Tensor

from benchmarks.exact.flows import SD_BETAS
from diffusers_deis_sn import DEISSNScheduler, ScoreOptimalScheduler
from diffusers_deis_sn.errors import ConfigurationError
from diffusers_deis_sn.schedulers._inheritance import FOREIGN_OPTIONS
from diffusers_deis_sn.schedulers._refused_models import KINDS
from toy_models import Pipe
from upstream_schedulers import ELSEWHERE, REFUSED, TAKEN, classes

pytestmark = pytest.mark.filterwarnings("ignore:__array:DeprecationWarning")  # Diffusers calls NumPy on tensors


def test_every_class_of_the_installed_diffusers_is_judged():
    unjudged = classes().keys() - TAKEN.keys() - REFUSED.keys() - ELSEWHERE
    assert not unjudged, f"read these, and say whether their networks are ours: {sorted(unjudged)}"
    assert not TAKEN.keys() & REFUSED.keys()


@pytest.mark.parametrize("ours", [DEISSNScheduler, ScoreOptimalScheduler])
@pytest.mark.parametrize("as_file", [True, False])
@pytest.mark.parametrize("name", [one for one in TAKEN if one in classes()])
def test_a_config_that_is_taken_is_of_the_same_process(name, as_file, ours):
    config = classes()[name]
    scheduler = ours.from_config({**config, **({"_class_name": name} if as_file else {})})
    assert scheduler.noise.kind == TAKEN[name] and scheduler.config["prediction_type"] == config.get(
        "prediction_type", "flow_prediction" if TAKEN[name] == "flow" else "epsilon"
    )
    if TAKEN[name] == "vp":
        betas = {one: config[one] for one in ("beta_start", "beta_end", "beta_schedule") if one in config}
        expected = DDPMScheduler(config["num_train_timesteps"], **betas).alphas_cumprod
        assert torch.allclose(scheduler.alphas_cumprod, expected, rtol=2e-4)
    else:
        assert len(scheduler.noise) == config["num_train_timesteps"]


@pytest.mark.parametrize("name", [one for one in REFUSED if one in classes()])
@pytest.mark.parametrize("ours", [DEISSNScheduler, ScoreOptimalScheduler])
def test_a_config_that_is_refused_says_why(name, ours):
    config, reason = classes()[name], REFUSED[name]
    with pytest.raises(ConfigurationError, match=reason.rstrip("*")):
        ours.from_config({**config, "_class_name": name})
    if not reason.endswith("*"):
        with pytest.raises(ConfigurationError):
            ours.from_config(config)


@pytest.mark.parametrize("name", [name for name in TAKEN if hasattr(diffusers, name) and name in classes()])
def test_what_nobody_said_is_what_the_class_says(name):
    """A config in memory lists what was left at its default; the model is that all the same."""
    if getattr(diffusers, name)._backends if hasattr(getattr(diffusers, name), "_backends") else False:
        return  # needs what is not installed
    theirs = getattr(diffusers, name)()
    ours = DEISSNScheduler.from_config(theirs.config)
    if TAKEN[name] == "vp":
        assert torch.allclose(ours.alphas_cumprod, theirs.alphas_cumprod.float(), rtol=2e-4)
    assert ours.config["prediction_type"] == theirs.config.get("prediction_type", ours.config["prediction_type"])


FOUND = {
    name: getattr(diffusers, name) for name in {**TAKEN, **REFUSED} if name in classes() and hasattr(diffusers, name)
}
REASONS = sorted({reason.rstrip("*") for reason in REFUSED.values()})
OTHERS = (DDIMScheduler, DPMSolverMultistepScheduler, EulerDiscreteScheduler, FlowMatchEulerDiscreteScheduler)


def judged(config: Any, caplog: Any) -> str:
    """The process, with "said" where the log says that it may be another class's; or why it is refused."""
    caplog.clear()
    try:
        scheduler = DEISSNScheduler.from_config(config)
    except ConfigurationError as error:
        return next(reason for reason in REASONS if reason in str(error))
    said = any("cannot be run" in text for text in caplog.messages)
    return f"{scheduler.noise} {scheduler.config['prediction_type']}" + " said" * said


@pytest.mark.parametrize("name", sorted(FOUND))
def test_a_config_is_judged_alike_wherever_it_is(name, tmp_path, caplog):
    """Live, as a dictionary, on disk, loaded, without the name of its class; through a pipeline it is known by it."""
    try:
        theirs = FOUND[name]()
    except (ImportError, TypeError):
        return  # needs what is not installed, or has no defaults; its options are judged above
    FOUND[name]().save_config(tmp_path)  # which writes the name into the config of the one that is saved
    loaded = type(theirs).load_config(tmp_path)
    nameless = {key: value for key, value in loaded.items() if key != "_class_name"}
    forms = [theirs.config, dict(theirs.config), loaded, type(theirs).from_config(loaded).config, nameless]
    verdicts = [judged(form, caplog) for form in forms]
    reason, named, unnamed = REFUSED.get(name, ""), verdicts[2:4], [*verdicts[:2], verdicts[4]]
    pipe = Pipe()
    pipe.scheduler = theirs
    if name in TAKEN:
        assert {text.removesuffix(" said") for text in verdicts} == {verdicts[2]}
        DEISSNScheduler.for_pipeline(pipe)
        return
    assert set(named) == {reason.rstrip("*")}
    assert all(text.endswith(" said") for text in unnamed) if reason.endswith("*") else set(unnamed) == {reason}
    with pytest.raises(ConfigurationError, match=reason.rstrip("*")):
        DEISSNScheduler.for_pipeline(pipe)


@pytest.mark.parametrize("name", [name for name, reason in REFUSED.items() if name in FOUND])
@pytest.mark.parametrize("other", OTHERS)
def test_another_class_in_between_makes_no_model_ours_without_a_word(name, other, tmp_path, caplog):
    """Refused, or said, where its options are no other's; the rest left nothing of themselves."""
    try:
        FOUND[name]().save_config(tmp_path)
    except (ImportError, TypeError):
        return
    through = other.from_config(FOUND[name].load_config(tmp_path)).config
    verdict, signs = judged(through, caplog), [one for kind in KINDS for one in kind.options]
    if not {*signs, *FOREIGN_OPTIONS, "sigma_data"}.isdisjoint(through):
        assert verdict in REASONS or verdict.endswith(" said")


@pytest.mark.parametrize("name", ["DDIMScheduler", "PNDMScheduler", "UnCLIPScheduler"])
def test_betas_that_a_scheduler_of_flows_held_are_spoken_of(name, tmp_path, caplog):
    FOUND[name](prediction_type="sample" if name == "UnCLIPScheduler" else "v_prediction").save_config(tmp_path)
    DEISSNScheduler.from_config(FlowMatchEulerDiscreteScheduler.from_config(FOUND[name].load_config(tmp_path)).config)
    assert any("prediction_type" in text and "taken for a flow" in text for text in caplog.messages)


@pytest.mark.parametrize("name", ["DDPMParallelScheduler", "DDPMScheduler", "UnCLIPScheduler"])
def test_networks_of_schedulers_that_draw_noise_are_ours(name):
    """One step of order one to clean data is the clean sample that their own scheduler predicts."""
    theirs = FOUND[name](clip_sample=False)
    ours = DEISSNScheduler.from_config(theirs.config, solver_order=1)
    x, output = torch.randn(2, 3, 4, dtype=torch.float64), torch.randn(2, 3, 4, dtype=torch.float64)
    theirs.set_timesteps(10)
    for t in theirs.timesteps:
        ours.set_timesteps(timesteps=[int(t)])
        clean = theirs.step(output, t, x).pred_original_sample
        torch.testing.assert_close(ours.step(output, ours.timesteps[0], x).prev_sample, clean, rtol=1e-3, atol=1e-4)


# ------------------------------------------------------------------------------------------------------ at order one

VP = {**SD_BETAS, "timestep_spacing": "trailing"}
ONE_STEP: list[Any] = [
    DDIMScheduler(**VP, clip_sample=False),
    DDIMParallelScheduler(**VP, clip_sample=False),
    DEISMultistepScheduler(**VP, solver_order=1),
    DPMSolverMultistepScheduler(**VP, solver_order=1),
    DPMSolverSinglestepScheduler(**SD_BETAS, solver_order=1),
    UniPCMultistepScheduler(**VP, solver_order=1, disable_corrector=list(range(9))),
    EulerDiscreteScheduler(**VP),
    FlowMatchEulerDiscreteScheduler(shift=3.0),
    EDMEulerScheduler(),
    EDMDPMSolverMultistepScheduler(solver_order=1),
]


@pytest.mark.parametrize("theirs", ONE_STEP, ids=lambda one: type(one).__name__)
def test_order_one_on_their_times_is_their_step(theirs):
    ours, calls = DEISSNScheduler.from_config(theirs.config, solver_order=1), 5
    theirs.set_timesteps(calls)
    if isinstance(theirs, FlowMatchEulerDiscreteScheduler):
        theirs.set_timesteps(sigmas=np.linspace(1.0, 1.0 / calls, calls))
        ours.set_timesteps(sigmas=np.linspace(1.0, 1.0 / calls, calls))
    elif ours.noise.kind == "edm":
        ours.set_timesteps(sigmas=theirs.sigmas[:calls])
    else:
        ours.set_timesteps(timesteps=theirs.timesteps)
    alpha = ours._plan.alpha if isinstance(theirs, EulerDiscreteScheduler) else [1.0] * (calls + 1)
    x = torch.linspace(-1.5, 1.5, 24) * (80.0 if ours.noise.kind == "edm" else 1.0)
    y = x / alpha[0]
    for n in range(calls - 1):  # where the last ends is another matter
        mine, other = ours.timesteps[n], theirs.timesteps[n]
        x = ours.step(network(ours.scale_model_input(x, mine), float(mine)), mine, x).prev_sample
        given = theirs.scale_model_input(y, other) if hasattr(theirs, "scale_model_input") else y
        y = theirs.step(network(given, float(mine)), other, y).prev_sample
    assert torch.allclose(x, y * alpha[calls - 1], atol=1e-4, rtol=1e-4)


def network(x: Tensor, t: float) -> Tensor:
    return torch.sin(2.0 * x + t / 1000.0)


# ------------------------------------------------------------------------------------------------------ there and back


def test_a_swap_to_a_consistency_sampler_and_back_is_of_our_model():
    """As with an adapter that is put on for a run and taken off again."""
    ours = DEISSNScheduler(**SD_BETAS)
    back = DEISSNScheduler.from_config(LCMScheduler.from_config(ours.config).config)
    assert torch.equal(back.alphas_cumprod, ours.alphas_cumprod)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_a_class_that_there_is(kind):
    assert kind.names and all(name.startswith(tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ")) for name in kind.names)
    assert all(any(option in config for config in classes().values()) for option in kind.options)
