"""The solver as pure functions and frozen values: float64 on the host, no files, no device, no Diffusers.

Conventions, stated once:

* t is the training time, 0 (cleanest) to T-1 (noisiest), and may be fractional; x_t = alpha x_0 + sigma eps.
* rho = sigma / alpha, lambda = log(alpha / sigma) = -log rho. Diffusers says `alphas_cumprod` for alpha^2, `sigmas` for
  rho.
* A grid runs in sampling order, noisiest first; N steps have N + 1 levels, the last of which may be rho = 0.
* Histories and weights run newest first.
* The order of a solver counts network outputs (order 1 is DDIM), as Diffusers does; the papers count the degree, one
  less.
"""
