"""The notebook: it opens in Colab, keeps small outputs, and does what it says on the shipped models.

`python examples/renew_quickstart.py` runs it and keeps its outputs.
"""

from __future__ import annotations

import ast
import base64
import io
import json
import os
import re
from pathlib import Path

import pytest
from PIL import Image

import diffusers_deis_sn

ROOT = Path(__file__).resolve().parents[1]
FILE = ROOT / "examples" / "quickstart.ipynb"
LARGEST = 400_000  # bytes of the file, outputs included
VERBS = ("calibrate", "compare", "tune")


@pytest.fixture(scope="module")
def notebook():
    return json.loads(FILE.read_text(encoding="utf-8"))


def source(cell) -> str:
    return "".join(cell["source"])


def code(notebook) -> list:
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def outputs(notebook) -> list:
    return [output for cell in code(notebook) for output in cell["outputs"]]


def shown(notebook) -> list:
    return [output.get("data", {}) for output in outputs(notebook)]


def test_the_first_cell_installs_where_there_is_no_checkout(notebook):
    first = source(code(notebook)[0])
    assert "%pip install" in first and "git clone" in first and "if ROOT is None" in first
    assert notebook["nbformat"] == 4 and notebook["metadata"]["kernelspec"]["name"] == "python3"


def test_cells_are_python_of_public_names(notebook):
    for cell in code(notebook):
        lines = [
            line if not re.match(r"\s*[!%]", line) else f"{line[: -len(line.lstrip())]}pass" for line in cell["source"]
        ]
        for node in ast.walk(ast.parse("".join(line if line.endswith("\n") else f"{line}\n" for line in lines))):
            if isinstance(node, ast.ImportFrom) and node.module == "diffusers_deis_sn":
                assert {one.name for one in node.names} <= set(diffusers_deis_sn.__all__)


def test_outputs_are_kept_small_and_of_no_one_machine(notebook):
    assert FILE.stat().st_size < LARGEST
    assert [cell["execution_count"] for cell in code(notebook)] == list(range(1, len(code(notebook)) + 1))
    for output in outputs(notebook):
        assert output["output_type"] in ("display_data", "execute_result", "stream")  # no errors
        assert output.get("name", "stdout") == "stdout"  # no warnings, no bars
    text = FILE.read_text(encoding="utf-8")
    assert not re.search(r"/(tmp|work|home|root|Users)/", text)


def test_pictures_are_inline(notebook):
    pictures = [data["image/png"] for data in shown(notebook) if "image/png" in data]
    for one in pictures:
        image = Image.open(io.BytesIO(base64.b64decode("".join(one))))
        assert len(image.convert("RGB").getcolors(10**6)) > 10
    assert len(pictures) >= 6
    tables = ["".join(data.get("text/html", "")) for data in shown(notebook)]
    assert sum("<svg" in one for one in tables) >= 3  # two statistics and a recipe


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_is_shown_with_what_comes_of_it(notebook, verb):
    (cell,) = [cell for cell in code(notebook) if re.search(rf"= {verb}\(", source(cell))]
    assert cell["outputs"], verb


def test_the_address_is_that_of_the_project(notebook):
    """`python -m benchmarks.readme --owner` changes both; whoever opens the notebook before that installs nothing."""
    said = re.search(r'^Repository = "(.+)"$', (FILE.parents[1] / "pyproject.toml").read_text(), re.MULTILINE)
    found = re.findall(r"https://[\w.-]*github[\w.]*/[\w-]+/[\w-]+", FILE.read_text(encoding="utf-8"))
    assert said and found and set(found) == {said[1]}


def kinds(notebook) -> list:
    """What the outputs of each cell are; libraries may print what they like."""
    cells = [cell["outputs"] for cell in code(notebook)]
    return [[sorted(one["data"]) for one in cell if one["output_type"] != "stream"] for cell in cells]


@pytest.mark.slow
def test_it_runs_from_top_to_bottom(tmp_path, monkeypatch):
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    for name in ("examples", "stats"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]))
    told = nbformat.read(FILE, 4)
    nbformat.validate(told)
    before = kinds(told)
    nbclient.NotebookClient(told, timeout=900, resources={"metadata": {"path": str(tmp_path)}}).execute()
    after = kinds(told)
    assert after == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["examples", "stats"]  # it leaves nothing behind
