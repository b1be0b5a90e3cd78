"""From the name of a model to its published statistics: what `stats="auto"` looks up.

The index is a JSON file, `index.json`, specified in stats/README.md of the repository: for each model the place of its
statistics, on the Hub or beside the index itself, and perhaps their SHA-256. One comes with the package; the
environment variable DEIS_SN_INDEX, or an argument, names another: a file, a folder or a Hub repository.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import resources
from os import PathLike
from pathlib import Path
from typing import Any

from diffusers_deis_sn.errors import (
    DeisSnError,
    StatisticsError,
    StatisticsFormatError,
    StatisticsMismatchError,
    StatisticsNotFoundError,
)
from diffusers_deis_sn.hub.download import HubName, HubOptions, commit_of, first_file, is_folder
from diffusers_deis_sn.hub.local import path_of
from diffusers_deis_sn.hub.sealed import SHA256
from diffusers_deis_sn.hub.source import Located, find, find_on_hub
from diffusers_deis_sn.statistics.record import ScoreStatistics

logger = logging.getLogger("diffusers_deis_sn")

INDEX_NAME = "index.json"
INDEX_VARIABLE = "DEIS_SN_INDEX"
INDEX_VERSION = 1
BUNDLED = "the index of this package"

_BESIDE = "./"  # what begins so lies beside the index
_CACHED_MODEL = re.compile(r"models--(?P<user>.+?)--(?P<repo>.+)")
_REMEDY = "Name statistics with `stats=`, or measure them with `deis-sn calibrate`."


@dataclass(frozen=True)
class Found:
    """Statistics that an index led to.

    Args:
        statistics: The record; it says itself that it was measured on the model.
        source: What finds the same again: "user/repo/folder@commit", or the path of a local file.
    """

    statistics: ScoreStatistics
    source: str


@dataclass(frozen=True)
class Index:
    """An index as it was read.

    Args:
        name: What messages call it.
        models: Its entries, by model.
        place: Folder or Hub folder that the places of entries are relative to; None for the bundled one.
    """

    name: str
    models: Mapping[str, Any]
    place: Path | HubName | None = None


def look_up(
    base_model: str | PathLike[str] | None, *, index: str | PathLike[str] | None = None, **hub_options: Any
) -> Found | None:
    """Statistics of a model, as an index names them; None, with one warning, where there are none to be trusted.

    Args:
        base_model: Hub name of the model; or the folder it was loaded from, of which the name counts. None if unknown.
        index: A file, a folder with index.json, or a Hub name; by default what the environment variable DEIS_SN_INDEX
            says, else the index of this package, which also serves where another one cannot be had.
        **hub_options: `cache_dir`, `token`, `force_download`, `local_files_only` of huggingface_hub.

    Returns:
        The statistics, whose own origin names the model that the index promises, and whose file has the SHA-256 that
        it tells, if it does. Whether they fit the noise schedule and the prediction type at hand is the caller's to
        check, by `ScoreStatistics.check`.
    """
    warnings: list[str] = []
    model = model_name(base_model)
    known = _index(index if index is not None else os.environ.get(INDEX_VARIABLE), warnings, hub_options)
    found = None
    if model is None:
        warnings.append(
            "The model's name is not known, so its score statistics cannot be looked up: pass base_model=, or use "
            "`for_pipeline(pipe)`."
        )
    elif model not in known.models:
        warnings.append(f"{known.name[0].upper()}{known.name[1:]} names no score statistics of {model!r}.")
    else:
        try:
            found = _follow(known, model, hub_options)
        except (DeisSnError, OSError) as error:
            warnings.append(str(error))
    if found is None:
        warnings.append(f"Sampling without statistics. {_REMEDY}")
    if warnings:
        logger.warning(" ".join(warnings))
    return found


def model_name(base_model: str | PathLike[str] | None) -> str | None:
    """What records call a model that was loaded from here: its Hub name, or the name of its folder.

    Args:
        base_model: A Hub name; a folder; or a folder of the Hub's cache, as pipelines and schedulers remember them.
    """
    if not base_model:
        return None
    try:
        path = path_of(base_model, "`base_model`")
    except StatisticsError:
        return str(base_model)
    for part in path.parts:
        if (cached := _CACHED_MODEL.fullmatch(part)) is not None:
            return f"{cached['user']}/{cached['repo']}"
    return path.resolve().name if path.is_absolute() or path.is_dir() else str(base_model)


def read_index(source: str | PathLike[str] | None = None, **hub_options: Any) -> Index:
    """An index, checked as far as it can be without its statistics.

    Args:
        source: A file, a folder with index.json, or a Hub name; None for that of this package.
        **hub_options: `cache_dir`, `token`, `force_download`, `local_files_only` of huggingface_hub.

    Raises:
        StatisticsError: What is no place at all.
        StatisticsFormatError: A file that is no index of a known version.
        StatisticsNotFoundError: Nothing there; see `statistics.source.find` for its subclasses.
    """
    if source is None:
        text = resources.files("diffusers_deis_sn.statistics").joinpath(INDEX_NAME).read_text(encoding="utf-8")
        return Index(BUNDLED, _models(text, BUNDLED))
    if not isinstance(source, str | PathLike):
        raise StatisticsError(f"An index is a file, a folder or a Hub name, got {type(source).__name__}.")
    path, place = _locate_index(source, hub_options)
    name = f"the index {str(source)!r}"
    try:
        return Index(name, _models(path.read_text(encoding="utf-8"), name), place)
    except UnicodeDecodeError as error:
        raise StatisticsFormatError(f"{str(path)!r} is not a text in UTF-8, and an index is JSON.") from error


def _index(source: str | PathLike[str] | None, warnings: list[str], hub_options: dict[str, Any]) -> Index:
    """The index that was asked for, or the bundled one with a warning."""
    if source is not None and source != "":
        try:
            return read_index(source, **hub_options)
        except (OSError, StatisticsFormatError) as error:
            warnings.append(f"{error} The index {str(source)!r} is left out, and that of this package used.")
    return read_index()


def _locate_index(source: str | PathLike[str], hub_options: dict[str, Any]) -> tuple[Path, Path | HubName]:
    """The file, and what its entries are relative to."""
    path = path_of(source, "An index", StatisticsNotFoundError)
    if path.is_dir():
        path = path / INDEX_NAME
    if path.is_file():
        return path, path.parent
    name = HubName.parse(source) if isinstance(source, str) and path.suffix != ".json" else None
    if name is None:
        raise StatisticsNotFoundError(
            f"There is no index at {str(source)!r}. Name a file, a folder with {INDEX_NAME}, or a Hub repository that "
            f"has one, user/repo or user/repo@revision, by {INDEX_VARIABLE} or `index`."
        )
    found = first_file(name, [INDEX_NAME], HubOptions.of(hub_options))
    return found, replace(name, revision=commit_of(found) or name.revision)


def _models(text: str, name: str) -> Mapping[str, Any]:
    """Entries of an index, by model."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict) or "format_version" not in content:
        raise StatisticsFormatError(f"{name} is not a JSON object with `format_version`. Look at stats/README.md.")
    if content["format_version"] != INDEX_VERSION:
        raise StatisticsFormatError(
            f"{name} has format version {content['format_version']!r}, and this package reads version {INDEX_VERSION}. "
            "Upgrade diffusers_deis_sn."
        )
    if not isinstance(content.get("models"), dict):
        raise StatisticsFormatError(f"{name} has no JSON object `models`. Look at stats/README.md.")
    return dict(content["models"])


def _follow(index: Index, model: str, hub_options: dict[str, Any]) -> Found:
    """The statistics of an entry. Raises a DeisSnError where they are not what it promises."""
    entry = index.models[model]
    facts = {name: entry.get(name) for name in ("stats", "base_model", "sha256")} if isinstance(entry, dict) else {}
    stats, promised, sha256 = facts.get("stats"), facts.get("base_model") or model, facts.get("sha256")
    sound = isinstance(sha256, str) and SHA256.fullmatch(sha256) is not None
    if not isinstance(stats, str) or not isinstance(promised, str) or not (sha256 is None or sound):
        raise StatisticsFormatError(f"The entry of {model!r} in {index.name} is damaged: {entry!r}.")
    located = _locate_entry(index, model, stats, hub_options)
    if sound and hashlib.sha256(located.path.read_bytes()).hexdigest() != sha256:
        raise StatisticsMismatchError(
            f"The statistics at {located.name!r} do not have the SHA-256 that {index.name} gives for {model!r}, "
            f"{sha256}. They have been replaced, or damaged; they are not used."
        )
    statistics = ScoreStatistics.load(located.path)
    if statistics.origin.base_model != promised:
        measured = statistics.origin.base_model or "an unnamed model"
        raise StatisticsMismatchError(
            f"The statistics at {located.name!r} were measured on {measured!r}, and {index.name} gives them for "
            f"{promised!r}; they are not used."
        )
    return Found(statistics, located.name)


def _locate_entry(index: Index, model: str, stats: str, hub_options: dict[str, Any]) -> Located:
    """The file that an entry names: on the Hub, or below the index's own place and nowhere else."""
    options = HubOptions.of(hub_options)
    if stats.startswith(_BESIDE) and index.place is not None and is_folder(below := stats.removeprefix(_BESIDE)):
        if isinstance(index.place, Path):
            return find(index.place / below)
        return find_on_hub(index.place.below(below), options)
    if (name := HubName.parse(stats)) is None:
        raise StatisticsFormatError(
            f"The entry of {model!r} in {index.name} names the place {stats!r}. It must be a Hub name, user/repo or "
            f"user/repo/folder@revision, or a folder beside the index, {_BESIDE}folder."
        )
    return find_on_hub(name, options)
