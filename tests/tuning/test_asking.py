"""A pipeline as a function: what its network says of any samples at any level, and nothing left behind."""

from __future__ import annotations

from functools import cache, partial
from typing import Any

import numpy as np
import pytest
import torch

from diffusers_deis_sn import DEISSNScheduler
from diffusers_deis_sn.core.grids import Power, Whole
from diffusers_deis_sn.core.solvers import Multistep
from diffusers_deis_sn.core.tuned import Tuned
from diffusers_deis_sn.tuning.asking import Asker
from diffusers_deis_sn.tuning.model import Model
from diffusers_deis_sn.tuning.running import Running
from tiny_pipelines import BUILDERS
from toy_models import PROCESSES, ToyPipeline, noise, output
from tunings import asked

SOLVER = {"solver": Multistep(2, of="data"), "grid": Whole(Power("t", 1.5))}


@pytest.mark.parametrize("name", PROCESSES)
def test_it_says_what_the_network_says(name):
    pipe = ToyPipeline(name)
    before = pipe.scheduler
    with Asker(pipe, asked(pipe)) as asker:
        assert pipe.scheduler is not before
        starts = torch.cat([torch.randn(1, 2, 4, 4, generator=torch.Generator().manual_seed(i)) for i in range(5)])
        torch.testing.assert_close(asker.start, starts)
        assert (asker.noise.kind, asker.prediction, asker.asked) == (pipe.process.kind, pipe.prediction, 5)
        process, prediction = PROCESSES[name]
        for level in (5.0, 0.1, 1.0, 1.0):  # in any order
            level = float(process.whole(np.array([level, 0.0]))[0])
            x = noise(5, 3) * float(process.sigma([level])[0])
            torch.testing.assert_close(
                asker(x.float(), level).double(), output(x, level, process, prediction), rtol=1e-3, atol=2e-5
            )
    assert pipe.scheduler is before
    assert pipe.calls == 3 + 4 * 3  # three batches


TAKEN = ("sd", "sdxl", "flux", "sd3", "sd3_dynamic", "pixart_alpha", "wan", "ddim", "sana", "lumina2")


@cache
def built(name: str) -> Any:
    return BUILDERS[name]()


@pytest.mark.parametrize("name", TAKEN)
def test_a_run_by_questions_is_the_pipelines_own(name):
    pipe, options = built(name)
    options = dict(options)
    prompts = options.pop("prompt", None)
    if "output_type" in options and getattr(pipe, "vae", None) is not None:
        options["output_type"] = "latent"
    calls = asked(
        pipe, 2, 1 if prompts is None else 2, **({} if prompts is None else {"prompts": [prompts]}), **options
    )
    make = partial(DEISSNScheduler.from_config, dict(pipe.scheduler.config), stats=False, **SOLVER)
    scheduler = make()
    expected = Running(pipe, calls).ends(lambda: scheduler, 4)
    tuned = Tuned.of_plan(scheduler._run.plan)
    with Asker(pipe, calls) as asker:
        model = Model(asker.noise, asker.prediction, asker, asker.start)
        assert asker.shift == pytest.approx(scheduler._run.shift)
        found = model.run(tuned)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()))


def test_an_error_within_the_block_stops_all_batches():
    pipe = ToyPipeline()
    with pytest.raises(KeyboardInterrupt), Asker(pipe, asked(pipe)) as asker:
        raise KeyboardInterrupt
    assert not any(batch._thread.is_alive() for batch in asker._batches.values())
