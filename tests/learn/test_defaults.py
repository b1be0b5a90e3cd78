"""The default without statistics: more calls and less guidance are never more careful."""

from __future__ import annotations

from itertools import pairwise

import pytest

from diffusers_deis_sn.learn.defaults import unmeasured

CALLS, GUIDANCES = range(1, 61), (None, 0.0, 1.0, 2.0, 3.0, 5.0, 7.5, 15.0)


@pytest.mark.parametrize("path", ["vp", "flow", "ve"])
def test_without_trials_more_calls_and_less_guidance_are_never_more_careful(path):
    """Corrections come and damping goes with calls, the other way round with guidance; times only get denser."""
    for one in GUIDANCES:
        found = [unmeasured(calls, one, path) for calls in CALLS]
        for few, more in pairwise(found):
            assert few.corrector_order <= more.corrector_order and few.share <= more.share
            assert (few.grid_exponent or 0.0) <= (more.grid_exponent or 0.0)
            assert (few.final_sigmas_type, more.final_sigmas_type) != ("zero", "sigma_min")
        assert found[-1].share == 1.0 and found[-1].corrector_order == 2
    for calls in CALLS:
        ranked = [unmeasured(calls, one, path) for one in GUIDANCES[1:]]
        for weak, strong in pairwise(ranked):
            assert weak.corrector_order >= strong.corrector_order and weak.share >= strong.share


def test_without_trials_only_models_of_betas_end_above_zero_and_nothing_unguided_is_damped():
    for path in ("vp", "flow", "ve"):
        found = [unmeasured(calls, guidance, path) for calls in CALLS for guidance in GUIDANCES]
        assert any(one.final_sigmas_type == "sigma_min" for one in found) == (path == "vp")
        assert all(unmeasured(calls, 1.0, path).share == 1.0 for calls in CALLS if calls > 2)
        assert unmeasured(5, 7.5, path).share < 1.0 and unmeasured(5, 7.5, path).corrector_order == 0
        assert {one.integrand for one in found} == {"data"} and {one.solver_order for one in found} == {2}
    assert unmeasured(5, None) == unmeasured(5, 3.0) and unmeasured(5, 0.0) == unmeasured(5, 1.0)
