"""Times of a run by coordinate search, with the weights fitted anew for each that is tried.

Times are tau, the progress of the process. A move shrinks or stretches all times from one on, or moves one between its
neighbours; the calls before the first time that moves are not made again. The first time is free too: at the noisiest
level there is hardly any signal, and the noise that a run starts from is as good a sample a little below.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from diffusers_deis_sn.core.process import Array
from diffusers_deis_sn.core.recipe import Recipe
from diffusers_deis_sn.core.tuned import Tuned
from diffusers_deis_sn.errors import CalibrationError, DeisSnError
from diffusers_deis_sn.tuning.judging import KEPT, score, sharpness
from diffusers_deis_sn.tuning.model import Model
from diffusers_deis_sn.tuning.rows import Fitted, fit
from diffusers_deis_sn.tuning.sharpening import sharpened
from diffusers_deis_sn.tuning.teacher import Teacher

WORTH = 0.004  # by which the score has to fall
DULL = 0.5 * KEPT  # how far sharpness may be off on the samples that are fitted, before the last row is fitted to it


@dataclass(frozen=True, eq=False)
class Found:
    """A fit, and what it is worth.

    Args:
        fitted: The fit.
        score: See `judging.score`.
        recipe: That its weights are shrunk to.
        bands: How many have weights of their own.
    """

    fitted: Fitted
    score: float
    recipe: Recipe
    bands: int = 1

    @property
    def run(self) -> Tuned:
        """The plan."""
        return self.fitted.run


@dataclass
class Search:
    """Looks for times and weights of a run.

    Args:
        model: The network and the samples.
        teacher: Their fine run.
        spent: Told after each fit; may raise `OutOfTimeError`, which ends the search.
    """

    model: Model
    teacher: Teacher
    spent: Callable[[Found], None] = lambda _: None

    def at(self, recipe: Recipe, levels: Array, bands: int = 1, known: Found | None = None) -> Found:
        """The fit over given levels; raises what the recipe does for levels that it cannot walk."""
        base = Tuned.of_recipe(recipe, levels)
        fitted = fit(self.model, self.teacher, base, bands, known=None if known is None else known.fitted)
        found = Found(fitted, score(fitted.end, self.teacher.end), recipe, bands)
        self.spent(found)
        return found

    def started(self, recipes: Sequence[Recipe], calls: int, bands: int = 1) -> list[Found]:
        """Fits on the grids of recipes, the best first; those that the process does not have are left out."""
        found: list[Found] = []
        for recipe in recipes:
            try:
                levels = self.model.process.whole(recipe.levels(calls))
                if not any(np.array_equal(levels, one.run.rho) for one in found):
                    found.append(self.at(recipe, levels, bands))
            except CalibrationError:  # of the pipeline, or of who asks to stop
                raise
            except DeisSnError:
                continue
        return sorted((one for one in found if np.isfinite(one.score)), key=lambda one: one.score)

    def swept(self, found: Found, step: float) -> Iterator[Found]:
        """The best after each improvement of one sweep of moves, each of which starts from the best before.

        Args:
            found: Where to start.
            step: Size of the moves, see `moved`.
        """
        for place in range(len(found.run) - 1, -1, -1):
            for tail in (True, False) if place else (True,):
                for sign in (1.0, -1.0):
                    other = self._moved(found, place, sign * step, tail)
                    if other is not None and other.score < found.score - WORTH:
                        found = other
                        yield found
                        break

    def begun(self, found: Found, step: float) -> Iterator[Found]:
        """The best after each improvement while all times are scaled, the first among them."""
        for sign in (1.0, -1.0):
            other = self._moved(found, 0, sign * step, tail=True)
            while other is not None and other.score < found.score - WORTH:
                found = other
                yield found
                other = self._moved(found, 0, sign * step, tail=True)

    def sharpened(self, found: Found) -> Found | None:
        """The same with a last row that keeps the fine run's sharpness; None where the fit has it, or no row would."""
        if abs(sharpness(found.fitted.end, self.teacher.end) - 1.0) <= DULL:
            return None
        base = Tuned.of_recipe(found.recipe, found.run.rho)
        fitted = sharpened(found.fitted, self.teacher, base, found.bands)
        return None if fitted is None else replace(found, fitted=fitted, score=score(fitted.end, self.teacher.end))

    def _moved(self, found: Found, place: int, step: float, tail: bool) -> Found | None:
        process, rho = self.model.process, found.run.rho
        tau = moved(process.progress(rho[:-1]), place, step, tail)
        if tau is None:
            return None
        try:
            levels = process.whole(np.append(process.level(tau), rho[-1]))
            levels[:place] = rho[:place]  # bit for bit, whatever the way there and back does
            return None if np.array_equal(levels, rho) else self.at(found.recipe, levels, found.bands, found)
        except CalibrationError:
            raise
        except DeisSnError:
            return None


def moved(tau: Array, place: int, step: float, tail: bool) -> Array | None:
    """Times with those from `place` on scaled, or that one alone moved; None where they would not fall.

    Args:
        tau: Falling, from 1; (N,).
        place: The first that moves.
        step: In terms of the gap above (the time itself for the first one), or of the narrower gap beside.
        tail: Whether those below move along.
    """
    tau = tau.copy()
    below = tau[place + 1] if place + 1 < len(tau) else 0.0
    above = tau[place - 1] if place else 1.0 + tau[0] - below
    if tail:
        gap = (above - tau[place]) if place else 0.4 * tau[0]
        new = tau[place] - step * gap
        tau[place:] *= new / tau[place]
    else:
        tau[place] -= step * min(above - tau[place], tau[place] - below)
    sound = tau[0] <= 1.0 + 1e-12 and np.all(np.diff(tau) < 0.0) and tau[-1] > 0.0
    return np.minimum(tau, 1.0) if sound else None
