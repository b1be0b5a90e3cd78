"""The nodes for ComfyUI as a package: what its menu, its registry and its workflows look for."""

from __future__ import annotations

import json
import re
import sys
from inspect import signature
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomli")

FOLDER = Path(__file__).resolve().parents[2] / "integrations" / "comfyui"


def test_the_nodes_are_what_comfyui_looks_for(nodes):
    assert nodes.NODE_CLASS_MAPPINGS.keys() == nodes.NODE_DISPLAY_NAME_MAPPINGS.keys()
    for kind in nodes.NODE_CLASS_MAPPINGS.values():
        shown = kind.INPUT_TYPES()
        asked = signature(getattr(kind, kind.FUNCTION)).parameters
        assert [*shown["required"], *shown["optional"]] == list(asked)[1:]
        assert all(asked[name].default is not asked[name].empty for name in shown["optional"])
        assert len(kind.RETURN_TYPES) == 1 and kind.CATEGORY.startswith("sampling/")
        assert all("tooltip" in one[-1] or name == "denoise" for part in shown.values() for name, one in part.items())


def test_the_manifest_is_one_that_the_registry_takes():
    manifest = tomllib.loads((FOLDER / "pyproject.toml").read_text())
    project = manifest["project"]
    assert re.fullmatch(r"[A-Za-z][A-Za-z0-9]*([-_.][A-Za-z0-9]+)*", project["name"]) and len(project["name"]) < 100
    assert "comfyui" not in project["name"].lower()
    assert re.fullmatch(r"\d+\.\d+\.\d+", project["version"]) and "Repository" in project["urls"]
    assert {"PublisherId", "DisplayName", "Icon"} <= manifest["tool"]["comfy"].keys()
    assert (FOLDER / "requirements.txt").read_text().split() == project["dependencies"]


def test_the_example_workflow_joins_what_fits_together(nodes):
    """ComfyUI's workflow format 0.4: links are [id, from node, its output, to node, its input, type]."""
    (file,) = (FOLDER / "example_workflows").glob("*.json")
    workflow = json.loads(file.read_text())
    known = {one["id"]: one for one in workflow["nodes"]}
    assert len(known) == len(workflow["nodes"]) and workflow["last_node_id"] == max(known)
    for number, origin, output, target, place, kind in workflow["links"]:
        assert known[origin]["outputs"][output]["type"] == known[target]["inputs"][place]["type"] == kind
        assert number in known[origin]["outputs"][output]["links"] and known[target]["inputs"][place]["link"] == number
    linked = {number for number, *_ in workflow["links"]}
    for one in known.values():
        assert {given["link"] for given in one.get("inputs", []) if given["link"] is not None} <= linked
    for name, kind in nodes.NODE_CLASS_MAPPINGS.items():
        (mine,) = [one for one in known.values() if one["type"] == name]
        assert [one["type"] for one in mine["outputs"]] == list(kind.RETURN_TYPES)
        shown = kind.INPUT_TYPES()
        widgets = [n for part in shown.values() for n, one in part.items() if one[0] in ("STRING", "INT", "FLOAT")]
        assert len(mine["widgets_values"]) == len(widgets)
