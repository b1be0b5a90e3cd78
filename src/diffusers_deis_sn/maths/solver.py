"""All solvers behind one name: which there are, what they take, and the table of a run."""

from __future__ import annotations

from diffusers_deis_sn.errors import ConfigurationError
from diffusers_deis_sn.maths.coefficients import INTEGRANDS, INTERPOLATIONS, MAX_ORDER, coefficient_table
from diffusers_deis_sn.maths.noise import Array, NoiseSchedule
from diffusers_deis_sn.maths.normaliser import Normaliser
from diffusers_deis_sn.maths.runge_kutta import TABLEAUX, runge_kutta_table
from diffusers_deis_sn.maths.table import CoefficientTable

SOLVERS = ("multistep", "ipndm", *TABLEAUX)
DEFAULT_ORDER = 2  # what configs carry that never chose an order


def calls_per_step(solver: str) -> int:
    """Network calls of a step, which Diffusers calls `order`: the number of stages, one for multistep solvers."""
    return len(TABLEAUX[solver]) if solver in TABLEAUX else 1


def check_solver(solver: str, order: int, interpolation: str, integrand: str, corrector_order: int) -> None:
    """Refuse what is no solver.

    Raises:
        ConfigurationError: An unknown name, an order the solver does not have, or options that do not go together.
    """
    for name, value, legal in (
        ("solver", solver, SOLVERS),
        ("interpolation", interpolation, INTERPOLATIONS),
        ("integrand", integrand, INTEGRANDS),
    ):
        if value not in legal:
            raise ConfigurationError(f"`{name}` must be one of {', '.join(legal)}, got {value!r}.")
    for name, number, least in (("solver_order", order, 1), ("corrector_order", corrector_order, 0)):
        if type(number) is not int or number not in range(least, MAX_ORDER + 1):
            raise ConfigurationError(
                f"`{name}` is the largest number of network outputs combined, {least} to {MAX_ORDER}, got {number!r}."
            )
    if solver not in TABLEAUX:
        return
    if order not in (DEFAULT_ORDER, TABLEAUX[solver].order):
        raise ConfigurationError(
            f"solver={solver!r} has order {TABLEAUX[solver].order}, got solver_order={order}. Use "
            f"solver_order={TABLEAUX[solver].order}, or solver='multistep' or 'ipndm', which have orders 1 to 4."
        )
    if integrand == "data":
        raise ConfigurationError(
            f"integrand='data' is for multistep solvers, got solver={solver!r}: Runge-Kutta steps in 1 / rho would "
            "never reach clean data. Use integrand='noise'."
        )
    if corrector_order:
        raise ConfigurationError(
            f"`corrector_order` is for multistep solvers, got {corrector_order} for solver={solver!r}, which calls the "
            "network anew in every stage. Use corrector_order=0."
        )


def solver_table(
    noise: NoiseSchedule,
    normaliser: Normaliser,
    levels: Array,
    solver: str = "multistep",
    order: int = DEFAULT_ORDER,
    interpolation: str = "t",
    integrand: str = "noise",
    corrector_order: int = 0,
    lower_order_final: bool = False,
    gain_limit: float = float("inf"),
) -> CoefficientTable:
    """The table of a run with any solver; `check_solver` knows which arguments go together."""
    if solver in TABLEAUX:
        return runge_kutta_table(noise, normaliser, levels, solver)
    return coefficient_table(
        noise,
        normaliser,
        levels,
        order,
        interpolation,
        lower_order_final,
        integrand=integrand,
        corrector_order=corrector_order,
        equal_steps=solver == "ipndm",
        gain_limit=gain_limit,
    )
