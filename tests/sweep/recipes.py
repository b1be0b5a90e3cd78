"""What cannot be read from a class: changes of components and arguments of calls, by name of the pipeline."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import torch

from tiny_pipelines.text import T5_WIDTH


@dataclass(frozen=True)
class Recipe:
    """How one class is built and called where that differs from what its signatures say.

    Attributes:
        parts: Components by name: values, or functions that make them; None for none.
        call: Arguments of the call by name; a value of `LEFT_OUT` takes one away.
        attributes: Attributes of the pipeline, such as the sizes of pictures that it allows.
        options: Options of our schedulers that a user has to choose for such a pipeline.
        patches: Names of its module, such as a function that makes every picture a megapixel; or of another module,
            with its path.
    """

    parts: Mapping[str, Any] = field(default_factory=dict)
    call: Mapping[str, Any] = field(default_factory=dict)
    attributes: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    patches: Mapping[str, Any] = field(default_factory=dict)


LEFT_OUT = object()


def words(width: int = T5_WIDTH, length: int = 8, batch: int = 1) -> torch.Tensor:
    """Embeddings of a prompt."""
    return torch.randn(batch, length, width, generator=torch.Generator().manual_seed(width + length))


def both(**named: Any) -> dict[str, Any]:
    """Arguments, and the same ones with `negative_` before their names."""
    return named | {f"negative_{name}": value for name, value in named.items()}


ONES = torch.ones(1, 8, dtype=torch.long)
NO_TEXT: dict[str, Any] = {"text_encoder": None, "tokenizer": None, "processor": None, "text_processor": None}
NO_PROMPT = {"prompt": LEFT_OUT, "negative_prompt": LEFT_OUT}
_RECIPES: list[tuple[re.Pattern[str], Recipe]] = []


def recipe(pattern: str, **entries: Mapping[str, Any]) -> None:
    """Enter a recipe for the classes whose whole name (but "Pipeline") matches a pattern."""
    _RECIPES.append((re.compile(pattern), Recipe(**entries)))


def recipe_of(name: str) -> Recipe:
    """All recipes of a class in one; later ones win."""
    short = name.replace("Pipeline", "")
    fitting = [made for pattern, made in _RECIPES if pattern.fullmatch(short)]
    merged = {
        one.name: {key: value for made in fitting for key, value in getattr(made, one.name).items()}
        for one in fields(Recipe)
    }
    return Recipe(**merged)


WITH_WORDS = {**NO_PROMPT, **both(prompt_embeds=words(), prompt_embeds_mask=ONES)}
