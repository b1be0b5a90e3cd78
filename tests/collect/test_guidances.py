"""Several guidances measured one after another: the same numbers as each alone, and nothing lost in between."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from benchmarks.exact.flows import SD_BETAS
from diffusers_deis_sn import DEISSNScheduler, ScoreStatistics, calibrate
from diffusers_deis_sn.collect.dry_run import dry_run
from diffusers_deis_sn.collect.guidances import guidances, part, parts
from diffusers_deis_sn.core.vp import vp_schedule
from diffusers_deis_sn.errors import CalibrationError, CalibrationInterruptedError, CheckpointError
from exact_pipelines import ExactPipeline, gaussian_network
from refusals import refused
from tiny_pipelines import BUILDERS

QUICK = {"num_samples": 3, "num_inference_steps": 4, "batch_size": 2, "trials": 0, "progress": False}
SCALES = [3.0, 1.0, 5.0]


class Guided(ExactPipeline):
    """Two exact networks, of narrow and of wide data, the first guided away from the second."""

    def __init__(self) -> None:
        noise = vp_schedule(**SD_BETAS)
        super().__init__(gaussian_network(noise, 0.3), (2, 4))
        self.other, self.unet, self.scales = gaussian_network(noise, 1.0), None, list[float]()

    def __call__(self, batch_size=1, generator=None, num_inference_steps=50, guidance_scale=2.0):
        self.scales.append(guidance_scale)
        narrow = gaussian_network(vp_schedule(**SD_BETAS), 0.3)
        self.epsilon = lambda x, t: self.other(x, t) + guidance_scale * (narrow(x, t) - self.other(x, t))
        return super().__call__(batch_size, generator, num_inference_steps)


@pytest.mark.parametrize("trials", [0, 2])
def test_each_guidance_has_the_numbers_that_it_has_alone(trials, monkeypatch):
    from diffusers_deis_sn.collect import run

    monkeypatch.setattr(run, "MENU", run.MENU[:2])
    monkeypatch.setattr(run, "CALLS", (2, 3))
    options = QUICK | {"trials": trials}
    pipe = Guided()
    before = pipe.scheduler
    found = calibrate(pipe, guidance_scale=SCALES, **options)
    assert pipe.scheduler is before and found.guidances == (1.0, 3.0, 5.0)
    for scale in SCALES:
        assert found.at(scale) == calibrate(Guided(), guidance_scale=scale, **options)
    assert (found.trials is None) == (trials == 0)


def test_a_list_of_one_is_that_one():
    assert calibrate(Guided(), guidance_scale=[3.0], **QUICK) == calibrate(Guided(), guidance_scale=3.0, **QUICK)


def test_after_an_interruption_what_was_measured_is_not_measured_again(tmp_path):
    checkpoint = tmp_path / "state.checkpoint.safetensors"
    expected = calibrate(Guided(), guidance_scale=SCALES, **QUICK)
    pipe = Guided()
    pipe.fail_at = (2 * 5 + 7, KeyboardInterrupt())  # two batches of five calls each, and the second of the next
    options = QUICK | {"checkpoint": checkpoint}
    with pytest.raises((KeyboardInterrupt, CalibrationInterruptedError)):
        calibrate(pipe, guidance_scale=SCALES, **options)
    assert sorted(one.name for one in tmp_path.iterdir()) == [
        "state.checkpoint.g1.safetensors",
        "state.checkpoint.g3.safetensors",
    ]
    words = [str(part(checkpoint, 1.0)), "resume=True"]
    refused(CheckpointError, words, lambda: calibrate(Guided(), guidance_scale=SCALES, **options))
    again = Guided()
    assert calibrate(again, guidance_scale=SCALES, resume=True, **options) == expected
    assert again.scales == [3.0, 5.0, 5.0]  # guidance 1 was through, and half of guidance 3


def test_where_one_of_them_is_unfinished_none_is_begun(tmp_path):
    checkpoint = tmp_path / "state.safetensors"
    calibrate(Guided(), guidance_scale=5.0, checkpoint=part(checkpoint, 5.0), **QUICK)
    pipe = Guided()
    words = ["state.g5.safetensors", "resume=True"]
    refused(CheckpointError, words, lambda: calibrate(pipe, guidance_scale=SCALES, checkpoint=checkpoint, **QUICK))
    assert pipe.scales == []


@pytest.mark.parametrize("scales", [[], [3.0, 3.0], [0.5, 3.0], [True, 3.0], ["3", 5], [float("nan"), 1.0], [1.0, 1e9]])
def test_what_are_no_guidances_is_refused(scales):
    pipe = Guided()
    refused(
        CalibrationError, ["`guidance_scale`", "from 1 on"], lambda: calibrate(pipe, guidance_scale=scales, **QUICK)
    )
    assert pipe.scales == []


def test_more_guidances_than_a_file_holds_are_refused_before_they_are_measured():
    refused(CalibrationError, ["101 numbers", "at most 100"], guidances, {"guidance_scale": [*range(1, 102)]})


def test_of_two_kinds_of_guidance_one_may_be_several():
    both = {"guidance_scale": [1.0, 3.0], "true_cfg_scale": [1.0, 4.0]}
    refused(CalibrationError, ["`guidance_scale`"], guidances, both)
    assert guidances({"guidance_scale": 3.5, "true_cfg_scale": (4.0, 1.0)}) == ("true_cfg_scale", (1.0, 4.0))
    assert guidances({"guidance_scale": 3.5}) is None and guidances({}) is None


def test_a_network_that_is_told_its_guidance_has_one():
    pipe = Guided()
    pipe.unet = SimpleNamespace(config=SimpleNamespace(time_cond_proj_dim=256))
    refused(
        CalibrationError, ["distilled", "guidance_scale=3.5"], lambda: calibrate(pipe, guidance_scale=SCALES, **QUICK)
    )


def test_checkpoints_lie_beside_one_another(tmp_path):
    path = tmp_path / ".s.checkpoint.safetensors"
    assert parts(path, {"eta": 0.0}) == {path: {"eta": 0.0}}
    found = parts(path, {"guidance_scale": [7.5, 1], "eta": 0.0})
    assert {one.name: arguments for one, arguments in found.items()} == {
        ".s.checkpoint.g1.safetensors": {"guidance_scale": 1.0, "eta": 0.0},
        ".s.checkpoint.g7.5.safetensors": {"guidance_scale": 7.5, "eta": 0.0},
    }


def test_a_dry_run_counts_all_of_them():
    options = {"num_samples": 4, "num_inference_steps": 4, "batch_size": 2, "trials": 2}
    one, three = dry_run(Guided(), guidance_scale=3.0, **options), dry_run(Guided(), guidance_scale=SCALES, **options)
    assert (three.least, three.most, three.trials) == (3 * one.least, 3 * one.most, 3 * one.trials)


def test_a_pipeline_of_diffusers_is_measured_and_served_at_several():
    pipe, arguments = BUILDERS["sd"]()
    found = calibrate(pipe, ["a red seven"], guidance_scale=[1.0, 4.0], output_type="latent", **QUICK)
    assert not torch.allclose(*(torch.from_numpy(one.mean_abs) for one in found.members), rtol=1e-6)
    pipe.scheduler = DEISSNScheduler.from_config(pipe.scheduler.config, stats=found)
    pipe(**arguments | {"num_inference_steps": 2, "guidance_scale": 2.0, "output_type": "latent"})
    r = found.at(2.0)
    assert isinstance(r, ScoreStatistics)
    assert pipe.scheduler.options["guidance_scale"] in (None, 2.0)
    assert pipe.scheduler._planner.statistics == r
