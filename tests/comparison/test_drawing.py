"""One run: the end as the scheduler sees it, the pipeline's own pictures, and the scheduler as it was."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, PNDMScheduler
from PIL import Image

from benchmarks.exact.flows import SD_BETAS
from comparisons import EVENT, pipeline, planned
from diffusers_deis_sn import DEISSNScheduler
from diffusers_deis_sn.collect.calls import plan_calls
from diffusers_deis_sn.comparison.drawing import Easel, Watch, pictures_in, watched
from diffusers_deis_sn.errors import ComparisonError
from tiny_pipelines import BUILDERS


def easel(pipe, prompts=None, **options) -> Easel:
    return Easel(pipe, plan_calls(pipe, prompts, 10, 0, options))


def test_the_end_is_the_last_sample_of_the_scheduler() -> None:
    pipe = pipeline()
    drawn = easel(pipe).draw(DDIMScheduler(**SD_BETAS), 5, 2, 3, True)
    pipe.scheduler = DDIMScheduler(**SD_BETAS)
    alone = pipe(3, [torch.Generator().manual_seed(2 + i) for i in range(3)], 5).images
    assert torch.equal(drawn.ends, alone.float())
    assert drawn.calls == len(drawn.timesteps) == 5
    assert len(drawn.pictures) == 3 and drawn.pictures[0].size == EVENT[1:]
    assert drawn.seconds > 0.0


def test_samples_do_not_depend_on_the_batch() -> None:
    pipe = pipeline()
    whole = easel(pipe).draw(DDIMScheduler(**SD_BETAS), 5, 0, 4, False)
    half = easel(pipe).draw(DDIMScheduler(**SD_BETAS), 5, 2, 2, False)
    assert torch.equal(whole.ends[2:], half.ends)
    assert half.pictures is None


def test_latents_are_caught_and_pictures_are_those_of_the_pipeline() -> None:
    pipe, _ = BUILDERS["sd"]()
    drawn = easel(pipe, ["a fox", "an owl"], height=32, width=32).draw(pipe.scheduler, 3, 0, 2, True)
    assert drawn.ends.shape[:2] == (2, 4) and drawn.ends.dtype == torch.float32
    generators = [torch.Generator().manual_seed(i) for i in range(2)]
    alone = pipe(["a fox", "an owl"], num_inference_steps=3, generator=generators, height=32, width=32).images
    assert [np.asarray(one).tolist() for one in drawn.pictures] == [np.asarray(one).tolist() for one in alone]


def test_the_plan_that_a_run_would_follow_is_known_without_a_network_call() -> None:
    pipe, stats = pipeline(), planned(5)
    one = easel(pipe)
    make = partial(DEISSNScheduler.from_config, pipe.scheduler.config, stats=stats)
    assert one.plan(make(), 5) == stats.plans.entries[0] and one.plan(make(), 6) is None
    assert one.plan(make(tuned=False), 5) is None
    assert pipe.rows == []


def test_ours_see_the_guidance_of_the_pipeline_through_the_watch() -> None:
    pipe, _ = BUILDERS["sd"]()
    scheduler = DEISSNScheduler.from_config(pipe.scheduler.config)
    easel(pipe, ["a fox"], guidance_scale=4.5, height=32, width=32).draw(scheduler, 4, 0, 1, False)
    assert scheduler._cursor.guidance.read() == 4.5


def test_calls_of_pndm_are_counted_as_they_are() -> None:
    drawn = easel(pipeline()).draw(PNDMScheduler(**SD_BETAS, skip_prk_steps=True), 6, 0, 1, False)
    assert drawn.calls == 7


def test_the_scheduler_is_as_it_was_whatever_happens() -> None:
    scheduler = DDIMScheduler(**SD_BETAS)
    before = dict(vars(scheduler))
    with pytest.raises(RuntimeError, match="stop"), watched(scheduler, Watch()):
        scheduler.set_timesteps(3)
        raise RuntimeError("stop")
    assert "step" not in vars(scheduler) and "set_timesteps" not in vars(scheduler)
    assert vars(scheduler).keys() == before.keys()


def test_a_run_from_an_image_is_timed_and_counted_as_it_is() -> None:
    pipe, arguments = BUILDERS["sd_img2img"]()
    arguments = {name: value for name, value in arguments.items() if name not in ("prompt", "output_type")}
    one = easel(pipe, ["a fox"], **{**arguments, "strength": 0.5})
    drawn = one.draw(DDIMScheduler(**SD_BETAS, steps_offset=1), 8, 0, 1, True)
    assert drawn.calls == 4 and drawn.seconds > 0.0 and len(drawn.pictures) == 1


def test_samples_that_are_there_twice_count_once() -> None:
    pipe, arguments = BUILDERS["dit"]()
    labels = {name: value for name, value in arguments.items() if name != "output_type"} | {"class_labels": [1, 2]}
    drawn = easel(pipe, None, **labels).draw(pipe.scheduler, 3, 0, 2, True)
    assert len(drawn.ends) == len(drawn.pictures) == 2


def test_steps_are_told() -> None:
    told = []
    one = easel(pipeline())
    one.on_step = lambda done, of: told.append((done, of))
    one.draw(DDIMScheduler(**SD_BETAS), 3, 0, 1, False)
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_a_pipeline_without_steps_is_refused() -> None:
    class Idle:
        scheduler = None

        def __call__(self, generator=None, num_inference_steps=3):
            return SimpleNamespace(images=[])

    with pytest.raises(ComparisonError, match="Idle never called `step`"):
        easel(Idle()).draw(DDIMScheduler(**SD_BETAS), 3, 0, 1, False)


def test_values_that_are_not_finite_are_refused() -> None:
    pipe = pipeline()
    pipe.epsilon = lambda x, t: x * float("nan")
    with pytest.raises(ComparisonError, match="not finite"):
        easel(pipe).draw(DDIMScheduler(**SD_BETAS), 3, 0, 1, False)


@pytest.mark.parametrize(
    ("value", "size"),
    [
        (np.zeros((1, 6, 4, 3)), (4, 6)),
        (torch.zeros(1, 3, 6, 4), (4, 6)),
        (-torch.ones(1, 1, 6, 4), (4, 6)),
        ([Image.new("RGBA", (4, 6))], (4, 6)),
        ([[Image.new("RGB", (1, 1)), Image.new("RGB", (4, 6)), Image.new("RGB", (1, 1))]], (4, 6)),
        (np.zeros((1, 5, 6, 4, 3)), (4, 6)),
    ],
)
def test_pictures_are_found_in_any_output(value, size) -> None:
    name = "frames" if isinstance(value, list) and isinstance(value[0], list) else "images"
    (picture,) = pictures_in(SimpleNamespace(**{name: value}))
    assert picture.size == size and picture.mode == "RGB"


def test_outputs_without_pictures_have_none() -> None:
    assert pictures_in(SimpleNamespace(audios=[0.0])) is None
    assert pictures_in(SimpleNamespace(images=torch.zeros(1, 4, 8, 8))) is None
