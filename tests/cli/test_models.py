"""Options that several commands share."""

from __future__ import annotations

import pytest

from diffusers_deis_sn.cli.choices import Offload, Precision
from diffusers_deis_sn.cli.models import call_options, loading
from diffusers_deis_sn.errors import CalibrationError


def test_options_with_flags_of_their_own_join_those_by_name() -> None:
    assert call_options(["eta=0", "height=64"], {"width": 32, "guidance_scale": None}) == {
        "eta": 0,
        "height": 64,
        "width": 32,
    }


def test_what_is_given_twice_is_refused() -> None:
    with pytest.raises(CalibrationError, match="`height` is given twice"):
        call_options(["height=64"], {"height": 32})


@pytest.mark.parametrize("name", ["num_inference_steps", "batch_size", "seed", "trials", "checkpoint", "statistics"])
def test_what_is_an_argument_of_ours_is_none_of_a_pipeline(name) -> None:
    with pytest.raises(CalibrationError, match=f"--arg {name} is an argument of this package"):
        call_options([f"{name}=3"], {})


def test_all_that_says_which_model_is_meant_is_handed_on() -> None:
    one = loading("user/model", "cuda", Precision.float16, Offload.model, "fp16", None, None, None, "main")
    assert (one.place, one.device, one.dtype, one.offload) == ("user/model", "cuda", "float16", "model")
    assert (one.variant, one.revision, one.loras, one.vae, one.config) == ("fp16", "main", (), None, None)
