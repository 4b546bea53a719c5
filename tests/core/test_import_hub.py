"""A Hugging Face repository: what names one, what is asked, what the answers mean."""

from __future__ import annotations

import json

import pytest

from ckptd.core.imports.candidates import Skipped
from ckptd.core.imports.hub import (
    ENDPOINT,
    Repository,
    commit_of,
    endpoint_of,
    entries,
    next_page,
    read,
    reference,
    revision_url,
    tree_url,
)
from ckptd.errors import ConfigError, OriginError

COMMIT = "0123456789abcdef0123456789abcdef01234567"
SHA = "ab" * 32
REPOSITORY = Repository("models", "org/bert", "v1")


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        ("hf://org/repo", Repository("models", "org/repo", "main")),
        ("hf://org/repo@v1.0", Repository("models", "org/repo", "v1.0")),
        ("hf://org/repo@refs/pr/7/", Repository("models", "org/repo", "refs/pr/7")),
        ("hf://datasets/org/repo@x", Repository("datasets", "org/repo", "x")),
        ("https://huggingface.co/org/repo", Repository("models", "org/repo", "main")),
        ("https://huggingface.co/org/repo/tree/v2", Repository("models", "org/repo", "v2")),
        ("https://huggingface.co/datasets/org/repo/", Repository("datasets", "org/repo", "main")),
        ("https://huggingface.co/docs/hub", None),
        ("https://huggingface.co/org/repo/raw/main/README.md", None),
        ("https://h/org/repo", None),
        ("README.md", None),
    ],
)
def test_reference(source: str, wanted: Repository | None) -> None:
    assert reference(source) == wanted


@pytest.mark.parametrize("source", ["hf://org", "hf://org/repo@v/a.bin", "hf://org/repo@", "hf://../x", "hf://"])
def test_no_reference(source: str) -> None:
    with pytest.raises(ConfigError, match="hf://organisation"):
        reference(source)


def test_addresses() -> None:
    plain = Repository("datasets", "o/r", "refs/pr/7")
    assert revision_url(ENDPOINT, plain) == "https://huggingface.co/api/datasets/o/r/revision/refs%2Fpr%2F7"
    assert tree_url("https://h", plain, COMMIT) == f"https://h/api/datasets/o/r/tree/{COMMIT}?recursive=true"


def test_commit() -> None:
    assert commit_of(json.dumps({"sha": COMMIT, "id": "x"}), "h") == COMMIT


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"sha": null}', '{"sha": "main"}', '{"sha": "../x"}', "[" * 100_000])
def test_no_commit(text: str) -> None:
    with pytest.raises(OriginError):
        commit_of(text, "h")


@pytest.mark.parametrize("text", ["", "{}", "[1]", '[{"path": 1}', "null"])
def test_no_listing(text: str) -> None:
    with pytest.raises(OriginError):
        entries(text, "h")


@pytest.mark.parametrize(
    ("link", "wanted"),
    [
        (None, None),
        ("", None),
        ('<https://h/x>; rel="prev"', None),
        ('<https://h/t?cursor=a%2Cb>; rel="next"', "https://h/t?cursor=a%2Cb"),
        ('<https://h/0>; rel="first", </t?cursor=2>; rel=next', "https://h/t?cursor=2"),
        ('<?cursor=2>; title="x"; rel="next"', "https://h/api?cursor=2"),
    ],
)
def test_next_page(link: str | None, wanted: str | None) -> None:
    assert next_page(link, "https://h/api?recursive=true") == wanted


@pytest.mark.parametrize(
    "link", ["https://evil/t", "http://h/t", "https://h:444/t", "file:///etc/passwd", "https://[x/t"]
)
def test_the_next_page_is_on_the_same_host(link: str) -> None:
    with pytest.raises(OriginError, match="another host"):
        next_page(f'<{link}>; rel="next"', "https://h/api")


LISTED: list[dict[str, object]] = [
    {"type": "directory", "path": "onnx", "oid": "x", "size": 0},
    {"type": "file", "path": ".gitattributes", "oid": "x", "size": 10},
    {"type": "file", "path": "README.md", "oid": "x", "size": 10},
    {"type": "file", "path": "config.json", "oid": "c" * 40, "size": 570},
    {"type": "file", "path": "model.safetensors", "oid": "x", "size": 99, "lfs": {"oid": SHA, "size": 99}},
    {"type": "file", "path": "pytorch_model.bin", "oid": "x", "size": 134, "lfs": {"oid": SHA, "size": 98}},
    {"type": "file", "path": "onnx/model.onnx", "oid": "x", "size": 97, "lfs": {"oid": SHA.upper(), "size": 97}},
    {"type": "file", "path": "empty.txt", "oid": "x", "size": 0},
    {"type": "file", "path": "odd?.bin", "oid": "x", "size": 5},
    {"type": "file", "path": 5},
]


def test_files() -> None:
    found = read(LISTED, REPOSITORY, COMMIT, ENDPOINT, all_files=False)
    at = f"hf://org/bert@{COMMIT}"
    assert [(each.url, each.size, each.sha256, each.names[0]) for each in found.candidates] == [
        (f"{at}/config.json", 570, None, "bert-config.json"),
        (f"{at}/model.safetensors", 99, SHA, "bert-model"),
        (f"{at}/pytorch_model.bin", 98, SHA, "bert-pytorch_model"),
        (f"{at}/onnx/model.onnx", 97, SHA, "bert-onnx-model"),
        (f"https://huggingface.co/org/bert/resolve/{COMMIT}/odd%3F.bin", 5, None, "bert-odd"),
    ]
    assert found.skipped == (Skipped(f"{at}/empty.txt", "is empty"),)
    assert found.left_out == {"hidden file": 1, "page": 1}
    assert {each.description for each in found.candidates} == {"org/bert at 0123456789ab"}


def test_pages_of_the_repository_on_request() -> None:
    found = read(LISTED, REPOSITORY, COMMIT, ENDPOINT, all_files=True)
    assert f"hf://org/bert@{COMMIT}/README.md" in {each.url for each in found.candidates}
    assert found.left_out == {"hidden file": 1}


def test_another_endpoint_is_named_as_such() -> None:
    found = read(LISTED[3:4], Repository("datasets", "o/r"), COMMIT, "https://mirror", all_files=False)
    assert found.candidates[0].url == f"https://mirror/datasets/o/r/resolve/{COMMIT}/config.json"


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (None, ENDPOINT),
        ("", ENDPOINT),
        ("https://mirror.example.org/", "https://mirror.example.org"),
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
    ],
)
def test_endpoint(value: str | None, wanted: str) -> None:
    assert endpoint_of(value) == wanted


@pytest.mark.parametrize("value", ["http://mirror.example.org", "ftp://h", "h", "https://u:p@h", "https://h?x=1"])
def test_wrong_endpoint(value: str) -> None:
    with pytest.raises(ConfigError, match="HF_ENDPOINT"):
        endpoint_of(value)
