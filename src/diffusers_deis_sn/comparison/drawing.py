"""One run of one scheduler through the pipeline's public call: where it ends, the pictures, the time it took.

The pipeline's class need not be known. Its scheduler is replaced for the run, and `step` of the replacement is seen
from outside: the last sample it returns is where the run ends.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from diffusers_deis_sn.collect.calls import PipelineCalls, called, of_each
from diffusers_deis_sn.errors import ComparisonError


@dataclass(frozen=True)
class Drawn:
    """A batch of one run.

    Args:
        ends: The final samples as the scheduler sees them, latents of latent models; (B, *event), float32, on the CPU.
        pictures: What the pipeline makes of them; None where it was not asked, or makes none.
        calls: Network calls that the scheduler saw of each sample.
        seconds: From `set_timesteps` to the last step, without encoding texts or decoding pictures.
        timesteps: Times of the calls.
        sigmas: Noise levels of the calls and the end; empty where the scheduler has none.
    """

    ends: Tensor
    pictures: tuple[Image.Image, ...] | None
    calls: int
    seconds: float
    timesteps: tuple[float, ...] = ()
    sigmas: tuple[float, ...] = ()


@dataclass
class Watch:
    """What `watched` sees of a run."""

    last: Tensor | None = None
    calls: int = 0
    began: float = 0.0
    seconds: float = 0.0
    on_step: Callable[[int, int], None] = field(default=lambda *_: None)


@contextmanager
def watched(scheduler: Any, watch: Watch) -> Iterator[None]:
    """`set_timesteps` and `step` of a scheduler tell `watch` what they do; as they were afterwards."""
    before = {name: vars(scheduler).get(name) for name in ("set_timesteps", "step")}
    plan, step = scheduler.set_timesteps, scheduler.step

    # Pipelines look at the signatures, which `wraps` hands on.
    @functools.wraps(plan)
    def planned(*args: Any, **kwargs: Any) -> Any:
        watch.calls, watch.began = 0, _now()
        return plan(*args, **kwargs)

    @functools.wraps(step)
    def stepped(*args: Any, **kwargs: Any) -> Any:
        result = step(*args, **kwargs)
        sample = result[0] if isinstance(result, tuple) else result.prev_sample
        watch.calls += 1
        total = len(scheduler.timesteps) - (getattr(scheduler, "begin_index", None) or 0)  # from an image it is later
        # Where it is known to be the last the device is waited for, and the sample copied before the pipeline goes on.
        watch.seconds = (_now() if watch.calls >= total else time.perf_counter()) - watch.began
        watch.last = sample.detach()
        if watch.calls >= total:
            watch.last = watch.last.to("cpu", torch.float32, copy=True)
        watch.on_step(watch.calls, total)
        return result

    scheduler.set_timesteps, scheduler.step = planned, stepped
    try:
        yield
    finally:
        for name, one in before.items():
            if one is None:
                delattr(scheduler, name)
            else:
                setattr(scheduler, name, one)


@dataclass
class Easel:
    """Draws batches through one pipeline.

    Args:
        pipe: The pipeline; its scheduler is replaced for each run, and is the caller's to put back.
        calls: How to call it.
        on_step: Told after each step which it was, and of how many.
    """

    pipe: Any
    calls: PipelineCalls
    on_step: Callable[[int, int], None] = field(default=lambda *_: None)

    def draw(self, scheduler: Any, steps: int, first: int, count: int, pictures: bool) -> Drawn:
        """Samples `first` to `first + count - 1` by a scheduler in so many steps.

        Args:
            scheduler: Made for this run.
            steps: `num_inference_steps` of the pipeline.
            first: Number of the first sample, which has the noise of its seed.
            count: How many.
            pictures: Whether pictures are wanted; otherwise latents are not decoded where that can be left out.

        Raises:
            SeveralError: The pipeline draws one a call.
            ComparisonError: The pipeline never calls its scheduler, draws another number of samples, or ends in values
                that are not finite.
        """
        fixed = {**self.calls.fixed, "num_inference_steps": steps}
        if pictures and fixed.get("output_type") == "latent":
            del fixed["output_type"]  # the pipeline's own, which is pictures of some kind
        arguments = replace(self.calls, fixed=fixed).arguments(first, count)
        watch = Watch(on_step=self.on_step)
        self.pipe.scheduler = scheduler
        with watched(scheduler, watch), torch.no_grad():
            output = called(self.pipe, arguments)
        if watch.last is None:
            raise ComparisonError(
                f"{type(self.pipe).__name__} never called `step` of its scheduler. Only pipelines that sample with "
                "`pipe.scheduler` can be compared."
            )
        ends = of_each(watch.last.to("cpu", torch.float32), count)
        if len(ends) != count:
            raise ComparisonError(
                f"{type(self.pipe).__name__} drew {len(ends)} samples where {count} were asked for. Pass what holds a "
                "value for each sample as a list."
            )
        if not bool(torch.isfinite(ends).all()):
            raise ComparisonError("The run ends in values that are not finite.")
        return Drawn(
            ends,
            pictures_in(output) if pictures else None,
            watch.calls,
            watch.seconds,
            _numbers(getattr(scheduler, "timesteps", ())),
            _numbers(getattr(scheduler, "sigmas", ())),
        )

    def plan(self, scheduler: Any, steps: int) -> Any:
        """The plan of the statistics that a run of the pipeline would follow; None for none. No network is called.

        Args:
            scheduler: One of ours, made for this.
            steps: `num_inference_steps` of the pipeline.
        """
        set_timesteps = scheduler.set_timesteps

        @functools.wraps(set_timesteps)
        def planned(*args: Any, **kwargs: Any) -> None:
            set_timesteps(*args, **kwargs)
            raise _Planned

        scheduler.set_timesteps = planned
        self.pipe.scheduler = scheduler
        fixed = {**self.calls.fixed, "num_inference_steps": steps}
        with suppress(_Planned), torch.no_grad():
            self.pipe(**replace(self.calls, fixed=fixed).arguments(0, 1))
        return scheduler.plan


class _Planned(Exception):  # noqa: N818 - it is no error: a run is planned, and that was all
    """Ends the call of a pipeline when its run is planned."""


def pictures_in(output: Any) -> tuple[Image.Image, ...] | None:
    """The pictures of a pipeline's output, of a film the frame in the middle; None where there are none."""
    found = next((value for name in ("images", "frames") if (value := getattr(output, name, None)) is not None), None)
    if found is None:
        return None
    pictures = []
    for one in found:
        if isinstance(one, list | tuple) and one:
            one = one[len(one) // 2]
        picture = one if isinstance(one, Image.Image) else _as_picture(one)
        if picture is None:
            return None
        pictures.append(picture.convert("RGB"))
    return tuple(pictures)


def _as_picture(values: Any) -> Image.Image | None:
    """A picture of an array with channels first or last, in [0, 1] or [-1, 1]; None of other arrays."""
    array = np.asarray(values.detach().cpu().float() if isinstance(values, Tensor) else values, dtype=np.float64)
    if array.ndim == 4:
        array = array[len(array) // 2]
    if array.ndim == 3 and array.shape[0] in (1, 3):
        array = array.transpose(1, 2, 0)
    if array.ndim != 3 or array.shape[2] not in (1, 3):
        return None
    if array.min() < 0.0:
        array = (array + 1.0) / 2.0
    array = (255.0 * array.clip(0.0, 1.0)).round().astype(np.uint8)
    return Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array)


def _numbers(values: Any) -> tuple[float, ...]:
    return tuple(float(one) for one in torch.as_tensor(values, device="cpu").flatten().tolist())


def _now() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()
