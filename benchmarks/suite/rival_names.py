"""What to set for a rival of the tables: its class of Diffusers and the options, as the suite runs it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.suite.report import markdown
from benchmarks.suite.samplers import recipes_of

MODELS = {
    "vp": "Stable Diffusion 1 and 2, SDXL, and other models with betas",
    "flow": "Stable Diffusion 3, Flux, Wan, and other flow-matching models",
    "edm": "EDM models",
}
WORDS = (
    "`pipe.scheduler = CLASS.from_config(pipe.scheduler.config, OPTIONS)` sets a sampler of the tables. The suite also "
    "mends what keeps a class of Diffusers from its best: the last column says what. N steps of Heun are 2 N - 1 calls."
)
REMARKS = {
    "vp": " UniPC of order 3 takes part without guidance only, as its authors advise.",
    "flow": " Each takes part with shift 1, as here, with shift 3 and with the model's own. Classes other than "
    'FlowMatch... also need `use_flow_sigmas=True, prediction_type="flow_prediction"`.',
}


def rivals_table() -> str:
    """Every rival of the suite, by kind of model."""
    parts = [WORDS]
    for family, models in MODELS.items():
        lines = [
            [name, f"`{_public(kind).__name__}`", _options(options), _changed(kind)]
            for name, kind, options in recipes_of({"shift": 1.0}, family)
            if not name.endswith("shift 3")
        ]
        parts += [f"**{models}.**{REMARKS.get(family, '')}"]
        parts += [markdown(["in the tables", "class", "options", "mended in the suite"], lines)]
    return "\n\n".join(parts) + "\n"


def _public(kind: type) -> type:
    """The class of Diffusers."""
    return next(one for one in kind.__mro__ if one.__module__.startswith("diffusers."))


def _options(options: Mapping[str, Any]) -> str:
    """As they are typed, each by itself, so that the column is narrow."""
    return ", ".join(f"`{name}={value!r}`".replace("'", '"') for name, value in options.items())


def _changed(kind: type) -> str:
    return "; ".join(vars(one)["changed"] for one in kind.__mro__ if "changed" in vars(one))
