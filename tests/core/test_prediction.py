"""Views of a network agree with one another and with Diffusers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers import DEISMultistepScheduler
from hypothesis import given
from hypothesis import strategies as st

from diffusers_deis_sn.core.prediction import PREDICTION_TYPES, output_map
from diffusers_deis_sn.errors import ConfigurationError

pytestmark = pytest.mark.filterwarnings("ignore:__array:DeprecationWarning")  # Diffusers calls NumPy on tensors


@given(st.floats(0.01, 0.999))
def test_views_of_one_model_agree(alpha):
    sigma = (1.0 - alpha**2) ** 0.5
    x0, eps = np.random.default_rng(0).normal(size=(2, 16))
    x = alpha * x0 + sigma * eps
    outputs = {"epsilon": eps, "sample": x0, "v_prediction": alpha * eps - sigma * x0}
    assert outputs.keys() == set(PREDICTION_TYPES["vp"])
    for name, output in outputs.items():
        a, b = map(float, output_map("noise", name, alpha, sigma))
        assert a * output + b * x == pytest.approx(eps, abs=1e-9)


@pytest.mark.parametrize("name", PREDICTION_TYPES["vp"])
def test_views_are_those_of_diffusers(name):
    theirs = DEISMultistepScheduler(prediction_type=name)
    theirs.set_timesteps(10)
    theirs._step_index = 4
    sigma = float(theirs.sigmas[4])
    alpha, sigma = 1.0 / (1.0 + sigma**2) ** 0.5, sigma / (1.0 + sigma**2) ** 0.5
    output, x = torch.randn(2, 3, 8)
    a, b = map(float, output_map("noise", name, alpha, sigma))
    assert torch.allclose(a * output + b * x, theirs.convert_model_output(output, sample=x), rtol=1e-5, atol=1e-6)


def test_unknown_prediction_type_is_refused():
    with pytest.raises(ConfigurationError) as raised:
        output_map("noise", "banana", 0.6, 0.8)
    for word in ("'banana'", *PREDICTION_TYPES["vp"], "model's own scheduler config"):
        assert word in str(raised.value)
