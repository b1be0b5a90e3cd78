"""Solvers: small frozen values that turn noise levels into the frozen coefficients of a run.

A solver is a value with one method, `table`, and two facts: what it integrates, and how many calls its steps take.
Anybody may write another one; see docs/extending.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from diffusers_deis_sn.core.coefficients import INTEGRANDS, INTERPOLATIONS, MAX_ORDER, coefficient_table
from diffusers_deis_sn.core.normaliser import Normaliser
from diffusers_deis_sn.core.process import Array, NoiseSchedule, check_levels
from diffusers_deis_sn.core.runge_kutta import ABOVE_MODELS, TABLEAUX, runge_kutta_table
from diffusers_deis_sn.core.table import CoefficientTable
from diffusers_deis_sn.core.value_types import checked
from diffusers_deis_sn.errors import ConfigurationError

SOLVERS = ("multistep", "ipndm", *TABLEAUX)
DEFAULT_ORDER = 2  # what configs carry that never chose an order


def _check_name(option: str, value: str, legal: tuple[str, ...]) -> None:
    if value not in legal:
        raise ConfigurationError(f"`{option}` must be one of {', '.join(legal)}, got {value!r}.")


def _check_order(option: str, number: int, least: int) -> None:
    if type(number) is not int or number not in range(least, MAX_ORDER + 1):
        raise ConfigurationError(
            f"`{option}` is the largest number of network outputs combined, {least} to {MAX_ORDER}, got {number!r}."
        )


@runtime_checkable
class Solver(Protocol):
    """A solver of the probability-flow ODE dy / drho = eps, y = x / alpha (docs/explanation/deis.md).

    Any frozen value with these members is one, see docs/extending.md.

    Examples:
        >>> isinstance(Multistep(3), Solver)
        True
    """

    @property
    def of(self) -> str:
        """What it integrates: "noise", eps, or "data", x_0."""
        ...

    @property
    def calls_per_step(self) -> int:
        """Network calls of a step, which Diffusers calls `order`."""
        ...

    def table(self, process: NoiseSchedule, scale: Normaliser, levels: Array) -> CoefficientTable:
        """The coefficients of a run.

        Args:
            process: The noise schedule.
            scale: r(t), by which outputs are divided; flat for plain DEIS.
            levels: rho_0 > ... > rho_N >= 0; (N + 1,).

        Returns:
            One row for each network call.
        """
        ...


@checked(ConfigurationError)
@dataclass(frozen=True)
class Corrector:
    """Each step redone with the output at its end, at no further network call (docs/explanation/corrector.md).

    Args:
        order: Number of outputs that the redone step combines, the newest among them; 0 for no corrector.
        gain: Largest factor by which a correction may pass on an error in the sample; infinity for no limit, with which
            few steps may blow up (the log says where they would).

    Raises:
        ConfigurationError: An order outside 0 to 4, or a negative gain.

    Examples:
        >>> Multistep(3, corrector=Corrector(3, gain=0.25)).corrector
        Corrector(order=3, gain=0.25)

    References:
        The idea is that of UniC in Zhao et al., UniPC, https://arxiv.org/abs/2302.04867; the weights are those of
        Adams-Moulton in the integral of DEIS. The limit is this package's.
    """

    order: int = 0
    gain: float = np.inf

    def __post_init__(self) -> None:
        _check_order("order", self.order, 0)
        if not self.gain >= 0.0:
            raise ConfigurationError(f"The gain of a corrector is zero or more, got {self.gain!r}.")
        if self.order == 0:  # there is nothing to limit
            object.__setattr__(self, "gain", np.inf)


@checked(ConfigurationError)
@dataclass(frozen=True)
class Multistep:
    """Multistep DEIS: a polynomial through the last outputs, integrated exactly (docs/explanation/deis.md).

        c_{n,j} = (alpha_{n+1} / r(t_{n-j})) int_{rho_n}^{rho_{n+1}} r(t(rho)) l_{n,j}(u(rho)) drho

    is the weight of the j-th newest predicted noise, rho = sigma / alpha; `core.coefficients` has that of data.

    Args:
        order: Largest number of outputs combined in a step, 1 to 4. Order 1 without statistics and corrector is DDIM.
        variable: Variable u of the polynomial: "t" (tAB-DEIS), "rho" (rhoAB-DEIS) or "log_rho" (Diffusers' DEIS).
        of: What the polynomial goes through: predicted "noise", or predicted clean "data" as in DPM++.
        corrector: Redoes each step with the output at its end.
        lower_order_final: Use one output in the last step, two in the one before, and so on.
        equal_steps: Use the weights of equal steps on any grid, as iPNDM does.
        share: How much of a step's difference from order one is used, 0 to 1. Less than 1 is safer for strong guidance
            in few steps, where a polynomial through the outputs overshoots.

    Raises:
        ConfigurationError: A value that is not one of these.

    Examples:
        >>> from diffusers_deis_sn import DEISSNScheduler
        >>> solver = Multistep(3, of="data", corrector=Corrector(3))
        >>> scheduler = DEISSNScheduler(solver=solver)
        >>> scheduler.options["solver"] == solver
        True

    References:
        Zhang and Chen, https://arxiv.org/abs/2204.13902, tAB-DEIS and rhoAB-DEIS; of data as in Lu et al.,
        https://arxiv.org/abs/2211.01095; equal steps as in https://arxiv.org/abs/2202.09778; outputs divided by r(t) as
        in Xia et al., https://arxiv.org/abs/2311.00157.
    """

    order: int = DEFAULT_ORDER
    variable: str = "t"
    of: str = "noise"
    corrector: Corrector = Corrector()
    lower_order_final: bool = True
    equal_steps: bool = False
    share: float = 1.0

    calls_per_step = 1

    def __post_init__(self) -> None:
        _check_name("variable", self.variable, INTERPOLATIONS)
        _check_name("of", self.of, INTEGRANDS)
        _check_order("order", self.order, 1)
        if not (isinstance(self.share, int | float) and 0.0 <= self.share <= 1.0):
            raise ConfigurationError(f"`share` of Multistep is from 0, order one, to 1, got {self.share!r}.")

    @checked(ConfigurationError)
    def table(self, process: NoiseSchedule, scale: Normaliser, levels: Array) -> CoefficientTable:
        """See `Solver`. Raises TimestepsError for levels that cannot be walked."""
        check_levels(levels)
        return coefficient_table(
            process,
            scale,
            levels,
            self.order,
            self.variable,
            self.lower_order_final,
            integrand=self.of,
            corrector_order=self.corrector.order,
            equal_steps=self.equal_steps,
            gain_limit=self.corrector.gain,
            share=self.share,
        )


@checked(ConfigurationError)
@dataclass(frozen=True)
class RungeKutta:
    """A Runge-Kutta method in rho, several network calls a step (`core.runge_kutta`).

    Args:
        name: One of `TABLEAUX`: "euler", "midpoint", "heun", "kutta3", "heun3", "ralston3", "ssprk3", "vdh3", "rk4".
        above: rho above which steps to less than half of it are taken in predicted data, where they are stable; the
            schedulers have 3 on learned grids. In runs from beyond 20 so are later ones that would be worse than
            DDIM's. Infinity for the method as published, everywhere.

    Raises:
        ConfigurationError: Another name, or no level.

    Examples:
        >>> RungeKutta("rk4").calls_per_step
        4

    References:
        rhoRK-DEIS of Zhang and Chen, https://arxiv.org/abs/2204.13902, with outputs divided by r(t) as in
        https://arxiv.org/abs/2311.00157. The change to predicted data is this package's.
    """

    name: str = "heun"
    above: float = ABOVE_MODELS

    of = "noise"

    def __post_init__(self) -> None:
        _check_name("solver", self.name, tuple(TABLEAUX))
        if not (isinstance(self.above, int | float) and self.above >= 0.0):
            raise ConfigurationError(f"`above` of RungeKutta is a level sigma / alpha, got {self.above!r}.")

    @property
    def calls_per_step(self) -> int:
        """The number of stages."""
        return len(TABLEAUX[self.name])

    @checked(ConfigurationError)
    def table(self, process: NoiseSchedule, scale: Normaliser, levels: Array) -> CoefficientTable:
        """See `Solver`. Raises TimestepsError for levels that cannot be walked."""
        check_levels(levels)
        return runge_kutta_table(process, scale, levels, self.name, self.above)


def named_solver(
    name: str = "multistep",
    order: int = DEFAULT_ORDER,
    corrector: Corrector = Corrector(),
    lower_order_final: bool = True,
) -> Solver:
    """The solver of a name, "multistep", "ipndm" or one of `TABLEAUX`, with the options of a scheduler.

    Args:
        name: The name.
        order: `solver_order`.
        corrector: Of "multistep" and "ipndm"; the others call the network anew in every stage.
        lower_order_final: As in `Multistep`.

    Raises:
        ConfigurationError: An unknown name, or an order the solver does not have.
    """
    _check_name("solver", name, SOLVERS)
    _check_order("solver_order", order, 1)
    if name not in TABLEAUX:
        return Multistep(order, "t", "noise", corrector, lower_order_final, equal_steps=name == "ipndm")
    if order not in (DEFAULT_ORDER, TABLEAUX[name].order):
        raise ConfigurationError(
            f"solver={name!r} has order {TABLEAUX[name].order}, got solver_order={order}. Use "
            f"solver_order={TABLEAUX[name].order}, or solver='multistep' or 'ipndm', which have orders 1 to 4."
        )
    return RungeKutta(name)
