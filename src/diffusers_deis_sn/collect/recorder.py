"""A scheduler that samples as plain DEIS, takes down what it sees, and looks sideways where it is asked to."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from diffusers_deis_sn.collect.bends import Bends
from diffusers_deis_sn.collect.calls import of_each
from diffusers_deis_sn.collect.ledger import BENDS, COST, MOMENTS, Ledger
from diffusers_deis_sn.collect.planning import RecordingPlanner
from diffusers_deis_sn.collect.probing import Costs, ProbeGroup
from diffusers_deis_sn.collect.reducers import moments_of
from diffusers_deis_sn.collect.results import statistics_of, uncertainty_of
from diffusers_deis_sn.collect.versions import versions
from diffusers_deis_sn.core.grids import Power, Whole
from diffusers_deis_sn.core.plan import Plan, Raw
from diffusers_deis_sn.core.step import HALF, threshold
from diffusers_deis_sn.errors import CalibrationError, StepError
from diffusers_deis_sn.learn.costs import Question
from diffusers_deis_sn.schedulers._cursor import Cursor
from diffusers_deis_sn.schedulers._given import Times
from diffusers_deis_sn.schedulers._planner import Planner
from diffusers_deis_sn.schedulers.deis_sn import DEISSNScheduler
from diffusers_deis_sn.statistics.cost import PROBED
from diffusers_deis_sn.statistics.origin import StatisticsOrigin
from diffusers_deis_sn.statistics.record import ScoreStatistics

# The fine trajectory is the same whatever scheduler the pipeline had: what is measured belongs to the model alone.
MEASURING_OPTIONS: dict[str, Any] = {
    "solver": "multistep",
    "solver_order": 2,  # higher orders can overshoot under strong guidance, and 200 steps need none
    "timestep_spacing": "trailing",
    "grid": None,
    "whole_timesteps": False,
    "use_karras_sigmas": False,
    "use_exponential_sigmas": False,
    "use_beta_sigmas": False,
    "start_time": 1.0,
    "end_time": None,
    "final_sigmas_type": "zero",
    "lower_order_final": False,
}
# r falls fastest next to clean data, and paths are longest there: uniform times need four times as many to say as much.
DENSE = Whole(Power("t", 2.0))
SOLVER = "DEIS order {solver_order} in t, {spacing}, by the cleanest level, to sigma zero"
NOISED_DATA = "noised data at {spacing}, and at the cleanest level"


class Steps:
    """How many a recorder has taken; its copies know it, as `of`."""

    def __init__(self, of: Steps | None = None) -> None:
        self.of, self.taken = of, 0

    def __deepcopy__(self, _: Any) -> Steps:
        return Steps(self.of or self)


class RecordingScheduler(DEISSNScheduler):
    """Plain DEIS that reduces |eps| and eps^2 of every step it takes. `RecordingScheduler.measuring` makes one.

    With `costs`, each step is followed by probe steps, which leave the trajectory as it is: the pipeline is handed the
    same sample at the time of the next step, or samples near it, and calls its network on them as on any other.

    Attributes:
        origin: Facts about the measurement that a scheduler cannot know; `measured` adds those it can.
        costs: Costs to be measured, of `COST_ORDERS`; may change between runs.
        ledger: What was taken down so far.
        data: Clean samples of the next run, as the scheduler sees them (latents of latent models), one for each sample
            of the batch, to be noised instead of going along trajectories; (B, *event), or None.
        generators: Of the noise for `data` and of the probes' signs, on the CPU: one for each sample, or one for all.
        asked: Number of samples that the pipeline was asked for; 0 where it decides.
        on_step: Called after each network call with what it adds to the number of samples drawn, a fraction of a batch.
    """

    _silent = True
    _planning = RecordingPlanner

    origin = StatisticsOrigin()
    costs: tuple[str, ...] = ()
    data: Tensor | None = None
    generators: Sequence[torch.Generator] = ()
    asked: int = 0
    on_step: Callable[[float], None] | None = None
    ledger: Ledger
    _steps: Steps
    _bends: Bends
    _progress: dict[float, float]
    _calls_per_step = 1
    _fine = False
    _group = ProbeGroup(())
    _sample_shape: tuple[int, ...] | None = None
    _dtype: torch.dtype | None = None
    _from_data = False
    _clean: Tensor
    _asking: Generator[Question, Tensor, Costs]
    _asked: Tensor
    _after: Tensor

    @classmethod
    def measuring(
        cls, config: dict[str, Any], origin: StatisticsOrigin, costs: Sequence[str] = (), dense: bool = False
    ) -> RecordingScheduler:
        """A recorder for the model whose scheduler has this config.

        Args:
            config: Of the model's scheduler.
            origin: For the record.
            costs: To be measured as well.
            dense: Whether to call the network at times uniform in t^(1/2), for runs that start at noise. Uniform times
                otherwise, of which any share is one of the process.

        Raises:
            CalibrationError: An unknown cost.
            ConfigurationError: A model of a process that is not supported.
        """
        for name in (costs,) if isinstance(costs, str) else costs:
            if isinstance(costs, str) or name not in PROBED:
                raise CalibrationError(f"`costs` may hold {' and '.join(PROBED)}, got {name!r}. Give a tuple of names.")
        options = MEASURING_OPTIONS | ({"grid": DENSE} if dense else {})
        recorder: RecordingScheduler = cls.from_config(config, stats=False, **options)
        recorder.origin = origin
        recorder.costs = tuple(dict.fromkeys(costs))
        recorder._fine = bool(recorder.costs)
        recorder.ledger, recorder._steps = Ledger(), Steps()
        recorder._progress = {}
        recorder.generators = [torch.Generator()]  # the global one belongs to the pipeline
        return recorder

    @property
    def num_samples(self) -> int:
        """Number of samples that every step so far has seen, or the most of them where steps differ."""
        return self.ledger.num_samples

    @property
    def drawn(self) -> int:
        """Number of samples drawn: these, and those that were left out."""
        return self.ledger.drawn

    # ----------------------------------------------------------------------------------------------------- plan

    @property
    def _all_planner(self) -> Planner:
        planner = super()._all_planner
        if isinstance(planner, RecordingPlanner):
            planner.costs, planner.fine = self.costs, self._fine
        return planner

    def _begin_step(self, cursor: Cursor, timestep: float | Tensor, sample: Tensor) -> tuple[Plan, int]:
        """Raises CalibrationError for a run that is cut in the middle of a step's probes."""
        plan, first = cursor.plan, cursor.step is None
        try:
            return super()._begin_step(cursor, timestep, sample)
        except StepError as error:
            n = cursor.step
            if not first or plan is None or n is None or not 0 <= n < len(plan) or plan.starts[n]:
                raise
            raise CalibrationError(
                f"The run begins at call {n}, within the probes of a step: the pipeline cuts its list of times without "
                "regard to `order`, so costs cannot be measured through it. Measure them on full runs (strength=1, no "
                "denoising_start), or use costs=()."
            ) from error

    def set_timesteps(
        self,
        num_inference_steps: int | None = None,
        device: str | torch.device | None = None,
        mu: float | None = None,
        sigmas: Times = None,
        timesteps: Times = None,
    ) -> None:
        """As ever; `order` counts the probes. Pipelines look for the names of the arguments before they pass them."""
        super().set_timesteps(num_inference_steps, device, mu, sigmas, timesteps)
        self.order = self._calls_per_step

    def _adopt(
        self,
        plan: Plan,
        device: str | torch.device | None,
        numbered: bool = True,
        run: Any = None,
        guidance: Any = None,
    ) -> None:
        """Make `plan` the current run. Raises CalibrationError for other times than those of the runs before."""
        self._group = ProbeGroup(self.costs)
        self._calls_per_step = len(self._group) + 1
        shown = self.noise.turned_times(plan.times).tolist()
        times = tuple(time for time, starts in zip(shown, plan.starts, strict=True) if starts)
        if not self.ledger.times:
            self.ledger.begin(times)
        elif times != self.ledger.times:
            raise CalibrationError(
                f"All runs of one recording must have the same times: the first had {_span(self.ledger.times)}, this "
                f"one has {_span(times)}. Call the pipeline with one `num_inference_steps`, or record anew."
            )
        self._bends = Bends()
        self.ledger.expect(self.costs)
        super()._adopt(plan, device, numbered, run, guidance)

    # ----------------------------------------------------------------------------------------------------- step

    def _advance(
        self, cursor: Cursor, plan: Plan, row: int, output: Tensor, sample: Tensor, raw: Raw | None = None
    ) -> Tensor:
        """The next sample of the trajectory, or of the probes that come before it."""
        self._steps.taken += 1
        if row and self._steps.of is not None and not self._steps.of.taken:
            raise CalibrationError(
                "The pipeline takes its steps by copies of its scheduler, one for each frame or view, and none of them "
                "sees a whole sample. Measure the model on its plain pipeline."
            )
        if self.on_step is not None:
            self.on_step(len(of_each(output, self.asked)) / len(plan))
        step, stage = divmod(row, self._calls_per_step)
        if stage:
            self._check_asked(sample)
            return self._answer(plan, row, output, sample)
        self._take_down(plan, step, output)
        self._after = super()._advance(cursor, plan, step, output, sample, raw)
        if step == len(self.ledger.times) - 1:
            return self._after
        if self.data is not None:
            self._after = self._noised(plan, step + 1, sample)
        wide = torch.promote_types(sample.dtype, torch.float32)
        self._asking = self._group.ask(
            sample.to(wide) / plan.alpha[row],
            output.to(wide),
            plan.levels[row],
            plan.levels[row + self._calls_per_step],
            self.generators,
        )
        return self._answer(plan, row, None, sample)

    def _resized(self, cursor: Cursor, plan: Plan, n: int, sample: Tensor) -> None:
        """Refused: what is measured is of samples of one size."""
        raise CalibrationError(
            f"The pipeline changes the size of its samples within a run, to {tuple(sample.shape)}. Measure the model "
            "on its plain pipeline."
        )

    def _answer(self, plan: Plan, row: int, output: Tensor | None, sample: Tensor) -> Tensor:
        """Tell the probes what the network said, and have the next sample from them, or the trajectory's in the end."""
        try:
            wide = torch.promote_types(sample.dtype, torch.float32)
            y, _ = next(self._asking) if output is None else self._asking.send(output.to(wide))
        except StopIteration as done:
            del self._asking  # so that the recorder can be copied again
            for name, costs in done.value.items():
                each = of_each(costs.double(), self.asked).cpu().numpy()
                self.ledger.add(COST + name, row // self._calls_per_step, each.reshape(1, len(each), -1).mean(2))
            return self._after
        self._asked = (y * plan.alpha[row + 1]).to(sample.dtype)
        return self._asked

    def _check_asked(self, sample: Tensor) -> None:
        """Raise CalibrationError where the network was not called on the sample that a probe wanted."""
        if sample is not self._asked and not torch.equal(sample, self._asked):
            raise CalibrationError(
                "The pipeline changes its samples between steps, as those do that paint within a mask, so costs cannot "
                "be measured through it. Measure them on the model's plain text-to-image pipeline, or use costs=()."
            )

    def _take_down(self, plan: Plan, step: int, epsilon: Tensor) -> None:
        self._sample_shape = tuple(epsilon.shape[1:])
        epsilon, clean = (of_each(rows, self.asked) for rows in (epsilon, self._clean))
        self.ledger.add(MOMENTS, step, moments_of(epsilon, clean))
        if self.data is None:  # else neighbouring samples have nothing to do with each other
            level = plan.levels[step * self._calls_per_step]
            if level not in self._progress:  # the same in every batch
                self._progress[level] = float(self.noise.progress(level))
            bend = self._bends.square(step, self._progress[level], clean)
            if bend is not None:
                self.ledger.add(BENDS, bend[0], bend[1][None])

    def _convert(self, plan: Plan, n: int, model_output: Tensor, sample: Tensor) -> tuple[Tensor, Raw | None]:
        """As `DEISSNScheduler` has it; what it gives is what the solver integrates, so that is what is taken down."""
        self._dtype = model_output.dtype
        if "predictor" in self.costs and self._dtype in HALF:
            raise CalibrationError(
                f"The predictor's cost is made of differences of outputs, and {self._dtype} rounds them away. Run the "
                "pipeline in float32, or leave it out: costs=('corrector',)."
            )
        # From the output itself: where there is next to no signal, eps does not tell x_0.
        c, d = plan.clean[n]
        wide = torch.promote_types(torch.promote_types(model_output.dtype, sample.dtype), torch.float32)
        self._clean = (model_output.to(wide) * c).add_(sample.to(wide), alpha=d)
        if self.config["thresholding"]:
            ratio, most = self.config["dynamic_thresholding_ratio"], self.config["sample_max_value"]
            self._clean = threshold(self._clean, ratio, most)
        return super()._convert(plan, n, model_output, sample)

    def _noised(self, plan: Plan, step: int, like: Tensor) -> Tensor:
        """The clean samples with fresh noise of the level of a step."""
        if self.data is None or self.data.shape != like.shape:
            raise CalibrationError(
                "`data` must be samples as the scheduler sees them (the latents of latent models), of shape "
                f"{tuple(like.shape)} for this batch, got {None if self.data is None else tuple(self.data.shape)}."
            )
        self._from_data = True
        call = step * self._calls_per_step
        event, dtype = like.shape[1:], torch.promote_types(like.dtype, torch.float32)
        if len(self.generators) == len(like):
            noise = torch.stack([torch.randn(event, generator=one, dtype=dtype) for one in self.generators])
        else:
            noise = torch.randn(like.shape, generator=self.generators[0], dtype=dtype)
        noise = noise.to(like.device)
        alpha, sigma = plan.alpha[call], plan.sigma[call]
        return (alpha * self.data.to(noise) + sigma * noise).to(like.dtype)

    # ----------------------------------------------------------------------------------------------------- state

    def __getstate__(self) -> dict[str, Any]:
        """Without whom it tells of its calls: pipelines of picture and sound copy it, to walk their sound alike."""
        return {name: value for name, value in super().__getstate__().items() if name != "on_step"}

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Everything that later batches and the results depend on: facts that JSON has, and arrays."""
        facts = {
            "costs": list(self.costs),
            "dtype": _name(self._dtype),
            "sample_shape": self._sample_shape,
            "from_data": self._from_data,
        }
        return facts, self.ledger.tensors()

    def restore(self, facts: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]) -> None:
        """Go on from a `state` of a recorder of the same model. Raises KeyError or ValueError for what is none."""
        self.ledger = Ledger.of(tensors)
        self.costs = tuple(facts["costs"])
        self._dtype = getattr(torch, facts["dtype"])
        self._sample_shape, self._from_data = tuple(facts["sample_shape"]), bool(facts["from_data"])

    # --------------------------------------------------------------------------------------------------- results

    def measured(self) -> ScoreStatistics:
        """What was measured up to now; times that no run visited are left out.

        Raises:
            CalibrationError: Fewer than two times were visited by at least two samples; or a cost not between all of
                them.
        """
        return statistics_of(self.ledger, self.noise, self._full_origin())

    def uncertainty(self, name: str) -> float:
        """Relative standard error of the length that a cost gives the path so far; infinite where nothing is known."""
        return uncertainty_of(self.ledger, name)

    @property
    def _solver_in_words(self) -> str:
        spacing = "trailing times" if self.options["grid"] is None else "times uniform in t^(1/2)"
        return (NOISED_DATA if self._from_data else SOLVER).format(**MEASURING_OPTIONS, spacing=spacing)

    def _full_origin(self) -> StatisticsOrigin:
        said, seen = self.origin.guidance_scale, None if self._run is None else self._run.guidance
        return replace(
            self.origin,
            # What the pipeline says by itself, where its arguments do not: by frames, or true guidance.
            guidance_scale=seen if seen is not None and said in (None, 1.0) else said,
            noise_schedule=str(self.noise),
            fingerprint=self.noise.fingerprint,
            prediction_type=self.config["prediction_type"],
            sample_shape=self._sample_shape,
            dtype=_name(self._dtype),
            solver=self._solver_in_words,
            num_inference_steps=len(self.ledger.times),
            num_skipped=len(self.ledger.invalid) or None,
            versions=versions(),
            date=datetime.now(timezone.utc).date().isoformat(),
        )


def _name(dtype: torch.dtype | None) -> str:
    return str(dtype).removeprefix("torch.")


def _span(times: tuple[float, ...]) -> str:
    return f"{len(times)} times from {times[0]:g} to {times[-1]:g}"
