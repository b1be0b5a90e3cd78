"""Who takes part: made as their code says, whatever the pipeline came with; who cannot, with a reason."""

from __future__ import annotations

from types import SimpleNamespace

import diffusers
import pytest
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EDMEulerScheduler,
    EulerAncestralDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    HeunDiscreteScheduler,
    PNDMScheduler,
    UniPCMultistepScheduler,
)

import diffusers_deis_sn
from benchmarks.exact.flows import SD_BETAS
from comparisons import planned, statistics
from diffusers_deis_sn import DEISSNScheduler
from diffusers_deis_sn.comparison.contenders import STATISTICS, calls_of, contenders, own, steps_for, yardsticks
from records import edm_record, flow_record, gaussian_record

MODELS = {
    "ddim": (lambda: DDIMScheduler(**SD_BETAS, steps_offset=1, clip_sample=False), statistics),
    "karras": (
        lambda: DPMSolverMultistepScheduler(
            **SD_BETAS, use_karras_sigmas=True, solver_order=3, algorithm_type="sde-dpmsolver++"
        ),
        statistics,
    ),
    "flow": (lambda: FlowMatchEulerDiscreteScheduler(shift=3.0), flow_record),
    "flow of betas": (
        lambda: UniPCMultistepScheduler(use_flow_sigmas=True, prediction_type="flow_prediction", flow_shift=3.0),
        flow_record,
    ),
    "edm": (EDMEulerScheduler, edm_record),
}


@pytest.fixture(params=MODELS)
def found(request):
    scheduler, record = (make() for make in MODELS[request.param])
    return scheduler, record, *contenders(scheduler, record)


def test_each_is_what_its_code_makes_of_the_pipeline(found, tmp_path) -> None:
    scheduler, record, entrants, _ = found
    record.save(tmp_path)
    for one in entrants[1:]:
        pipe = SimpleNamespace(scheduler=scheduler)
        text = "\n".join(one.code).replace(STATISTICS, str(tmp_path))
        exec(text, {"pipe": pipe, "diffusers": diffusers, "diffusers_deis_sn": diffusers_deis_sn})  # the user's paste
        made, pasted = one.make(), pipe.scheduler
        assert type(made) is type(pasted)
        for each in (made, pasted):
            each.set_timesteps(7)
        assert made.timesteps.tolist() == pasted.timesteps.tolist()
        assert made.sigmas.tolist() == pasted.sigmas.tolist()
        assert len(made.timesteps) == 7


def test_what_another_scheduler_left_in_the_config_changes_none(found) -> None:
    entrants = found[2]
    for one in entrants[1:]:
        made = one.make()
        if "DPM++ 2M" in one.name and not one.ours:
            assert made.config["solver_order"] == 2
            assert not str(made.config.get("algorithm_type", "")).startswith("sde")
            assert bool(made.config.get("use_karras_sigmas")) == ("Karras" in one.name)


def test_flows_keep_their_shift() -> None:
    for name in ("flow", "flow of betas"):
        scheduler, record = (make() for make in MODELS[name])
        made = {one.name: one.make() for one in contenders(scheduler, record)[0]}
        assert made["DPM++ 2M"].config["flow_shift"] == made["UniPC"].config["flow_shift"] == 3.0


def test_the_pipelines_own_is_a_copy() -> None:
    scheduler = DDIMScheduler(**SD_BETAS)
    one = own(scheduler)
    one.make().set_timesteps(3)
    assert scheduler.num_inference_steps is None
    assert one.name == "DDIM (the pipeline's own)" and not one.note
    assert "noise of its own" in own(EulerAncestralDiscreteScheduler(**SD_BETAS)).note
    assert own(DEISSNScheduler(**SD_BETAS)).ours


def test_who_cannot_serve_is_left_out_with_a_reason() -> None:
    scheduler = DDIMScheduler(**SD_BETAS)
    entrants, skipped = contenders(scheduler, gaussian_record())
    names = {one.name: one.reason for one in skipped}
    assert "DEIS-SN" in names  # statistics of another noise schedule
    assert "noise schedule" in names["DEIS-SN"]
    assert not any(one.ours for one in entrants)
    skipped = {one.name: one.reason for one in contenders(EDMEulerScheduler(), edm_record())[1]}
    assert skipped["UniPC"].startswith("Diffusers' UniPC does not know")
    assert skipped.keys() == {"UniPC"}  # EDM Euler is the pipeline's own


def test_network_calls_are_those_that_a_scheduler_plans() -> None:
    pndm = PNDMScheduler(**SD_BETAS, skip_prk_steps=True)
    assert calls_of(pndm, 8) == 9 and steps_for(pndm, 8) == 7
    heun = HeunDiscreteScheduler(**SD_BETAS)
    assert calls_of(heun, 5) == 9 and steps_for(heun, 10) == 5
    assert steps_for(DDIMScheduler(**SD_BETAS), 10) == 10
    assert calls_of(object(), 5) == 5


@pytest.mark.parametrize("model", MODELS)
def test_yardsticks_are_none_of_ours_and_end_at_clean_data(model: str) -> None:
    candidates = yardsticks(MODELS[model][0]())
    assert len(candidates) == 2 and not any(one.ours for one in candidates)
    for one in candidates:
        made = one.make()
        made.set_timesteps(50)
        assert type(made).__module__.startswith("diffusers.")
        assert one.name == "DDIM" or float(made.sigmas[-1]) == 0.0


def test_plans_are_a_contender_of_their_own_beside_deis_sn_without_them() -> None:
    scheduler = DDIMScheduler(**SD_BETAS)
    found = {one.name: one for one in contenders(scheduler, planned(5, 8), (5, 8))[0] if one.ours}
    assert list(found) == ["DEIS-SN", "ScoreOptimal", "DEIS-SN (tuned)"]
    assert found["DEIS-SN"].code[1].endswith(f'stats="{STATISTICS}", tuned=False)')
    assert found["DEIS-SN (tuned)"].code[1].endswith(f'stats="{STATISTICS}")')
    assert found["DEIS-SN (tuned)"].takes_part(8) and not found["DEIS-SN (tuned)"].takes_part(6)
    assert all(found[name].takes_part(6) for name in ("DEIS-SN", "ScoreOptimal"))
    for name, plan in (("DEIS-SN", False), ("DEIS-SN (tuned)", True)):
        made = found[name].make()
        made.set_timesteps(5)
        assert (made.plan is not None) == plan


def test_without_statistics_deis_sn_takes_part_and_score_optimal_cannot() -> None:
    found, skipped = contenders(DDIMScheduler(**SD_BETAS), None)
    ours = [one for one in found if one.ours]
    assert [one.name for one in ours] == ["DEIS-SN"] and "stats" not in ours[0].code[1]
    assert [one.name for one in skipped] == ["ScoreOptimal"]
    assert ours[0].make().statistics is None
