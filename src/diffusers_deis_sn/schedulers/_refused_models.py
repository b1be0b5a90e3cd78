"""Schedulers of Diffusers whose networks are none of ours: what each is of, and how its config is known.

A config that was read from a file has the name of its class; one in memory has only its options, some of which no other
class has. A config that ours have been through is one of their networks, whoever held it in between.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from diffusers_deis_sn.core.codec import PRIVATE
from diffusers_deis_sn.errors import ConfigurationError


@dataclass(frozen=True)
class Kind:
    """Networks that no solver of an ordinary differential equation can run.

    Args:
        what: What they are, in a sentence that begins with "its networks".
        names: How the names of the classes begin.
        options: Options that only these have.
    """

    what: str
    names: tuple[str, ...]
    options: tuple[str, ...] = ()


KINDS = (
    Kind(
        "its networks choose tokens, and between tokens there is no flow to follow",
        ("Amused", "BlockRefinement", "DiscreteDDIM", "EntropyBound", "VQDiffusion"),
        ("mask_token_id", "block_length", "corrector_selection", "entropy_bound", "num_vec_classes"),
    ),
    Kind(
        "its networks are consistency models: they say where the flow ends, and not which way it goes",
        ("CMStochasticIterative", "ConsistencyDecoder", "FlowMatchLCM", "LCM", "SCM", "TCD"),
        ("timestep_scaling", "scale_factors"),
    ),
    Kind(
        "its networks leap from one time to another that they are told, and do not say which way the flow goes",
        ("FlowMap", "Piflow"),
        ("n_grid", "num_policy_substeps"),
    ),
    Kind(
        "its networks are called with times that run from noise to data, and say the velocity towards the data",
        ("MiniMaxH3", "RFD4Proteina"),
        ("tsr_k", "tail_step_multiplier"),
    ),
    Kind(
        "it goes from data to noise, and these schedulers from noise to data",
        ("DDIMInverse", "DPMSolverMultistepInverse"),
    ),
)


def refuse_other_networks(config: Mapping[str, Any]) -> None:
    """Raise ConfigurationError for the config of a scheduler whose networks are no flows, or that is no sampler."""
    if PRIVATE in config:
        return
    name = str(config.get("_class_name", ""))
    for kind in KINDS:
        signs = [option for option in kind.options if option in config]
        if name.startswith(kind.names) or (signs and not name):
            told = f" of {name}" if name else f" (it has `{signs[0]}`)"
            raise ConfigurationError(
                f"This config{told} cannot be run: {kind.what}. Keep the pipeline's own scheduler; where the model "
                "itself is an ordinary one, and only an adapter was of this kind, give the config of the model's own."
            )
