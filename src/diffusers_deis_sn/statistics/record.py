"""Score statistics as a value: curves over training time, measured along generated trajectories.

At each measured time t, over sampled x_t and the d components of the guided network output read as noise, eps(x_t, t):

    r(t) = E[ 1/d sum_i |eps_i| ]        `mean_abs`, the normaliser of DEIS-SN (Xia et al., arXiv 2311.00157)
    m(t) = E[ 1/d sum_i eps_i^2 ]        `mean_square`, never below r^2
    nu(t) = E[ 1/d sum_i |x0_i| ]        `mean_abs_data`, of the clean sample that the output predicts

Pure noise has r = sqrt(2/pi) = .798 and m = 1; towards clean data both fall. Only r is needed to sample; where m, nu,
the standard errors or the number of samples are not known, they are None. A record may also hold the costs that time
grids are learned from (`statistics.cost`), and what recipes left that were tried on the model (`statistics.trials`).

All of this is of one guidance. Records of one model at several guidances make one, `ScoreStatistics.together`, from
which `at` tells any guidance in between.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from os import PathLike
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffusers_deis_sn.core.process import NoiseSchedule, log_rho
from diffusers_deis_sn.core.value_types import checked
from diffusers_deis_sn.errors import MissingCostError, StatisticsError, StatisticsFormatError
from diffusers_deis_sn.escaping import plain
from diffusers_deis_sn.hub.atomic_write import write_together
from diffusers_deis_sn.hub.source import destination, locate
from diffusers_deis_sn.statistics import format as layout
from diffusers_deis_sn.statistics.cost import COST_ORDERS, PROBED, LocalCost, check_costs
from diffusers_deis_sn.statistics.guidances import (
    between,
    check_guidance,
    check_together,
    distance_from_usual,
    guidance_of,
    neighbours,
)
from diffusers_deis_sn.statistics.markup import html
from diffusers_deis_sn.statistics.matching import check_model
from diffusers_deis_sn.statistics.origin import StatisticsOrigin
from diffusers_deis_sn.statistics.plans import Plans, merged
from diffusers_deis_sn.statistics.report import report
from diffusers_deis_sn.statistics.rules import check_shapes, check_values, frozen, listed
from diffusers_deis_sn.statistics.trials import Trials


@dataclass(frozen=True, eq=False, repr=False)
class ScoreStatistics:
    """What `calibrate` measured on a model: curves over K >= 2 times, cleanest first, and where they come from.

        r(t) = E mean_i |eps_i|,    m(t) = E mean_i eps_i^2,    nu(t) = E mean_i |x_{0,i}|    of the network's outputs

    Each curve is (K,). The arrays are copied and made read-only. Two records are equal if their arrays agree bit for
    bit and their origins are the same.

    Args:
        timesteps: Measured times, as the network was called with them, strictly increasing: training times, which may
            be fractional, or log(sigma) / 4 of EDM models.
        log_snr: log(alpha^2 / sigma^2) at these times, strictly decreasing.
        mean_abs: r(t), positive.
        mean_abs_error: Standard error of r(t) over the samples; None, here and below, where it is not known.
        mean_square: m(t) >= r(t)^2.
        mean_square_error: Standard error of m(t) over the samples; only together with `mean_square`.
        mean_abs_data: nu(t), positive; the normaliser of the data form (`core.coefficients`).
        mean_abs_data_error: Standard error of nu(t) over the samples; only together with `mean_abs_data`.
        num_samples: Number of samples behind each time, at least 1; int64.
        origin: Model, noise schedule and settings of the measurement.
        costs: Local costs by name, of `statistics.cost.COST_ORDERS`, each of the K - 1 intervals between the times.
        trials: Recipes that were tried on the model.
        others: The same model at other guidance scales, rising, see `together`; each with the same times and without
            `others` of its own.
        plans: Runs that `tune` fitted to the model, at any guidance scale.

    Raises:
        StatisticsError: Arrays that break a rule above.

    Examples:
        >>> import numpy as np
        >>> times = np.array([0.0, 500.0, 999.0])
        >>> statistics = ScoreStatistics(times, np.array([9.0, 0.0, -9.0]), mean_abs=np.array([0.5, 0.78, 0.8]))
        >>> len(statistics)
        3
        >>> statistics.mean_abs[-1]  # noise alone: next to sqrt(2 / pi)
        np.float64(0.8)

    References:
        r(t) is what the score is normalised by in Xia et al., https://arxiv.org/abs/2311.00157, there K = sigma / r.
        The costs are those of https://arxiv.org/abs/2412.07877, eq. 13 and 14.
    """

    timesteps: NDArray[np.float64]
    log_snr: NDArray[np.float64]
    mean_abs: NDArray[np.float64]
    mean_abs_error: NDArray[np.float64] | None = None
    mean_square: NDArray[np.float64] | None = None
    mean_square_error: NDArray[np.float64] | None = None
    mean_abs_data: NDArray[np.float64] | None = None
    mean_abs_data_error: NDArray[np.float64] | None = None
    num_samples: NDArray[np.int64] | None = None
    origin: StatisticsOrigin = field(default_factory=StatisticsOrigin)
    costs: Mapping[str, LocalCost] = field(default_factory=dict)
    trials: Trials | None = None
    others: tuple[ScoreStatistics, ...] = ()
    plans: Plans | None = None

    def __post_init__(self) -> None:
        for name in layout.DTYPES:
            if name in layout.REQUIRED or getattr(self, name) is not None:
                object.__setattr__(self, name, frozen(name, getattr(self, name)))
        if not isinstance(self.origin, StatisticsOrigin):
            raise StatisticsError(f"`origin` must be a StatisticsOrigin, got {type(self.origin).__name__}.")
        for one in listed(self.others):
            if not isinstance(one, ScoreStatistics):
                raise StatisticsError(f"`others` must hold ScoreStatistics, got {plain(repr(one))}. Use `together`.")
        check_shapes(self.curves)
        check_values(self.curves, self.log_rho)
        check_costs(self.costs, self.log_rho)
        self._check_plans()
        if self.trials is not None and not isinstance(self.trials, Trials):
            raise StatisticsError(f"`trials` must be Trials or None, got {type(self.trials).__name__}.")
        costs = {name: self.costs[name] for name in COST_ORDERS if name in self.costs}  # in one order, as in a file
        object.__setattr__(self, "costs", MappingProxyType(costs))
        object.__setattr__(self, "others", tuple(self.others))
        if self.others:
            check_together(self.members)

    def _check_plans(self) -> None:
        if self.plans is None:
            return
        if not isinstance(self.plans, Plans):
            raise StatisticsError(f"`plans` must be Plans or None, got {type(self.plans).__name__}.")
        shape = self.origin.sample_shape
        if shape is not None and tuple(shape) != self.plans.sample_shape:
            raise StatisticsError(
                f"Plans were fitted on samples of shape {self.plans.sample_shape}, and the statistics were measured on "
                f"{tuple(shape)}. Tune at the size that was measured."
            )

    @property
    def curves(self) -> dict[str, NDArray[Any]]:
        """Those that are known, by name."""
        curves = {name: getattr(self, name) for name in layout.DTYPES}
        return {name: values for name, values in curves.items() if values is not None}

    # ------------------------------------------------------------------------------------------------- as a value

    def __len__(self) -> int:
        """Number of measured times, K."""
        return len(self.timesteps)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ScoreStatistics):
            return NotImplemented
        curves = [{name: values.tobytes() for name, values in one.curves.items()} for one in (self, other)]
        facts = [(one.origin, dict(one.costs), one.trials, one.others, one.plans) for one in (self, other)]
        return facts[0] == facts[1] and curves[0] == curves[1]

    def __hash__(self) -> int:
        return hash(self.timesteps.tobytes() + self.mean_abs.tobytes())

    def __repr__(self) -> str:
        times = f"{len(self)} times from {self.timesteps[0]:g} to {self.timesteps[-1]:g}"
        samples = "unknown number of" if self.most_samples is None else self.most_samples
        several = f"guidance {', '.join(f'{one:g}' for one in self.guidances)}, " if self.others else ""
        return (
            f"ScoreStatistics({times}, {samples} samples, {several}{plain(self.origin.base_model or 'unknown model')})"
        )

    @property
    def most_samples(self) -> int | None:
        """Number of samples behind the time that has most of them; None if not known."""
        return None if self.num_samples is None else int(self.num_samples.max())

    def __reduce__(self) -> tuple[Callable[..., ScoreStatistics], tuple[Any, ...]]:
        """Copies and pickles are built anew: NumPy's own would be writeable."""
        values = {one.name: getattr(self, one.name) for one in fields(self)} | {"costs": dict(self.costs)}
        return type(self), tuple(values.values())

    def with_origin(self, **facts: Any) -> ScoreStatistics:
        """The same curves, with `facts` in place of the origin's own. Raises StatisticsError for a wrong type."""
        others = tuple(one.with_origin(**facts) for one in self.others)
        return replace(self, origin=replace(self.origin, **facts), others=others)

    def with_costs(self, **costs: LocalCost) -> ScoreStatistics:
        """The same record with `costs` added or replaced, by name. Raises StatisticsError for costs that do not fit."""
        return replace(self, costs={**self.costs, **costs})

    def with_trials(self, trials: Trials | None) -> ScoreStatistics:
        """The same record with `trials` instead of its own. Raises StatisticsError for what are none."""
        return replace(self, trials=trials)

    def with_plans(self, plans: Plans | None) -> ScoreStatistics:
        """The same record with `plans`. Raises StatisticsError for what are none, or of samples of another size."""
        return replace(self, plans=plans)

    def cost(self, name: str) -> LocalCost:
        """The cost called `name`. Raises MissingCostError where it was not measured, or there is no such cost."""
        if not isinstance(name, str) or name not in self.costs:
            known = isinstance(name, str) and name in COST_ORDERS
            probe = f" --cost {name}" if known and name in PROBED else ""
            advice = f"Measure it with `deis-sn calibrate MODEL{probe} -o FOLDER`."
            if not known:
                advice = f"There are the costs {', '.join(COST_ORDERS)}."
            raise MissingCostError(
                f"These statistics have no {name!r} cost (they have {' and '.join(self.costs) or 'none'}), and the "
                f"time grid is learned from it. {advice}"
            )
        return self.costs[name]

    @property
    def log_rho(self) -> NDArray[np.float64]:
        """log(sigma / alpha) at the times; (K,)."""
        return log_rho(self.log_snr)

    # --------------------------------------------------------------------------------------------- several guidances

    @classmethod
    def together(cls, records: Iterable[ScoreStatistics]) -> ScoreStatistics:
        """One record of a model that was measured at several guidances.

        Its own curves are those of the guidance nearest to `statistics.guidances.USUAL`, 7.5. Of the trials it keeps
        the recipes that were tried at all of them, and of plans for the same runs the first.

        Args:
            records: Of the same model, one for each guidance, in any order.

        Returns:
            The record of all; the one that was given, where it is the only one.

        Raises:
            StatisticsError: No record, a guidance that is not known or comes twice, or different times, schedules,
                curves or costs.
        """
        given = listed(records)
        for one in given:
            if not isinstance(one, cls):
                raise StatisticsError(f"Records that come together are each a ScoreStatistics, got {plain(repr(one))}.")
        plans = merged(record.plans for record in given)
        members = [replace(one, plans=None) for record in given for one in record.members]
        if not members:
            raise StatisticsError("No record was given. Give those of one model, one for each guidance.")
        tried = [set(one.trials.recipes) if one.trials else set() for one in members]
        common = set.intersection(*tried)
        members = [one.with_trials(one.trials.only(common) if one.trials else None) for one in members]
        if len(members) == 1:
            return members[0].with_plans(plans)
        check_together(members)
        main = min(members, key=distance_from_usual)
        others = tuple(one for one in sorted(members, key=guidance_of) if one is not main)
        return replace(main, others=others, plans=plans)

    @property
    def members(self) -> tuple[ScoreStatistics, ...]:
        """One record for each guidance, rising."""
        if not self.others:
            return (self,)
        return tuple(sorted((replace(self, others=()), *self.others), key=guidance_of))

    @property
    def guidances(self) -> tuple[float, ...]:
        """The guidances that were measured, rising; empty where it is not known."""
        known = (one.origin.guidance_scale for one in self.members)
        return tuple(one for one in known if one is not None)

    def at(self, guidance: float | None) -> ScoreStatistics:
        """The statistics of one guidance scale.

        Between two that were measured r, m, nu and the lengths of steps are linear in the guidance, as an output is
        that is guided along one and the same trajectory, and errors of trials are powers. Beyond, the nearest serves.

        Args:
            guidance: Guidance scale of the run; None for the record's own curves.

        Returns:
            A record of one guidance; this one where it has no others.

        Raises:
            StatisticsError: A guidance that is no finite number, or negative.
        """
        check_guidance(guidance)
        if not self.others:
            return self
        if guidance is None:
            return replace(self, others=())
        low, high, share, wanted = neighbours(self.members, guidance)
        found = low._towards(high, share, wanted) if 0.0 < share < 1.0 else (high if share else low)
        return found.with_plans(self.plans)

    def _towards(self, other: ScoreStatistics, share: float, guidance: float) -> ScoreStatistics:
        """What lies between this record, share 0, and another with the same curves, share 1."""
        return replace(
            self,
            **between(self, other, share),
            origin=replace(self.origin, guidance_scale=guidance),
            costs={name: cost.towards(other.costs[name], share) for name, cost in self.costs.items()},
            trials=self.trials.towards(other.trials, share) if self.trials and other.trials else None,
        )

    def inspect(self) -> str:
        """Readable text: the origin, and a dozen rows of the curves."""
        return report(self)

    def _repr_html_(self) -> str:
        """For notebooks."""
        return html(self)

    @checked(StatisticsError)
    def check(self, noise: NoiseSchedule, prediction_type: str) -> None:
        """Refuse to serve a model that these statistics were not measured on.

        Args:
            noise: The noise schedule of the model at hand.
            prediction_type: What its network predicts.

        Raises:
            StatisticsMismatchError: Another noise schedule or prediction type was measured. What the origin leaves
                unknown is not compared, but log SNR always is.
        """
        check_model(self, noise, prediction_type)

    # -------------------------------------------------------------------------------------------------- as a file

    def to_bytes(self) -> bytes:
        """Content of the file; equal records give equal bytes."""
        return layout.encode([(one.curves, one.origin, one.costs, one.trials) for one in self.members], self.plans)

    def save(self, target: str | PathLike[str]) -> Path:
        """Write the file in one piece: when anything fails, an older file stays as it was and nothing else is left.

        Args:
            target: A folder, made if need be, or a file name that ends in .safetensors. A folder that holds a
                scheduler_config.json gets the file one folder deeper, as the format demands.

        Returns:
            The file.

        Raises:
            StatisticsError: The folder is a file.
            OSError: It cannot be written.
        """
        path = destination(target)
        write_together({path: self.to_bytes()})
        return path

    @classmethod
    def load(cls, source: ScoreStatistics | str | PathLike[str], **hub_options: Any) -> ScoreStatistics:
        """Statistics from wherever they are.

        Args:
            source: A record, given back as it is; a file; a folder; or a Hub name: "user/repo" or "user/repo/folder",
                either with "@revision".
            **hub_options: `subfolder`; and `revision`, `cache_dir`, `token`, `force_download`, `local_files_only` of
                huggingface_hub.

        Returns:
            The record, checked.

        Raises:
            StatisticsError: What is no place at all.
            StatisticsNotFoundError: Nothing there.
            StatisticsAccessError: The Hub refuses.
            StatisticsUnreachableError: Not cached, and the Hub was not asked, did not answer or failed.
            StatisticsFormatError: A file that is not score statistics of a known version.
        """
        if isinstance(source, ScoreStatistics):
            return source
        if not isinstance(source, str | PathLike):
            raise StatisticsError(
                f"Statistics are a ScoreStatistics, a file, a folder or a Hub name, got {type(source).__name__}."
            )
        path = locate(source, **hub_options)
        members, fitted = layout.read(path)
        try:
            record = cls.together(
                cls(**one.curves, origin=one.origin, costs=one.local_costs(), trials=one.tried()) for one in members
            )
            return record if fitted is None else record.with_plans(Plans.decode(*fitted))
        except StatisticsError as error:
            raise StatisticsFormatError(
                f"{str(path)!r} contradicts itself: {error} Measure again with `deis-sn calibrate`."
            ) from error
