"""What type checkers are told of our schedulers, so that a misspelt option is an error there (PEP 692)."""

from __future__ import annotations

from collections.abc import Callable
from os import PathLike
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar

import numpy as np

from diffusers_deis_sn.core.grids import Grid
from diffusers_deis_sn.core.solvers import Solver

_Init = TypeVar("_Init", bound=Callable[..., Any])

if TYPE_CHECKING:

    def register_to_config(init: _Init) -> _Init:
        """That of Diffusers, which has no types and would take those of a constructor."""
        ...

else:
    from diffusers.configuration_utils import register_to_config  # noqa: F401


class FromConfig(TypedDict, total=False):
    """Options of our schedulers, and where statistics are; all as in their constructors and in `set_stats`."""

    num_train_timesteps: int
    beta_start: float
    beta_end: float
    beta_schedule: str
    trained_betas: np.ndarray[Any, Any] | list[float] | None
    rescale_betas_zero_snr: bool
    snr_shift_scale: float
    prediction_type: str
    thresholding: bool
    dynamic_thresholding_ratio: float
    sample_max_value: float
    variance_type: str | None
    timestep_spacing: str
    steps_offset: int
    grid: Grid | None
    use_karras_sigmas: bool
    use_exponential_sigmas: bool
    use_beta_sigmas: bool
    start_time: float
    end_time: float | None
    final_sigmas_type: str
    whole_timesteps: bool
    tuned: bool
    solver: str | Solver
    solver_order: int
    guidance_scale: float | None
    lower_order_final: bool
    normalise: bool
    clip_normalizer_steps: float
    process: str
    sigma_min: float | None
    sigma_max: float | None
    sigma_data: float | None
    use_flow_sigmas: bool
    flow_shift: float
    invert_sigmas: bool
    shift: float
    base_image_seq_len: int
    max_image_seq_len: int
    base_shift: float
    max_shift: float
    use_dynamic_shifting: bool
    time_shift_type: str
    shift_terminal: float | None
    recipe: str | None
    base_model: str | PathLike[str] | None
    index: str | PathLike[str] | None
    subfolder: str | None
    revision: str | None
    cache_dir: str | PathLike[str] | None
    token: str | bool | None
    local_files_only: bool
    force_download: bool
