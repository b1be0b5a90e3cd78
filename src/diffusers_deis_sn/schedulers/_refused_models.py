"""Schedulers of Diffusers whose networks are none of ours: what each is of, and how its config is known.

A config that was read from a file has the name of its class; one in memory has only its options, some of which no other
class has, or which are all that one class has. Another class that held it in between leaves them there, under its name.
A config that ours have been through is one of their networks, whoever held it in between. What cannot be known is said.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from inspect import signature
from typing import Any

import diffusers

from diffusers_deis_sn.core.codec import PRIVATE
from diffusers_deis_sn.errors import ConfigurationError
from diffusers_deis_sn.schedulers._stepping import logger


@dataclass(frozen=True)
class Kind:
    """Networks that no solver of an ordinary differential equation can run.

    Args:
        what: What they are, in a sentence that begins with "its networks".
        names: How the names of the classes begin.
        options: Options that only these have.
        alone: Classes that have no such option, but no other has all of theirs and no more.
        shared: Classes that have no such option, and that a config by hand, or of another class, may be taken for.
        adapters: Whether adapters make ordinary networks these, for a while.
    """

    what: str
    names: tuple[str, ...]
    options: tuple[str, ...] = ()
    alone: tuple[str, ...] = ()
    shared: tuple[str, ...] = ()
    adapters: bool = False


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
        alone=("CMStochasticIterativeScheduler", "SCMScheduler"),
        adapters=True,
    ),
    Kind(
        "its networks leap from one time to another that they are told, and do not say which way the flow goes",
        ("FlowMap", "Piflow"),
        ("n_grid", "num_policy_substeps"),
        shared=("FlowMapEulerDiscreteScheduler",),
        adapters=True,
    ),
    Kind(
        "its networks are called with times that run from noise to data, and say the velocity towards the data",
        ("MiniMaxH3", "RFD4Proteina"),
        ("tsr_k", "tail_step_multiplier"),
        shared=("MiniMaxH3Scheduler",),
    ),
    Kind(
        "it goes from data to noise, and these schedulers from noise to data",
        ("DDIMInverse", "DPMSolverMultistepInverse"),
        alone=("DDIMInverseScheduler", "DPMSolverMultistepInverseScheduler"),
    ),
)


def refuse_other_networks(config: Mapping[str, Any]) -> None:
    """Raise ConfigurationError for the config of a scheduler whose networks are no flows, or that is no sampler.

    Where it may be one of these, or not, a warning says so.
    """
    if PRIVATE in config:
        return
    name = str(config.get("_class_name", ""))
    for kind in KINDS:
        signs = [f"`{option}`" for option in kind.options if option in config]
        named = name.startswith(kind.names)
        if not name and not signs:
            signs = [f"the options of {one}" for one in kind.alone if _are_all_of(config, one)]
        if named or (signs and not (name and kind.adapters)):
            told = f" of {name}" if named else f" (it has {signs[0]})"
            raise ConfigurationError(
                f"This config{told} cannot be run: {kind.what}. Keep the pipeline's own scheduler; where the model "
                "itself is an ordinary one, and only an adapter was of this kind, give the config of the model's own."
            )
        if not name:
            signs = [f"the options of {one}" for one in kind.shared if _are_all_of(config, one)]
        if signs:
            logger.warning(
                "This config has %s. If the model is one of that class, and not only an adapter was, it cannot be run: "
                "%s.",
                signs[0],
                kind.what,
            )


def _are_all_of(config: Mapping[str, Any], name: str) -> bool:
    """Whether a config in memory has the options of this class of the installed Diffusers, all and no others."""
    cls = getattr(diffusers, name, None)
    options = {option for option in config if not option.startswith("_")}
    return cls is not None and options == signature(cls.__init__).parameters.keys() - {"self", "kwargs"}
