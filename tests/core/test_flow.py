"""Flow matching: sigma and rho, and shifts by resolution."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffusers_deis_sn.core.flow import FlowSchedule, equal_sigmas, shift_factor
from diffusers_deis_sn.errors import ConfigurationError, NoiseScheduleError
from refusals import refused

FLOW = FlowSchedule()


@given(st.floats(1e-3, 0.999), st.floats(0.1, 12.0))
def test_a_shift_is_that_of_stable_diffusion_3(sigma, shift):
    """sigma' = s sigma / (1 + (s - 1) sigma), arXiv 2403.03206, eq. 23."""
    levels = FLOW.from_sigma([sigma, 0.0])
    moved = FLOW.as_sigma(FLOW.shifted(levels, shift))
    assert moved == pytest.approx([shift * sigma / (1.0 + (shift - 1.0) * sigma), 0.0], rel=1e-9)


@pytest.mark.parametrize("terminal", [0.02, 0.3])
def test_a_terminal_level_stretches_what_is_left_of_the_signal(terminal):
    sigmas = np.array([1.0, 0.8, 0.5, 0.1, 0.0])
    moved = FLOW.as_sigma(FLOW.shifted(FLOW.from_sigma(sigmas), 1.0, terminal))
    assert moved[-2] == pytest.approx(terminal) and moved[0] == 1.0 and moved[-1] == 0.0
    ratio = (1.0 - moved[1:-1]) / (1.0 - sigmas[1:-1])
    assert ratio == pytest.approx(ratio[0])


def test_noise_alone_has_a_level():
    assert (
        FLOW.as_sigma(FLOW.top) == 1.0
        and FLOW.from_sigma(1.0) == FLOW.top
        and FLOW.as_sigma(FLOW.bottom) == pytest.approx(0.001)
    )


def test_only_equal_steps_from_one_are_a_number():
    assert equal_sigmas([1.0, 0.75, 0.5, 0.25]) == 4 and equal_sigmas(np.linspace(1.0, 0.1, 10)) == 10
    for other in (None, [], [0.9, 0.6, 0.3], [1.0, 0.5, 0.0], [[1.0]]):
        assert equal_sigmas(other) is None


@pytest.mark.parametrize(("mu", "kind", "factor"), [(0.0, "exponential", 1.0), (2.0, "linear", 2.0)])
def test_a_resolution_is_a_factor(mu, kind, factor):
    assert shift_factor(mu, kind) == factor
    for wrong in ("1", True, -1e9):
        refused(ConfigurationError, ["`mu`", repr(wrong)], shift_factor, wrong, kind)


def test_a_flow_of_no_time_is_none():
    refused(NoiseScheduleError, ["`num_train_timesteps`", "0"], FlowSchedule, 0)


@given(st.floats(1e-6, 1.0), st.sampled_from([1, 2, 1000]))
def test_networks_may_be_called_with_sigma_itself(sigma, times):
    """T = 1 is a scale and no number of levels: there are as many as with others, down to whatever is asked for."""
    flow = FlowSchedule(times)
    assert float(flow.time(flow.from_sigma(sigma))) == pytest.approx(times * sigma, rel=1e-6)
    assert float(flow.rho(times * sigma)) == pytest.approx(float(flow.from_sigma(sigma)), rel=1e-6)
    assert flow.call_times(flow.from_sigma([sigma]))[0] == pytest.approx(times * sigma, rel=1e-4)
    assert (len(flow), float(flow.as_sigma(flow.bottom))) == (
        (1000, pytest.approx(1e-3)) if times == 1 else (times, pytest.approx(1.0 / times))
    )
    assert flow.fingerprint != FlowSchedule(1000).fingerprint or times == 1000
