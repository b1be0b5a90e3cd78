"""Records of one model at several guidances: what they must have in common, and which of them tell any other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from diffusers_deis_sn.core.value_types import is_number
from diffusers_deis_sn.errors import StatisticsError
from diffusers_deis_sn.statistics.cost import LocalCost
from diffusers_deis_sn.statistics.origin import StatisticsOrigin
from diffusers_deis_sn.statistics.trials import Trials

USUAL = 7.5  # what Stable Diffusion is called with; where nobody says another, it is this one


class Guided(Protocol):
    """What is compared of a record."""

    @property
    def curves(self) -> dict[str, NDArray[Any]]:
        """Those that are known, by name."""
        ...

    @property
    def origin(self) -> StatisticsOrigin:
        """With its guidance."""
        ...

    @property
    def costs(self) -> Mapping[str, LocalCost]:
        """By name."""
        ...

    @property
    def trials(self) -> Trials | None:
        """Methods that were tried."""
        ...


G = TypeVar("G", bound=Guided)


def distance_from_usual(record: Guided) -> tuple[float, float]:
    """By how much its guidance differs from `USUAL`; of two that are as near the lower comes first."""
    return abs(guidance_of(record) - USUAL), guidance_of(record)


def between(low: Guided, high: Guided, share: float) -> dict[str, Any]:
    """Curves between those of two records, share 0 and 1, each linear; of numbers of samples the smaller."""
    curves: dict[str, NDArray[Any]] = {}
    for name, values in low.curves.items():
        theirs = high.curves[name]
        curves[name] = np.minimum(values, theirs) if name == "num_samples" else values + share * (theirs - values)
    return curves


def guidance_of(record: Guided) -> float:
    """The guidance that was measured. Raises StatisticsError where it is not known."""
    if record.origin.guidance_scale is None:
        raise StatisticsError(
            "Of records of several guidances each must say its own in `origin.guidance_scale`, and one says None."
        )
    return record.origin.guidance_scale


def check_guidance(guidance: object) -> None:
    """Raise StatisticsError for a guidance that is neither None nor a finite number, zero or more."""
    if guidance is not None and not (is_number(guidance) and 0.0 <= guidance < np.inf):
        raise StatisticsError(
            f"`guidance` must be a finite number of zero or more, or None, got {guidance!r}. Give that of the runs."
        )


def neighbours(members: Sequence[G], guidance: float) -> tuple[G, G, float, float]:
    """Two records that tell a guidance, the share of the second, and the guidance, which is held within all of them.

    Args:
        members: Two or more, rising.
        guidance: Any.
    """
    known = [guidance_of(one) for one in members]
    wanted = float(np.clip(guidance, known[0], known[-1]))
    above = max(1, int(np.searchsorted(known, wanted)))
    share = (wanted - known[above - 1]) / (known[above] - known[above - 1])
    return members[above - 1], members[above], share, wanted


def check_together(members: Iterable[Guided]) -> None:
    """Raise StatisticsError unless these are records of one model that differ in guidance alone."""
    first, *rest = sorted(members, key=guidance_of)
    for before, one in pairwise((first, *rest)):
        if guidance_of(before) == guidance_of(one):
            raise StatisticsError(f"Guidance {guidance_of(one):g} was given twice. Give each once.")
    for one in rest:
        same = {
            "curves": one.curves.keys() == first.curves.keys(),
            "times": all(np.array_equal(one.curves[name], first.curves[name]) for name in ("timesteps", "log_snr")),
            "costs": _orders(one) == _orders(first),
            "trials": _tried(one) == _tried(first),
            "noise schedule": one.origin.fingerprint == first.origin.fingerprint,
            "prediction type": one.origin.prediction_type == first.origin.prediction_type,
        }
        wrong = [name for name, equal in same.items() if not equal]
        if wrong:
            raise StatisticsError(
                f"Records of guidance {guidance_of(first):g} and {guidance_of(one):g} have different "
                f"{' and '.join(wrong)}. Measure one model at all of them: deis-sn calibrate --guidance-scale 1,3,7.5."
            )


def _orders(record: Guided) -> dict[str, int]:
    return {name: cost.order for name, cost in record.costs.items()}


def _tried(record: Guided) -> object:
    return record.trials and (record.trials.recipes, record.trials.calls)
