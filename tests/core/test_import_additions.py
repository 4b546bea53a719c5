"""What becomes of candidates: entries, or a reason."""

from __future__ import annotations

import pytest

from ckptd.core.imports.additions import Wishes, decide
from ckptd.core.imports.candidates import Candidate, merged
from ckptd.core.models import Checkpoint
from ckptd.errors import ConfigError

A, B = "a" * 64, "b" * 64
THERE = (
    Checkpoint("one", "https://h/one.pth", "one.pth", mirrors=("https://m/one.pth",), sha256=A),
    Checkpoint("two", "gs://b/two.pth", "two.pth"),
)


def urls(*candidates: Candidate, wishes: Wishes | None = None) -> list[str]:
    return [each.url for each in decide(candidates, (), wishes or Wishes()).checkpoints]


def reasons(*candidates: Candidate, wishes: Wishes | None = None) -> list[str]:
    return [each.reason for each in decide(candidates, THERE, wishes or Wishes()).skipped]


def test_everything_that_can_be_said() -> None:
    candidate = Candidate("https://h/x.tar.gz", ("https://m/x.tar.gz",), A, 5, description="words")
    found = decide([candidate], THERE, Wishes(tags=("t", "u", "t"), unpack=True, allow_http=True))
    assert found.checkpoints == (
        Checkpoint(
            "x", "https://h/x.tar.gz", "x.tar.gz", ("https://m/x.tar.gz",), A, 5, True, ("t", "u"), "words"
        ),
    )  # fmt: skip
    assert found.skipped == ()


@pytest.mark.parametrize(
    ("candidate", "name", "reason"),
    [
        (Candidate("https://h/one.pth"), "one", "already there as one"),
        (Candidate("https://H:443/one.pth", sha256=A), "one", "already there as one"),
        (Candidate("https://h/one.pth", sha256=B), "one", "already there as one, with another sha256"),
        (Candidate("https://m/one.pth"), "one", "already there as one"),
        (Candidate("https://storage.googleapis.com/b/two.pth"), "two", "already there as two"),
        (Candidate("gs://b/two.pth", sha256=A), "two", "already there as two, without this sha256"),
    ],
)
def test_what_is_there_already(candidate: Candidate, name: str, reason: str) -> None:
    found = decide([candidate], THERE, Wishes())
    assert found.checkpoints == ()
    assert [(each.name, each.reason) for each in found.present] == [(name, reason)]


@pytest.mark.parametrize(
    ("candidate", "word"),
    [
        (Candidate("https://u:hunter2@h/a.pth"), "user or password"),
        (Candidate("https://h/a.pth?X-Amz-Signature=hunter2"), "signed"),
        (Candidate("https://h/a.pth", ("https://m/a.pth?sig=hunter2",)), "signed"),
        (Candidate("http://h/a.pth"), "plain http"),
        (Candidate("https://h/a.pth", ("http://m/a.pth",)), "plain http"),
        (Candidate("https://h/"), "no file name"),
        (Candidate("https://h/tree"), "reserved"),
        (Candidate("https://h/a%2Fb.pth"), "slash"),
        (Candidate("ftp://h/a.pth"), "cannot|not a URL"),
        (Candidate("a.pth"), "not a URL"),
        (Candidate("https://h/a b.pth"), "blanks"),
        (Candidate("hf://org/repo"), "hf://organisation"),
    ],
)
def test_refused(candidate: Candidate, word: str) -> None:
    found = decide([candidate], THERE, Wishes())
    assert found.checkpoints == ()
    assert found.present == ()
    (skipped,) = found.skipped
    assert any(each in skipped.reason for each in word.split("|"))
    assert "hunter2" not in repr(skipped)


@pytest.mark.parametrize("url", ["http://127.0.0.1:8000/a.pth", "http://localhost/a.pth", "http://[::1]/a.pth"])
def test_plain_http_on_this_machine(url: str) -> None:
    (found,) = decide([Candidate(url)], (), Wishes(allow_http=True)).checkpoints
    assert (found.url, found.allow_http) == (url, False)


def test_plain_http_with_a_pin() -> None:
    (found,) = decide([Candidate("http://h/a.pth", sha256=A)], (), Wishes(allow_http=True)).checkpoints
    assert not found.allow_http


def test_plain_http_on_request() -> None:
    both = [Candidate("http://h/a.pth"), Candidate("https://h/b.pth")]
    found = decide(both, (), Wishes(allow_http=True)).checkpoints
    assert [each.allow_http for each in found] == [True, False]


def test_over_https_on_request() -> None:
    candidate = Candidate("http://h/a.pth", ("http://m/a.pth", "http://127.0.0.1/a.pth"), title="t")
    (found,) = decide([candidate], (), Wishes(https=True)).checkpoints
    assert (found.url, found.mirrors) == ("https://h/a.pth", ("https://m/a.pth", "http://127.0.0.1/a.pth"))


ZOO = (
    Candidate("https://h/zoo/r50_1x.pth", description="ResNet, strong"),
    Candidate("https://h/zoo/r101.pth", title="Big"),
    Candidate("https://h/other/x[1].zip", file_name="out.zip"),
)


@pytest.mark.parametrize(
    ("patterns", "wanted"),
    [
        ((), [0, 1, 2]),
        (("*.pth",), [0, 1]),
        (("r50*",), [0]),
        (("STRONG",), [0]),
        (("big", "resnet"), [0, 1]),
        (("/zoo/",), [0, 1]),
        (("r?01.pth",), [1]),
        (("out.zip",), [2]),
        (("[",), []),
        (("nothing",), []),
    ],
)
def test_match(patterns: tuple[str, ...], wanted: list[int]) -> None:
    assert urls(*ZOO, wishes=Wishes(match=patterns)) == [ZOO[index].url for index in wanted]


def test_what_cannot_be_read_is_matched_as_it_stands() -> None:
    broken = Candidate("https://\u2100.org/x.pt")
    assert reasons(broken, wishes=Wishes(match=("*.pt",))) == reasons(broken)
    assert reasons(broken, wishes=Wishes(match=("y",))) == []


def test_what_does_not_match_is_not_judged() -> None:
    assert reasons(Candidate("http://h/a.pth"), wishes=Wishes(match=("b*",))) == []


def test_names_keep_out_of_each_others_way() -> None:
    found = decide(
        [Candidate("https://g/one.pth"), Candidate("https://h/two/one.bin"), Candidate("https://h/new.pth")],
        THERE,
        Wishes(),
    ).checkpoints
    assert [each.name for each in found] == ["one.pth", "one.bin", "new"]


def test_a_given_name_is_taken_as_it_is() -> None:
    (found,) = decide([Candidate("https://h/a.pth")], THERE, Wishes(name="My.Name")).checkpoints
    assert found.name == "My.Name"


@pytest.mark.parametrize("name", ["", "a b", "../x", "-x", "x" * 129, "ONE"])
def test_a_given_name_that_cannot_be(name: str) -> None:
    with pytest.raises(ConfigError):
        decide([Candidate("https://h/a.pth")], THERE, Wishes(name=name))


def test_a_given_name_does_not_matter_where_the_url_is_there() -> None:
    found = decide([Candidate("https://h/one.pth")], THERE, Wishes(name="one"))
    assert [each.name for each in found.present] == ["one"]


@pytest.mark.parametrize("tag", ["", "a b", "@x"])
def test_a_tag_that_cannot_be(tag: str) -> None:
    with pytest.raises(ConfigError, match="--tag"):
        decide([], (), Wishes(tags=(tag,)))


def test_mentions_of_one_url_are_merged() -> None:
    found = merged(
        [
            Candidate("https://h/a.pth", ("https://m/1",), title="t"),
            Candidate("https://h/b.pth"),
            Candidate("https://H/a.pth", ("https://m/2", "https://m/1"), A, 5, title="u", description="d"),
        ]
    )
    assert found == (
        Candidate("https://h/a.pth", ("https://m/1", "https://m/2"), A, 5, title="t", description="d"),
        Candidate("https://h/b.pth"),
    )
