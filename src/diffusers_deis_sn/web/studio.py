"""One prompt by two schedulers from the same noise, through models that are loaded when somebody chooses them.

Nothing here knows how it is shown.
"""

from __future__ import annotations

import gc
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

from PIL import Image

from diffusers_deis_sn.collect.calls import guidance_in_use, plan_calls
from diffusers_deis_sn.collect.lending import lent, silenced
from diffusers_deis_sn.comparison.contenders import (
    PLAIN,
    STATISTICS,
    WITH_PLANS,
    Contender,
    contenders,
    steps_for,
    to_paste,
)
from diffusers_deis_sn.comparison.drawing import Easel
from diffusers_deis_sn.errors import ComparisonError
from diffusers_deis_sn.statistics.record import ScoreStatistics

STEPS = 8
RIVALS = ("DPM++ 2M", "EDM DPM++ 2M", "UniPC")  # the first that takes part is shown at the left

Told = Callable[[float, str], None]
"""Told of what is being drawn: a share of all, and by which scheduler."""


@dataclass(frozen=True)
class Offer:
    """A model that can be chosen.

    Args:
        name: As it is shown.
        load: Gives its pipeline.
        statistics: Its score statistics; None for none.
        place: Where these are, as schedulers take it.
        options: Further arguments of the pipeline's call.
    """

    name: str
    load: Callable[[], Any]
    statistics: ScoreStatistics | None = None
    place: str = STATISTICS
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Choices:
    """What can be said of a picture of a model.

    Args:
        schedulers: Their names.
        left: The rival that is shown first.
        right: Ours that is.
        steps: Network calls that it begins with: such as there is a plan for, if there are plans.
        prompted: Whether it draws from a text.
        guidance: The scale that it begins with; None where the pipeline takes none.
    """

    schedulers: tuple[str, ...]
    left: str
    right: str
    steps: int
    prompted: bool
    guidance: float | None


@dataclass(frozen=True)
class Shown:
    """A picture, and how it was drawn.

    Args:
        scheduler: By which.
        picture: The picture.
        calls: Network calls.
        seconds: From the first to the last of them.
        timesteps: Their times.
        code: Lines to paste.
    """

    scheduler: str
    picture: Image.Image
    calls: int
    seconds: float
    timesteps: tuple[float, ...]
    code: tuple[str, ...]


class Studio:
    """Draws by models of which one at a time is in memory. Calls from several threads wait for one another.

    Args:
        offers: The models.

    Raises:
        ComparisonError: None, or two of one name.
    """

    def __init__(self, offers: Sequence[Offer]) -> None:
        self._offers = {one.name: one for one in offers}
        if not offers or len(self._offers) < len(offers):
            names = [one.name for one in offers]
            raise ComparisonError(f"Models to choose from must be at least one, each named once, got {names}.")
        self._lock = Lock()
        self._loaded: tuple[str, Any, dict[str, Contender]] | None = None

    @property
    def models(self) -> tuple[str, ...]:
        """Names of the models."""
        return tuple(self._offers)

    def choices(self, model: str) -> Choices:
        """What can be said of a picture of the model, which is loaded.

        Raises:
            CalibrationError: The model cannot be loaded.
            StatisticsError: The statistics are of another model.
        """
        with self._lock:
            offer, (_, pipe, known) = self._offers[model], self._at_hand(model)
        parameters = inspect.signature(pipe).parameters
        plans = None if offer.statistics is None else offer.statistics.plans
        steps = STEPS if plans is None else min((one.calls for one in plans.entries), key=lambda one: abs(one - STEPS))
        return Choices(
            tuple(known),
            left=next((name for name in RIVALS if name in known), next(iter(known))),
            right=WITH_PLANS if WITH_PLANS in known else PLAIN if PLAIN in known else list(known)[-1],
            steps=steps,
            prompted="prompt" in parameters,
            guidance=_guidance(pipe, offer) if "guidance_scale" in parameters else None,
        )

    def drawn(
        self,
        model: str,
        prompt: str,
        schedulers: Sequence[str],
        steps: int,
        guidance: float | None,
        seed: int,
        told: Told = lambda *_: None,
    ) -> tuple[Shown, ...]:
        """A picture by each of the schedulers, from the same noise, in as many network calls.

        Args:
            model: Name of the model.
            prompt: The text; not looked at where the pipeline takes none.
            schedulers: Names.
            steps: Network calls.
            guidance: Scale of guidance; None for the pipeline's own.
            seed: Of the noise.
            told: Told after each step.

        Raises:
            ComparisonError: No text, a scheduler that does not suit the model, or a pipeline that makes no pictures.
            CalibrationError: Arguments that the pipeline lacks or does not take.
        """
        with self._lock:
            offer, (_, pipe, known) = self._offers[model], self._at_hand(model)
            prompted = "prompt" in inspect.signature(pipe).parameters
            if prompted and not prompt.strip():
                raise ComparisonError("The prompt is empty. Write what the picture is to show.")
            options = {**offer.options, **({} if guidance is None else {"guidance_scale": guidance})}
            easel = Easel(pipe, plan_calls(pipe, prompt if prompted else None, steps, seed, options))
            shown = []
            for place, name in enumerate(schedulers):
                easel.on_step = _share(place, len(schedulers), name, told)
                with lent(pipe), silenced(pipe):
                    shown.append(_shown(easel, known[name], steps, offer.place))
            return tuple(shown)

    def _at_hand(self, model: str) -> tuple[str, Any, dict[str, Contender]]:
        """The model's pipeline and schedulers; the one before is let go first."""
        if self._loaded is None or self._loaded[0] != model:
            self._loaded = None
            gc.collect()
            _empty_cache()
            offer = self._offers[model]
            pipe = offer.load()
            record = offer.statistics
            planned = () if record is None or record.plans is None else {one.calls for one in record.plans.entries}
            found, _ = contenders(pipe.scheduler, record, tuple(planned))
            self._loaded = model, pipe, {one.name: one for one in found}
        return self._loaded


def _shown(easel: Easel, one: Contender, steps: int, place: str) -> Shown:
    drawn = easel.draw(one.make(), steps_for(one.make(), steps), 0, 1, True)
    if not drawn.pictures:
        name = type(easel.pipe).__name__
        raise ComparisonError(f"{name} makes no pictures, so there is nothing to show. `deis-sn compare` needs none.")
    code = to_paste(one.code, place)
    return Shown(one.name, drawn.pictures[0], drawn.calls, drawn.seconds, drawn.timesteps, code)


def _guidance(pipe: Any, offer: Offer) -> float:
    """That of the statistics, or else the pipeline's own."""
    known = None if offer.statistics is None else offer.statistics.origin.guidance_scale
    own = guidance_in_use(pipe, offer.options)
    return float(known or own or 1.0)


def _empty_cache() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _share(place: int, of_all: int, name: str, told: Callable[[float, str], None]) -> Callable[[int, int], None]:
    """Tells how much is done of all runs, in the one at a place."""
    return lambda done, of: told((place + done / of) / of_all, name)
