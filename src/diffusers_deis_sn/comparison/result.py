"""What a comparison came to: a value, and the document that everything else is made from.

`document()` is the content of `compare.json`. Every number on the page is in it:

    format, format_version     "diffusers_deis_sn.compare", 1
    model, pipeline, process   what was compared on
    prompts                    the texts; null where the pipeline takes none
    num_prompts, seed          prompt i starts from the noise of seed + i, drawn on the CPU
    arguments                  of the pipeline, such as guidance_scale; numbers and texts alone
    steps                      the columns: network calls of each picture
    picture_size               width and height in pixels; null where the pipeline makes no pictures
    reference                  the converged run: scheduler, code, steps; check_steps, check_prompts, check_distance of
                               the run that it was held against; share_of_least, that over the least distance below
    contenders                 scheduler, ours, code, note, calls (that it takes part in; null for all)
    skipped                    scheduler, reason
    rows                       of each scheduler in each number of calls: scheduler, ours, calls, steps (that the
                               pipeline was given), made (calls that there were; fewer from an image), further (in no
                               column: run to see how many calls a rival needs), geometric_mean, rms, worst_tenth,
                               seconds_per_picture, distances (of each prompt), timesteps, sigmas, and `ratio` to the
                               nearest rival in as many calls: to, value, low, high, standard_error
    recommendation             verdict (ours, rival, draw, alone), scheduler, calls, sentence, detail, code, timesteps,
                               sigmas, ratio, equal (scheduler, calls, most), times_fewer
    statistics                 place, measured (for this comparison), samples, guidances, timesteps, mean_abs, and of
                               the plans for the numbers of steps above, if they were followed: calls, guidance,
                               num_samples, error, default_error, rival_error as in the statistics
    tuning                     of plans that were fitted for this comparison: steps (that they were looked for),
                               prompts, num_samples, num_held_out, seed, seconds; null if none were
    device, batch_size, seconds, versions
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

from diffusers_deis_sn.collect.arguments import check_count
from diffusers_deis_sn.comparison.advice import Advice
from diffusers_deis_sn.comparison.contenders import WITH_PLANS, Contender, Skipped, to_paste
from diffusers_deis_sn.comparison.preparing import Fitting
from diffusers_deis_sn.comparison.reference import Reference
from diffusers_deis_sn.comparison.rows import Ratio, Row, at, columns, nearest
from diffusers_deis_sn.core.value_types import checked
from diffusers_deis_sn.errors import ComparisonError
from diffusers_deis_sn.escaping import plain, utf8
from diffusers_deis_sn.hub.atomic_write import write_together
from diffusers_deis_sn.hub.local import path_of
from diffusers_deis_sn.statistics.record import ScoreStatistics

FORMAT, VERSION = "diffusers_deis_sn.compare", 1
COLUMNS = (
    "scheduler,ours,calls,steps,made,further,geometric_mean,rms,worst_tenth,seconds_per_picture,ratio_to,ratio,ratio_low,"
    "ratio_high,ratio_standard_error"
).split(",")


@dataclass(frozen=True)
class Setting:
    """What was compared on, for people.

    Args:
        model: What to call it.
        pipeline: Class of the pipeline.
        process: "betas", "flow" or "edm".
        prompts: Texts; None where the pipeline takes none.
        num_prompts: Pictures of each run.
        seed: Of the first.
        arguments: Of the pipeline.
        device: Where the networks ran.
        batch_size: Pictures drawn at once, at the end.
        seconds: That it all took, this time.
        versions: Of this package and of libraries.
    """

    model: str
    pipeline: str
    process: str
    prompts: tuple[str, ...] | None
    num_prompts: int
    seed: int
    arguments: Mapping[str, Any]
    device: str
    batch_size: int
    seconds: float
    versions: Mapping[str, str]


@checked(ComparisonError)
@dataclass(frozen=True, eq=False, repr=False)
class Comparison:
    """Schedulers on one model and the same prompts and noise.

    Args:
        setting: Model, prompts and so on.
        reference: The converged run.
        rows: Each scheduler in each number of network calls.
        contenders: Who took part.
        skipped: Who did not, and why.
        advice: The recommendation.
        statistics: Score statistics of the model.
        place: Where these are, as schedulers take it.
        measured: Whether they were measured for this comparison.
        fitting: How their plans were fitted for this comparison; None if they were not.
        pictures: Of the first prompts, as files have them (PNG or WebP), by scheduler and calls; those of the converged
            run by "converged" and 0.

    Raises:
        ComparisonError: What is recommended is no contender, or has no row.

    Examples:
        >>> comparison = compare(pipe, steps=(4, 5), stats=statistics, num_prompts=2, progress=False)
        >>> comparison.steps
        (4, 5)
        >>> print(comparison.table().splitlines()[0])
        | scheduler | 4 steps | 5 steps |
    """

    setting: Setting
    reference: Reference
    rows: tuple[Row, ...]
    contenders: tuple[Contender, ...]
    skipped: tuple[Skipped, ...]
    advice: Advice
    statistics: ScoreStatistics
    place: str
    measured: bool
    fitting: Fitting | None = None
    pictures: Mapping[tuple[str, int], tuple[bytes, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        run = (self.advice.scheduler, self.advice.calls)
        if run[0] not in {one.name for one in self.contenders} or run not in {
            (r.scheduler, r.calls) for r in self.rows
        }:
            raise ComparisonError(f"What is recommended, {run}, must be among `contenders` and `rows`. Give them all.")

    def __repr__(self) -> str:
        model, sentence = plain(self.setting.model), plain(self.advice.sentence, None)
        return f"Comparison({model}, {self.setting.num_prompts} prompts: {sentence})"

    def __str__(self) -> str:
        """The table and the recommendation, for a terminal."""
        return f"{self.table()}\n\n{self.recommendation}"

    @property
    def recommendation(self) -> str:
        """What to do, the figures for it, and the lines to paste."""
        lines = "\n".join(f"    {plain(line, None)}" for line in self.code)
        told = (plain(self.advice.sentence, None), plain(self.advice.detail, None))
        return "\n".join(one for one in (*told, "", lines) if one or lines)

    @property
    def code(self) -> tuple[str, ...]:
        """The lines to paste for what is recommended."""
        return self._code(next(one for one in self.contenders if one.name == self.advice.scheduler).code)

    @checked(ComparisonError)
    def row(self, scheduler: str, calls: int) -> Row:
        """The row of one scheduler.

        Args:
            scheduler: Its name in the table.
            calls: Number of network calls.

        Returns:
            Distances, times and seconds of these runs.

        Raises:
            KeyError: There is no such row.
        """
        for one in self.rows:
            if (one.scheduler, one.calls) == (scheduler, calls):
                return one
        raise KeyError((scheduler, calls))

    @property
    def steps(self) -> tuple[int, ...]:
        """The columns of the table."""
        return columns(self.rows)

    def table(self) -> str:
        """Geometric mean of the distances, schedulers by numbers of steps, in Markdown; the least of each is bold."""
        names = list(dict.fromkeys(row.scheduler for row in self.rows if not row.further))
        known = {(row.scheduler, row.calls): row for row in self.rows}
        best = {calls: nearest(at(self.rows, calls)) for calls in self.steps}
        lines = [
            "| scheduler | " + " | ".join(f"{calls} steps" for calls in self.steps) + " |",
            "|---" * (len(self.steps) + 1) + "|",
        ]
        for name in names:
            cells = []
            for calls in self.steps:
                row = known.get((name, calls))
                text = "" if row is None else f"{row.geometric_mean:.3f}"
                cells.append(f"**{text}**" if row is not None and row is best[calls] else text)
            shown = plain(name).replace("|", r"\|")
            lines.append(f"| {shown} | " + " | ".join(cells) + " |")
        lines += ["", self.caption]
        return "\n".join(lines)

    @property
    def caption(self) -> str:
        """What the numbers of the table are."""
        prompts = self.setting.num_prompts
        guidance = self.setting.arguments.get("guidance_scale")
        return (
            f"Distance of the final samples to those of a converged run ({plain(self.reference.scheduler)}, "
            f"{self.reference.steps} steps): geometric mean of {prompts} prompt{'s' if prompts > 1 else ''}"
            + (f", guidance {guidance:g}" if isinstance(guidance, int | float) else "")
            + ". Same noise, as many network calls."
        )

    def document(self) -> dict[str, Any]:
        """The content of `compare.json`, as described at the top of this module."""
        setting, advice = asdict(self.setting), self.advice
        chosen = self.row(advice.scheduler, advice.calls)
        least = min(row.geometric_mean for row in self.rows)
        reference = {
            "scheduler": self.reference.scheduler,
            "code": list(self.reference.code),
            "steps": self.reference.steps,
            "converged": self.reference.converged,
            "check_steps": self.reference.check_steps,
            "check_prompts": self.reference.check_prompts,
            "check_distance": self.reference.check_distance,
            "share_of_least": self.reference.check_distance / least,
        }
        return {
            "format": FORMAT,
            "format_version": VERSION,
            **{name: setting[name] for name in ("model", "pipeline", "process")},
            "prompts": None if self.setting.prompts is None else list(self.setting.prompts),
            **{name: setting[name] for name in ("num_prompts", "seed", "arguments")},
            "steps": list(self.steps),
            "picture_size": self._picture_size(),
            "reference": reference,
            "contenders": [
                {
                    **{"scheduler": one.name, "ours": one.ours, "code": list(self._code(one.code)), "note": one.note},
                    "calls": None if one.calls is None else sorted(one.calls),
                }
                for one in self.contenders
            ],
            "skipped": [{"scheduler": one.name, "reason": one.reason} for one in self.skipped],
            "rows": [self._row(row) for row in self.rows],
            "recommendation": {
                **{name: getattr(advice, name) for name in ("verdict", "scheduler", "calls", "sentence", "detail")},
                **{name: getattr(advice, name) for name in ("best_of_ours", "best_rival", "times_fewer")},
                "ratio": _ratio(advice.ratio, advice.best_rival),
                "equal": None if advice.equal is None else asdict(advice.equal),
                "code": list(self.code),
                "timesteps": list(chosen.timesteps),
                "sigmas": list(chosen.sigmas),
            },
            "statistics": {
                "place": self.place,
                "measured": self.measured,
                "samples": self.statistics.most_samples,
                "guidances": list(self.statistics.guidances),
                "timesteps": self.statistics.timesteps.tolist(),
                "mean_abs": self.statistics.mean_abs.tolist(),
                "plans": self._plans(),
            },
            "tuning": None if self.fitting is None else {**asdict(self.fitting), "steps": list(self.fitting.steps)},
            **{name: setting[name] for name in ("device", "batch_size", "seconds", "versions")},
        }

    def to_json(self) -> str:
        """`document()` as text."""
        return json.dumps(self.document(), ensure_ascii=False, indent=1, allow_nan=False) + "\n"

    def to_csv(self) -> str:
        """A line for each scheduler and number of calls, with the distance of each prompt at the end."""
        text = io.StringIO(newline="")
        lines = csv.writer(text)
        lines.writerow([*COLUMNS, *(f"distance_{i}" for i in range(self.setting.num_prompts))])
        for row in self.document()["rows"]:
            ratio = row["ratio"] or dict.fromkeys(("to", "value", "low", "high", "standard_error"))
            lines.writerow([*(row[name] for name in COLUMNS[:10]), *ratio.values(), *row["distances"]])
        return text.getvalue()

    def to_html(self) -> str:
        """The page: one file that needs nothing else."""
        from diffusers_deis_sn.comparison.page import page

        return page(self.document(), self.pictures)

    @checked(ComparisonError)
    def grid(self, calls: int | None = None, prompts: int = 6) -> bytes:
        """A picture of pictures, as PNG: prompts by schedulers in one number of calls; see `grids.grid`.

        Args:
            calls: Number of network calls of the runs shown; that which the recommendation is for if None.
            prompts: How many prompts are shown, at most.

        Returns:
            The bytes of a PNG file.

        Raises:
            ComparisonError: There are no pictures, or no runs of so many calls.
        """
        from diffusers_deis_sn.comparison.grids import grid

        check_count("prompts", prompts, 1, error=ComparisonError)
        return grid(self.document(), self.pictures, self.advice.calls if calls is None else calls, prompts)

    def save(self, folder: str | PathLike[str]) -> list[Path]:
        """Write compare.html, compare.json, compare.csv and grid.png, all of them or none.

        Args:
            folder: Where to; made if need be.

        Returns:
            Paths of the files. Without pictures there is no grid.png.

        Raises:
            ComparisonError: A name that no folder can have.
            OSError: They cannot be written.
        """
        place = path_of(folder, "`folder`", ComparisonError)
        files = {
            place / "compare.html": utf8(self.to_html()),
            place / "compare.json": utf8(self.to_json()),
            place / "compare.csv": utf8(self.to_csv()),
        }
        if self.pictures.get(("converged", 0)):
            files[place / "grid.png"] = self.grid()
        write_together(files)
        return list(files)

    def _repr_html_(self) -> str:
        """For notebooks: the recommendation and the table."""
        from diffusers_deis_sn.comparison.page import summary

        return summary(self.document())

    def _code(self, lines: tuple[str, ...]) -> tuple[str, ...]:
        return to_paste(lines, self.place)

    def _row(self, row: Row) -> dict[str, Any]:
        rival = nearest(at(self.rows, row.calls), ours=False)
        against = None if rival is None or row is rival or row.further else Ratio.of(row.distances, rival.distances)
        return {
            **{name: getattr(row, name) for name in ("scheduler", "ours", "calls", "steps", "made", "further")},
            **{name: getattr(row, name) for name in ("geometric_mean", "rms", "worst_tenth")},
            "seconds_per_picture": row.seconds,
            "ratio": _ratio(against, None if rival is None else rival.scheduler),
            "distances": row.distances.tolist(),
            "timesteps": list(row.timesteps),
            "sigmas": list(row.sigmas),
        }

    def _plans(self) -> list[dict[str, Any]]:
        plans, guidance = self.statistics.plans, self.setting.arguments.get("guidance_scale")
        followed = {calls for one in self.contenders if one.name == WITH_PLANS for calls in one.calls or ()}
        facts = ("calls", "guidance", "num_samples", "error", "default_error", "rival_error")
        found = {} if plans is None else plans.at(guidance)
        return [{name: getattr(one, name) for name in facts} for calls, one in found.items() if calls in followed]

    def _picture_size(self) -> list[int] | None:
        found = self.pictures.get(("converged", 0))
        if not found:
            return None
        from PIL import Image

        with Image.open(io.BytesIO(found[0])) as picture:
            return list(picture.size)


def _ratio(ratio: Ratio | None, to: str | None) -> dict[str, Any] | None:
    if ratio is None:
        return None
    return {"to": to, "value": ratio.value, "low": ratio.low, "high": ratio.high, "standard_error": ratio.error}
