"""What runs are worth: how far samples end from those of the fine run, and what of the picture changes.

What a plan has to reach is in docs/tuning.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from diffusers_deis_sn.core.process import Array
from diffusers_deis_sn.core.step import has_bands, high_band
from diffusers_deis_sn.statistics.trials import RMS_WEIGHT

TRIMMED = 0.1  # share of the samples that the trimmed RMS leaves out
ALLOWED = 1.02  # how much larger RMS and trimmed RMS may be
KEPT = 0.03  # by how much sharpness and colour may differ from the fine run's
TINY = 1e-30


def distances(ends: Tensor, fine: Tensor) -> Array:
    """RMS distance of each sample to its fine one; (S,)."""
    each: Array = (ends.double() - fine.double()).flatten(1).square().mean(1).clamp_min(TINY).sqrt().numpy()
    return each


def score(ends: Tensor, fine: Tensor) -> float:
    """Logarithm of the geometric mean, with a share of that of the RMS; infinite for what is not finite."""
    each = distances(ends, fine)
    if not np.all(np.isfinite(each)):
        return np.inf
    geometric = float(np.log(each).mean())
    return geometric + RMS_WEIGHT * (0.5 * float(np.log(np.square(each).mean())) - geometric)


@dataclass(frozen=True)
class Judged:
    """What the ends of runs are, held against those of the fine run of the same samples.

    Args:
        geometric: Geometric mean of the samples' distances.
        rms: Root of their mean square.
        trimmed: The same without the worst tenth.
        sharpness: Energy of the high band over the fine run's; one of samples without bands.
        tint: Largest difference of the mean of a channel, in terms of the samples' root mean square.
    """

    geometric: float
    rms: float
    trimmed: float
    sharpness: float = 1.0
    tint: float = 0.0

    @classmethod
    def of(cls, ends: Tensor, fine: Tensor) -> Judged:
        """The judgement; infinite distances for what is not finite."""
        each = np.sort(distances(ends, fine))
        if not np.all(np.isfinite(each)):
            return cls(np.inf, np.inf, np.inf, np.inf, np.inf)
        kept = each[: len(each) - int(np.ceil(TRIMMED * len(each)))] if len(each) > 1 else each
        return cls(
            float(np.exp(np.log(each).mean())),
            float(np.sqrt(np.square(each).mean())),
            float(np.sqrt(np.square(kept).mean())),
            sharpness(ends, fine),
            _tint(ends, fine),
        )

    def objections(self, default: Judged, rivals: Sequence[Judged] = ()) -> list[str]:
        """Why it is not to take the place of the default, nor to be preferred to rivals; nothing if it may.

        Sharpness and colour are to be those of the fine run, or at least as near to them as the default's.
        """
        others = [one for one in (default, *rivals) if np.isfinite(one.rms)]
        found = []
        for name, allowed in (("geometric", 1.0), ("rms", ALLOWED), ("trimmed", ALLOWED)):
            least = min((getattr(one, name) for one in others), default=np.inf)
            value = getattr(self, name)
            if not value <= allowed * least:
                found.append(f"{_SAID[name]} {value:.4g}, and {least:.4g} without")
        for name, exact in (("sharpness", 1.0), ("tint", 0.0)):
            value, before = getattr(self, name), getattr(default, name)
            if not abs(value - exact) <= max(KEPT, abs(before - exact)):
                found.append(f"{_SAID[name]} {value:.3g}, and {before:.3g} without")
        return found


_SAID = {
    "geometric": "geometric mean",
    "rms": "RMS",
    "trimmed": "RMS without the worst tenth",
    "sharpness": "high band",
    "tint": "shift of colour",
}


def sharpness(ends: Tensor, fine: Tensor) -> float:
    """Energy of the high band over that of the fine run's; one of samples without bands, or without detail."""
    if not has_bands(fine.shape):
        return 1.0
    ours, theirs = (float(high_band(one.double()).square().mean()) for one in (ends, fine))
    return ours / theirs if theirs > TINY else 1.0


def _tint(ends: Tensor, fine: Tensor) -> float:
    if fine.ndim < 3:  # what has no axis of channels has no colour
        return 0.0
    rest = tuple(axis for axis in range(fine.ndim) if axis != 1)
    apart = (ends.double() - fine.double()).mean(rest).abs().max()
    return float(apart / fine.double().square().mean().sqrt().clamp_min(TINY))
