"""`DEISSNScheduler`: the exponential integrator with score normalisation as a Diffusers scheduler."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import Any, ClassVar

import numpy as np
import torch
from diffusers.configuration_utils import register_to_config
from diffusers.schedulers.scheduling_utils import SchedulerOutput
from torch import Tensor

from diffusers_deis_sn.errors import ConfigurationError, StepError, TimestepsError
from diffusers_deis_sn.maths.noise import Array, NoiseSchedule
from diffusers_deis_sn.maths.prediction import threshold
from diffusers_deis_sn.maths.solver import calls_per_step, solver_table
from diffusers_deis_sn.maths.spacing import (
    levels_from_sigmas,
    levels_from_times,
    spaced_levels,
)
from diffusers_deis_sn.maths.update import combine
from diffusers_deis_sn.schedulers._contract import logger
from diffusers_deis_sn.schedulers._options import SolverOptions
from diffusers_deis_sn.schedulers._plan import make_plan
from diffusers_deis_sn.statistics.record import ScoreStatistics


class DEISSNScheduler(SolverOptions):
    """Exponential integrator of the probability-flow ODE with score normalisation: the DEIS family.

        x_{n+1} = (alpha_{n+1} / alpha_n) x_n + sum_j c_{n,j} eps_{n-j}
        c_{n,j} = (alpha_{n+1} / r(t_{n-j})) int_{rho_n}^{rho_{n+1}} r(t(rho)) l_j(u(rho)) drho

    with rho = sigma / alpha, l_j the Lagrange polynomials through the last outputs, and r(t) the mean absolute output
    of the network, measured once per model by `calibrate`. Without statistics r is flat and this is plain DEIS. This is
    the solver "multistep", N network calls for N steps; `solver` has the others.

    Args:
        num_train_timesteps: Number of training times T.
        beta_start: First beta, as the model was trained.
        beta_end: Last beta.
        beta_schedule: "linear", "scaled_linear" or "squaredcos_cap_v2".
        trained_betas: The betas themselves, instead of the three above.
        solver: "multistep" (tAB, rhoAB and log-rho AB-DEIS); "ipndm", with the weights of equal steps; or a Runge-Kutta
            method in rho of several calls a step: "euler", "midpoint", "heun", "kutta3", "heun3", "ralston3",
            "ssprk3", "vdh3" or "rk4".
        solver_order: Number of outputs combined in a step, 1 to 4; 1 with flat statistics and no corrector is DDIM.
        corrector_order: Number of outputs, the newest among them, with which each step is redone once the network has
            been called at its end; 1 to 4, 0 for none. Costs no call. Multistep solvers only. None is what measured
            best: 4 for "multistep" with statistics; 0 for other solvers, and without statistics for plain DEIS.
        corrector_gain: Largest factor by which a correction may pass an error on, at guidance 1; divided by the
            guidance where there is more. Corrections of larger steps are scaled down to it. Very large for no limit.
        guidance_scale: Guidance that the pipeline is called with; that of the statistics if None, or else 7.5.
        prediction_type: What the network predicts: "epsilon", "v_prediction" or "sample".
        interpolation: Variable u of the polynomial: "t" (the papers' tAB), "rho" (rhoAB) or "log_rho" (what
            Diffusers' DEIS has).
        integrand: What is interpolated: "noise", the predicted eps, or "data", the predicted x_0, which knows no
            normalisation.
        timestep_spacing: "linspace", "leading", "trailing", "quadratic", "log_snr", "power_t" (uniform in t^(1/k)) or
            "power_rho" (in rho^(1/k)); also "karras", "exponential" and "beta", which are what the three flags below
            choose. A value that `from_config` finds in the config of another scheduler class is that scheduler's: it is
            kept in the config for the way back and not used.
        grid_exponent: k of "power_t" and "power_rho"; 2 and 7 if None.
        start_time: Where a run starts, as a fraction of the process; for the grids that are not Diffusers' own.
        end_time: Where it ends, likewise, such as the papers' 1e-3 and 1e-4; `final_sigmas_type` decides if None.
        steps_offset: Added to the times of "leading" spacing.
        use_karras_sigmas: Noise levels uniform in rho^(1/7).
        use_exponential_sigmas: Noise levels uniform in log rho.
        use_beta_sigmas: Noise levels at the quantiles of a Beta distribution.
        final_sigmas_type: Where a run ends: "zero" (clean data) or "sigma_min" (the cleanest training level).
        lower_order_final: Use one output in the last step, two in the one before, and so on.
        clip_normalizer_steps: Training time below which r(t) is held flat.
        thresholding: Clamp the predicted clean sample to its own quantile; for pixel-space models.
        dynamic_thresholding_ratio: Which quantile.
        sample_max_value: Upper bound of the clamp.
        rescale_betas_zero_snr: Rescale the betas to zero terminal signal, for models trained so.
        process: "vp", the betas above; "ve", x = x_0 + sigma eps with a network that takes x and sigma; or "edm", the
            same with the network preconditioned and labelled as in EDM (arXiv 2206.00364, table 1).
        sigma_min: Cleanest level of a "ve" or "edm" model; 0.002 if None.
        sigma_max: Noisiest; 80 if None.
        sigma_data: Standard deviation of the data of an "edm" model; 0.5 if None.
        variance_type: Kept for pipelines that read it; learned variances are dropped from the network's output.
        stats: Score statistics: a `ScoreStatistics`, a file, a folder or a Hub name. Not part of the config.

    Raises:
        ConfigurationError: An option is unknown, out of range or at odds with another.
        NoiseScheduleError: The betas, or the sigmas, make no noise schedule.
        StatisticsError: The statistics cannot be read, or are those of another noise schedule or prediction type.

    References:
        Zhang and Chen, Fast Sampling of Diffusion Models with Exponential Integrator, https://arxiv.org/abs/2204.13902.
        Xia et al., Score Normalization for a Faster Diffusion Exponential Integrator Sampler,
        https://arxiv.org/abs/2311.00157.
    """

    ignore_for_config: ClassVar[list[str]] = ["stats"]

    @register_to_config
    def __init__(
        self,
        num_train_timesteps: int = 1000,
        beta_start: float = 0.0001,
        beta_end: float = 0.02,
        beta_schedule: str = "linear",
        trained_betas: np.ndarray | list[float] | None = None,
        solver_order: int = 2,
        prediction_type: str = "epsilon",
        interpolation: str = "t",
        solver: str = "multistep",
        corrector_order: int | None = None,
        corrector_gain: float = 0.75,
        guidance_scale: float | None = None,
        integrand: str = "noise",
        timestep_spacing: str = "trailing",
        grid_exponent: float | None = None,
        start_time: float = 1.0,
        end_time: float | None = None,
        steps_offset: int = 0,
        use_karras_sigmas: bool = False,
        use_exponential_sigmas: bool = False,
        use_beta_sigmas: bool = False,
        final_sigmas_type: str = "zero",
        lower_order_final: bool = True,
        clip_normalizer_steps: float = 0,
        thresholding: bool = False,
        dynamic_thresholding_ratio: float = 0.995,
        sample_max_value: float = 1.0,
        rescale_betas_zero_snr: bool = False,
        process: str = "vp",
        sigma_min: float | None = None,
        sigma_max: float | None = None,
        sigma_data: float | None = None,
        variance_type: str | None = None,
        stats: ScoreStatistics | str | PathLike[str] | None = None,
    ) -> None:
        self.statistics: ScoreStatistics | None = None
        self._validate()
        self._start(self.noise)
        self.order = calls_per_step(solver)
        if process != "vp":
            self.init_noise_sigma = _start_scale(self.noise.top)
        self.model_outputs: list[Any] = [None] * solver_order  # oldest first, as in Diffusers; None before the first
        self._at_hand = 0
        if stats is not None:
            self.set_stats(stats)

    # ----------------------------------------------------------------------------------------------------- plan

    def set_timesteps(
        self,
        num_inference_steps: int | None = None,
        device: str | torch.device | None = None,
        mu: float | None = None,
        sigmas: Sequence[float] | Array | None = None,
        timesteps: Sequence[float] | Array | None = None,
    ) -> None:
        """Plan a run: choose the times and compute all coefficients, in float64 on the host.

        Args:
            num_inference_steps: Number of steps N; of network calls too, unless the solver takes several a step.
            device: Where `timesteps` are to lie.
            mu: Shift of flow-matching schedules; only None.
            sigmas: Noise levels sigma / alpha of the calls, falling, used exactly as given; a final zero may be there
                or not and is no call.
            timesteps: Training times of the calls, falling, used exactly as given.

        Raises:
            TimestepsError: None or several of the three ways to choose times, or times that cannot be walked.
        """
        if mu is not None:
            raise ConfigurationError(
                f"`mu` shifts the schedule of flow-matching models, got {mu!r} for a {self.noise.path} schedule. This "
                "version does not support flow-matching models: keep the pipeline's own scheduler."
            )
        self._validate()
        noise = self.noise
        if self.statistics is not None:  # pipelines and users may have edited the config since they were set
            self._check_statistics(self.statistics)
        levels = self._levels(noise, num_inference_steps, sigmas, timesteps)
        if self.statistics is None and not self._silent:
            self._warn_once("plain", "No score statistics given: this is plain DEIS. Measure them with `calibrate`.")
        config = self.config
        table = solver_table(
            noise,
            self.normaliser,
            levels,
            solver=config["solver"],
            order=config["solver_order"],
            interpolation=config["interpolation"],
            integrand=config["integrand"],
            corrector_order=self.corrector_order,
            lower_order_final=config["lower_order_final"],
            gain_limit=self.gain_limit,
        )
        self._adopt(make_plan(noise, table, config["prediction_type"], config["integrand"], self._sigma_data), device)
        self.order = calls_per_step(config["solver"])
        if noise.path == "ve":
            self.init_noise_sigma = _start_scale(levels[0])
        self.model_outputs = [None] * table.order
        self._at_hand = 0

    def _levels(
        self,
        noise: NoiseSchedule,
        steps: int | None,
        sigmas: Sequence[float] | Array | None,
        timesteps: Sequence[float] | Array | None,
    ) -> Array:
        """Noise levels of the run, from whichever of the three the caller gave; (N + 1,)."""
        config = self.config
        final, end = config["final_sigmas_type"], config["end_time"]
        if sigmas is not None and timesteps is not None:
            raise TimestepsError("Give `timesteps` or `sigmas`, not both: each fixes the run.")
        if timesteps is not None:
            levels = levels_from_times(noise, timesteps, final, end)
        elif sigmas is not None:
            levels = levels_from_sigmas(noise, sigmas, final, end)
        elif steps is not None:
            return spaced_levels(
                noise,
                steps,
                self.spacing,
                final,
                config["steps_offset"],
                exponent=config["grid_exponent"],
                start=config["start_time"],
                end=end,
            )
        else:
            raise TimestepsError("Give `num_inference_steps`, `timesteps` or `sigmas`.")
        if steps is not None and steps != len(levels) - 1:
            logger.info("The %d given times override num_inference_steps=%d.", len(levels) - 1, steps)
        return levels

    # ----------------------------------------------------------------------------------------------------- step

    def step(
        self,
        model_output: Tensor,
        timestep: float | Tensor,
        sample: Tensor,
        generator: torch.Generator | list[torch.Generator] | None = None,
        return_dict: bool = True,
        eta: float = 0.0,
        use_clipped_model_output: bool | None = None,
    ) -> SchedulerOutput | tuple[Tensor]:
        """Go from one planned time to the next: one linear combination of the sample and the last outputs.

        Args:
            model_output: What the network (or guidance) returned; (B, *event), or with twice the channels where it
                also predicts a variance, which is dropped.
            timestep: The planned time; it is checked where it can be without waiting for an accelerator.
            sample: x_n; (B, *event).
            generator: Unused, the method draws no noise; some pipelines pass it always.
            return_dict: Whether to return a `SchedulerOutput` or a tuple.
            eta: Amount of noise of DDIM; only 0. Some pipelines pass it always.
            use_clipped_model_output: Unused; `DDIMPipeline` passes it always.

        Returns:
            x_{n+1}, shape and dtype of the sample.

        Raises:
            StepError: Before `set_timesteps`, after the last step, out of order, or shapes that do not match.
        """
        if eta:
            raise StepError(f"DEIS draws no noise: `eta` must be 0, got {eta!r}. Use DDIMScheduler for eta > 0.")
        if self._step_index is None:
            self._at_hand = 0
        n = self._begin_step(timestep)
        if model_output.ndim > 1 and model_output.shape[1] == 2 * sample.shape[1]:
            model_output = model_output[:, : sample.shape[1]]
        if model_output.shape != sample.shape:
            raise StepError(
                f"`model_output` has shape {tuple(model_output.shape)}, `sample` {tuple(sample.shape)}. They must "
                "agree, except that a predicted variance may double the channels."
            )
        if self._at_hand and self.model_outputs[-1].shape != sample.shape:
            raise StepError(
                f"`sample` has shape {tuple(sample.shape)}, but the steps before had "
                f"{tuple(self.model_outputs[-1].shape)}. Call `set_timesteps` before a run with other samples."
            )
        self.model_outputs = [*self.model_outputs[1:], self._convert(model_output, sample, n)]
        self._at_hand = min(self._at_hand + 1, len(self.model_outputs))
        table = self._plan.table  # type: ignore[union-attr]
        previous = combine(
            sample,
            table.transfers[n],
            self.model_outputs[::-1],
            table.rows[self._at_hand - 1][n],
        )
        self._step_index = n + 1
        return SchedulerOutput(prev_sample=previous) if return_dict else (previous,)

    def _convert(self, model_output: Tensor, sample: Tensor, index: int) -> Tensor:
        """What the solver integrates, a tensor of its own: compiled networks reuse the memory of their outputs."""
        a, b = self._plan.output[index]  # type: ignore[union-attr]
        if (a, b) == (1.0, 0.0) and not self.config["thresholding"]:
            return model_output.clone()
        # Under autocast the output is narrower than the sample: what cancels must not be rounded before it does.
        wide = torch.promote_types(torch.promote_types(model_output.dtype, sample.dtype), torch.float32)
        output, x = model_output.to(wide), sample.to(wide)
        converted = output * a if b == 0.0 else (output * a).add_(x, alpha=b)
        if not self.config["thresholding"]:
            return converted
        data = self.config["integrand"] == "data"
        alpha, sigma = self._plan.alpha[index], self._plan.sigma[index]  # type: ignore[union-attr]
        x0 = converted if data else (x - sigma * converted) / alpha
        x0 = threshold(x0, self.config["dynamic_thresholding_ratio"], self.config["sample_max_value"])
        return x0 if data else (x - alpha * x0) / sigma


def _start_scale(sigma: float) -> float:
    """Standard deviation of what a variance-exploding run starts from, data and noise, as Diffusers has it."""
    return float((sigma**2 + 1.0) ** 0.5)


DEISSNScheduler.__module__ = "diffusers_deis_sn"
