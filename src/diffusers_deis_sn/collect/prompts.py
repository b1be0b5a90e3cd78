"""Prompts from a file: one a line, or the columns of a table."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from io import StringIO
from os import PathLike
from pathlib import Path
from typing import Any

from diffusers_deis_sn.errors import CalibrationError
from diffusers_deis_sn.hub.local import path_of

ENDINGS = (".txt", ".csv", ".tsv", ".jsonl")
PROMPT = "prompt"
ALIASES = {"prompts": PROMPT, "text": PROMPT, "caption": PROMPT, "negative": "negative_prompt"}
_COLUMNS = (PROMPT, "negative_prompt", *(f"{side}prompt_{i}" for i in (2, 3) for side in ("", "negative_")))

Columns = dict[str, list[str]]


def read_prompts(file: str | PathLike[str]) -> Columns:
    """The texts of a file by the names of the pipeline's arguments, all of one length; "prompt" is always there.

    A file ending in .csv, .tsv (with a row of names) or .jsonl (an object or a text a line) may have the columns
    `prompt`, `negative_prompt` (or `negative`), `prompt_2` and so on; columns of other names are not read. Any other
    file has one prompt a line. Blank lines count for nothing.

    Raises:
        CalibrationError: No such file, no text in UTF-8, no prompts, or a column whose name is nearly that of an
            argument.
    """
    path = path_of(file, "`prompts`", CalibrationError)
    if path.suffix.lower() == ".json":
        raise CalibrationError(f"{str(path)!r} is not read as prompts. Write one object a line, in a file .jsonl.")
    try:
        text = path.read_text(encoding="utf-8-sig")  # Windows programs begin a file with a byte-order mark
    except UnicodeDecodeError as error:
        raise CalibrationError(f"{str(path)!r} is not a text in UTF-8. Save it as such.") from error
    except OSError as error:
        raise CalibrationError(f"The prompts {str(path)!r} cannot be read: {error.strerror}. Correct it.") from error
    rows = _READERS.get(path.suffix.lower(), _lines)(path, text)
    filled = [row for row in rows if any(value.strip() for value in row.values())]
    if not filled:
        raise CalibrationError(f"{str(path)!r} holds no prompts. Give one a line.")
    names = [name for name in _COLUMNS if any(name in row for row in filled)]
    return {name: [row.get(name, "").strip() for row in filled] for name in names}


def prompts_given(
    prompts: str | PathLike[str] | Sequence[str] | None, options: Mapping[str, Any]
) -> tuple[str | Sequence[str] | None, dict[str, Any]]:
    """The prompts and the pipeline's arguments of a caller who may have given a file's name as prompts.

    Raises:
        CalibrationError: See `read_prompts`; also the name of a file that is not there, or of a text that is both a
            column and an argument.
    """
    if isinstance(prompts, str):
        if not prompts.lower().endswith(ENDINGS):
            return prompts, dict(options)
        if not path_of(prompts, "`prompts`", CalibrationError).is_file():
            raise CalibrationError(f"`prompts` names the file {prompts!r}, which is not there. Correct the name.")
    elif not isinstance(prompts, PathLike):
        return prompts, dict(options)
    columns = read_prompts(prompts)
    texts = columns.pop(PROMPT)
    for name in columns.keys() & options.keys():
        raise CalibrationError(f"`{name}` is an argument and a column of {str(prompts)!r}. Leave one of them out.")
    return texts, {**options, **columns}


def is_unicode(text: object) -> bool:
    """Whether it is a text that can be written: JSON may have halves of characters, which tokenizers refuse."""
    return isinstance(text, str) and text.encode(errors="ignore").decode() == text


def _lines(path: Path, text: str) -> Iterable[Mapping[str, str]]:
    return [{PROMPT: line} for line in text.splitlines()]


def _table(delimiter: str) -> Callable[[Path, str], Iterable[Mapping[str, str]]]:
    def rows(path: Path, text: str) -> Iterable[Mapping[str, str]]:
        try:  # the reader splits lines itself, for a prompt in quotes may hold a line break
            table = [row for row in csv.reader(StringIO(text, newline=""), delimiter=delimiter, strict=True) if row]
        except csv.Error as error:
            raise CalibrationError(
                f"{str(path)!r} is not a table: {error}. Put texts with commas in quotes."
            ) from error
        names = _names(path, table[0]) if table else {}
        for number, row in enumerate(table[1:], 2):
            if len(row) > len(table[0]):
                raise CalibrationError(
                    f"Row {number} of {str(path)!r} has {len(row)} fields, and there are {len(table[0])} columns. Put "
                    "texts with commas in quotes."
                )
        return [{name: row[i] for i, name in names.items() if i < len(row)} for row in table[1:]]

    return rows


def _objects(path: Path, text: str) -> Iterable[Mapping[str, str]]:
    rows = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except json.JSONDecodeError as error:
            raise CalibrationError(f"Line {number} of {str(path)!r} is not JSON: {error}. Give an object.") from error
        row = {PROMPT: value} if isinstance(value, str) else value
        if not isinstance(row, dict):
            raise CalibrationError(f"Line {number} of {str(path)!r} must be an object or a text, got {line.strip()!r}.")
        texts = {name: row[list(row)[i]] for i, name in _names(path, list(row)).items()}
        for name, one in texts.items():
            if not is_unicode(one):
                raise CalibrationError(f"Line {number} of {str(path)!r} must have a text for {name!r}, got {one!r}.")
        rows.append(texts)
    return rows


_READERS: dict[str, Callable[[Path, str], Iterable[Mapping[str, str]]]] = {
    ".csv": _table(","),
    ".tsv": _table("\t"),
    ".jsonl": _objects,
}


def _names(path: Path, columns: Sequence[str]) -> dict[int, str]:
    """The columns that are read, by position."""
    found: dict[int, str] = {}
    for i, column in enumerate(columns):
        plain = column.strip().lower()
        name = ALIASES.get(plain, plain)
        if name in found.values():
            raise CalibrationError(f"{str(path)!r} has two columns for {name!r}. Leave one of them out.")
        if name in _COLUMNS:
            found[i] = name
        elif near := get_close_matches(name, _COLUMNS, 1, 0.8):
            raise CalibrationError(f"{str(path)!r} has a column {column!r}. Call it {near[0]!r} if that is meant.")
    if PROMPT not in found.values():
        raise CalibrationError(f"{str(path)!r} has no column 'prompt', but {', '.join(map(repr, columns))}. Name it.")
    return found
