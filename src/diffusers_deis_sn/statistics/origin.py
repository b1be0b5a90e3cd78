"""Where score statistics come from: the model, the noise schedule and the settings of the measurement."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from typing import Any

from diffusers_deis_sn.core.value_types import is_number
from diffusers_deis_sn.errors import StatisticsError

_TEXTS = frozenset("base_model revision noise_schedule fingerprint prediction_type dtype solver".split()) | frozenset(
    "prompts_hash date licence source".split()
)
_INTEGERS = frozenset(("num_inference_steps", "seed", "num_skipped"))
_RARE = ("num_skipped",)  # facts that are written only where there is something to tell


@dataclass(frozen=True)
class StatisticsOrigin:
    """Which model was measured, and how. None means unknown.

    Args:
        base_model: Hub name of the model, or the name of its folder.
        revision: Its commit or branch.
        noise_schedule: What a person calls the noise schedule.
        fingerprint: Its `NoiseSchedule.fingerprint`; what `ScoreStatistics.check` compares.
        prediction_type: What the network predicts: "epsilon", "v_prediction", "sample" or "flow_prediction".
        guidance_scale: Scale of classifier-free guidance; the guided output is what was measured.
        sample_shape: Shape of one sample as the scheduler sees it, without the batch.
        dtype: Precision the network ran in, such as "float16".
        solver: Solver and time grid that drew the trajectories.
        num_inference_steps: Number of steps of a trajectory.
        seed: Seed of the first sample; sample i started from seed + i.
        prompts_hash: `hash_prompts` of the prompts, which themselves stay private.
        versions: Versions of the libraries, by name.
        date: Day of the measurement, ISO 8601.
        licence: Licence under which the statistics may be used.
        source: File of another kind that the numbers were taken from: its address or name, and its SHA-256. None for
            statistics that were measured, not imported.
        num_skipped: Number of samples that were left out because of values that are not finite; None for none.

    Raises:
        StatisticsError: A value of the wrong type, a guidance scale that is not finite, or a date that is not ISO 8601.
    """

    base_model: str | None = None
    revision: str | None = None
    noise_schedule: str | None = None
    fingerprint: str | None = None
    prediction_type: str | None = None
    guidance_scale: float | None = None
    sample_shape: tuple[int, ...] | None = None
    dtype: str | None = None
    solver: str | None = None
    num_inference_steps: int | None = None
    seed: int | None = None
    prompts_hash: str | None = None
    versions: dict[str, str] = field(default_factory=dict)
    date: str | None = None
    licence: str | None = None
    source: str | None = None
    num_skipped: int | None = None

    def __post_init__(self) -> None:
        for name in _TEXTS:
            self._demand(name, str, "text")
        for name in _INTEGERS:
            self._demand(name, int, "a whole number")
        if self.guidance_scale is not None:
            object.__setattr__(self, "guidance_scale", _finite_number(self.guidance_scale))
        if self.sample_shape is not None:
            object.__setattr__(self, "sample_shape", _shape(self.sample_shape))
        object.__setattr__(self, "versions", _versions(self.versions))
        if self.date is not None:
            _check_date(self.date)

    def _demand(self, name: str, kind: type, wanted: str) -> None:
        value = getattr(self, name)
        if value is not None and (not isinstance(value, kind) or isinstance(value, bool)):
            raise StatisticsError(f"`{name}` of an origin must be {wanted} or None, got {value!r}.")

    def as_dict(self) -> dict[str, Any]:
        """The facts by name, in plain JSON types."""
        facts = asdict(self)
        if self.sample_shape is not None:
            facts["sample_shape"] = list(self.sample_shape)
        return {name: value for name, value in facts.items() if value is not None or name not in _RARE}

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> StatisticsOrigin:
        """The origin that `as_dict` gave; names it does not know are ignored, names not there are unknown.

        Raises:
            StatisticsError: As the class.
        """
        known = {one.name for one in fields(cls)}
        return cls(**{name: value for name, value in facts.items() if name in known})


def hash_prompts(prompts: Sequence[str]) -> str:
    """First 16 hexadecimal digits of the SHA-256 of the prompts, written as a compact JSON list in ASCII."""
    text = json.dumps(list(prompts), separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _finite_number(value: object) -> float:
    if not is_number(value) or not math.isfinite(value):
        raise StatisticsError(f"`guidance_scale` of an origin must be a finite number or None, got {value!r}.")
    return float(value)


def _shape(value: object) -> tuple[int, ...]:
    sizes = tuple(value) if isinstance(value, list | tuple) else None
    if sizes is None or not all(type(size) is int and size > 0 for size in sizes):
        raise StatisticsError(f"`sample_shape` of an origin must be a tuple of positive sizes or None, got {value!r}.")
    return sizes


def _versions(value: object) -> dict[str, str]:
    if not isinstance(value, Mapping) or not all(isinstance(text, str) for pair in value.items() for text in pair):
        raise StatisticsError(f"`versions` of an origin must map names to versions, both text, got {value!r}.")
    return dict(sorted(value.items()))


def _check_date(value: str) -> None:
    try:
        datetime.fromisoformat(value)
    except ValueError:
        raise StatisticsError(f"`date` of an origin must be ISO 8601 such as 2026-01-31, got {value!r}.") from None
