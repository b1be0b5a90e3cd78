"""What `.ci/check-package` looks for in a wheel and a source distribution is found where it is."""

from __future__ import annotations

import runpy
from email.message import Message
from pathlib import Path
from typing import Any

import pytest

from diffusers_deis_sn import __version__

PROGRAM: dict[str, Any] = runpy.run_path(str(Path(__file__).resolve().parents[1] / ".ci/package_contents.py"))
ROOT: Path = PROGRAM["ROOT"]
ENTRY = "[console_scripts]\ndeis-sn = diffusers_deis_sn.cli.app:main\n"
SOUND = {
    "Version": __version__,
    "Summary": "a",
    "License-Expression": "Apache-2.0",
    "License-File": "LICENSE",
    "Requires-Python": ">=3.10",
    "Project-URL": "Repository, https://github.com/a/b",
    "Keywords": "a",
}


def metadata(text: str = "![p](https://a/b.png)", **changed: str | None) -> Message:
    made = Message()
    for name, value in (SOUND | {name.replace("_", "-"): value for name, value in changed.items()}).items():
        if value is not None:
            made[name] = value
    made.set_payload(text)
    return made


def names() -> list[str]:
    package = [path.relative_to(ROOT / "src").as_posix() for path in PROGRAM["sources"]()]
    return [*package, f"diffusers_deis_sn-{__version__}.dist-info/METADATA"]


def test_a_sound_wheel_has_no_faults() -> None:
    assert PROGRAM["wheel_faults"](names(), metadata(), ENTRY) == []


@pytest.mark.parametrize("strange", ["tests/test_a.py", "diffusers_deis_sn/a.png", "benchmarks/run.py", "a.pth"])
def test_what_does_not_belong_into_a_wheel_is_named(strange: str) -> None:
    (fault,) = PROGRAM["wheel_faults"]([*names(), strange], metadata(), ENTRY)
    assert strange in fault


@pytest.mark.parametrize("lost", ["py.typed", "core/grids.py", "comparison/page.html"])
def test_what_a_wheel_lacks_is_named(lost: str) -> None:
    left = [name for name in names() if not name.endswith(lost)]
    assert all(lost in fault for fault in PROGRAM["wheel_faults"](left, metadata(), ENTRY))
    assert PROGRAM["wheel_faults"](left, metadata(), ENTRY)


def test_a_wheel_without_the_command_is_refused() -> None:
    assert PROGRAM["wheel_faults"](names(), metadata(), "") == ["the command deis-sn is missing"]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"text": "![p](benchmarks/a.png)"}, "benchmarks/a.png"),
        ({"text": "![p](https://a/b.png) [docs](docs/index.md)"}, "docs/index.md"),
        ({"text": "no picture"}, "no picture"),
        ({"Version": "9.9"}, "9.9"),
        ({"Keywords": None}, "Keywords"),
        ({"Requires_Dist": "matplotlib>=3"}, "matplotlib"),
    ],
)
def test_what_an_index_would_show_wrongly_is_named(changed: dict[str, Any], said: str) -> None:
    faults = PROGRAM["metadata_faults"](metadata(**changed))
    assert any(said in fault for fault in faults)
    assert not PROGRAM["metadata_faults"](metadata(Requires_Dist='matplotlib>=3; extra == "plot"'))


def test_a_source_distribution_holds_no_data_and_all_that_builds_it() -> None:
    top = f"diffusers_deis_sn-{__version__}"
    whole = [f"{top}/{name}" for name in PROGRAM["NEEDED"]]
    assert PROGRAM["source_faults"](whole) == []
    assert PROGRAM["source_faults"]([*whole, f"{top}/stats/a.safetensors"]) == [f"{top}/stats/a.safetensors is data"]
    assert PROGRAM["source_faults"](whole[1:]) == [f"{PROGRAM['NEEDED'][0]} is missing"]
