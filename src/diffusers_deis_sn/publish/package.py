"""A saved pipeline made fit for sharing, with people who have this package and people who have not.

A pipeline saved with one of our schedulers names our package in its model_index.json. From a local folder that loads
once the package is imported; from the Hub Diffusers refuses it. There are two forms that load from anywhere:

* Shared (the default): model_index.json names DEISMultistepScheduler of Diffusers itself. Everybody has plain DEIS, and
  who has the package gets ours back by `from_pretrained(repository, subfolder="scheduler")`, statistics included.
* Remote code: a module of some lines in the repository imports our scheduler. The pipeline has it at once, for people
  who have the package and pass `trust_remote_code=True`, and for nobody else.
"""

from __future__ import annotations

import inspect
import json
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from diffusers_deis_sn.core.codec import PRIVATE
from diffusers_deis_sn.core.value_types import checked
from diffusers_deis_sn.errors import PublishError
from diffusers_deis_sn.hub.atomic_write import check_writable, write_together
from diffusers_deis_sn.hub.download import HubName
from diffusers_deis_sn.hub.local import path_of

OUR_SCHEDULERS = ("DEISSNScheduler", "ScoreOptimalScheduler")
STAND_IN = "DEISMultistepScheduler"
SHIM = "deis_sn_scheduler"

CLASS, STATS, PROCESS = "class", "stats", "process"  # entries of the config's private key
WEIGHTS = (".safetensors", ".bin", ".onnx", ".pb", ".flashpack")  # by which Diffusers knows a folder of weights

_MODEL_INDEX, _FOLDER, _CONFIG = "model_index.json", "scheduler", "scheduler_config.json"
_SHIM_TEXT = '''\
"""The scheduler of this pipeline, from the package diffusers-deis-sn, which has to be installed.

Diffusers loads it where a pipeline is loaded with trust_remote_code=True.
"""

from diffusers_deis_sn import {name}  # noqa: F401
'''


@dataclass(frozen=True)
class Packaged:
    """A pipeline folder in one of the two forms.

    Args:
        folder: The folder.
        scheduler: The scheduler of this package.
        remote_code: Whether it is loaded by code in the repository.
        changed: Files that were written or removed; none if the folder had this form already.
    """

    folder: Path
    scheduler: str
    remote_code: bool
    changed: list[Path]


@checked(PublishError)
def package(folder: str | PathLike[str], *, remote_code: bool = False, stats: str | None = None) -> Packaged:
    """Bring the folder of a saved pipeline into a form that can be shared.

    Twice is as good as once, and either form can be made from the other. Where it fails, the folder stays as it was.

    Args:
        folder: Folder with model_index.json, saved with a scheduler of this package.
        remote_code: Whether to write the form with code instead of the one that everybody can load.
        stats: Hub name to be recorded in the config, where `from_config` finds the statistics.

    Returns:
        The form that the folder has now, and which files were changed.

    Raises:
        PublishError: No such folder; a scheduler that is not ours; or one for a process that Diffusers' DEIS would
            sample wrongly. The message says what to do.
        OSError: It cannot be written.
    """
    root = path_of(folder, "`folder`", PublishError)
    if root.is_dir():
        check_writable(root / _MODEL_INDEX, PublishError)
    index, config = _read(root / _MODEL_INDEX, root), _read(root / _FOLDER / _CONFIG, root)
    ours = _our_scheduler(index, config, root)
    _refuse_weights(root / _FOLDER)
    if stats is not None and HubName.parse(stats) is None:
        raise PublishError(f"`stats` must be a Hub name such as user/repo or user/repo@revision, got {stats!r}.")
    private = dict(config.get(PRIVATE) or {}) | ({STATS: stats} if stats is not None else {})
    shim = root / _FOLDER / f"{SHIM}.py"
    files: dict[Path, bytes] = {}
    if remote_code:
        private.pop(CLASS, None)
        index["scheduler"], config["_class_name"] = [SHIM, ours], ours
        files[shim] = _SHIM_TEXT.format(name=ours).encode()
    else:
        private[CLASS] = ours
        index["scheduler"] = ["diffusers", STAND_IN]
        config = _stand_in_config(config, private, root)
    config = {**config, PRIVATE: private} if private else {key: config[key] for key in config if key != PRIVATE}
    # The index last: until then the folder loads as it did.
    files |= {root / _FOLDER / _CONFIG: _json(config), root / _MODEL_INDEX: _json(index)}
    changed = write_together(files)
    if not remote_code and shim.is_file():
        shim.unlink()
        changed.append(shim)
    return Packaged(root, ours, remote_code, changed)


def _read(path: Path, root: Path) -> dict[str, Any]:
    """A JSON object of the folder."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        content = None
    except (ValueError, RecursionError) as error:
        raise PublishError(f"{str(path)!r} is not JSON: {error}. Save the pipeline anew.") from error
    if not isinstance(content, dict):
        raise PublishError(
            f"{str(root)!r} is no saved pipeline: {path.relative_to(root).as_posix()!r} is missing or no JSON object. "
            "Save one with `pipe.save_pretrained(folder)`."
        )
    return content


def _our_scheduler(index: dict[str, Any], config: dict[str, Any], root: Path) -> str:
    """Which of our schedulers the folder was saved with."""
    entry, private = index.get("scheduler"), config.get(PRIVATE)
    names = entry[-1:] if isinstance(entry, list) else []
    names += [private.get(CLASS)] if isinstance(private, dict) else []
    for name in names:
        if name in OUR_SCHEDULERS:
            return str(name)
    raise PublishError(
        f"The pipeline in {str(root)!r} was saved with the scheduler {entry!r}, and packaging is for those of this "
        f"package, {' and '.join(OUR_SCHEDULERS)}. Set `pipe.scheduler` and save it anew."
    )


def _refuse_weights(folder: Path) -> None:
    """Diffusers would take the folder for weights and not download its config; local folders show nothing of it."""
    weights = sorted(path.name for path in folder.iterdir() if path.suffix in WEIGHTS)
    if weights:
        raise PublishError(
            f"{str(folder / weights[0])!r} would break the pipeline on the Hub: Diffusers takes the folder for one of "
            "weights. Move it one folder deeper, as `pipe.save_pretrained` has it."
        )


def _stand_in_config(config: dict[str, Any], private: dict[str, Any], root: Path) -> dict[str, Any]:
    """The public part of a config, as Diffusers' DEIS takes it without a word."""
    from diffusers import DEISMultistepScheduler

    process = private.get(PROCESS, "vp")
    if process != "vp":  # which a flow is too: its own key is one that the stand-in knows
        raise PublishError(
            f"The model in {str(root)!r} has the process {process!r}, which {STAND_IN} of Diffusers does not know: "
            "everybody without this package would get noise. Use the form with code, `--remote-code`."
        )
    classes = [DEISMultistepScheduler, *DEISMultistepScheduler().compatibles]
    known = {name for one in classes for name in inspect.signature(one.__init__).parameters}
    # Other keys, left by a scheduler of another family, would be warned of at each loading.
    public = {key: value for key, value in config.items() if key.startswith("_") or key in known}
    public["_class_name"] = STAND_IN
    try:
        DEISMultistepScheduler.from_config(public).set_timesteps(4)
    except (ValueError, NotImplementedError, TypeError, ImportError) as error:
        raise PublishError(
            f"{STAND_IN} of Diffusers does not take the scheduler's config: {' '.join(str(error).split())}. Save the "
            "pipeline with other options, or use the form with code, `--remote-code`."
        ) from error
    return public


def _json(content: dict[str, Any]) -> bytes:
    """As Diffusers writes it."""
    return (json.dumps(content, indent=2, sort_keys=True) + "\n").encode()
