"""The planner of a scheduler's config as it is at the moment: pipelines and users edit it at any time, see `_edits`."""

from __future__ import annotations

from typing import Any

from diffusers.configuration_utils import ConfigMixin, FrozenDict

from diffusers_deis_sn.core.recipe import Recipe
from diffusers_deis_sn.errors import StepError
from diffusers_deis_sn.schedulers._edits import Glance, carried, refuse_other_table, rewrite
from diffusers_deis_sn.schedulers._neighbours import DERIVED, OF_FLOWS, refuse_written
from diffusers_deis_sn.schedulers._options import SIGMA_OPTIONS
from diffusers_deis_sn.schedulers._own_config import refuse_named_grids, registered, with_entries
from diffusers_deis_sn.schedulers._planner import Planner
from diffusers_deis_sn.schedulers._value_types import check_kinds


def current_planner(scheduler: Any) -> Planner:
    """The planner of the config, its arrays and statistics as they are: of what was edited it is another.

    Args:
        scheduler: Whose.

    Raises:
        ConfigurationError: An edit is at fault.
        NoiseScheduleError: Likewise, of an array.
    """
    take_edits(scheduler)
    if not OF_FLOWS.keys().isdisjoint(vars(scheduler)):
        refuse_written(scheduler)
    table, last = scheduler._table, scheduler._last_planner
    edited = None if table is None else table.edited(scheduler.alphas_cumprod, scheduler.betas)
    if table is not None and not DERIVED.keys().isdisjoint(vars(scheduler)):
        scheduler._derived.take(scheduler, edited, scheduler._glance)
        last = scheduler._last_planner
    same = last is not None and last.statistics is scheduler.statistics and last.edited is edited
    if last is not None and same and scheduler._planned is scheduler._glance:
        return last
    new = scheduler._planning(scheduler.config, type(scheduler), scheduler.statistics, last, edited)
    if last is not None and not new.of_same_process(last) and "_cursor" in vars(scheduler):
        new = scheduler._planning(scheduler.config, type(scheduler), scheduler.statistics, last)
        scheduler._hand_out(new.process)
    scheduler._last_planner, scheduler._planned = new, scheduler._glance
    return new


def check_unedited(scheduler: Any, recipe: Recipe) -> None:
    """Raise StepError where somebody has made the model another one since its run was planned.

    Diffusers' schedulers read some of this in every step, and a run here has its coefficients for all of them.

    Args:
        scheduler: Whose.
        recipe: Of the run.
    """
    if scheduler._table is not None:
        scheduler._table.check_run(recipe.process, scheduler.alphas_cumprod, scheduler.betas)
    said = scheduler.config.prediction_type
    if said != recipe.prediction:
        raise StepError(
            f"`prediction_type` was edited after `set_timesteps`, from {recipe.prediction!r} to {said!r}. Call "
            "`set_timesteps` again."
        )


def take_edits(scheduler: Any) -> None:
    """Register what was written into a config by hand since it was last looked at.

    Args:
        scheduler: Whose.

    Raises:
        ConfigurationError: What was written is at fault.
    """
    if scheduler._glance is None:  # there is no config yet
        return
    config = scheduler.config
    edits = scheduler._glance.edited(config, type(scheduler))
    if edits is None:
        return
    if edits:
        hidden = carried(config, edits)
        _register(scheduler, edits)
        # Whoever edits a config may hold it, and edit it once more.
        rewrite(config, {**scheduler.config, **hidden})
    take_config(scheduler, config)


def take_config(scheduler: Any, config: FrozenDict) -> None:
    """Have another config, which nobody has edited.

    Flux pipelines drop all `sigmas` where they find `use_flow_sigmas`. A flow-matching scheduler's config has no such
    key, and made from one ours has it under the private key alone.

    Args:
        scheduler: Whose.
        config: The new one.
    """
    if "shift" in config and config.get("use_flow_sigmas"):
        hidden = with_entries(config, use_flow_sigmas=True)
        rewrite(config, {name: value for name, value in hidden.items() if name != "use_flow_sigmas"})
    scheduler._internal_dict, scheduler._glance = config, Glance(config)


def register(scheduler: Any, values: dict[str, Any]) -> None:
    """Put options into a config as `ConfigMixin` does, but what is ours under the private key.

    Args:
        scheduler: Whose.
        values: Options by name.

    Raises:
        ConfigurationError: One is at fault.
    """
    take_edits(scheduler)
    # Cosmos 2 writes bounds of sigma into the config of its scheduler, and reads them there.
    shown = {} if scheduler._glance is None else carried(scheduler.config, values, SIGMA_OPTIONS)
    _register(scheduler, values)
    if shown:
        take_config(scheduler, FrozenDict({**scheduler.config, **shown}))


def _register(scheduler: Any, values: dict[str, Any]) -> None:
    kind, glance, last = type(scheduler), scheduler._glance, scheduler._last_planner
    check_kinds(values)
    refuse_named_grids(kind, values)
    if last is not None and glance is not None:
        refuse_other_table(values, glance.item("num_train_timesteps"), last.process)
    ConfigMixin.register_to_config(scheduler, **values)
    take_config(scheduler, registered(scheduler.config, kind, values))
