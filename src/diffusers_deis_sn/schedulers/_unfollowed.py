"""Options of Diffusers' schedulers that change what is drawn there and have no meaning here: said once, and why.

They stay in the config for the way back. Options that only say how another solver takes its steps (`solver_type`,
`euler_at_final`, ...) are not among them: another solver was chosen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

NO_NOISE = "this method draws no noise in its steps, and the picture is that of the deterministic one"
OWN_GRID = "it bounds that scheduler's own grid. Use start_time, end_time or `sigmas=` here"
NO_CLIP = (
    "predicted clean samples are not clipped. Use thresholding=True with sample_max_value=1.0, if the model needs it"
)


@dataclass(frozen=True)
class Unfollowed:
    """An option of another scheduler.

    Args:
        says: Whether a value, in a config, asks for what is not done here.
        instead: What is done, in words.
    """

    says: Callable[[Any, Mapping[str, Any]], bool]
    instead: str


def _clips(value: Any, config: Mapping[str, Any]) -> bool:
    """Not of CogVideoX's, which have the option too and do not look at it."""
    return bool(value) and not config.get("thresholding") and "snr_shift_scale" not in config


UNFOLLOWED: dict[str, Unfollowed] = {
    "stochastic_sampling": Unfollowed(lambda value, _: bool(value), NO_NOISE),
    "algorithm_type": Unfollowed(lambda value, _: str(value).startswith("sde-"), NO_NOISE),
    "eta": Unfollowed(lambda value, _: bool(value), NO_NOISE),
    "noise_sampler_seed": Unfollowed(lambda value, _: value is not None, NO_NOISE),
    "tau_func": Unfollowed(lambda value, _: value is not None, NO_NOISE),
    "clip_sample": Unfollowed(_clips, NO_CLIP),
    "sigma_min": Unfollowed(lambda value, _: value is not None, OWN_GRID),
    "sigma_max": Unfollowed(lambda value, _: value is not None, OWN_GRID),
}
OF_MODELS = {"sigma_min": ("ve", "edm"), "sigma_max": ("ve", "edm")}  # kinds of processes which these are part of


def unfollowed(config: Mapping[str, Any], kind: str) -> Iterator[tuple[str, str]]:
    """What is to be said of the options that another scheduler has left in a config: topic, and words.

    Args:
        config: Of a scheduler of this package.
        kind: Of its process.
    """
    for name, option in UNFOLLOWED.items():
        if name in config and kind not in OF_MODELS.get(name, ()) and option.says(config[name], config):
            yield name, f"{name}={config[name]!r} is another scheduler's option and not followed: {option.instead}."
