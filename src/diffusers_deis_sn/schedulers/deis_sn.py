"""`DEISSNScheduler`: the exponential integrator with score normalisation as a Diffusers scheduler."""

from __future__ import annotations

from os import PathLike

import numpy as np

from diffusers_deis_sn.core.grids import Grid
from diffusers_deis_sn.core.solvers import Solver
from diffusers_deis_sn.schedulers._integrator import ExponentialIntegrator
from diffusers_deis_sn.schedulers._typed import register_to_config
from diffusers_deis_sn.statistics.record import ScoreStatistics


class DEISSNScheduler(ExponentialIntegrator):
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
        beta_schedule: "linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid", "exp" or "laplace".
        trained_betas: The betas themselves, instead of the three above.
        solver: "multistep" (tAB, rhoAB and log-rho AB-DEIS); "ipndm", with the weights of equal steps; or a Runge-Kutta
            method in rho of several calls a step: "euler", "midpoint", "heun", "kutta3", "heun3", "ralston3",
            "ssprk3", "vdh3" or "rk4"; or a solver of one's own, see docs/extending.md.
        solver_order: Number of outputs combined in a step, 1 to 4; 1 with flat statistics and no corrector is DDIM.
        corrector_order: Number of outputs, the newest among them, with which each step is redone once the network has
            been called at its end; 1 to 4, 0 for none. Costs no call. Multistep solvers only. None is 4 for the noise
            form of "multistep" with statistics; 0 for other solvers, and without statistics for plain DEIS.
        corrector_gain: Largest factor by which a correction may pass an error on, times the guidance, or two where
            there is less. Corrections of larger steps are scaled down to it. Very large for no limit.
        guidance_scale: Guidance that the pipeline is called with; that of the statistics if None, or else 7.5.
        prediction_type: What the network predicts: "epsilon", "v_prediction", "sample" or "flow_prediction".
        interpolation: Variable u of the polynomial: "t" (the papers' tAB), "rho" (rhoAB) or "log_rho" (what
            Diffusers' DEIS has).
        integrand: What is interpolated: "noise", the predicted eps, or "data", the predicted x_0; either is divided by
            its mean magnitude first, as the statistics have it.
        timestep_spacing: "linspace", "leading", "trailing", "power_t" (uniform in t^(1/k)), "power_rho" (in rho^(1/k)),
            or "learned" from statistics with costs; the three flags below choose further grids. A value that
            `from_config` finds in the config of another scheduler class is that scheduler's: it is kept in the config
            for the way back and not used.
        grid_exponent: k of "power_t" and "power_rho"; 2 and 7 if None.
        start_time: Where a run starts, as a fraction of the process; for the grids that are not Diffusers' own.
        end_time: Where it ends, likewise, such as the papers' 1e-3 and 1e-4; `final_sigmas_type` decides if None.
        steps_offset: Added to the times of "leading" spacing.
        grid: A time grid of one's own, see docs/extending.md; it wins over `timestep_spacing`.
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
        use_flow_sigmas: The process is that of flow-matching models, x = (1 - sigma) x_0 + sigma eps, and not of betas.
        flow_shift: Shift s of such a model's grids that are uniform in sigma: s sigma / (1 + (s - 1) sigma).
        use_dynamic_shifting: Whether the shift is that of the resolution, which pipelines pass as `mu`.
        time_shift_type: Whether that shift is e^mu, "exponential", or mu, "linear".
        shift_terminal: sigma of the last call, to which shifted grids are stretched.
        whole_timesteps: Round the grid to distinct whole training times, for networks that take no others.
        recipe: "measured" to follow, in each run, the recipe that came nearest in so many steps when recipes were tried
            on the model, or without statistics one that is safe on any; "fixed" for the options as they are. None is
            "measured" where no option of a recipe (solver, order, corrector, grid, ends) was chosen. Runs with
            `timesteps=` or `sigmas=` follow the options.
        stats: Score statistics: a `ScoreStatistics`, a file, a folder or a Hub name. Not part of the config. "auto" is
            for `from_config(..., base_model=...)`, `from_pretrained` and `for_pipeline`.

    Raises:
        ConfigurationError: An option is unknown, out of range or at odds with another.
        NoiseScheduleError: The betas, or the sigmas, make no noise schedule.
        StatisticsError: The statistics cannot be read, or are those of another noise schedule or prediction type.

    References:
        Zhang and Chen, Fast Sampling of Diffusion Models with Exponential Integrator, https://arxiv.org/abs/2204.13902.
        Xia et al., Score Normalization for a Faster Diffusion Exponential Integrator Sampler,
        https://arxiv.org/abs/2311.00157.
    """

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
        solver: str | Solver = "multistep",
        corrector_order: int | None = None,
        corrector_gain: float = 0.75,
        guidance_scale: float | None = None,
        integrand: str = "noise",
        timestep_spacing: str = "trailing",
        grid_exponent: float | None = None,
        start_time: float = 1.0,
        end_time: float | None = None,
        steps_offset: int = 0,
        grid: Grid | None = None,
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
        use_flow_sigmas: bool = False,
        flow_shift: float = 1.0,
        use_dynamic_shifting: bool = False,
        time_shift_type: str = "exponential",
        shift_terminal: float | None = None,
        whole_timesteps: bool = False,
        recipe: str | None = None,
        stats: ScoreStatistics | str | PathLike[str] | bool | None = None,
    ) -> None:
        self._set_up(stats)


DEISSNScheduler.__module__ = "diffusers_deis_sn"
