"""Where statistics are: what a name stands for, and beside a config there, known to be absent, or not known."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from diffusers_deis_sn.errors import StatisticsAccessError, StatisticsNotFoundError, StatisticsUnreachableError
from diffusers_deis_sn.hub.names import PLACES, SIDE_FILE
from diffusers_deis_sn.hub.source import Located, find, side_file
from diffusers_deis_sn.statistics import ScoreStatistics
from fake_hub import TOKEN
from records import tiny_record
from refusals import refused

FILE = "score_statistics.safetensors"
RECORD, OTHER = tiny_record(), tiny_record().with_origin(seed=1)
CONFIG = {"scheduler/scheduler_config.json": b"{}"}
BESIDE = {**CONFIG, f"scheduler/{SIDE_FILE}": tiny_record().to_bytes()}


def test_beside_a_local_config(tmp_path):
    assert side_file(tmp_path, "scheduler") is side_file(str(tmp_path), "scheduler") is None
    path = tiny_record().save(tmp_path / "scheduler" / SIDE_FILE)
    found = Located(path, str(path.resolve()))
    assert side_file(tmp_path, "scheduler") == side_file(tmp_path / "scheduler") == found
    (tmp_path / "scheduler" / "scheduler_config.json").write_text("{}")
    assert side_file(tmp_path / "scheduler" / "scheduler_config.json") == found


@pytest.mark.parametrize("subfolder", ["scheduler", None])
def test_beside_a_config_on_the_hub(hub, subfolder):
    prefix = f"{subfolder}/" if subfolder else ""
    repo = hub.add_repo("user/repo", {f"{prefix}{SIDE_FILE}": tiny_record().to_bytes()})
    found = side_file("user/repo", subfolder, revision=repo.head)
    assert found is not None
    assert ScoreStatistics.load(found.path) == tiny_record()
    hub.requests.clear()
    assert side_file("user/repo", subfolder, revision=repo.head) == found
    assert found.name == f"user/repo/{prefix}score_statistics@{repo.head}"
    assert find(found.name) == found  # the name finds it again, and that at no request either
    assert hub.requests == []


def test_it_is_that_of_the_commit_asked_for(hub):
    repo = hub.add_repo("user/repo", CONFIG)
    old = repo.head
    new = repo.commit(BESIDE)
    assert side_file("user/repo", "scheduler", revision=old) is None
    assert side_file("user/repo", "scheduler", revision=new) is not None
    assert side_file("user/repo", "scheduler") is not None


def test_absence_is_asked_for_once_and_then_known(hub, offline, caplog):
    repo = hub.add_repo("user/repo", CONFIG)
    assert side_file("user/repo", "scheduler", revision=repo.head) is None
    assert len(hub.requests) == 1
    assert side_file("user/repo", "scheduler", revision=repo.head) is None
    offline()
    assert side_file("user/repo", "scheduler", revision=repo.head) is None
    assert side_file("user/repo", "scheduler", revision=repo.head, local_files_only=True) is None
    assert len(hub.requests) == 1
    assert caplog.messages == []


def test_who_asks_to_work_offline_goes_on_with_a_warning(hub, caplog):
    """The config was cached for another scheduler, and nobody has asked for statistics yet."""
    repo = hub.add_repo("user/repo", BESIDE)
    with caplog.at_level(logging.WARNING, "diffusers_deis_sn"):
        assert side_file("user/repo", "scheduler", revision=repo.head, local_files_only=True) is None
    assert len(caplog.messages) == 1
    for word in (f"user/repo/scheduler@{repo.head}", "offline", "without statistics", "stats="):
        assert word in caplog.messages[0]
    assert hub.requests == []


@pytest.mark.parametrize("fault", [{"status": 500}, {"status": 429}, {"drop": True}])
def test_a_hub_that_fails_is_no_proof_of_absence(hub, fault):
    repo = hub.add_repo("user/repo", CONFIG)
    hub.fault("HEAD /user/repo", **fault)
    words = [f"user/repo/scheduler@{repo.head}", "stats=False"]
    refused(StatisticsUnreachableError, words, side_file, "user/repo", "scheduler", revision=repo.head)


def test_what_is_refused_or_not_there_at_all_is_said(hub):
    hub.add_repo("user/gated", BESIDE, gated=True)
    refused(StatisticsAccessError, ["user/gated", "hf auth login"], side_file, "user/gated", "scheduler")
    assert side_file("user/gated", "scheduler", token=TOKEN) is not None
    refused(StatisticsNotFoundError, ["user/none"], side_file, "user/none", "scheduler")
    refused(StatisticsNotFoundError, ["revision 'v9'"], side_file, "user/gated", "scheduler", revision="v9")


@pytest.mark.parametrize("place", PLACES)
def test_a_repository_is_searched_like_a_folder(hub, place):
    hub.add_repo("user/repo", {place: RECORD.to_bytes()})
    assert ScoreStatistics.load("user/repo") == RECORD


def test_a_revision_is_a_branch_a_tag_or_a_commit(hub):
    repo = hub.add_repo("user/repo", {FILE: RECORD.to_bytes()})
    old = repo.head
    repo.refs["v1"] = old
    repo.commit({FILE: OTHER.to_bytes()})
    assert ScoreStatistics.load("user/repo") == OTHER
    assert ScoreStatistics.load("user/repo@v1") == ScoreStatistics.load("user/repo", revision="v1") == RECORD
    assert ScoreStatistics.load(f"user/repo@{old}", revision="main") == RECORD, "what the name says wins"


def test_a_folder_of_a_repository_is_part_of_the_name_or_a_keyword(hub):
    hub.add_repo("user/repo", {f"sd/v1/{FILE}": RECORD.to_bytes(), f"sd/{FILE}": OTHER.to_bytes()})
    for name, options in (
        ("user/repo/sd/v1", {}),
        ("user/repo/sd/v1@main", {}),
        ("user/repo", {"subfolder": "sd/v1"}),
        ("user/repo/sd@main", {"subfolder": "v1"}),
    ):
        assert ScoreStatistics.load(name, **options) == RECORD
    assert ScoreStatistics.load("user/repo/sd") == OTHER


def test_a_keyword_names_a_folder_of_a_local_folder_too(tmp_path):
    RECORD.save(tmp_path / "sd" / "v1")
    assert ScoreStatistics.load(tmp_path, subfolder="sd/v1") == RECORD


def test_what_is_here_is_not_asked_for(hub, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    RECORD.save("user/repo")
    assert ScoreStatistics.load("user/repo") == RECORD
    refused(StatisticsNotFoundError, ["no such file or folder"], ScoreStatistics.load, Path("user/other"))
    refused(StatisticsNotFoundError, ["no such file or folder"], ScoreStatistics.load, "user/repo/other.safetensors")
    assert hub.requests == []


def test_what_was_found_has_a_name_that_stays_true(hub, tmp_path):
    repo = hub.add_repo("user/repo", {f"sd/{FILE}": RECORD.to_bytes()})
    found = find("user/repo/sd")
    assert found.name == f"user/repo/sd@{repo.head}"
    repo.commit({f"sd/{FILE}": OTHER.to_bytes()})
    assert ScoreStatistics.load(found.name) == RECORD
    path = RECORD.save(tmp_path / "mine")
    assert find(tmp_path / "mine").name == str(path)
