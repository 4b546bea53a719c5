"""One link: its kind, its direct form, its secrets, what equals it; and names made from it."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckptd.core.imports.links import (
    Kind,
    absolute,
    as_given,
    beside,
    folder,
    is_badge,
    key,
    kind_of,
    readable,
    secret_in,
)
from ckptd.core.naming import assign, generic, legal, proposals, stem

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("https://h/a.tar.gz", Kind.WEIGHTS),
        ("https://h/a.PTH?download=1", Kind.WEIGHTS),
        ("https://h/d/a%2Ebin", Kind.WEIGHTS),
        ("https://h/model.ckpt.data-00000-of-00002", Kind.WEIGHTS),
        ("gs://b/o.zip", Kind.WEIGHTS),
        ("hf://o/r@main/m.safetensors", Kind.WEIGHTS),
        ("https://h/a.json", Kind.FILE),
        ("https://github.com/o/r/archive/refs/heads/main.zip", Kind.FILE),
        ("https://github.com/o/r/releases/download/v1/a.zip", Kind.WEIGHTS),
        ("https://h/a.png", Kind.PICTURE),
        ("https://img.shields.io/badge/a.pth-blue", Kind.PICTURE),
        ("https://arxiv.org/abs/1512.03385", Kind.PAPER),
        ("https://www.arxiv.org/pdf/1512.03385", Kind.PAPER),
        ("https://notarxiv.org/a.pth", Kind.WEIGHTS),
        ("https://openaccess.thecvf.com/a/supplement.zip", Kind.PAPER),
        ("https://h/a.pdf", Kind.PAPER),
        ("https://drive.google.com/file/d/x/view", Kind.SHARE),
        ("https://h/", Kind.PAGE),
        ("https://h/models", Kind.PAGE),
        ("https://h/v1.0", Kind.PAGE),
        ("https://h/.zip", Kind.PAGE),
        ("https://h/index.html", Kind.PAGE),
        ("https://gitlab.com/o/r/-/blob/main/a.pth", Kind.PAGE),
        ("https://[h/a.pth", Kind.PAGE),
    ],
)
def test_kind(url: str, kind: Kind) -> None:
    assert kind_of(url) is kind


@pytest.mark.parametrize(
    ("href", "wanted"),
    [
        ("https://github.com/o/r/blob/main/w/a.pth", "https://github.com/o/r/raw/main/w/a.pth"),
        ("https://huggingface.co/o/r/blob/main/a.bin", "https://huggingface.co/o/r/resolve/main/a.bin"),
        ("https://huggingface.co/datasets/o/r/blob/v/a.zip", "https://huggingface.co/datasets/o/r/resolve/v/a.zip"),
        (
            "https://huggingface.co/o/r/resolve/main/a.bin?download=true",
            "https://huggingface.co/o/r/resolve/main/a.bin",
        ),
        ("https://www.dropbox.com/s/x/a.zip?dl=0", "https://www.dropbox.com/s/x/a.zip?dl=1"),
        ("https://h/blob/a.pth#readme", "https://h/blob/a.pth"),
        (" https://h/a\n b.pth ", "https://h/a%20b.pth"),
        ("gs://b/o.zip#123", "gs://b/o.zip#123"),
        ("a.pth", None),
        ("/a.pth", None),
    ],
)
def test_absolute(href: str, wanted: str | None) -> None:
    assert absolute(href, None) == wanted


UNREADABLE = ["https://[::1/a.pth", "https://[x]/a.pth", "https://\u2100.org/a.pth"]


@pytest.mark.parametrize("url", UNREADABLE)
def test_a_host_that_cannot_be(url: str) -> None:
    assert not readable(url)
    assert as_given(url) == url
    with pytest.raises(ValueError, match=r".+"):
        absolute(url, None)


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("https://github.com/o/r/blob/main/w/a.pth", "https://github.com/o/r/raw/main/w/a.pth"),
        (" https://h/a.pth\n", "https://h/a.pth"),
        ("https://h/a\nb.pth", "https://h/a\nb.pth"),
        ("https://h/a\tb.pth", "https://h/a\tb.pth"),
        ("https://github.com/o/r/blob/main/a\x00b.pth", "https://github.com/o/r/blob/main/a\x00b.pth"),
        ("a.pth", "a.pth"),
    ],
)
def test_as_given(url: str, wanted: str) -> None:
    assert as_given(url) == wanted


@pytest.mark.parametrize(
    ("picture", "wanted"),
    [
        ("https://img.shields.io/badge/a-b", True),
        ("https://github.com/o/r/actions/workflows/ci.yml/badge.svg?branch=main", True),
        ("https://h/colab-badge.png", True),
        ("docs/figure.svg", True),
        ("https://h/badger.png", False),
        ("https://h/net.png", False),
        ("", False),
        ("https://[x]/a.svg", False),
    ],
)
def test_badges(picture: str, wanted: bool) -> None:
    assert is_badge(picture) is wanted


@pytest.mark.parametrize(
    ("base", "below", "besides"),
    [
        ("https://h", "https://h/", "https://h/"),
        ("https://h/zoo", "https://h/zoo/", "https://h/"),
        ("https://h/zoo/", "https://h/zoo/", "https://h/zoo/"),
        ("https://h/v1.0", "https://h/v1.0/", "https://h/"),
        ("https://h/zoo/README.md", "https://h/zoo/", "https://h/zoo/"),
        ("https://u:p@h/zoo?X-Amz-Signature=s", "https://h/zoo/", "https://h/"),
    ],
)
def test_bases(base: str, below: str, besides: str) -> None:
    assert folder(base) == below
    assert beside(base) == besides


@pytest.mark.parametrize(
    ("url", "secret"),
    [
        ("https://h/a.pth", False),
        ("https://h/a.pth?", False),
        ("https://h/a.pth#part", False),
        ("https://h/a.pth?download=1", False),
        ("https://h/a@b.pth", False),
        ("gs://b/a@b.pth", False),
        ("hf://o/r@main/a.pth", False),
        ("https://u@h/a.pth", True),
        ("https://u:p@h/a.pth", True),
        ("https://h/a.pth?X-Amz-Signature=1", True),
        ("https://h/a.pth?x=1&sig=2", True),
        ("https://h/a.pth?token=2#f", True),
    ],
)
def test_secrets(url: str, secret: bool) -> None:
    assert (secret_in(url) is not None) is secret


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("https://h/a.pth", "HTTPS://H:443/a.pth#x", True),
        ("gs://b/o/a.pth", "https://storage.googleapis.com/b/o/a.pth", True),
        ("hf://o/r@v/a.pth", "https://huggingface.co/o/r/resolve/v/a.pth", True),
        ("https://h/a.pth", "https://h/A.pth", False),
        ("https://h/a.pth", "http://h/a.pth", False),
        ("https://h/a.pth", "https://h/a.pth?v=2", False),
        ("gs://b/a.pth#1", "gs://b/a.pth#2", False),
    ],
)
def test_keys(one: str, other: str, same: bool) -> None:
    assert (key(one) == key(other)) is same


@given(st.text())
def test_no_text_is_too_strange_a_link(text: str) -> None:
    assert kind_of(text) in Kind
    assert isinstance(key(text), str)
    assert secret_in(text) is None or secret_in(text)


@pytest.mark.parametrize(
    ("file_name", "wanted"),
    [
        ("resnet50.tar.gz", "resnet50"),
        ("a_1_1_4.5_x.tar.gz", "a_1_1_4.5_x"),
        ("a.pth.tar.gz", "a"),
        ("a.pth", "a"),
        ("a.ckpt.data-00000-of-00001", "a.ckpt"),
        (".tar", ".tar"),
        ("model-00001-of-00002.safetensors", "model-00001-of-00002"),
        ("a.json", "a.json"),
    ],
)
def test_stem(file_name: str, wanted: str) -> None:
    assert stem(file_name) == wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("model", True), ("model_final_a54504", True), ("50", True), ("v2", True), ("resnet50", False), ("facade", False)],
)
def test_generic(text: str, wanted: bool) -> None:
    assert generic(text) is wanted


@pytest.mark.parametrize(
    ("url", "file_name", "title", "wanted"),
    [
        ("https://h/zoo/r50.tar.gz", "r50.tar.gz", "ResNet", "r50"),
        ("https://h/zoo/r50/model.pth", "model.pth", "ResNet-50 (big)", "ResNet-50-big-model"),
        ("https://h/zoo/r50/123/model_final_a54504.pkl", "model_final_a54504.pkl", "", "r50-model_final_a54504"),
        ("https://huggingface.co/o/bert/resolve/main/model.safetensors", "model.safetensors", "", "bert-model"),
        ("hf://o/bert@dev/model.safetensors", "model.safetensors", "", "bert-model"),
        ("https://h/model.pth", "model.pth", "", "model"),
        ("https://h/%C3%A9t%C3%A9.pth", "été.pth", "", "ete"),
        ("https://h/x", "模型", "", "checkpoint"),
    ],
)
def test_proposals(url: str, file_name: str, title: str, wanted: str) -> None:
    assert proposals(url, file_name, title)[0] == wanted


@pytest.mark.parametrize(
    ("wanted", "taken", "names"),
    [
        ([["a"], ["b"]], [], ("a", "b")),
        ([["m", "m.pth"], ["m", "m.bin"]], [], ("m.pth", "m.bin")),
        ([["m", "x-m"], ["m", "y-m"], ["M"]], [], ("x-m", "y-m", "M")),
        ([["m"], ["m"], ["m"]], ["m-2"], ("m", "m-3", "m-4")),
        ([["Zoo"]], ["zoo"], ("Zoo-2",)),
        ([["a", "a.pth"]], ["A"], ("a.pth",)),
        ([["n" * 128], ["n" * 128]], [], ("n" * 128, "n" * 126 + "-2")),
    ],
)
def test_assign(wanted: list[list[str]], taken: list[str], names: tuple[str, ...]) -> None:
    assert assign(wanted, taken) == names


@given(st.lists(st.tuples(st.text(max_size=20), st.text(max_size=20))), st.lists(st.sampled_from(["a", "checkpoint"])))
def test_names_are_legal_and_different(files: list[tuple[str, str]], taken: list[str]) -> None:
    names = assign([proposals("https://h/z/f", name, title) for name, title in files], taken)
    assert all(NAME.fullmatch(name) for name in names)
    assert len({name.lower() for name in names} - {name.lower() for name in taken}) == len(files)


@given(st.text())
def test_legal_is_idempotent(text: str) -> None:
    name = legal(text)
    assert name == "" or NAME.fullmatch(name)
    assert legal(name) == name
