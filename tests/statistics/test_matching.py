"""Whose statistics they are: of the noise schedule and the prediction type that were measured, and of no other."""

from __future__ import annotations

import pytest

from diffusers_deis_sn.core.vp import vp_schedule
from diffusers_deis_sn.errors import StatisticsMismatchError
from records import gaussian_record


def test_the_measured_model_is_accepted():
    gaussian_record().check(vp_schedule(), "epsilon")


def test_another_noise_schedule_is_refused_with_both_named():
    measured, at_hand = vp_schedule(), vp_schedule(beta_schedule="squaredcos_cap_v2")
    with pytest.raises(StatisticsMismatchError) as error:
        gaussian_record(measured).check(at_hand, "epsilon")
    for fragment in (measured.name, measured.fingerprint, at_hand.name, at_hand.fingerprint, "deis-sn calibrate"):
        assert fragment in str(error.value)


def test_an_unknown_fingerprint_does_not_hide_another_noise_schedule():
    record = gaussian_record().with_origin(fingerprint=None, noise_schedule=None)
    record.check(vp_schedule(), "epsilon")
    with pytest.raises(StatisticsMismatchError, match="unnamed"):
        record.check(vp_schedule(beta_end=0.021), "epsilon")


def test_a_right_fingerprint_does_not_hide_a_wrong_log_snr():
    record = gaussian_record(vp_schedule(beta_end=0.021)).with_origin(fingerprint=vp_schedule().fingerprint)
    with pytest.raises(StatisticsMismatchError, match="log SNR"):
        record.check(vp_schedule(), "epsilon")


def test_another_prediction_type_is_refused_with_both_named():
    with pytest.raises(StatisticsMismatchError, match="'epsilon', and this one predicts 'v_prediction'"):
        gaussian_record().check(vp_schedule(), "v_prediction")
    gaussian_record().with_origin(prediction_type=None).check(vp_schedule(), "v_prediction")
