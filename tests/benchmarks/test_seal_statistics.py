"""Files of statistics from before the digest get theirs, and nothing else of them changes."""

from __future__ import annotations

import json

from safetensors.numpy import load, save

from benchmarks.seal_statistics import seal_below, with_digest
from diffusers_deis_sn.statistics import ScoreStatistics
from records import costed_record, tiny_record


def without_digest(data: bytes) -> bytes:
    """As files were before."""
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    facts = json.loads(header["__metadata__"]["score_statistics"])
    del facts["sha256"]
    text = json.dumps(facts, sort_keys=True, separators=(",", ":"))
    return save(load(data), metadata={"score_statistics": text})


def test_the_file_is_then_the_one_that_is_written_today():
    for record in (tiny_record(), costed_record()):
        data = record.to_bytes()
        assert without_digest(data) != data == with_digest(without_digest(data)) == with_digest(data)


def test_other_files_and_wrong_digests_are_left_alone(tmp_path):
    wrong = tiny_record().to_bytes().replace(b"some-model", b"same-model")
    foreign = save({"a": load(wrong)["mean_abs"]}, metadata={"score_statistics": "{}"})
    for data in (wrong, foreign, b"", b"words"):
        assert with_digest(data) == data


def test_all_files_of_a_folder_are_taken(tmp_path):
    for name in ("a", "b/c"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "score_statistics.safetensors").write_bytes(without_digest(tiny_record().to_bytes()))
    tiny_record().save(tmp_path / "sealed")
    assert len(seal_below(tmp_path)) == 2 and seal_below(tmp_path) == []
    assert ScoreStatistics.load(tmp_path / "b" / "c") == tiny_record()
