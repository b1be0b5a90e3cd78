"""`DEISSNScheduler`: the exponential integrator with score normalisation as a Diffusers scheduler."""

from __future__ import annotations

from diffusers_deis_sn.schedulers._integrator import ExponentialIntegrator


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
        solver_order: Number of outputs that a solver with a name combines in a step, 1 to 4.
        prediction_type: What the network predicts: "epsilon", "v_prediction", "sample" or "flow_prediction".
        solver: "multistep", tAB-DEIS, corrected at order four with statistics; "ipndm", with weights of equal steps; or
            a Runge-Kutta method in rho of several calls a step: "euler", "midpoint", "heun", "kutta3", "heun3",
            "ralston3", "ssprk3", "vdh3" or "rk4". Everything else is a value: `Multistep(3, variable="log_rho",
            of="data", corrector=Corrector(3))`, or a solver of one's own, see docs/extending.md.
        guidance_scale: Guidance that is sampled with, by which the corrections of "multistep" are limited: none passes
            an error on by more than 0.75 / max(2, guidance). If None that of the pipeline which calls the scheduler, or
            that of the statistics, or 7.5.
        timestep_spacing: "linspace", "leading" or "trailing"; the three flags below choose further grids. A value that
            `from_config` finds in the config of another scheduler class is that scheduler's: it is kept in the config
            for the way back and not used.
        start_time: Where a run starts, as a fraction of the process; for the grids that are not Diffusers' own.
        end_time: Where it ends, likewise, such as the papers' 1e-3 and 1e-4; `final_sigmas_type` decides if None.
        steps_offset: Added to the times of "leading" spacing.
        grid: Any other time grid, a value, which wins over the options above and below: `Power("t", 2)`, uniform in
            t^(1/2); `Power("sigma", 7)`, likewise in sigma / alpha; `EqualCost()`, learned from statistics with costs;
            or one of one's own, see docs/extending.md.
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
        snr_shift_scale: By which alpha^2 / sigma^2 of all levels is divided (CogVideoX, CogView3-Plus).
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
        invert_sigmas: Whether such a model is called with T (1 - sigma), and predicts data minus noise (OmniGen).
        normalise: Whether outputs are divided by r(t), where there are statistics.
        whole_timesteps: Round the grid to distinct whole training times, for networks that take no others.
        recipe: "measured" to follow, in each run, the recipe that came nearest in so many steps when recipes were tried
            on the model, or without statistics what was safe on others; "fixed" for the options as they are. None is
            "measured" where no option of a recipe (solver, order, grid, ends) was chosen. Runs with
            `timesteps=` or `sigmas=` follow the options.
        tuned: Whether a run takes the plan that `tune` fitted to the model for as many steps and this guidance, or what
            lies between two, where the statistics hold some and no option of a recipe was chosen.
        stats: Score statistics: a `ScoreStatistics`, a file, a folder or a Hub name. Not part of the config. "auto" is
            for `from_config(..., base_model=...)`, `from_pretrained` and `for_pipeline`.

    Raises:
        ConfigurationError: An option is unknown, out of range or at odds with another.
        NoiseScheduleError: The betas, or the sigmas, make no noise schedule.
        StatisticsError: The statistics cannot be read, or are those of another noise schedule or prediction type.

    Examples:
        >>> scheduler = DEISSNScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012)
        >>> scheduler.set_timesteps(8)
        >>> len(scheduler.timesteps)  # network calls
        8
        >>> import torch
        >>> sample = torch.ones(1, 4, 8, 8) * scheduler.init_noise_sigma
        >>> for t in scheduler.timesteps:
        ...     sample = scheduler.step(0.1 * sample, t, sample).prev_sample
        >>> sample.shape
        torch.Size([1, 4, 8, 8])

    References:
        Zhang and Chen, Fast Sampling of Diffusion Models with Exponential Integrator, https://arxiv.org/abs/2204.13902:
        tAB-DEIS; with the other solvers rhoAB-DEIS, rhoRK-DEIS and iPNDM.
        Xia et al., Score Normalization for a Faster Diffusion Exponential Integrator Sampler,
        https://arxiv.org/abs/2311.00157.
    """


DEISSNScheduler.__module__ = "diffusers_deis_sn"
