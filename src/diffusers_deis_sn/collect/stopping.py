"""When a measurement has seen enough, and what is said where it has not."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from diffusers_deis_sn.collect.arguments import CHEAP, MARKS
from diffusers_deis_sn.collect.enough import POOR, path_change, plan_change, samples_for
from diffusers_deis_sn.collect.recorder import RecordingScheduler
from diffusers_deis_sn.collect.sharing import ALONE, Shards
from diffusers_deis_sn.core.process import NoiseSchedule
from diffusers_deis_sn.statistics.origin import StatisticsOrigin
from diffusers_deis_sn.statistics.record import ScoreStatistics

logger = logging.getLogger("diffusers_deis_sn")

FEWEST = 8  # samples before a standard error is believed, and after which it is looked at again


@dataclass(frozen=True, eq=False)
class Stopping:
    """Decides after which samples a recorder stops. Processes that share the work hear the first one's decision.

    They may round otherwise, and would wait for each other ever after.

    Args:
        recorder: With what was measured so far.
        tolerance: Of coefficients, and of the length of paths; zero asks for all samples and no more.
        shards: The processes.
    """

    recorder: RecordingScheduler
    tolerance: float
    shards: Shards = ALONE

    def enough(self) -> bool:
        """Whether more samples would change no run of few steps, nor the costs that are measured."""

        def verdict() -> bytes:
            statistics = self.recorder.measured()
            change = max(plan_change(statistics, self.recorder.noise), path_change(statistics))
            return b"enough" if change <= self.tolerance and not self._unknown(self.recorder.costs) else b""

        return self.shards.led(verdict) != b""

    def next_look(self, most: int) -> int:
        """How many samples there will be when something is decided: whether it is enough, or a cost is known."""
        if not self.recorder.costs or self.tolerance == 0.0:
            return most
        return min(most, (self.recorder.drawn // FEWEST + 1) * FEWEST)

    def give_up_costs(self) -> None:
        """Measure costs no longer that are known to the tolerance.

        After every `FEWEST` samples, the same ones whatever the batches and the processes are.
        """
        recorder = self.recorder
        if recorder.drawn % FEWEST or not recorder.costs or recorder.num_samples < FEWEST:
            return
        unknown = self.shards.led(lambda: " ".join(self._unknown(recorder.costs)).encode())
        recorder.costs = tuple(unknown.decode().split())

    def tell_missed(self) -> None:
        """Log the costs that the samples did not suffice for."""
        for name in self._unknown(self.recorder.costs) if self.tolerance > 0.0 else ():
            reached, samples = self.recorder.uncertainty(name), self.recorder.num_samples
            logger.warning(
                "The %s cost gives the path's length to ±%.2g, not to tolerance=%g, with %d samples. %d may do.",
                name,
                reached,
                self.tolerance,
                samples,
                round(samples * (reached / self.tolerance) ** 2),
            )

    def _unknown(self, costs: tuple[str, ...]) -> list[str]:
        return [name for name in costs if self.recorder.uncertainty(name) > self.tolerance]


def tell_poor(statistics: ScoreStatistics, process: NoiseSchedule) -> None:
    """Log that statistics are visibly not good enough, and what it takes."""
    change = plan_change(statistics, process)
    if change > POOR:
        logger.warning(
            "These statistics%s are rough: within their standard errors a coefficient of a run of 5 to 20 steps moves "
            "by %.0f %%. Measure %d samples or more of at least %d steps, or leave num_samples at 'auto'.",
            at_guidance(statistics.origin),
            100.0 * min(change, 9.99),
            max(samples_for(change, statistics.most_samples or 1), MARKS[0]),
            CHEAP.num_inference_steps,
        )


def at_guidance(origin: StatisticsOrigin) -> str:
    """Which of several measurements it is, where that is known."""
    return "" if origin.guidance_scale is None else f" at guidance {origin.guidance_scale:g}"
