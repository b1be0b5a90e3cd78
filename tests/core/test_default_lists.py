"""Lists that pipelines always pass: every one in the installed Diffusers, found in its source and judged."""

from __future__ import annotations

import ast
import functools
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from diffusers_deis_sn.core.default_lists import is_default_list, shift_of_list
from diffusers_deis_sn.core.flow import FlowSchedule, equal_sigmas
from diffusers_deis_sn.core.vp import vp_schedule

FLOW = FlowSchedule()
NAMES = {"np": np, "torch": torch}
NUMBERS = (1, 2, 3, 4, 7, 8, 20, 28, 29, 50, 55, 82, 100)

# What stands in the place of `sigmas` where the caller gave none. True: equal steps, which choose nothing but their
# number. A text: a grid that is the pipeline's own, and why; it is used as it is, with one line of log where it wins.
JUDGED: dict[str, bool | str] = {
    "np.linspace(1.0, 1 / N, N)": True,
    "np.linspace(1.0, 1.0 / N, N)": True,
    "np.linspace(1.0, 0.0, N + 1)[:-1]": True,
    "np.linspace(1.0, 0, N + 1)[:-1]": True,
    "np.linspace(1, 0, N + 1)[:N]": True,
    "torch.linspace(1.0, 1 / N, N).tolist()": True,
    "torch.linspace(1.0, 1.0 / N, N, dtype=torch.float32).tolist()": True,
    "torch.linspace(1.0, 0.0, N + 1)[:-1]": True,
    "np.linspace(1.0 - 1.0 / T, 0.0, N + 1)[:-1]": True,
    "np.linspace(0.999, 0.0, N + 1)[:-1]": True,
    "timesteps / T": True,  # of COGVIEW or GLM, below
    "get_original_sigmas(num_train_timesteps=T, num_inference_steps=N)": True,
    "torch.linspace(0, 1, N, dtype=sigmas_dtype)": "Cosmos 2: EDM's levels, which its scheduler makes of the shares",
    "linear_quadratic_schedule(N, threshold_noise)": "Mochi, LTX: half of the steps within 2.5 % of noise alone",
    "_logit_normal_sigmas(N, schedule_mu, std=std, device=device)": "Ideogram 4: quantiles of a logistic normal",
    "_logit_normal_sigmas(N, schedule_mu, std=block_state.std, device=device)": "as Ideogram 4",
    "logsnr_sigma_schedule(N, logsnr_min, logsnr_max)": "Stable Audio 3: even in log SNR",
    "logsnr_sigma_schedule(N, logsnr_min, logsnr_max, sigma_max=init_noise_level)": "as Stable Audio 3",
    "t_schedule.tolist()": "ACE-Step: shifted by an argument of the call, see `shift_of_list`",
    "self._get_timestep_schedule(num_inference_steps=N, shift=shift, device=device, dtype=torch.float32, "
    "timesteps=timesteps)": "ACE-Step, as above",
    "self.config.sample_sigmas": "Qwen-Image distilled: those it was distilled at",
    "components.config.sample_sigmas": "as Qwen-Image distilled",
    "components.config.distilled_sigmas": "Cosmos distilled: likewise",
}
# The caller's own list on its way, or nothing: no list that a pipeline always passes.
PASSED_ON = (
    "None",
    "sigmas",
    "s",
    "sigmas.tolist()",
    "sigmas[:-1]",
    "list(sigmas[:-1])",
    "[float(s) for s in sigmas]",
    "[float(s) for s in sigmas_t[:-1]]",
    "[float(sigma) for sigma in sigmas]",
    "[*sigmas, 0.0]",
    "np.array(sigmas)",
    "custom_sigmas",
    "torch.linspace(1.0, 0.0, N + 1)",  # ERNIE-Image, which then leaves out the zero
    "torch.tensor(sigmas, dtype=torch.float32) if not isinstance(sigmas, torch.Tensor) else sigmas",
    "self.scheduler.sigmas.to(device=device, dtype=torch.float32)",  # LTX, in temporal tiles: what it has chosen itself
)
LISTS = ("sigmas", "sigmas_t", "t_schedule", "s")  # how such lists are called
COGVIEW = "np.linspace(T, 1.0, N) if timesteps is None else np.array(timesteps)"
GLM = "np.linspace(T, 1.0, N + 1)[:-1] if timesteps is None else np.array(timesteps)"


@functools.cache
def lists_in_diffusers() -> dict[str, str]:
    """Every expression that a pipeline of the installed Diffusers makes `sigmas` of for its scheduler, and where."""
    root, found = Path(diffusers.__file__).parent, {}
    for path in sorted([*(root / "pipelines").rglob("*.py"), *(root / "modular_pipelines").rglob("*.py")]):
        for function in ast.walk(ast.parse(path.read_text())):
            if isinstance(function, ast.FunctionDef) and function.name not in ("set_timesteps", "retrieve_timesteps"):
                for expression in passed_as_sigmas(function):
                    found[expression] = f"{path.relative_to(root)}: {function.name}"
    return found


def passed_as_sigmas(function: ast.FunctionDef) -> set[str]:
    found = set()
    for call in ast.walk(function):
        name = getattr(getattr(call, "func", None), "attr", getattr(getattr(call, "func", None), "id", None))
        if not isinstance(call, ast.Call) or name not in ("set_timesteps", "retrieve_timesteps"):
            continue
        given = [one.value for one in call.keywords if one.arg == "sigmas"] or (
            call.args[4:5] if name == "retrieve_timesteps" else []
        )
        for value in given:
            found |= {short(one) for one in origins(function, value)}
    return found


def origins(function: ast.FunctionDef, value: ast.expr) -> list[ast.expr]:
    """An expression, and what the lists in it are made of in the function."""
    lists = {ast.unparse(one).split(".")[-1] for one in ast.walk(value) if isinstance(one, ast.Name | ast.Attribute)}
    made = [
        one.value
        for one in ast.walk(function)
        if isinstance(one, ast.Assign)
        and lists & {name for target in one.targets if (name := ast.unparse(target).split(".")[-1]) in LISTS}
    ]
    return [value, *made]


def short(value: ast.expr) -> str:
    """An expression as the table has it: without the case that the caller gave a list."""
    if isinstance(value, ast.IfExp) and "None" in ast.unparse(value.test):
        value = value.body if ast.unparse(value.body) not in ("None", "sigmas") else value.orelse
    text = ast.unparse(value).replace("block_state.num_inference_steps", "N").replace("num_inference_steps=N", "N")
    for long in ("self.scheduler.config.num_train_timesteps", "components.scheduler.config.num_train_timesteps"):
        text = text.replace(long, "T")
    text = text.replace("num_inference_steps", "N").replace("N=N", "num_inference_steps=N")
    return text.removeprefix("block_state.").replace(
        "get_default_z_image_sigmas(N)", "torch.linspace(1.0, 1 / N, N).tolist()"
    )


def test_every_list_of_the_installed_diffusers_is_judged():
    unjudged = {text: where for text, where in lists_in_diffusers().items() if text not in (*JUDGED, *PASSED_ON)}
    assert not unjudged, f"read these, and say in JUDGED whether they are in equal steps: {unjudged}"


def made(text: str, number: int, times: int) -> Any:
    """A list of the table, as the pipeline makes it."""
    if text.startswith("get_original_sigmas"):
        from diffusers.pipelines.bria.pipeline_bria import get_original_sigmas

        return get_original_sigmas(times, number)
    if text == "timesteps / T":
        return made(COGVIEW, number, times)
    values = {**NAMES, "N": number, "T": times, "timesteps": None}
    result = eval(text, values)
    return result.astype(np.int64).astype(np.float32) / times if "timesteps is None" in text else result


EQUAL = [text for text, judged in JUDGED.items() if judged is True]


@pytest.mark.parametrize("text", [*EQUAL, GLM])
def test_lists_in_equal_steps_choose_nothing(text):
    for number in NUMBERS:
        assert is_default_list(FLOW, made(text, number, 1000)), number
        assert not is_default_list(vp_schedule(), made(text, number, 1000))


@given(
    number=st.integers(1, 300),
    times=st.sampled_from([1000, 100, 8]),
    shift=st.floats(0.1, 20.0),
    terminal=st.sampled_from([None, 0.1]),
    dtype=st.sampled_from([np.float32, np.float64]),
    text=st.sampled_from(EQUAL[:-2]),
)
def test_rounding_and_the_shift_of_the_run_change_nothing(number, times, shift, terminal, dtype, text):
    """As Diffusers' own scheduler shifts, in float32."""
    if text == "np.linspace(0.999, 0.0, N + 1)[:-1]":
        times = 1000
    process, even = FlowSchedule(times), np.asarray(made(text, number, times)).astype(dtype)
    assert is_default_list(process, even, shift, terminal)
    moved = shift * even / (1 + (shift - 1) * even)
    if terminal is not None and number > 1:
        moved = 1 - (1 - moved) / ((1 - moved[-1]) / (1 - terminal))
    assert is_default_list(process, moved, shift, terminal)


@pytest.mark.parametrize(
    "other",
    [
        None,
        [],
        "four",
        [[1.0, 0.5]],
        [0.9, 0.6, 0.3],
        [1.0, 0.75, 0.5, 0.25, 0.0],
        [1.0, 0.75, 0.5, 0.249],
        [1.0, 0.7501, 0.5, 0.25],
        [0.5],
        [1.0, 0.6, 0.1],
        np.linspace(0.98, 0.0, 6)[:-1],
        [float("nan")],
    ],
    ids=str,
)
def test_any_other_list_is_a_choice(other):
    assert not is_default_list(FLOW, other)


def test_a_list_with_another_shift_than_that_of_the_run_is_a_choice():
    even = np.linspace(1.0, 0.1, 10)
    moved = 5.0 * even / (1.0 + 4.0 * even)
    assert is_default_list(FLOW, moved, 5.0) and not is_default_list(FLOW, moved, 3.0)


def test_equal_sigmas_are_the_commonest_of_them():
    for number in NUMBERS:
        assert equal_sigmas(made("np.linspace(1.0, 1 / N, N)", number, 1000)) == number


# ------------------------------------------------------------------------------ a shift that a pipeline makes itself


def ace_step(number: int, shift: float) -> list[float]:
    """As its pipeline makes them."""
    from diffusers.pipelines.ace_step.pipeline_ace_step import AceStepPipeline

    return AceStepPipeline._get_timestep_schedule(None, number, shift, dtype=torch.float32).tolist()


def test_no_other_pipeline_of_the_installed_diffusers_shifts_its_list_itself():
    root, found = Path(diffusers.__file__).parent, set()
    for path in [*(root / "pipelines").rglob("*.py"), *(root / "modular_pipelines").rglob("*.py")]:
        for one in ast.walk(ast.parse(path.read_text())):
            divided = isinstance(one, ast.BinOp) and isinstance(one.op, ast.Div)
            if divided and "shift" in ast.unparse(one.left) and "shift" in ast.unparse(one.right):
                if "- 1)" in ast.unparse(one.right):  # s t / (1 + (s - 1) t), however it is called
                    found.add(path.name)
    assert found <= {"pipeline_ace_step.py"}, "read these, and say in `core.default_lists` what they pass"


@given(number=st.integers(3, 120), shift=st.floats(0.2, 15.0))
def test_a_pipeline_s_own_shift_is_read_off_its_list(number, shift):
    levels = ace_step(number, shift)
    assert shift_of_list(FlowSchedule(1), levels) == pytest.approx(shift, rel=1e-5)
    assert shift_of_list(FLOW, levels) is None and shift_of_list(vp_schedule(), levels) is None
    assert shift_of_list(FlowSchedule(1), [*levels[:1], 0.5 * (levels[1] + levels[2]), *levels[2:]]) is None
    assert shift_of_list(FlowSchedule(1), levels[:2]) is shift_of_list(FlowSchedule(1), None) is None
