"""Pages with links: which of them are checkpoints, and what rows, items, headings and prose say of each."""

from __future__ import annotations

from pathlib import Path

import pytest

from ckptd.core.imports.additions import Wishes, decide
from ckptd.core.imports.candidates import Reading
from ckptd.core.imports.pages import read_html, read_markdown
from ckptd.core.imports.wording import telling, tidy
from ckptd.core.manifest import parse
from ckptd.errors import ConfigError

ROOT = Path(__file__).parents[2]
FOLDER = "https://storage.googleapis.com/gresearch/tf-deeplab/checkpoint"
STRONG = "_imagenet1k_strong_training_strategy"

# A page in the shape of those that model zoos have: bold lead-ins, a table below each, one link in a cell.
SIMPLE_ROWS = (
    ("ResNet-50", "resnet50_imagenet1k"),
    ("MobileNetV3-Small", "mobilenet_v3_small_imagenet1k"),
    ("MobileNetV3-Large", "mobilenet_v3_large_imagenet1k"),
)
STRONG_ROWS = (
    ("ResNet-50", f"resnet50{STRONG}"),
    ("ResNet-50-Beta", f"resnet50_beta{STRONG}"),
    ("Wide-ResNet-41", f"wide_resnet41{STRONG}"),
    ("SWideRNet-SAC-(1, 1, 1)", f"swidernet_sac_1_1_1{STRONG}"),
    ("SWideRNet-SAC-(1, 1, 3)", f"swidernet_sac_1_1_3{STRONG}"),
    ("SWideRNet-SAC-(1, 1, 4.5)", f"swidernet_sac_1_1_4.5{STRONG}"),
    ("Axial-SWideRNet-(1, 1, 1)", f"axial_swidernet_1_1_1{STRONG}"),
    ("Axial-SWideRNet-(1, 1, 3)", f"axial_swidernet_1_1_3{STRONG}"),
    ("Axial-SWideRNet-(1, 1, 4.5)", f"axial_swidernet_1_1_4.5{STRONG}"),
    ("MaX-DeepLab-S-Backbone", f"max_deeplab_s_backbone{STRONG}"),
    ("MaX-DeepLab-L-Backbone", f"max_deeplab_l_backbone{STRONG}"),
)


def table(rows: tuple[tuple[str, str], ...]) -> str:
    lines = ["Backbone | Pretrained Dataset", "-------- | :----------------:"]
    lines += [f"{backbone} ([initial_checkpoint]({FOLDER}/{file}.tar.gz)) | ImageNet-1K" for backbone, file in rows]
    return "\n".join(lines)


ZOO = f"""\
# Weights to begin with

Point `initial_checkpoint` of your configuration at one of them.

## Weights

**Simple Training Strategy**: as in the papers on these networks [2].

{table(SIMPLE_ROWS)}

**Strong Training Strategy**: with more augmentation [3], more
smoothing [4], and better numbers.

{table(STRONG_ROWS)}

### References

1.  Somebody. "Something". A conference, 2015.
"""


def urls(reading: Reading) -> list[str]:
    return [each.url for each in reading.candidates]


def said(text: str, base: str | None = None) -> dict[str, str]:
    """Descriptions by the last segment of the URL."""
    return {each.url.rpartition("/")[2]: each.description for each in read_markdown(text, base).candidates}


def test_the_page_of_the_first_users_is_the_shipped_manifest() -> None:
    shipped = parse((ROOT / "manifest.toml").read_text()).checkpoints
    found = decide(read_markdown(ZOO, None).candidates, (), Wishes()).checkpoints
    assert [(each.name, each.url) for each in found] == [(each.name, each.url) for each in shipped]
    wanted = [(name, "Simple Training Strategy") for name, _ in SIMPLE_ROWS]
    wanted += [(name, "Strong Training Strategy") for name, _ in STRONG_ROWS]
    assert [each.description for each in found] == [
        f"{backbone}, {strategy}; Pretrained Dataset: ImageNet-1K" for backbone, strategy in wanted
    ]


def test_the_same_page_as_html() -> None:
    rows = "".join(
        f'<tr><td>{backbone} (<a href="{FOLDER}/{file}.tar.gz">initial_checkpoint</a>)<td>ImageNet-1K'
        for backbone, file in STRONG_ROWS
    )
    page = f"<p><b>Strong</b>: words<table><tr><th>Backbone<th>Data{rows}</table>"
    assert [each.description for each in read_html(page, None).candidates] == [
        f"{backbone}, Strong; Data: ImageNet-1K" for backbone, _ in STRONG_ROWS
    ]


MARKDOWN = {
    "several links in a row": (
        "| Net | 1x | 2x |\n|-|-|-|\n| R50 | [model](https://h/a.pth) | [model](https://h/b.pth) |",
        {"a.pth": "R50, 1x", "b.pth": "R50, 2x"},
    ),
    "several links in a cell": (
        "| Net | get |\n|-|-|\n| R50 | [EMA](https://h/a.pth) \\| [plain](https://h/b.pth)/[cfg](https://h/c.py) |",
        {"a.pth": "R50, EMA", "b.pth": "R50, plain"},
    ),
    "the link is the name": (
        "| Net | top 1 |\n|-|-|\n| [R50](https://h/a.pth) | 76.1 |",
        {"a.pth": "R50; top 1: 76.1"},
    ),
    "the name links elsewhere": (
        "| Net | weights |\n|-|-|\n| [R50](configs/r50.yaml) | [download](https://h/a.pkl) |",
        {"a.pkl": "R50"},
    ),
    "a row is the heading of those below": (
        "| Net | w |\n|-|-|\n| **Small ones** | |\n| R18 | [w](https://h/a.pth) |",
        {"a.pth": "R18, Small ones"},
    ),
    "reference links": (
        "| Net | w |\n|-|-|\n| R50 | [w][r] |\n\n[r]: https://h/a.pth 'title'",
        {"a.pth": "R50"},
    ),
    "nested lists": (
        "## Zoo\n- ResNet\n  - 50: [ckpt](https://h/a.tgz) (76 %)\n  - R101\n    - [long](https://h/b.tgz)\n",
        {"a.tgz": "ResNet, 50, Zoo", "b.tgz": "ResNet, R101, long, Zoo"},
    ),
    "prose": (
        "# Z\nThe weights of BigNet are [here](https://h/a.safetensors), the [small ones](https://h/b.onnx) too.",
        {"a.safetensors": "The weights of BigNet are, Z", "b.onnx": "small ones, Z"},
    ),
    "several in one item": (
        "- R50: [ckpt](https://h/a.pth), [download](https://h/b.pth), R101 [ckpt](https://h/c.pth)",
        {"a.pth": "R50", "b.pth": "R50", "c.pth": "R101"},
    ),
    "bare addresses": (
        "See https://h/a.pth, (https://h/b_(1).zip) and <https://h/c.gguf>.",
        {"a.pth": "", "b_(1).zip": "", "c.gguf": ""},
    ),
    "commands": (
        "# Get\n```sh\nwget -c https://h/a.pth -O x\ngsutil cp gs://b/o/c.tar.gz .\n```\n",
        {"a.pth": "Get", "c.tar.gz": "Get"},
    ),
    "front matter is no heading": ("---\ntitle: zoo\n---\n[R50](https://h/a.pth)", {"a.pth": "R50"}),
    "setext heading": ("Zoo\n===\n[R50](https://h/a.pth)", {"a.pth": "R50, Zoo"}),
    "details": (
        "<details><summary>More</summary>\n\n- [R50](https://h/a.pth)\n</details>",
        {"a.pth": "R50, More"},
    ),
    "a bold word of the link's own paragraph": (
        "# Z\n**R50** [weights](https://h/a.pth)\n\n[R101](https://h/b.pth)",
        {"a.pth": "R50, Z", "b.pth": "R101, Z"},
    ),
    "escapes and entities": ("| N | w |\n|-|-|\n| A \\| B &amp; C | [w](https://h/a.pth) |", {"a.pth": "A | B & C"}),
    "a picture is the link": (
        "[![Big Net](https://img.shields.io/x.svg)](https://h/a.pth)",
        {"a.pth": "Big Net"},
    ),
    "a badge in a heading": (
        "# Zoo [![build](https://img.shields.io/b.svg)](https://ci/b)\n[R50](https://h/a.pth)",
        {"a.pth": "R50, Zoo"},
    ),
    "a badge beside words": (
        "[R50 ![new](https://img.shields.io/badge/new-red)](https://h/a.pth)",
        {"a.pth": "R50"},
    ),
    "a badge that leads to an archive": (
        "[![b](https://h/b.svg)](https://ci/build.zip) [R50](https://h/a.pth)",
        {"a.pth": "R50"},
    ),
    "attributes": (
        (
            '| N | w |\n|-|-|\n| R50{.big} | [w](https://h/a.pth){target=_blank} {: .x rel="a b" } |\n\n'
            "- R101 {1, 2} [weights](https://h/b.pth){:target='_blank'}"
        ),
        {"a.pth": "R50", "b.pth": "R101 {1, 2}"},
    ),
    "words with a colon before links": (
        (
            "# Z\n- ResNet: [small](https://h/a.pth), [large](https://h/b.pth)\n- Download: [ViT](https://h/c.pth)\n"
            "- ResNet: [small](https://h/d.pth) and Swin [large](https://h/e.pth)"
        ),
        {
            "a.pth": "ResNet, small, Z",
            "b.pth": "ResNet, large, Z",
            "c.pth": "ViT, Z",
            "d.pth": "ResNet, small, Z",
            "e.pth": "large, Z",
        },
    ),
    "windows line ends": ("# Z\r\n\r\n[R50](https://h/a.pth)\r\n", {"a.pth": "R50, Z"}),
}


@pytest.mark.parametrize("row", MARKDOWN)
def test_markdown(row: str) -> None:
    text, wanted = MARKDOWN[row]
    assert said(text) == wanted


HTML = {
    "in markdown": (
        (
            "# Z\n\n<table>\n<tr><th>Net</th><th>Get</th></tr>\n"
            '<tr><td>R50</td><td><a href="https://h/a.pth">model</a></td></tr>\n</table>'
        ),
        {"a.pth": "R50, Z"},
    ),
    "cells that span rows and columns": (
        (
            "<table><thead><tr><th rowspan=2>Net<th colspan=2>AP<th rowspan=2>w<tr><th>box<th>mask</thead>"
            '<tr><td rowspan="2">R50<td>1<td>2<td><a href="https://h/a.pth">x1</a>'
            '<tr><td>3<td>4<td><a href="https://h/b.pth">x1</a></table>'
        ),
        {"a.pth": "R50; AP box: 1; AP mask: 2", "b.pth": "R50; AP box: 3; AP mask: 4"},
    ),
    "a list in a cell": (
        (
            '<table><tr><td>Net<td>w<tr><td>R50<td><ul><li><a href="https://h/a.pth">one</a>'
            '<li><a href="https://h/b.pth">two</a></ul></table>'
        ),
        {"a.pth": "R50, one", "b.pth": "R50, two"},
    ),
    "a caption": (
        '<table><caption>Large</caption><tr><td>R50<td><a href="https://h/a.pth">w</a></table>',
        {"a.pth": "R50, Large"},
    ),
    "a table in a table": (
        "<table><tr><td>outer<table><tr><td>R50<td><a href='https://h/a.pth'>w</a></table></td></tr></table>",
        {"a.pth": "R50"},
    ),
    "a definition list": (
        '<dl><dt>R50<dd><a href="https://h/a.pth">the small one</a></dl>',
        {"a.pth": "the small one"},
    ),
    "scripts and comments": (
        "<script>x='https://h/no.pth'</script><!-- https://h/no2.pth --><a href=https://h/a.pth>R50</a>",
        {"a.pth": "R50"},
    ),
    "blocks in a link": ('<a href="https://h/a.pth"><div>R50</div><div>big</div></a>', {"a.pth": "R50 big"}),
    "more columns than anybody has": (
        "<table><tr>" + "<td>-" * 200 + '<td><a href="https://h/a.pth">R50</a></table>',
        {"a.pth": "R50"},
    ),
}


@pytest.mark.parametrize("row", HTML)
def test_html_tables_in_markdown(row: str) -> None:
    text, wanted = HTML[row]
    assert said(text) == wanted


def test_open_elements_lose_no_link() -> None:
    page = "<h2>Z</h2><p>R50 <a href=https://h/a.pth>w<p>R101 <a href=https://h/b.pth>w<table><tr><td><a href=https://h/c.pth>"
    assert urls(read_html(page, None)) == ["https://h/a.pth", "https://h/b.pth", "https://h/c.pth"]


def test_the_same_file_twice_is_one_entry() -> None:
    text = (
        "[R50](https://h/a.pth) [again](https://H:443/a.pth#frag)\n\n| N | w |\n|-|-|\n| R50 | [w](https://h/a.pth) |"
    )
    assert urls(read_markdown(text, None)) == ["https://h/a.pth"]


def test_what_is_no_checkpoint_is_counted() -> None:
    text = (
        "[![b](https://img.shields.io/b.svg)](https://github.com/o/r/actions) [p](https://arxiv.org/abs/1.2) "
        "[q](https://h/paper.pdf) [i](https://h/i.png) [m](https://h/m.json) [s](https://drive.google.com/d/x/view) "
        "[src](https://github.com/o/r/archive/main.zip) [c](#anchor) [e](mailto:a@b.c) [w](https://h/a.pth)"
    )
    found = read_markdown(text, None)
    assert urls(found) == ["https://h/a.pth"]
    assert found.left_out == {"page": 1, "paper": 2, "picture or badge": 1, "other file": 2}
    assert [(each.url, each.reason) for each in found.skipped] == [
        ("https://drive.google.com/d/x/view", "is a share page, not a file")
    ]


def test_a_badge_that_leads_to_an_archive_is_counted() -> None:
    found = read_markdown("[![b](https://img.shields.io/b.svg)](https://ci/build.zip)", None, all_files=True)
    assert (urls(found), found.left_out) == ([], {"picture or badge": 1})


def test_all_files_takes_what_is_neither_page_nor_picture() -> None:
    text = "[m](https://h/m.json) [i](https://h/i.png) [p](https://h/p.pdf) [w](https://h/a.pth) [x](https://h/x.html)"
    assert urls(read_markdown(text, None, all_files=True)) == ["https://h/m.json", "https://h/a.pth"]


RELATIVE = {
    "below the base": ("weights/a.pth", "https://h/zoo/weights/a.pth"),
    "beside it": ("../a.pth", "https://h/a.pth"),
    "from the root": ("/a.pth", "https://h/a.pth"),
    "another host": ("//g/a.pth", "https://g/a.pth"),
    "with blanks": ("a b.pth", "https://h/zoo/a%20b.pth"),
}


@pytest.mark.parametrize("row", RELATIVE)
def test_relative_links(row: str) -> None:
    href, wanted = RELATIVE[row]
    assert urls(read_html(f'<a href="{href}">w</a>', "https://h/zoo/")) == [wanted]


def test_a_base_element_counts() -> None:
    page = '<head><base href="/files/index.html"></head><a href="a.pth">w</a>'
    assert urls(read_html(page, "https://h/zoo/")) == ["https://h/files/a.pth"]


def test_relative_without_a_base_is_told() -> None:
    found = read_markdown("[w](weights/a.pth) [page](other.md)", None)
    assert urls(found) == []
    assert [(each.url, each.reason) for each in found.skipped] == [
        ("weights/a.pth", "is relative: say to what with --base URL")
    ]


def test_addresses_of_no_use_are_told() -> None:
    found = read_markdown("[w](ftp://h/a.pth) [x](magnet:b.tar.gz) `aws s3 cp s3://b/c.tar.gz .`", None)
    assert urls(found) == ["s3://b/c.tar.gz"]
    assert [each.url for each in found.skipped] == ["ftp://h/a.pth", "magnet:b.tar.gz"]


@pytest.mark.parametrize("url", ["https://[::1/a.pth", "https://[x]/a.pth", "https://\u2100.org/a.pth"])
def test_hosts_that_cannot_be_are_told(url: str) -> None:
    for found in (read_markdown(f"[w]({url}) [w](https://h/b.pth)", None), read_html(f"<a href='{url}'>w</a>", None)):
        assert set(urls(found)) <= {"https://h/b.pth"}
        assert ["usable" in each.reason for each in found.skipped] == [True]


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("https://h/a(1).pth?x=1&y", "https://h/a(1).pth?x=1&y"),
        ("https://h/mod\u00e8le.pth", "https://h/mod%C3%A8le.pth"),
        ("https://h/a%20b.pth", "https://h/a%20b.pth"),
        ("https://h/a[1].pth", "https://h/a%5B1%5D.pth"),
        ("https://b\u00fccher.example/a.pth", "https://xn--bcher-kva.example/a.pth"),
    ],
)
def test_addresses_in_markdown_are_percent_encoded(url: str, wanted: str) -> None:
    assert urls(read_markdown(f"[w]({url})", None)) == [wanted]


def test_what_is_no_address_is_nothing() -> None:
    assert read_html('<a href="https://[broken/a.html">w</a> <a href="">w</a> <a name="x">w</a>', None) == Reading()


def test_a_bottomless_page_is_refused() -> None:
    with pytest.raises(ConfigError, match="nested"):
        read_html("<div>" * 5000 + "<a href=https://h/a.pth>w</a>", None)


def test_a_page_of_any_size_is_refused() -> None:
    with pytest.raises(ConfigError, match="4 MiB"):
        read_markdown("a" * (4 * 1024 * 1024 + 1), None)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("ResNet-50 ()", "ResNet-50"),
        ("SWideRNet-(1, 1, 3) ()", "SWideRNet-(1, 1, 3)"),
        (" | R50 [ / ] :", "R50"),
        ("(73.1 %)", "73.1 %"),
        ("a\u202eb\x00c\nd", "a b c d"),
        ("([()])", ""),
        ("", ""),
    ],
)
def test_tidy(text: str, wanted: str) -> None:
    assert tidy(text) == wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("download", False), ("the model", False), ("see", False), ("", False), ("R50", True), ("EMA weights", True)],
)
def test_telling(text: str, wanted: bool) -> None:
    assert telling(text) is wanted
