"""Workflows name what exists, agree with `.ci` and the Makefile, and may do no more than they need."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / ".github/workflows"
NAMES = sorted(file.name for file in FOLDER.glob("*.yml"))
MAKEFILE = (ROOT / "Makefile").read_text()
WORDS = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))
ENVIRONMENTS = sorted(file.stem for file in (ROOT / ".ci/environments").glob("*.txt"))
PYTHONS = re.findall(r"Python :: (3\.\d+)", (ROOT / "pyproject.toml").read_text())
ALLOWED = {  # all that any job may do besides reading the repository
    ("docs.yml", "build"): {"contents": "read", "pages": "read"},
    ("docs.yml", "publish"): {"pages": "write", "id-token": "write"},
    ("release.yml", "rehearse"): {"id-token": "write"},
    ("release.yml", "publish"): {"id-token": "write"},
}


class Loader(yaml.SafeLoader):
    """YAML as workflows are read: `on` is a word, not a truth value, and no key may be said twice."""

    yaml_implicit_resolvers = {  # noqa: RUF012
        first: [one for one in resolvers if one[0] != "tag:yaml.org,2002:bool"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        assert len(set(keys)) == len(keys), f"{sorted(keys)} has a key twice"
        return super().construct_mapping(node, deep)


def workflow(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.load((FOLDER / name).read_text(), Loader)
    return loaded


JOBS = [(name, job) for name in NAMES for job in workflow(name)["jobs"]]


def job_of(name: str, job: str) -> dict[str, Any]:
    found: dict[str, Any] = workflow(name)["jobs"][job]
    return found


def commands(name: str, job: str) -> list[str]:
    return [step["run"] for step in job_of(name, job)["steps"] if "run" in step]


def typed(name: str) -> set[str]:
    """Every command of a workflow's jobs."""
    return {command.partition(" #")[0].strip() for one, job in JOBS if one == name for command in commands(one, job)}


def uses(name: str, job: str) -> list[str]:
    return [step["uses"] for step in job_of(name, job)["steps"] if "uses" in step]


def values(node: Any) -> list[str]:
    """Every text inside of a value."""
    if isinstance(node, dict):
        return [text for part in node.values() for text in values(part)]
    if isinstance(node, list):
        return [text for part in node for text in values(part)]
    return [str(node)]


# ----------------------------------------------------------------------------------------------------- what they name


@pytest.mark.parametrize(("name", "job"), JOBS)
def test_what_a_job_runs_exists(name: str, job: str) -> None:
    for command in commands(name, job):
        assert "${{" not in command, f"{name}, {job}: a text from outside in a shell; hand it over by `env`"
        assert set(re.findall(r"\bmake ([a-z-]+)", command)) <= WORDS
        for script in re.findall(r"(?:^|\s)(\.?[\w.-]+/[\w./-]+)", command):
            assert os.access(ROOT / script, os.X_OK), f"{name}, {job} runs {script}"


@pytest.mark.parametrize(("name", "job"), JOBS)
def test_what_a_job_uses_is_there(name: str, job: str) -> None:
    """Later steps and other jobs are named by what they are called."""
    known = {step["id"] for step in job_of(name, job)["steps"] if "id" in step}
    needed = job_of(name, job).get("needs", [])
    assert set([needed] if isinstance(needed, str) else needed) <= set(workflow(name)["jobs"])
    for text in values(job_of(name, job)):
        assert set(re.findall(r"steps\.(\w+)\.", text)) <= known
        assert set(re.findall(r"matrix\.(\w+)", text)) <= set(job_of(name, job).get("strategy", {}).get("matrix", {}))


def test_what_is_uploaded_is_what_was_built() -> None:
    for name, where, said in (
        ("docs.yml", "mkdocs.yml", "site_dir: dist/site"),
        ("release.yml", ".ci/check-package", "out=$PWD/dist/package"),
    ):
        (path,) = [step["with"]["path"] for step in job_of(name, "build")["steps"] if "upload-" in step.get("uses", "")]
        assert path in said and said in (ROOT / where).read_text()


def test_environments_are_those_of_the_matrix() -> None:
    script = (ROOT / ".ci/test-matrix").read_text()
    assert sorted(re.findall(r"ENVIRONMENTS:-([a-z ]+)", script)[0].split()) == ENVIRONMENTS
    assert sorted(job_of("ci.yml", "matrix")["strategy"]["matrix"]["environment"]) == ENVIRONMENTS
    for name, job in JOBS:
        for step in job_of(name, job)["steps"]:
            chosen = step.get("env", {}).get("ENVIRONMENTS", "${{")
            assert chosen.startswith("${{") or chosen in ENVIRONMENTS
    for path in re.findall(r"tests/[\w./-]+", script):
        assert (ROOT / path).exists(), f".ci/test-matrix runs {path}"
    for test in re.findall(r"(tests/\S+\.py)::(\w+)", script):
        assert f"def {test[1]}(" in (ROOT / test[0]).read_text()


def test_the_lowest_environment_has_the_lowest_versions_that_are_promised() -> None:
    """But PyTorch, whose older wheels bring gigabytes of CUDA."""
    text = (ROOT / "pyproject.toml").read_text()
    base = re.search(r"^dependencies = \[(.*?)^\]", text, re.MULTILINE | re.DOTALL)
    assert base is not None
    promised = dict(re.findall(r'"([\w-]+)>=([\d.]+)"', base[1]))
    anywhere = set(re.findall(r'"([\w-]+)>=([\d.]+)"', text))
    pinned = dict(re.findall(r"^([\w-]+)==([\d.]+)$", (ROOT / ".ci/environments/lowest.txt").read_text(), re.MULTILINE))
    assert promised.keys() - pinned.keys() == {"torch"}
    for name, version in pinned.items():
        lowest = {Version(least) for one, least in anywhere if one == name}
        assert Version(version) in lowest, f"{name}: pyproject.toml has {lowest}, lowest.txt {version}"
    assert all(Version(pinned[name]) == Version(least) for name, least in promised.items() if name != "torch")


def test_pythons_are_those_that_the_package_promises() -> None:
    assert job_of("ci.yml", "test")["strategy"]["matrix"]["python"] == PYTHONS
    for name, job in JOBS:
        for step in job_of(name, job)["steps"]:
            python = step.get("with", {}).get("python-version", "${{")
            assert python.startswith("${{") or python in PYTHONS


def test_every_check_of_a_commit_is_one_of_the_workflow() -> None:
    """`.ci/run` is what to run before a commit, and what a pull request has to pass."""
    local = set(re.findall(r"^make [a-z-]+", (ROOT / ".ci/run").read_text(), re.MULTILINE))
    assert local <= typed("ci.yml")
    assert {"make test-matrix", "make docs", "make test-docs", "make test-web", ".ci/check-package"} <= typed("ci.yml")


# ------------------------------------------------------------------------------------------------------ what they may


@pytest.mark.parametrize("name", NAMES)
def test_a_workflow_may_only_read(name: str) -> None:
    assert workflow(name)["permissions"] == {"contents": "read"}
    assert "pull_request_target" not in workflow(name)["on"]


@pytest.mark.parametrize(("name", "job"), JOBS)
def test_a_job_may_only_what_it_needs(name: str, job: str) -> None:
    assert job_of(name, job).get("permissions") == ALLOWED.get((name, job))
    assert job_of(name, job)["timeout-minutes"] <= 120


@pytest.mark.parametrize(("name", "job"), JOBS)
def test_actions_are_pinned_to_a_commit(name: str, job: str) -> None:
    for action in uses(name, job):
        assert re.fullmatch(r"[\w.-]+/[\w.-]+@[0-9a-f]{40}", action), action
        line = next(line for line in (FOLDER / name).read_text().splitlines() if action in line)
        assert re.search(r" # v\d+\.\d+\.\d+$", line), f"{line} does not say its version"


def test_an_action_has_one_version_everywhere() -> None:
    pins = {action for name, job in JOBS for action in uses(name, job)}
    assert len({pin.partition("@")[0] for pin in pins}) == len(pins)


@pytest.mark.parametrize(("name", "job"), JOBS)
def test_nothing_secret_is_held_or_shown(name: str, job: str) -> None:
    """There are no secrets at all; the token of a run is not left in the checkout and not printed."""
    assert not [text for text in values(job_of(name, job)) if "secrets." in text or "github.token" in text]
    assert not re.search(r"set -\w*x|\bprintenv\b|\benv\s*($|\|)|toJSON", "\n".join(values(job_of(name, job))))
    for step in job_of(name, job)["steps"]:
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] == "false"


def test_a_release_is_published_by_trust_and_rehearsed_on_a_test_index() -> None:
    jobs = workflow("release.yml")["jobs"]
    assert workflow("release.yml")["on"] == {"push": {"tags": ["v*"]}, "workflow_dispatch": None}
    assert jobs["publish"]["if"] == "github.event_name == 'push'"
    assert jobs["rehearse"]["if"] == "github.event_name == 'workflow_dispatch'"
    assert (jobs["publish"]["environment"], jobs["rehearse"]["environment"]) == ("pypi", "testpypi")
    for one in ("publish", "rehearse"):
        assert jobs[one]["needs"] == "build"
        publisher = jobs[one]["steps"][-1]
        assert publisher["uses"].startswith("pypa/gh-action-pypi-publish@")
        assert not {"password", "user"} & set(publisher.get("with", {}))
    assert "repository-url" not in jobs["publish"]["steps"][-1].get("with", {})
    assert "https://test." in jobs["rehearse"]["steps"][0]["run"]
    assert commands("release.yml", "build") == [".ci/check-release", ".ci/check-package"]
