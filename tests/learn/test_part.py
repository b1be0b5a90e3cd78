"""Which part of the process a run goes through: ComfyUI's share of a longer schedule, and shares of the process."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.exact.flows import SD_BETAS
from diffusers_deis_sn import ConfigurationError, ScoreOptimalScheduler, learned_sigmas
from diffusers_deis_sn.core.vp import vp_schedule
from diffusers_deis_sn.learn.part import Part
from records import costed_record, edm_record, flow_record
from refusals import refused


@given(st.integers(1, 60), st.floats(0.05, 1.0))
def test_denoise_is_that_of_comfyui(steps, denoise):
    """`BasicScheduler`: total_steps = int(steps / denoise), of whose sigmas those from -(steps + 1) on are taken."""
    record = costed_record()
    total_steps = int(steps / denoise)
    expected = learned_sigmas(record, total_steps)[-(steps + 1) :]
    np.testing.assert_array_equal(learned_sigmas(record, steps, denoise=denoise), expected)
    assert len(expected) == steps + 1


@pytest.mark.parametrize("steps", [1, 5, 12])
@pytest.mark.parametrize(("start", "end"), [(0.9, None), (0.7, 0.1), (1.0, 0.05), (0.5, 0.0)])
@pytest.mark.parametrize("process", ["vp", "edm", "flow"])
def test_shares_are_the_ends_of_the_scheduler(process, start, end, steps):
    record, config = {
        "vp": (costed_record(vp_schedule(**SD_BETAS), 1.0, np.arange(0.0, 1000.0, 3.0)), SD_BETAS),
        "edm": (edm_record(), {"process": "edm", "sigma_min": 0.002, "sigma_max": 80.0}),
        "flow": (flow_record(), {"use_flow_sigmas": True, "prediction_type": "flow_prediction"}),
    }[process]
    scheduler = ScoreOptimalScheduler(**config, stats=record, start_time=start, end_time=end)
    scheduler.set_timesteps(steps)
    found = learned_sigmas(record, steps, start=start, end=end)
    assert found == pytest.approx(scheduler.sigmas.tolist(), rel=1e-4)


def test_below_the_cleanest_level_the_noise_falls_evenly_to_zero():
    """As the noise table of Diffusers' betas is read between its first entry and clean data."""
    process = vp_schedule()
    record = costed_record(process, times=np.arange(0.0, 1000.0, 3.0))
    for share in (0.001, 0.0007, 0.0001):
        assert learned_sigmas(record, 5, end=share)[-1] == pytest.approx(float(process.level(share)), rel=1e-9)
    assert learned_sigmas(record, 5, end=0.0)[-1] == 0.0


@pytest.mark.parametrize(
    ("part", "word"),
    [
        ({"start": 0.0}, "`start`"),
        ({"start": 1.1}, "1.1"),
        ({"start": "half"}, "'half'"),
        ({"start": True}, "True"),
        ({"end": -0.1}, "`end`"),
        ({"start": 0.3, "end": 0.4}, "0.4"),
        ({"denoise": 0.0}, "`denoise`"),
        ({"denoise": float("nan")}, "nan"),
        ({"denoise": 2}, "2"),
    ],
    ids=str,
)
def test_what_is_no_part_is_refused(part, word):
    refused(ConfigurationError, [word], Part, **part)


def test_a_part_in_words():
    assert str(Part()) == "" and Part().whole and not Part(denoise=0.5).whole
    assert str(Part(0.5, 0.1, 0.25)) == "from 0.5 to 0.1 of the process, the last 0.25 of it"
    assert str(Part(denoise=0.25)) == "the last 0.25 of it" and str(Part(end=0.1)) == "to 0.1 of the process"


def test_a_share_of_next_to_nothing_is_refused_before_it_fills_the_memory():
    words = ["`denoise`", "10000000000", "larger share"]
    refused(ConfigurationError, words, learned_sigmas, costed_record(), 10, denoise=1e-9)
