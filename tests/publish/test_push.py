"""Publishing statistics: what goes up, once, in one commit; and what is said when it does not."""

from __future__ import annotations

import hashlib

import pytest

from diffusers_deis_sn.errors import PublishError, StatisticsNotFoundError
from diffusers_deis_sn.publish.folder import content
from diffusers_deis_sn.publish.push import push, push_folder
from diffusers_deis_sn.statistics import ScoreStatistics
from fake_hub import TOKEN
from records import costed_record, gaussian_record
from refusals import refused

FILE = "score_statistics.safetensors"
RECORD = gaussian_record().with_origin(base_model="someone/model", licence="MIT", guidance_scale=7.5)
COSTED = costed_record().with_origin(base_model="someone/model")
DRAWN = {"normaliser.png": b"drawn before"}  # drawing takes longer than everything else here


def publish(repo_id: str, record: ScoreStatistics = RECORD, **options):
    return push(record, repo_id, files=DRAWN, **options)


# --------------------------------------------------------------------------------------------------------- what goes up


def test_a_push_makes_a_repository_that_loads(hub, token):
    done = push(COSTED, "tester/repo")
    repo = hub.repos["tester/repo"]
    assert done.changed
    assert done.name == f"tester/repo@{repo.head}"
    assert done.url == f"{hub.endpoint}/tester/repo/commit/{repo.head}"
    assert set(hub.files("tester/repo")) == set(done.files) == {FILE, "README.md", "normaliser.png", "schedule.png"}
    assert repo.messages == ["initial commit", "Upload score statistics"]
    assert not repo.private
    assert ScoreStatistics.load(done.name) == ScoreStatistics.load("tester/repo") == COSTED
    readme = hub.files("tester/repo")["README.md"].decode()
    assert 'stats="tester/repo"' in readme


def test_pushing_the_same_again_makes_no_commit(hub, token):
    first = publish("tester/repo")
    again = publish("tester/repo")
    assert (again.changed, again.name, again.commit) == (False, first.name, first.commit)
    assert len(hub.repos["tester/repo"].commits) == 2
    newer = publish("tester/repo", RECORD.with_origin(seed=5), commit_message="Another seed")
    assert newer.changed
    assert hub.repos["tester/repo"].messages[-1] == "Another seed"


def test_a_dry_run_asks_nobody(hub):
    done = publish("tester/repo", dry_run=True)
    assert hub.requests == []
    assert (done.changed, done.commit, done.url) == (None, None, f"{hub.endpoint}/tester/repo")
    assert done.files == {name: len(data) for name, data in content(RECORD, "tester/repo", own=DRAWN).items()}


def test_private(hub, token):
    publish("tester/secret", private=True)
    assert hub.repos["tester/secret"].private
    assert ScoreStatistics.load("tester/secret") == RECORD
    hub.add_repo("tester/public")
    words = ["'tester/public' is public", f"{hub.endpoint}/tester/public/settings"]
    refused(PublishError, words, publish, "tester/public", private=True)
    assert hub.files("tester/public") == {}


def test_a_folder_of_a_repository(hub, token):
    hub.add_repo("tester/all", {"index.json": b"{}"})
    done = publish("tester/all/sd/v1")
    assert set(done.files) == {f"sd/v1/{name}" for name in (FILE, "README.md", "normaliser.png")}
    assert hub.files("tester/all")["index.json"] == b"{}"
    assert ScoreStatistics.load(done.name) == RECORD


def test_a_branch_and_a_pull_request(hub, token):
    repo = hub.add_repo("other/repo")
    before = repo.refs["draft"] = repo.head
    done = publish("other/repo", revision="draft")
    assert (repo.head, repo.refs["draft"]) == (before, done.commit)
    request = publish("other/repo", create_pr=True)
    assert request.url == f"{hub.endpoint}/other/repo/discussions/1"
    assert repo.head == before
    assert ScoreStatistics.load("other/repo@refs/pr/1") == RECORD


def test_card_and_figures_of_a_folder_go_up_as_they_are(hub, token, tmp_path):
    RECORD.save(tmp_path)
    (tmp_path / "normaliser.png").write_bytes(b"mine")
    (tmp_path / "README.md").write_text("---\nlicense: mit\n---\nMine")
    (tmp_path / "prompts.txt").write_text("not for everybody")
    push_folder(tmp_path, "tester/repo")
    files = hub.files("tester/repo")
    assert files["README.md"] == (tmp_path / "README.md").read_bytes()
    assert set(files) == {FILE, "README.md", "normaliser.png"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["README.md", "normaliser.png", "prompts.txt", FILE]
    push_folder(tmp_path, "tester/repo", new_card=True)
    files = hub.files("tester/repo")
    assert "Score statistics of" in files["README.md"].decode()
    assert files["normaliser.png"] != b"mine"
    refused(StatisticsNotFoundError, [str(tmp_path / "none")], push_folder, tmp_path / "none", "tester/repo")


def test_the_card_of_a_pipeline_is_not_taken_for_that_of_its_statistics(hub, token, tmp_path):
    (tmp_path / "README.md").write_text("A pipeline")
    RECORD.save(tmp_path / "scheduler" / "score_statistics")
    push_folder(tmp_path, "tester/repo")
    assert "Score statistics of" in hub.files("tester/repo")["README.md"].decode()


# ------------------------------------------------------------------------------------------------------ what goes wrong


@pytest.mark.parametrize("name", ["repo", "user/repo@main", "a b/c", "../x/y", ""])
def test_a_place_that_is_none(hub, token, name):
    refused(PublishError, [repr(name), "user/repo"], publish, name)
    assert hub.requests == []


def test_without_a_token(hub):
    words = ["tester/repo", "hf auth login", "Nothing was changed"]
    refused(PublishError, words, publish, "tester/repo")
    hub.add_repo("tester/known")
    refused(PublishError, ["tester/known", "hf auth login"], publish, "tester/known")
    assert hub.files("tester/known") == {}


def test_a_wrong_token_is_not_told(hub):
    hub.add_repo("tester/repo")
    wrong = "hf_wrongwrongwrong"
    refused(PublishError, ["status 401", "hf auth login"], publish, "tester/repo", token=wrong)
    with pytest.raises(PublishError) as raised:
        publish("tester/repo", token=wrong)
    assert wrong not in str(raised.value)
    publish("tester/repo", token=TOKEN)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ({"status": 500}, ["status 500", "Try again later", "Nothing was changed"]),
        ({"status": 429}, ["status 429", "Wait some minutes", "Nothing was changed"]),
        ({"status": 403}, ["status 403", "hf auth login", "Nothing was changed"]),
        ({"drop": True}, ["Try again later", "not known", "push again"]),
    ],
)
@pytest.mark.parametrize("request_", ["POST .*/preupload/", "PUT /lfs/", "POST .*/commit/"])
def test_a_failed_push_leaves_the_repository_as_it_was(hub, token, fault, words, request_):
    repo = hub.add_repo("tester/repo", {"README.md": b"old"})
    before = repo.head
    failing = hub.fault(request_, **fault)
    refused(PublishError, ["'tester/repo'", *words], publish, "tester/repo")
    assert repo.head == before
    failing.times = 0
    assert publish("tester/repo").changed


def test_a_repository_that_was_made_for_a_failed_push_is_told(hub, token):
    hub.fault("POST .*/commit/", status=500)
    refused(PublishError, ["was created and is empty"], publish, "tester/repo")


def test_what_is_missing_is_not_made_for_a_branch_or_a_pull_request(hub, token):
    for options in ({"create_pr": True}, {"revision": "draft"}):
        refused(PublishError, ["other/none", "does not exist"], publish, "other/none", **options)
    assert "other/none" not in hub.repos
    hub.add_repo("other/repo")
    refused(PublishError, ["no branch 'draft'"], publish, "other/repo", revision="draft")


def test_offline_nothing_is_pushed(hub, token, offline):
    offline()
    refused(PublishError, ["HF_HUB_OFFLINE", "Unset it"], publish, "tester/repo")


def test_no_server(hub, token):
    hub.stop()
    refused(PublishError, ["connection"], publish, "tester/repo")


def test_what_was_pushed_is_what_was_measured(hub, token):
    done = publish("tester/repo")
    data = hub.files("tester/repo")[FILE]
    assert hashlib.sha256(data).hexdigest() == hashlib.sha256(RECORD.to_bytes()).hexdigest()
    assert done.files[FILE] == len(data)


def test_a_card_made_before_it_had_a_place_names_that_place_and_no_folder_of_this_machine(hub, token, tmp_path):
    from typer.testing import CliRunner

    from diffusers_deis_sn.cli.app import app

    folder = tmp_path / "home-of-somebody"
    RECORD.save(folder)
    assert CliRunner().invoke(app, ["card", str(folder)]).exit_code == 0
    push_folder(folder, "me/statistics")
    pushed = hub.files("me/statistics")["README.md"].decode()
    assert 'stats="me/statistics"' in pushed and "user/repo" not in pushed and "home-of-somebody" not in pushed
