"""What a comparison needs first: score statistics, given or measured, and plans that are fitted for it if asked.

Statistics that are measured or get plans are kept in the folder of the comparison, `statistics/`; those of the caller
stay as they are. `runs/tuned.json` has the numbers of steps that plans were looked for, so that it is done once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any

from diffusers_deis_sn.collect.calls import guidance_in_use
from diffusers_deis_sn.collect.progress import Progress
from diffusers_deis_sn.collect.prompts import prompts_given
from diffusers_deis_sn.comparison.keeping import RUNS
from diffusers_deis_sn.core.table import MOST_TUNED
from diffusers_deis_sn.errors import CalibrationInterruptedError, ComparisonError
from diffusers_deis_sn.hub.atomic_write import write_together
from diffusers_deis_sn.statistics.record import ScoreStatistics
from diffusers_deis_sn.tuning.arguments import FEWEST, HELD_OUT, SAMPLES

KEPT, TRIED = "statistics", "tuned.json"
APART = 1000  # seeds between the first of what is compared and those of what is fitted before it
UNKEPT = "STATISTICS"  # in lines to paste, for statistics that are in no file

Texts = str | Sequence[str] | None


@dataclass(frozen=True)
class Fitting:
    """What plans were fitted on.

    Args:
        steps: Numbers of steps that they were looked for.
        prompts: How many different prompts; None where there are none.
        num_samples: Samples that were fitted on.
        num_held_out: Samples that decided, of other noise and prompts.
        seed: Of the first of them.
        seconds: That it took, whenever it was.
    """

    steps: tuple[int, ...]
    prompts: int | None
    num_samples: int
    num_held_out: int
    seed: int
    seconds: float


@dataclass(frozen=True)
class Prepared:
    """What is known of the model before anything is compared.

    Args:
        statistics: Of the model.
        place: Where these are, as schedulers take it.
        measured: Whether they were measured for this comparison.
        fitting: How their plans were fitted for it; None if they were not.
    """

    statistics: ScoreStatistics
    place: str
    measured: bool
    fitting: Fitting | None = None


@dataclass(frozen=True)
class Preparation:
    """Measures and fits through a pipeline.

    Args:
        pipe: The pipeline.
        folder: Of the comparison.
        kept: Whether the folder stays.
        progress: As for `compare`.
    """

    pipe: Any
    folder: Path
    kept: bool
    progress: bool | str | Progress

    @property
    def file(self) -> Path:
        """Where statistics are kept."""
        return self.folder / KEPT / "score_statistics.safetensors"

    def statistics(
        self,
        stats: ScoreStatistics | str | PathLike[str] | None,
        given: ScoreStatistics | None,
        prompts: Texts,
        options: Mapping[str, Any],
    ) -> Prepared:
        """Those that the caller has, or else those of the folder, or new ones that are kept there.

        Args:
            stats: What the caller said.
            given: That, loaded.
            prompts: To measure with.
            options: Of the pipeline's call.

        Raises:
            CalibrationError: As `calibrate`.
        """
        if given is None:
            return Prepared(self._measured(prompts, options), self._place(), True)
        return Prepared(given, UNKEPT if isinstance(stats, ScoreStatistics) else str(stats), False)

    def tuned(
        self, known: Prepared, steps: Sequence[int], prompts: Texts, options: Mapping[str, Any], **tuning: Any
    ) -> Prepared:
        """The statistics with plans, which are fitted for the numbers of steps that have none.

        Args:
            known: The statistics.
            steps: Numbers of steps.
            prompts: To fit with, others than those compared.
            options: Of the pipeline's call.
            **tuning: Of `tune`: `seed`, `batch_size`, `budget`.

        Raises:
            CalibrationError: As `tune`.
            CalibrationInterruptedError: Ctrl-C.
        """
        from diffusers_deis_sn.tuning.run import tune

        record = ScoreStatistics.load(self.file) if self.file.is_file() else known.statistics
        fitting, before = self._tried(), known.fitting
        there = {} if record.plans is None else record.plans.at(guidance_in_use(self.pipe, options))
        done = set(there) | set(fitting.steps if fitting else ())
        left = [one for one in steps if one not in done and one <= MOST_TUNED]
        if left:
            try:
                found = tune(
                    self.pipe,
                    prompts,
                    left,
                    statistics=record,
                    num_samples=SAMPLES,
                    num_held_out=HELD_OUT,
                    progress=self.progress,
                    **tuning,
                    **dict(options),
                )
            except KeyboardInterrupt as error:
                raise CalibrationInterruptedError(self._stopped()) from error
            record = found.statistics
            seconds = found.seconds + (fitting.seconds if fitting else 0.0)
            tried = tuple(sorted({*left, *(fitting.steps if fitting else ())}))
            number = None if prompts is None else len({prompts} if isinstance(prompts, str) else set(prompts))
            fitting = Fitting(tried, number, SAMPLES, HELD_OUT, tuning["seed"], seconds)
            self.file.parent.mkdir(parents=True, exist_ok=True)
            record.save(self.file)
            write_together({self.folder / RUNS / TRIED: (json.dumps(asdict(fitting), indent=1) + "\n").encode()})
        place = self._place() if self.file.is_file() else known.place
        return replace(known, statistics=record, place=place, fitting=fitting or before)

    def _place(self) -> str:
        return str(self.folder / KEPT) if self.kept else UNKEPT

    def _tried(self) -> Fitting | None:
        try:
            facts = json.loads((self.folder / RUNS / TRIED).read_text("utf-8"))
            return Fitting(**{**facts, "steps": tuple(facts["steps"])})
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def _stopped(self) -> str:
        there = f" The statistics are kept in {str(self.file.parent)!r}." if self.file.is_file() else ""
        return (
            "Stopped while plans were fitted, of which nothing is known before the end: the same command begins with "
            f"them again. `budget` makes that shorter.{there}"
        )

    def _measured(self, prompts: Texts, options: Mapping[str, Any]) -> ScoreStatistics:
        """Statistics that are in the folder, or are measured now and kept there."""
        from diffusers_deis_sn.collect.run import calibrate

        if self.file.is_file():
            return ScoreStatistics.load(self.file)
        self.file.parent.mkdir(parents=True, exist_ok=True)
        state = self.file.parent / "unfinished.checkpoint.safetensors"
        try:
            statistics = calibrate(
                self.pipe, prompts, checkpoint=state, resume=True, progress=self.progress, **dict(options)
            )
        except CalibrationInterruptedError as error:
            raise CalibrationInterruptedError(
                "Stopped while the statistics were measured. What is known is kept in "
                f"{str(self.file.parent)!r}: the same command goes on from there."
            ) from error
        statistics.save(self.file)
        state.unlink(missing_ok=True)
        return statistics


# ----------------------------------------------------------------------------------------------------- other samples


def compared_of(prompts: Texts, num_prompts: int | None, apart: bool) -> int | None:
    """How many prompts are compared where plans are fitted on the rest: half of them if nobody says.

    Args:
        prompts: All of them.
        num_prompts: What the caller says.
        apart: Whether the caller names others to fit on.
    """
    if num_prompts is not None or apart or prompts is None or isinstance(prompts, str):
        return num_prompts
    return (len(prompts) + 1) // 2


def others(
    prompts: Texts, options: Mapping[str, Any], count: int, named: Texts | PathLike[str]
) -> tuple[Texts, dict[str, Any]]:
    """Prompts to fit plans on, none of which is compared, and the pipeline's arguments with them.

    Args:
        prompts: All that were given; the first are compared.
        options: Of the pipeline's call; lists of as many texts go with the prompts.
        count: How many are compared.
        named: What the caller gives to fit on, prompts or a file; the rest of the prompts if None.

    Raises:
        ComparisonError: Too few are left.
        CalibrationError: As `prompts_given`.
    """
    if prompts is None:
        return None, dict(options)
    texts = [prompts] if isinstance(prompts, str) else list(prompts)
    compared = set(texts[:count])
    if named is not None:
        alone = {name: value for name, value in options.items() if not _goes_with(name, value, texts)}
        given, alone = prompts_given(named, alone)
        texts, options, count = [given] if isinstance(given, str) else list(given or ()), alone, 0
    chosen = [i for i in range(count, len(texts)) if texts[i] not in compared]
    different = len({texts[i] for i in chosen})
    if different < FEWEST:
        raise ComparisonError(
            f"Plans are fitted on prompts that are not compared, at least {FEWEST}, and there are {different}. Give "
            "more prompts, compare fewer of them (`num_prompts`), or name others to fit on (`tuning_prompts`)."
        )
    taken = {
        name: [value[i] for i in chosen] if _goes_with(name, value, texts) else value for name, value in options.items()
    }
    return [texts[i] for i in chosen], taken


def seed_of(seed: int, count: int) -> int:
    """Seed of the first sample that is fitted on: none is compared."""
    return 0 if seed >= APART else seed + max(count, APART)


def _goes_with(name: str, value: Any, texts: Sequence[str]) -> bool:
    """Whether an argument is a list with a text for each prompt."""
    return name.startswith(("negative_prompt", "prompt_")) and isinstance(value, list) and len(value) == len(texts)
