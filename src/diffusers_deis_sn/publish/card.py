"""The card of published statistics: README.md with the metadata that the Hub reads, all of it from the record."""

from __future__ import annotations

import re
from collections.abc import Sequence

from diffusers_deis_sn.core.value_types import checked
from diffusers_deis_sn.errors import PublishError
from diffusers_deis_sn.escaping import code_span, fenced, literal, markdown, plain
from diffusers_deis_sn.escaping import notes as quiet
from diffusers_deis_sn.hub.download import HubName
from diffusers_deis_sn.statistics.record import ScoreStatistics

# Ours, not "diffusers": for that the Hub would offer `DiffusionPipeline.from_pretrained` of a repository that has none.
LIBRARY = "diffusers-deis-sn"
TAGS = ("score-statistics", "deis-sn", "diffusers")
CAPTIONS = {
    "normaliser.png": "r(t) with its error band",
    "schedule.png": "Local costs, cumulative length, and the times of ten steps",
}

_LICENCE = re.compile(r"[a-z0-9][a-z0-9.+-]*")
_SOURCE = "https://github.com/user/diffusers-deis-sn"  # `python -m benchmarks.readme` keeps it that of [project.urls]
_INSTALL = f'git clone {_SOURCE}\npip install "./diffusers-deis-sn[plot]"'
_EXAMPLE = """\
from diffusers import DiffusionPipeline
from diffusers_deis_sn import DEISSNScheduler

pipe = DiffusionPipeline.from_pretrained({model})
pipe.scheduler = DEISSNScheduler.from_config(pipe.scheduler.config, stats={name})"""


@checked(PublishError)
def card(
    statistics: ScoreStatistics,
    name: str,
    *,
    model: str | None = None,
    figures: Sequence[str] = ("normaliser.png",),
    notes: str | None = None,
) -> str:
    """Text of README.md for statistics in a repository or folder of their own; equal arguments give equal text.

    Args:
        statistics: The record.
        name: What `stats=` will be, such as "user/repo".
        model: What `DiffusionPipeline.from_pretrained` is called with; by default the record's base model.
        figures: Names of the pictures beside it, with captions from `CAPTIONS`.
        notes: Markdown for the end: how it was measured, and what else there is to say; raw HTML in it is
            shown as text, and links that run programs lead nowhere.
    """
    from huggingface_hub import ModelCard

    origin = statistics.origin
    measured = origin.base_model or "an unnamed model"
    parts = [
        f"# Score statistics of {markdown(measured)}",
        _summary(statistics, measured),
        *(f"![{CAPTIONS.get(figure, figure)}]({figure})" for figure in figures),
        "## How to use them",
        fenced(_INSTALL, "bash"),
        fenced(_EXAMPLE.format(model=literal(model or origin.base_model or "the-model"), name=literal(name)), "python"),
        *_remarks(statistics),
        "## What was measured",
        f"As {code_span(f'deis-sn inspect {name}')} prints it:",
        fenced(statistics.inspect()),
        *([quiet(notes.strip())] if notes else ()),
    ]
    text = "\n\n".join(parts)
    return str(ModelCard(f"---\n{_metadata(statistics)}\n---\n{text}\n"))


def _metadata(statistics: ScoreStatistics) -> str:
    """The YAML that the Hub reads: no pipeline tag, for the repository is no model that could be run."""
    from huggingface_hub import ModelCardData

    origin = statistics.origin
    on_hub = HubName.parse(origin.base_model or "")
    licence, licence_name = _licence(origin.licence)
    data = ModelCardData(
        base_model=origin.base_model if on_hub is not None and str(on_hub) == on_hub.repo else None,
        library_name=LIBRARY,
        license=licence,
        license_name=licence_name,
        tags=list(TAGS),
    )
    return str(data.to_yaml())


def _licence(licence: str | None) -> tuple[str | None, str | None]:
    """The licence as the Hub wants it: one of its identifiers, or "other" and a name."""
    if licence is None:
        return None, None
    identifier = licence.strip().lower()
    return (identifier, None) if _LICENCE.fullmatch(identifier) else ("other", plain(licence.strip()))


def _summary(statistics: ScoreStatistics, measured: str) -> str:
    costs = list(statistics.costs)
    at = f" at guidance {_listed(statistics.guidances)}" if statistics.guidances else ""
    of = f"{code_span(measured)}{at}"
    text = f"For DEIS-SN, a sampler for few steps: r(t), the mean absolute output of {of}"
    if costs:
        text += f"; and the {' and '.join(costs)} cost of its steps, from which time grids are learned"
    return f"{text}. It is not a model: the file holds curves over training time, some kilobytes of numbers."


def _remarks(statistics: ScoreStatistics) -> list[str]:
    """What a user should know, as far as it is known."""
    origin, lines = statistics.origin, []
    if statistics.costs:
        lines.append(
            "`ScoreOptimalScheduler.from_config(...)`, with the same `stats`, uses timesteps learned from the costs."
        )
    if statistics.others:
        low, high = statistics.guidances[0], statistics.guidances[-1]
        lines.append(
            f"They were measured at the guidance scales {_listed(statistics.guidances)}: a run uses those of its own "
            f"guidance scale, from {low:g} to {high:g}."
        )
    elif origin.guidance_scale is not None:
        lines.append(f"They were measured at guidance scale {origin.guidance_scale:g}: use them at that or near it.")
    if origin.licence is None:
        lines.append("Their licence is not recorded.")
    return lines


def _listed(numbers: Sequence[float]) -> str:
    return ", ".join(f"{one:g}" for one in numbers)
