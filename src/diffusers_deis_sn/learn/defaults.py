"""The default of runs without statistics: order, corrector, grid and end, by number of calls and guidance."""

from __future__ import annotations

from diffusers_deis_sn.statistics.trials import Method

UNSAID = 3.0  # guidance that is taken where nobody says one: less than the usual, and enough to be careful at
CORRECTED = 4.0  # calls for each unit of guidance from which on corrections pay, and dense times with them
DAMPED = 2.0  # calls for each unit of guidance up to which outputs tell little of the next
FEW, FEW_LEVELS = 6, 8  # calls of a flow, and of a process of levels, that dense times would leave too few above
TO_CLEANEST = 10  # calls up to which models of betas are best left at their cleanest level


def unmeasured(calls: int, guidance: float | None = None, path: str = "vp") -> Method:
    """What is followed where nothing was measured.

    Predicted data of order two. What is safe beyond depends on three things (benchmarks/unmeasured.md): it is to be
    nowhere far behind what pipelines come with. That outputs are damped at all was seen on the shipped models, which
    lost without it, and held against guided networks of the suite:

    * Guidance multiplies how far an output moves with its sample, and steps that are too long for it pass errors on.
      Corrections, and times that are dense at the clean end and leave long steps above, come with enough calls for it.
    * A model of betas ends at a level above zero. In few calls the last step is long, and all the way to zero takes
      off more than there is, as its output is that of its beginning; in many, what is left at that level is seen.
    * In few calls for the guidance a line through two outputs leads astray, and only a share of what it adds is taken:
      the less the fewer. A flow begins with noise alone, of which a guided output is the same for all samples, so that
      it is at most half.

    Args:
        calls: Number of network calls.
        guidance: That of the runs; None where nobody says.
        path: Of the process, "vp", "flow" or "ve".
    """
    scale = max(UNSAID if guidance is None else guidance, 1.0)
    corrector, exponent, end = 2 if calls >= CORRECTED * scale else 0, 1.5, "zero"
    share = min(1.0, calls / (DAMPED * scale))
    if path == "flow":
        share = 0.5 if calls <= DAMPED * scale else 1.0
        exponent = 1.25 if calls <= FEW or share < 1.0 else 1.5
    elif path == "vp":
        exponent = 2.0 if corrector else 1.0 + 0.5 * share**2
        end = "sigma_min" if calls <= TO_CLEANEST else "zero"
    elif calls > FEW_LEVELS:
        exponent = 2.0
    return Method("data", 2, corrector, None, "power_t", exponent, final_sigmas_type=end, share=share)
