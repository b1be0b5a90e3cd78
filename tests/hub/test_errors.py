"""What the Hub refuses or does not have: a typed error with the remedy, which never tells a token."""

from __future__ import annotations

import traceback

import pytest

from diffusers_deis_sn.errors import StatisticsAccessError, StatisticsNotFoundError, StatisticsUnreachableError
from diffusers_deis_sn.hub.errors import harmless, is_secret
from diffusers_deis_sn.statistics import ScoreStatistics
from fake_hub import TOKEN
from records import gaussian_record
from refusals import refused

FILE = "score_statistics.safetensors"
RECORD = gaussian_record()
load = ScoreStatistics.load


@pytest.fixture
def repo(hub):
    return hub.add_repo("user/repo", {FILE: RECORD.to_bytes()})


def test_a_repository_that_is_not_there(hub, token):
    refused(StatisticsNotFoundError, ["'user/none'", "Check the name", "hf auth login"], load, "user/none")


def test_a_private_repository_looks_as_if_it_were_not_there(hub, monkeypatch):
    hub.add_repo("user/private", {FILE: RECORD.to_bytes()}, private=True)
    refused(StatisticsNotFoundError, ["'user/private'", "private", "hf auth login"], load, "user/private")
    assert load("user/private", token=TOKEN) == RECORD
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert load("user/private", force_download=True) == RECORD


def test_a_revision_that_is_not_there(hub, repo):
    refused(StatisticsNotFoundError, ["'user/repo'", "'v9'", f"{hub.endpoint}/user/repo/commits"], load, "user/repo@v9")


def test_a_repository_without_statistics(hub):
    hub.add_repo("user/other", {"README.md": b""})
    refused(StatisticsNotFoundError, ["'user/other'", FILE, f"scheduler/score_statistics/{FILE}"], load, "user/other")


def test_a_name_that_the_hub_does_not_allow(hub):
    refused(StatisticsNotFoundError, ["'user/a--b'", "user/repo"], load, "user/a--b")


def test_a_gated_repository_names_the_page_with_its_terms(hub):
    hub.add_repo("user/gated", {FILE: RECORD.to_bytes()}, gated=True)
    words = ["'user/gated'", "gated", f"{hub.endpoint}/user/gated", "hf auth login", "token"]
    refused(StatisticsAccessError, words, load, "user/gated")
    assert load("user/gated", token=TOKEN) == RECORD


@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal_without_a_code(hub, repo, status):
    hub.fault("HEAD /user/repo", status=status, message="Invalid credentials in Authorization header")
    refused(StatisticsAccessError, [f"status {status}", "hf auth login", "`token`"], load, "user/repo", token=TOKEN)


@pytest.mark.parametrize("token", ["hf_wrongwrongwrong", "no-usual-form"])
def test_no_token_is_ever_told(hub, repo, token):
    """Not even where the server, or the client's own check of headers, repeats it."""
    for given, fault in ((token, {"status": 401, "message": f"Bearer {token}"}), (f"{token}\n", {"status": 403})):
        hub.faults.clear()
        hub.fault("HEAD /user/repo", **fault)
        with pytest.raises(StatisticsNotFoundError) as raised:
            load("user/repo", token=given)
        assert token not in "".join(traceback.format_exception(raised.value.__cause__ or raised.value))
        assert token not in str(raised.value)


def test_nor_is_the_token_of_the_environment(hub, repo, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "no-usual-form")
    hub.fault("HEAD /user/repo", status=418, message="what do you want with no-usual-form")
    with pytest.raises(StatisticsUnreachableError) as raised:
        load("user/repo")
    assert "no-usual-form" not in "".join(traceback.format_exception(raised.value.__cause__ or raised.value))


def test_words_of_the_client_are_one_short_line_without_a_token(monkeypatch):
    said = harmless(ValueError("no\n" + "very " * 100 + "long"))
    assert "\n" not in said and len(said) <= 200
    assert harmless(ValueError("with hf_abcdef and Bearer xyz.")) == "with <token> and Bearer <token>"
    assert harmless(ValueError("with no-usual-form"), "no-usual-form") == "with <token>"
    assert harmless(ValueError()) == "ValueError"
    assert is_secret("with no-usual-form", "no-usual-form") and not is_secret("with no-usual-form", False)
