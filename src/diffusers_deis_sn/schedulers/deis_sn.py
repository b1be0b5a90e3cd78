"""`DEISSNScheduler`: the exponential integrator with score normalisation as a Diffusers scheduler."""

from __future__ import annotations

from diffusers_deis_sn.schedulers._integrator import ExponentialIntegrator


class DEISSNScheduler(ExponentialIntegrator):
    """Exponential integrator of the probability-flow ODE with score normalisation: the DEIS family.

        x_{n+1} = (alpha_{n+1} / alpha_n) x_n + sum_j c_{n,j} eps_{n-j}
        c_{n,j} = (alpha_{n+1} / r(t_{n-j})) int_{rho_n}^{rho_{n+1}} r(t(rho)) l_j(u(rho)) drho

    Here rho = sigma / alpha, l_j are the Lagrange polynomials through the last outputs, and r(t) is the mean absolute
    output of the network, which `calibrate` measures once per model. Without statistics r is one and this is plain
    DEIS. The formula is that of the solver "multistep", with N network evaluations in N steps; `solver` chooses others.

    Args:
        num_train_timesteps: Number of training times T.
        beta_start: First beta, as the model was trained.
        beta_end: Last beta.
        beta_schedule: "linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid", "exp" or "laplace".
        trained_betas: The betas themselves, instead of the three above.
        solver_order: Number of network outputs that "multistep" and "ipndm" combine in a step, 1 to 4.
        prediction_type: What the network predicts: "epsilon", "v_prediction", "sample" or "flow_prediction".
        solver: "multistep", tAB-DEIS, with a corrector of order four where there are statistics; "ipndm", with the
            weights of equal steps; or a Runge-Kutta method in rho, with several network evaluations a step: "euler",
            "midpoint", "heun", "kutta3", "heun3", "ralston3", "ssprk3", "vdh3" or "rk4". For anything else give a
            solver object, `Multistep(3, variable="log_rho", of="data", corrector=Corrector(3))`, or your own, see
            docs/extending.md.
        guidance_scale: Guidance scale (CFG) of the run. It limits the corrector of "multistep": a correction passes on
            an error in the sample by at most 0.75 / max(2, guidance scale). If None, it is read from the pipeline that
            calls the scheduler, else from the statistics, else it is 7.5.
        timestep_spacing: "linspace", "leading" or "trailing"; `grid` and the three flags below choose other grids.
            `from_config` ignores the value of another scheduler class and keeps it in the config, so that you can swap
            back.
        start_time: tau where a run starts, from 0 (clean data) to 1 (noise); for grids that are not Diffusers' own.
        end_time: tau where it ends, such as the papers' 1e-3 and 1e-4; as `final_sigmas_type` says if None.
        steps_offset: Added to the times of "leading" spacing.
        grid: Any other time grid, as an object; it replaces `timestep_spacing` and the flags below. `Power("t", 2)` is
            uniform in t^(1/2), `Power("sigma", 7)` in (sigma / alpha)^(1/7), and `EqualCost()` is learned from
            statistics with costs. For your own see docs/extending.md.
        use_karras_sigmas: Noise levels uniform in rho^(1/7).
        use_exponential_sigmas: Noise levels uniform in log rho.
        use_beta_sigmas: Noise levels at the quantiles of a Beta distribution.
        final_sigmas_type: Where a run ends: "zero" (clean data) or "sigma_min" (the cleanest training level).
        lower_order_final: Use one output in the last step, two in the one before, and so on.
        clip_normalizer_steps: Training time below which r(t) is held constant, as in DEIS-SN's code.
        thresholding: Dynamic thresholding: clamp the predicted clean sample to a quantile of itself; for pixel-space
            models.
        dynamic_thresholding_ratio: That quantile, 0 to 1.
        sample_max_value: Largest value that is clamped to.
        rescale_betas_zero_snr: Rescale the betas to zero terminal signal-to-noise ratio, for models trained so.
        snr_shift_scale: Divides the signal-to-noise ratio alpha^2 / sigma^2 of all levels (CogVideoX, CogView3-Plus).
        process: "vp", the betas above; "ve", x = x_0 + sigma eps with a network that takes x and sigma; or "edm", the
            same with the network preconditioned and labelled as in EDM (arXiv 2206.00364, table 1).
        sigma_min: Cleanest level of a "ve" or "edm" model; 0.002 if None.
        sigma_max: Noisiest; 80 if None.
        sigma_data: Standard deviation of the data of an "edm" model; 0.5 if None.
        variance_type: Kept for pipelines that read it; variances that the network predicts are ignored.
        use_flow_sigmas: For flow-matching models: x = (1 - sigma) x_0 + sigma eps in place of the betas.
        flow_shift: Shift s of a flow-matching model: sigma becomes s sigma / (1 + (s - 1) sigma).
        use_dynamic_shifting: Whether the shift depends on the resolution; pipelines then pass it as `mu`.
        time_shift_type: Whether that shift is e^mu, "exponential", or mu, "linear".
        shift_terminal: sigma of the last network evaluation, to which shifted grids are stretched.
        invert_sigmas: Whether a flow-matching model is called with T (1 - sigma) and predicts data minus noise
            (OmniGen).
        normalise: Whether outputs are divided by r(t), where there are statistics.
        whole_timesteps: Round the grid to distinct whole training times, for networks that take no others.
        recipe: "measured" uses, for each number of steps, the solver and grid that had the least error when `calibrate`
            tried several on your model; without statistics, those that were safe on other models. "fixed" uses the
            options above. If None, "measured" unless you choose a solver, an order, a grid or an end. Runs with
            `timesteps=` or `sigmas=` always use the options.
        tuned: Whether to use a plan of `tune` for this number of steps and guidance scale, or one between two of them,
            where the statistics hold plans and you choose none of the options that `recipe` names.
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
