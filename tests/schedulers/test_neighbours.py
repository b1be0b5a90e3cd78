"""What public code asks of a scheduler, found in the installed Diffusers by a program: each name is had, or refused."""

from __future__ import annotations

import ast
import copy
import pickle
import re
from collections import defaultdict
from functools import cache
from pathlib import Path

import diffusers
import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler, DPMSolverMultistepScheduler, FlowMatchEulerDiscreteScheduler

from benchmarks.exact.flows import SD_BETAS
from diffusers_deis_sn import DEISSNScheduler, ScoreOptimalScheduler
from diffusers_deis_sn.errors import ConfigurationError, NoiseScheduleError
from diffusers_deis_sn.schedulers._neighbours import DERIVED, ELSEWHERE, OF_ALL, OF_FLOWS
from refusals import refused
from toy_models import walk

BOTH = pytest.mark.parametrize("cls", [DEISSNScheduler, ScoreOptimalScheduler])
PYTHONS_OWN = {"__class__", "__dict__"}
HAD = {
    "_begin_index",
    "_internal_dict",
    "_step_index",
    "add_noise",
    "alphas_cumprod",
    "begin_index",
    "betas",
    "config",
    "from_config",
    "from_pretrained",
    "init_noise_sigma",
    "last_sample",
    "model_outputs",
    "num_inference_steps",
    "order",
    "previous_timestep",
    "register_to_config",
    "save_pretrained",
    "scale_model_input",
    "scale_noise",
    "set_begin_index",
    "set_timesteps",
    "sigmas",
    "step",
    "step_index",
    "timesteps",
}
"""Names that both classes have."""


def is_scheduler(node: ast.expr) -> bool:
    """Whether an expression is one of `scheduler`, `noise_scheduler`, `self.scheduler`, `pipe.prior_scheduler`, ..."""
    name = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
    return name == "scheduler" or name.endswith("_scheduler")


def asked_of_schedulers(tree: ast.AST) -> set[str]:
    """Names of attributes that a module reads, sets, or looks for on a scheduler."""
    found = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and is_scheduler(node.value)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and len(node.args) > 1:
            looks = node.func.id in ("getattr", "hasattr", "setattr") and is_scheduler(node.args[0])
            if looks and isinstance(node.args[1], ast.Constant):
                found.add(node.args[1].value)
    return found


MENTION = re.compile(r"""scheduler(?:,\s*["']|\.)(\w+)""")


@cache
def mentioned() -> dict[str, list[Path]]:
    """Name -> files of the installed Diffusers where it stands behind a scheduler's, but those of schedulers.

    Their text is searched, comments and all, for to parse them takes ten times as long.
    """
    root, files = Path(diffusers.__file__).parent, defaultdict(list)
    for file in sorted(root.rglob("*.py")):
        if file.relative_to(root).parts[0] != "schedulers":
            for name in set(MENTION.findall(file.read_text())):
                files[name].append(file)
    return files


def asked_in(name: str, files: list[Path]) -> list[str]:
    """Those of the files whose code asks a scheduler for it."""
    return [file.name for file in files if name in asked_of_schedulers(ast.parse(file.read_text()))]


def scheduler_of(cls, flow: bool = False):
    return cls(use_flow_sigmas=True, prediction_type="flow_prediction") if flow else cls(**SD_BETAS)


def test_the_program_sees_every_way_of_asking():
    tree = ast.parse(
        "self.scheduler.a; pipe.prior_scheduler.b = 1; getattr(scheduler, 'c', 0); hasattr(x.noise_scheduler, 'd')\n"
        "scheduler_class.e; self.scheduler.config.f; rescheduler.g; getattr(model, 'h')"
    )
    assert asked_of_schedulers(tree) == {"a", "b", "c", "d", "config"}
    assert len(mentioned()) > 30 and len(mentioned()["step"]) > 200


def test_every_name_that_diffusers_asks_for_is_judged():
    judged = HAD | DERIVED.keys() | ELSEWHERE.keys() | PYTHONS_OWN
    doubtful = {name: files for name, files in mentioned().items() if name not in judged}
    unjudged = {name: where for name, files in doubtful.items() if (where := asked_in(name, files))}
    assert not unjudged


@pytest.mark.slow
def test_no_name_is_overlooked_by_searching_the_text():
    """A whole parse of every fourth file finds none that the text does not show."""
    files = sorted(set().union(*map(set, mentioned().values())))[::4]
    asked = set().union(*(asked_of_schedulers(ast.parse(file.read_text())) for file in files))
    assert len(files) > 50 and asked <= mentioned().keys()


@BOTH
def test_what_is_said_to_be_had_is_had_before_and_in_a_run(cls):
    scheduler = scheduler_of(cls)
    for _ in range(2):
        assert not [name for name in [*HAD, *DERIVED] if not hasattr(scheduler, name)]
        scheduler.set_timesteps(4)


@BOTH
@pytest.mark.parametrize("flow", [False, True])
def test_what_only_other_methods_have_is_refused_with_the_way(cls, flow):
    scheduler = scheduler_of(cls, flow)
    for name, way in ELSEWHERE.items():
        assert not hasattr(scheduler, name)
        with pytest.raises(AttributeError, match=f"^'{cls.__name__}' object has no attribute '{name}': .") as caught:
            getattr(scheduler, name)
        assert str(caught.value).endswith(way)


@pytest.mark.parametrize("name", ["betas", "alphas_cumprod", *DERIVED])
def test_arrays_over_the_training_times_are_those_of_diffusers(name):
    ours = getattr(scheduler_of(DEISSNScheduler), name)
    other = DPMSolverMultistepScheduler if name in ("alpha_t", "sigma_t", "lambda_t") else DDPMScheduler
    theirs = getattr(other(**SD_BETAS), name, torch.tensor(1.0))
    torch.testing.assert_close(ours, theirs, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("name", DERIVED)
def test_flows_have_no_arrays_of_betas_and_say_so(name):
    with pytest.raises(AttributeError, match="levels"):
        getattr(scheduler_of(DEISSNScheduler, flow=True), name)


def test_such_an_array_can_be_moved_and_survives_copies():
    scheduler = scheduler_of(DEISSNScheduler)
    scheduler.lambda_t = scheduler.lambda_t.to("cpu", torch.float64)
    for other in (copy.deepcopy(scheduler), pickle.loads(pickle.dumps(scheduler))):
        assert other.lambda_t.dtype == torch.float64
        assert torch.equal(other.alphas, scheduler.alphas)


@pytest.mark.parametrize("steps", [None, 7])
def test_the_time_before_is_that_of_ddpm(steps):
    ours, theirs = scheduler_of(DEISSNScheduler), DDPMScheduler(**SD_BETAS)
    times = [999, 500, 0]
    if steps is not None:
        ours.set_timesteps(steps)
        theirs.set_timesteps(timesteps=ours.timesteps.tolist())
        times = ours.timesteps
    assert [int(ours.previous_timestep(t)) for t in times] == [int(theirs.previous_timestep(t)) for t in times]


# ------------------------------------------------------------------------------ whatever a scheduler class may be asked

SEEN = {
    "_threshold_sample": "distillation code, where the config says thresholding",
    "is_scale_input_called": "loops that scale the first noise themselves, and reset a scheduler by hand",
    "set_shift": "guides and servers of Wan, HunyuanVideo and Flux, behind `hasattr`",
    "shift": "training code of flow models, to compare with its own",
    "sigma_max": "image-to-image code of flow models",
    "sigma_min": "image-to-image code of flow models; written as 0.0 before a plan",
    "stretch_shift_to_terminal": "LTX",
    "time_shift": "training code of Flux and Lumina, on levels that it has drawn",
}
"""Names of flow matching and of all, and the public code that was seen to ask for them."""


@cache
def members() -> dict[str, set[str]]:
    """Every name of a scheduler class whose models these serve, before and in a run, and the classes that have it."""
    found = defaultdict(set)
    for name in sorted(one for one in dir(diffusers) if one.endswith("Scheduler")):
        try:
            scheduler = getattr(diffusers, name)()
            DEISSNScheduler.from_config({**scheduler.config, "_class_name": name})
        except Exception:  # of another kind of model, or of what is not installed
            continue
        for _ in range(2):
            for member in dir(scheduler):
                if not member.startswith("__"):
                    found[member].add(name)
            try:
                scheduler.set_timesteps(10)
            except (TypeError, ValueError):  # one that wants more than a number
                break
    return found


@pytest.mark.filterwarnings("ignore:Accessing config attribute:FutureWarning")
def test_every_name_of_every_class_whose_models_these_serve_is_judged():
    ours = scheduler_of(DEISSNScheduler)
    ours.set_timesteps(4)
    judged = DERIVED.keys() | ELSEWHERE.keys() | OF_FLOWS.keys() | OF_ALL.keys()
    unjudged = {name: who for name, who in members().items() if not hasattr(ours, name) and name not in judged}
    assert len(members()) > 120 and "DDIMScheduler" in members()["step"]
    assert not unjudged, "have these, or say the way"
    assert SEEN.keys() == OF_FLOWS.keys() | OF_ALL.keys()


def test_no_name_is_both_had_and_refused():
    for flow in (False, True):
        scheduler = scheduler_of(DEISSNScheduler, flow)
        assert not [name for name in ELSEWHERE if hasattr(scheduler, name)]


@pytest.mark.parametrize("cls", [DEISSNScheduler, ScoreOptimalScheduler])
@pytest.mark.parametrize("shift", [0.5, 1.0, 7.0])
def test_a_shift_that_is_set_is_that_of_diffusers(cls, shift):
    theirs = FlowMatchEulerDiscreteScheduler(shift=3.0)
    ours, levels = cls.from_config(theirs.config), np.linspace(1.0, 0.15, 5)
    assert (ours.shift, ours.sigma_max) == (3.0, theirs.sigma_max) and ours.sigma_min == pytest.approx(theirs.sigma_min)
    for scheduler in (theirs, ours):
        scheduler.set_shift(shift)
        scheduler.set_timesteps(sigmas=[*levels])
    assert ours.shift == theirs.shift == shift
    torch.testing.assert_close(ours.sigmas, theirs.sigmas, rtol=1e-5, atol=1e-6)
    refused(ConfigurationError, ["`flow_shift`"], ours.set_shift, -1.0)


@pytest.mark.parametrize("kind", ["exponential", "linear"])
def test_levels_that_training_code_has_drawn_are_shifted_as_by_diffusers(kind):
    options = {"use_dynamic_shifting": True, "time_shift_type": kind, "shift_terminal": 0.1}
    theirs = FlowMatchEulerDiscreteScheduler(**options)
    ours, levels = DEISSNScheduler.from_config(theirs.config), torch.linspace(0.99, 0.01, 9)
    torch.testing.assert_close(ours.time_shift(1.15, 1.0, levels), theirs.time_shift(1.15, 1.0, levels))
    torch.testing.assert_close(ours.stretch_shift_to_terminal(levels), theirs.stretch_shift_to_terminal(levels))


@pytest.mark.parametrize("largest", [1.0, 2.0])
def test_predictions_are_clamped_as_by_diffusers(largest):
    options = {**SD_BETAS, "thresholding": True, "dynamic_thresholding_ratio": 0.9, "sample_max_value": largest}
    x = 3.0 * torch.randn(2, 3, 4, 4)
    ours, theirs = DEISSNScheduler(**options), DDPMScheduler(**options)
    torch.testing.assert_close(ours._threshold_sample(x), theirs._threshold_sample(x))
    assert ours.is_scale_input_called is True


@pytest.mark.parametrize("name", sorted(name for name in OF_FLOWS if "shift" in name))
def test_a_process_of_betas_has_no_shift_and_says_so(name):
    scheduler = scheduler_of(DEISSNScheduler)
    assert not hasattr(scheduler, name)
    with pytest.raises(AttributeError, match="no shift"):
        getattr(scheduler, name)


def test_ends_that_are_written_are_refused_and_not_passed_over():
    for name, value in (("sigma_min", 0.002), ("sigma_max", 0.9), ("shift", 5.0)):
        scheduler = scheduler_of(DEISSNScheduler, flow=True)
        setattr(scheduler, name, value)
        refused(NoiseScheduleError, [f"`scheduler.{name}`", str(value), "set_shift"], scheduler.set_timesteps, 4)
        scheduler.set_timesteps(4)
    scheduler.sigma_min = 0.0  # where runs end
    scheduler.set_timesteps(4)
    assert scheduler.sigmas[-1] == 0.0


# ------------------------------------------------------------------------------------------------- private indices


def test_all_that_is_kept_may_be_cut_in_mid_run_as_chronoedit_does():
    """Frames between the first and the last are dropped from the latents, and from what the scheduler keeps."""
    whole, cut = (scheduler_of(DEISSNScheduler, flow=True) for _ in range(2))
    x = torch.randn(1, 2, 5, 3)
    for scheduler in (whole, cut):
        scheduler.set_timesteps(6)
    middle = walk(whole, x, whole.timesteps[:3])
    assert torch.equal(walk(cut, x, cut.timesteps[:3]), middle)
    for n, kept in enumerate(cut.model_outputs):
        if kept is not None:
            cut.model_outputs[n] = kept[:, :, [0, -1]]
    assert cut.last_sample is None
    ends = walk(cut, middle[:, :, [0, -1]], cut.timesteps[3:])
    torch.testing.assert_close(ends, walk(whole, middle, whole.timesteps[3:])[:, :, [0, -1]])


# ---------------------------------------------------------------------------------------------------- values of configs

OF_OURS = {
    "final_sigmas_type",
    "num_train_timesteps",
    "prediction_type",
    "solver_order",
    "steps_offset",
    "timestep_spacing",
    "use_dynamic_shifting",
    "use_flow_sigmas",
    "variance_type",
}
OF_ANOTHER = {
    "base_image_seq_len": "FlowMatchEulerDiscreteScheduler",
    "base_shift": "FlowMatchEulerDiscreteScheduler",
    "max_image_seq_len": "FlowMatchEulerDiscreteScheduler",
    "max_shift": "FlowMatchEulerDiscreteScheduler",
    "stochastic_sampling": "FlowMatchEulerDiscreteScheduler",
    "clip_sample": "DDIMScheduler",
    "algorithm_type": "DPMSolverMultistepScheduler",
    "sigma_data": "EDMEulerScheduler",
    "sigma_max": "EDMEulerScheduler",
}
"""Values that pipelines read of the class they ship, which its config takes along."""
OF_REFUSED = {
    "block_length": "BlockRefinementScheduler",
    "correct_steps": "ScoreSdeVeScheduler",
    "eta": "LTXEulerAncestralRFScheduler",
    "gamma": "HeliosScheduler",
    "mask_token_id": "AmusedScheduler",
    "original_inference_steps": "LCMScheduler",
}
"""Values of classes whose methods are no deterministic ones."""
CONFIG_VALUE = re.compile(r"""scheduler\.config(?:\.(?!get\b)(\w+)|\[\s*["'](\w+)["']|\.get\(\s*["'](\w+)["'])""")


def test_every_value_that_diffusers_reads_of_a_config_is_judged():
    root, read = Path(diffusers.__file__).parent, set()
    for file in root.rglob("*.py"):
        if file.relative_to(root).parts[0] != "schedulers":
            read |= {"".join(names) for names in CONFIG_VALUE.findall(file.read_text())}
    assert len(read) > 15
    assert not read - OF_OURS - OF_ANOTHER.keys() - OF_REFUSED.keys()


@BOTH
def test_values_that_pipelines_read_are_there_after_a_swap(cls):
    config = scheduler_of(cls).config
    written = {"timestep_spacing"} if cls is ScoreOptimalScheduler else set()  # which its grid leaves no say
    assert not OF_OURS - config.keys() - written - ({"steps_offset"} if written else set())
    for name, owner in OF_ANOTHER.items():
        theirs = getattr(diffusers, owner)().config
        loaded = {key: value for key, value in theirs.items() if key != "_use_default_values"}
        assert getattr(cls.from_config(loaded).config, name) == theirs[name]
        if name.endswith(("_shift", "_seq_len")):  # which BRIA's pipelines read without a default
            assert getattr(cls.from_config(theirs).config, name) == theirs[name]
