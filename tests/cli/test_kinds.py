"""Every option and argument of every command, by its kind: what cannot be right is refused early, in one line.

The options are read off the program itself, so that a new one is missed here until somebody says of what kind it is.
Refused means: exit code 2, one line that can be printed, with what was meant and what to do; nothing is loaded, sent,
drawn or written. Taken means that the work begins.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer

from diffusers_deis_sn import DEISSNScheduler
from diffusers_deis_sn.cli.app import app, main
from records import costed_record, flow_record, write_published
from strangers import printable

LONG, DIGITS, HALF = "m" * 5000, "9" * 5000, "\ud800"
BINARY, EMPTY, FOLDER, NOWHERE = "binary.bin", "empty.safetensors", "folder", "nowhere/at/all.txt"
NAMES_OF_NO_FILE = ("", "a\0b", HALF, "~nosuch-user/x", LONG)
WORDS = ("", " ", "three", "true", "None", "[]", "a=b", "\x1b[31m\x07", HALF, "a\0b", "\u202e", "a\nb", LONG, "1;2")
NO_NUMBER = (*WORDS, "1,2", "nan", "inf", "-inf", "1e999")
NO_COUNT = (*NO_NUMBER, "-1", "2.5", "1e3", DIGITS, "1" + "0" * 30)

REFUSED: dict[str, tuple[str, ...]] = {
    "flag": ("=", "=three", "=\x1b[31m", f"={LONG}"),
    "choice": (*NO_NUMBER, "0", DIGITS),
    "count": (*NO_COUNT, "0"),
    "count or none": NO_COUNT,
    "number of samples": (*NO_COUNT, "0", "1"),
    "several": (*NO_COUNT, "0", "1"),
    "seed": NO_COUNT,
    "pixels": (*NO_COUNT, "0"),
    "port": (*NO_COUNT, "0", "65536"),
    "tolerance": (*NO_NUMBER, "-.1", "1", DIGITS),
    "guidance": (*NO_NUMBER, "-1", "1e6", DIGITS),
    "guidances": (*WORDS, "nan", "inf", "-1", "3,3", "3,", ".5,3", "1e6", DIGITS),
    "share": (*NO_NUMBER, "-1", "2", DIGITS),
    "end": (*WORDS, "nan", "inf", "-1", "1", DIGITS),
    "shift": (*NO_NUMBER, "0", "-1", DIGITS),
    "numbers of steps": (*WORDS, "nan", "0", "-1", "2.5", "5,", "5,2000", DIGITS),
    "one of the steps": (*NO_COUNT, "0", "7"),
    "time": (*WORDS, "nan", "inf", "-1", "0", "5 days", DIGITS),
    "name=value": (*[one for one in WORDS if one != "a=b"], "1=2", "=3", "image=nowhere.png", "a-b=3"),
    "device": (*[one for one in WORDS if one not in ("three", "true", LONG)], "-1", "0", "cuda:x"),
    "variant": (*[one for one in WORDS if one not in ("three", "true", "None", LONG)], "-rf", "../x"),
    "revision": (*[one for one in WORDS if one not in ("three", "true", "None", LONG)], "-rf", "a..b"),
    "model": (*WORDS, BINARY, EMPTY, FOLDER, NOWHERE),
    "network": (*WORDS, BINARY, EMPTY, FOLDER, NOWHERE),
    "statistics": (*WORDS, BINARY, EMPTY, FOLDER, NOWHERE),
    "prompts": (*NAMES_OF_NO_FILE, BINARY, EMPTY, FOLDER, NOWHERE),
    "notes": (*NAMES_OF_NO_FILE, BINARY, FOLDER, NOWHERE),
    "published": (*NAMES_OF_NO_FILE, BINARY, EMPTY, FOLDER, NOWHERE),
    "saved pipeline": (*NAMES_OF_NO_FILE, BINARY, FOLDER, NOWHERE),
    "output": (*NAMES_OF_NO_FILE, f"{BINARY}/x", "/proc/nowhere/x"),
    "file": (*NAMES_OF_NO_FILE, f"{BINARY}/x.png", FOLDER, "/proc/nowhere/x.png"),
    "place on the Hub": (*[one for one in WORDS if one != "three"], "a/b c", "user/repo@main", "../x"),
    "name on the Hub": (*[one for one in WORDS if one not in ("three", "true", "None")], "a/b c", "../x"),
    "host": (*[one for one in WORDS if one not in ("three", "true", "None")], "256.0.0.1"),
    "text": (),
}
TAKEN: dict[str, tuple[str, ...]] = {
    "flag": ("",),
    "count": ("1", "20"),
    "count or none": ("0", "3"),
    "number of samples": ("4", "auto"),
    "several": ("4", "16"),
    "seed": ("0", str(2**62)),
    "pixels": ("64",),
    "tolerance": ("0", ".5"),
    "guidance": ("0", "7.5"),
    "guidances": ("7.5", "1,3,7.5"),
    "share": (".5",),
    "end": ("0", "zero", "sigma_min", ".25"),
    "shift": ("3",),
    "numbers of steps": ("5", "5,8, 10"),
    "one of the steps": ("6",),
    "time": ("90s", "5m", "1.5h"),
    "name=value": ("class_labels=3", "prompt_2=\x1b[31m", "image=picture.png"),
    "device": ("cpu",),
    "variant": ("fp16",),
    "prompts": ("prompts.txt",),
    "notes": ("prompts.txt", EMPTY),
    "output": ("anywhere", "-1", "nan", "\x1b[31m"),
    "text": (*WORDS, DIGITS),
}
OTHERWISE = {("calibrate", "num_inference_steps"): "several", ("tune", "num_samples"): "several"}
OTHERWISE |= {("tune", "num_held_out"): "several", ("plot", "output"): "file", ("schedule", "output"): "file"}
OTHERWISE |= {("compare", "guidance_scale"): "guidance", ("schedule", "guidance_scale"): "guidance"}
OTHERWISE |= {("plot", "guidance_scale"): "guidance", ("schedule", "steps"): "count", ("plot", "steps"): "count"}
OTHERWISE |= {("import", "file"): "published", ("import", "model"): "text", ("package", "folder"): "saved pipeline"}
OTHERWISE |= {("package", "stats"): "name on the Hub", ("push", "revision"): "revision"}
KINDS = {
    **dict.fromkeys(("dtype", "offload", "costs", "form", "cost", "velocity", "figure"), "choice"),
    **dict.fromkeys(("batch_size", "num_processes", "num_prompts"), "count"),
    **dict.fromkeys(("height", "width"), "pixels"),
    **dict.fromkeys(("denoise", "start", "spread"), "share"),
    **dict.fromkeys(("lora", "vae", "config"), "network"),
    **dict.fromkeys(("stats", "folder", "file"), "statistics"),
    **dict.fromkeys(("prompts", "tuning_prompts"), "prompts"),
    **dict.fromkeys(("base_model", "licence", "message", "token", "name"), "text"),
    "num_samples": "number of samples",
    "trials": "count or none",
    "seed": "seed",
    "port": "port",
    "tolerance": "tolerance",
    "guidance_scale": "guidances",
    "end": "end",
    "shift": "shift",
    "steps": "numbers of steps",
    "judged": "one of the steps",
    "budget": "time",
    "arg": "name=value",
    "device": "device",
    "variant": "variant",
    "revision": "revision",
    "model": "model",
    "output": "output",
    "notes": "notes",
    "repo": "place on the Hub",
    "host": "host",
}
WITH = {
    "compare --budget": ["--tune"],
    "compare --tuning-prompts": ["--tune"],
    "tune --check": ["--output", "statistics.safetensors"],
    "schedule --shift": ["--cost", "predictor"],
}
"""What else has to be said for an option to count."""

COMMANDS = typer.main.get_command(app)
EACH = [
    pytest.param(name, one, id=f"{name} {one.opts[0] if one.param_type_name == 'option' else one.name}")
    for name, command in COMMANDS.commands.items()
    for one in command.params
    if one.name != "help"
]


class BegunError(Exception):
    """The work was begun: all that was said is right."""


def kind_of(command: str, one: Any) -> str:
    """The kind of an option; its name is none where nobody has said."""
    if one.param_type_name == "option" and one.is_flag:
        return "flag"
    return OTHERWISE.get((command, one.name)) or KINDS.get(one.name, one.name)


@pytest.fixture
def place(tmp_path, monkeypatch) -> Iterator[Callable[[str], list[str]]]:
    """A folder with files of all kinds, in which whoever begins to work says so; the arguments of each command."""
    from PIL import Image

    from diffusers_deis_sn.collect.loading import Loading
    from diffusers_deis_sn.plots import figures, schedule
    from diffusers_deis_sn.publish import push
    from diffusers_deis_sn.web import app as page
    from diffusers_deis_sn.web import extra

    def begun(*_: object, **__: object) -> None:
        raise BegunError

    for where, name in ((Loading, "_loaded"), (figures, "normaliser_figure"), (schedule, "schedule_figure")):
        monkeypatch.setattr(where, name, begun)
    monkeypatch.setattr(push._Target, "call", begun)
    monkeypatch.setattr(page, "serve", begun)
    monkeypatch.setattr(extra, "needed", lambda: None)
    for room in ("app", "tuning"):
        monkeypatch.setattr(f"diffusers_deis_sn.cli.{room}.launch", begun)
    monkeypatch.setattr("diffusers_deis_sn.hub.atomic_write.write_together", begun)
    monkeypatch.setattr("diffusers_deis_sn.publish.folder.write_together", begun)
    for drawn in ("normaliser_figure", "schedule_figure", "png"):
        monkeypatch.setattr(f"diffusers_deis_sn.publish.folder.{drawn}", lambda *_: b"")
    monkeypatch.setattr("diffusers_deis_sn.publish.package.write_together", begun)
    monkeypatch.setattr("diffusers_deis_sn.statistics.record.ScoreStatistics.save", begun)
    monkeypatch.setattr("diffusers_deis_sn.learn.export.schedule_text", _checked(begun))
    monkeypatch.setattr(typer.main, "get_command", lambda _: COMMANDS)  # made anew for each call otherwise
    monkeypatch.chdir(tmp_path)
    DEISSNScheduler().save_pretrained("model/scheduler")
    index = {"_class_name": "StableDiffusionPipeline", "scheduler": ["diffusers_deis_sn", "DEISSNScheduler"]}
    Path("model/model_index.json").write_text(json.dumps(index))
    Path(FOLDER).mkdir()
    Path(BINARY).write_bytes(b"\x89PNG\r\n\xff\0")
    Path(EMPTY).touch()
    Path("prompts.txt").write_text("\n".join("abcdefgh"))
    Image.new("RGB", (2, 2)).save("picture.png")
    write_published(tmp_path / "published.pt")
    for name, content in measured().items():
        Path(name).write_bytes(content)
    yield arguments


@cache
def measured() -> dict[str, bytes]:
    """Statistics with costs, of betas and of a flow."""
    records = {"statistics": costed_record(times=20), "flow": flow_record(times=20)}
    return {f"{name}.safetensors": record.to_bytes() for name, record in records.items()}


def _checked(begun: Callable[..., None]) -> Callable[..., None]:
    from diffusers_deis_sn.learn import export

    whole = export.schedule_text

    def text(*given: object, **named: object) -> None:
        whole(*given, **named)
        begun()

    return text


def arguments(command: str) -> list[str]:
    """What else a command needs."""
    statistics = "statistics.safetensors"
    return {
        "calibrate": ["model", "-o", "out"],
        "compare": ["model", "-o", "out", "--stats", statistics, "--prompts", "prompts.txt"],
        "tune": ["model", "-o", "out"],
        "serve": ["model", "--port", str(free_port())],
        "inspect": [statistics],
        "plot": [statistics, "-o", "out.png"],
        "schedule": [statistics],
        "card": [statistics],
        "package": ["model"],
        "push": [statistics, "user/repo"],
        "import": ["published.pt", "-o", "out"],
    }[command]


@cache
def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def said(command: str, one: Any, given: list[str], value: str) -> list[str]:
    """The arguments with a value of an option, or of an argument."""
    if one.name == "shift":
        given = ["flow.safetensors"]
    if one.param_type_name == "option":
        flagged = f"{one.opts[0]}{value}" if one.is_flag else f"{one.opts[0]}={value}"
        return [command, *given, *WITH.get(f"{command} {one.opts[0]}", []), flagged]
    place = [other.name for other in COMMANDS.commands[command].params if other.param_type_name == "argument"]
    changed = list(given)
    changed[place.index(one.name)] = value
    return [command, "--", *changed] if value.startswith("-") else [command, *changed]


def shown(value: str) -> str:
    """The beginning of a value in a message, without its quote."""
    return repr(value)[1:30].rstrip("'\"") or "empty"


def known() -> dict[str, bytes | None]:
    return {str(one): one.read_bytes() if one.is_file() else None for one in sorted(Path().rglob("*"))}


def test_every_option_is_of_a_kind():
    kinds = {param.id: kind_of(*param.values) for param in EACH}
    unjudged = {name: kind for name, kind in kinds.items() if kind not in REFUSED}
    assert not unjudged, "say of what kind these are"
    assert len(kinds) > 140 and set(kinds.values()) == REFUSED.keys()


@pytest.mark.parametrize(("command", "one"), EACH)
def test_what_cannot_be_right_is_refused_before_the_work(place, command, one, capsys):
    before, kind, given = known(), kind_of(command, one), place(command)
    for value in REFUSED[kind]:
        try:
            with pytest.raises(SystemExit) as end:
                main(said(command, one, given, value))
        except BegunError:
            pytest.fail(f"{value[:40]!r} was taken")
        out, err = capsys.readouterr()
        assert (end.value.code, out) == (2, ""), (value[:40], err)
        assert err.startswith("deis-sn: ") and err.endswith(".\n") and err.count("\n") == 1, (value[:40], err)
        assert printable(err) and len(err) < 2300, (value[:40], err)
        told = (*one.opts, shown(value), str(Path(value.replace("\0", "")).parent).strip("."), "place of statistics")
        assert any(name and name in err for name in told), (value[:40], err)
    assert known() == before


@pytest.mark.parametrize(("command", "one"), [one for one in EACH if kind_of(*one.values) in TAKEN])
def test_what_can_be_right_is_taken(place, command, one, capsys):
    if one.name == "version":
        return
    given = place(command)
    for value in TAKEN[kind_of(command, one)]:
        try:
            main(said(command, one, given, value))
        except BegunError:
            continue
        except SystemExit as end:
            assert end.code == 0, (value[:40], capsys.readouterr().err)
