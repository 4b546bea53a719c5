"""Which value of a config file becomes the path, and that nothing else of the file does."""

from __future__ import annotations

import ast
import json
import re
import tomllib
from collections.abc import Callable

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ckptd.core import config_json, config_python, config_text, config_toml, config_yaml
from ckptd.core.config_slots import Key, Path, line_of, lines_in, parse_key, spelled
from ckptd.core.configs import ENDINGS, Edited, Format, Wanted, difference, edit
from ckptd.errors import ConfigError

NEW = "/srv/checkpoints/resnet50/tree/ckpt-100"
_MARKED = re.compile("⟦(.*?)¦(.*?)⟧", re.DOTALL)

DEEPLAB = """\
# proto-file: config.proto
# proto-message: ExperimentOptions
#
# initial_checkpoint: "/old/commented/out"
experiment_name: "${EXPERIMENT_NAME}"  # initial_checkpoint: "in a comment"
model_options {
  # Update the path to the initial checkpoint (e.g., ImageNet
  # pretrained checkpoint): initial_checkpoint: "x".
  initial_checkpoint: ⟦"${INIT_CHECKPOINT}"¦"@"⟧   # keep me
  backbone {
    name: "resnet50_beta"; output_stride: 32,
    stem_width_multiplier: 1.0e-1
  }
  decoder < feature_key: "res5" decoder_channels: 256 atrous_rates: [3, 6, -9] >
  [tensorflow.models.ext]: { kind: RESNET note: 'initial_checkpoint: "no"' }
}
trainer_options: {
  learning_rate: { initial: 0.0005 }
}
train_dataset_options { dataset: "cityscapes" file_pattern: "${TRAIN_SET}" crop_size: 1025 crop_size: 2049 }
"""

YACS = """\
_BASE_: ../base.yaml
MODEL:
  # WEIGHTS: "no"
  WEIGHTS: ⟦"detectron2://ImageNetPretrained/R-50.pkl"¦"@"⟧  # keep
  MASK_ON: True
TEST: {WEIGHTS: {A: 1}}
"""
MMENGINE = """\
_base_ = ['../_base_/runtime.py']
default_hooks = dict(checkpoint=dict(type='CheckpointHook', interval=1))
model = dict(
    backbone=dict(
        depth=50,  # checkpoint='no'
        init_cfg=dict(type='Pretrained', checkpoint=⟦'torchvision://resnet50'¦'@'⟧),  # keep
    ))
"""

# Texts in which ⟦old¦new⟧ is what is replaced, and @ stands for the path: (file name, key or None, text).
EDITS: dict[str, tuple[str, str | None, str]] = {
    "textproto: deeplab": ("r50.textproto", None, DEEPLAB),
    "textproto: CRLF": ("r50.textproto", None, DEEPLAB.replace("\n", "\r\n")),
    "textproto: byte order mark": ("a.pbtxt", None, '\ufeffinitial_checkpoint: ⟦"x"¦"@"⟧'),
    "textproto: single quotes": ("a.textproto", None, "a{initial_checkpoint:⟦'x \\' y'¦'@'⟧}"),
    "textproto: one text in pieces": ("a.textproto", None, 'initial_checkpoint: ⟦"/a/"\n  \'b\'¦"@"⟧\nb: 1\n'),
    "textproto: empty": ("a.textproto", None, 'initial_checkpoint: ⟦""¦"@"⟧'),
    "textproto: bare placeholder": ("a.textproto", None, 'initial_checkpoint: ⟦${INIT_CHECKPOINT}¦"@"⟧ n: ${N}\n'),
    "textproto: placeholder under another key": (
        "a.prototxt",
        None,
        'weights: ⟦"$INIT_CHECKPOINT"¦"@"⟧ other: "${INIT_CHECKPOINT}/more"\n',
    ),
    "textproto: escaped quotes before": (
        "a.textproto",
        None,
        r'a: "x \" initial_checkpoint: \"" initial_checkpoint: ⟦"\x41"¦"@"⟧',
    ),
    "textproto: the right nesting": (
        "a.textproto",
        "model_options.initial_checkpoint",
        'initial_checkpoint: "outer" model_options { initial_checkpoint: ⟦"x"¦"@"⟧ }',
    ),
    "textproto: the outermost": (
        "a.textproto",
        ".initial_checkpoint",
        'initial_checkpoint: ⟦"x"¦"@"⟧ model_options { initial_checkpoint: "inner" }',
    ),
    "textproto: a repeated message": (
        "a.textproto",
        "stage[1].weights",
        'stage { weights: "a" } other: 1 stage { weights: ⟦"b"¦"@"⟧ } stage { weights: "c" }',
    ),
    "textproto: in a list": ("a.textproto", "weights[1]", 'weights: ["a", ⟦"b"¦"@"⟧, "c"]'),
    "textproto: an extension": ("a.textproto", "foo.bar.weights", 'm { [foo.bar.weights]: ⟦"b"¦"@"⟧ }'),
    "textproto: pipeline.config by force": ("pipeline.config", None, 'train { initial_checkpoint: ⟦"b"¦"@"⟧ }\n'),
    "yaml: yacs": (
        "a.yaml",
        "MODEL.WEIGHTS",
        YACS,
    ),
    "yaml: plain": ("a.yml", "load_from", "a: 1\nload_from: ⟦torchvision://resnet50¦@⟧ # c\nb: [x, y]\n"),
    "yaml: single quotes, CRLF": ("a.yaml", "ckpt", "ckpt: ⟦'it''s'¦'@'⟧\r\nb: |\r\n  ckpt: no\r\n"),
    "yaml: nothing there": ("a.yaml", "ckpt", "ckpt:⟦¦ @⟧   # to be set\nb: 1"),
    "yaml: null": ("a.yaml", "ckpt", "a:\n- {ckpt: ⟦null¦@⟧, b: 1}\n- ckpt\n"),
    "yaml: tilde": ("a.yaml", "ckpt", "ckpt: ⟦~¦@⟧\n"),
    "yaml: an anchor stays": ("a.yaml", "base.ckpt", "base: {ckpt: &w !!str ⟦'x'¦'@'⟧}\nc: {ckpt: *w}\n"),
    "yaml: over two lines": ("a.yaml", "ckpt", 'ckpt: ⟦"/a\\\n  /b"¦"@"⟧\nb: 1\n'),
    "yaml: tags of others": (
        "a.yaml",
        "ckpt",
        "x: !!python/object:os.system {a: 1}\ny: !include z.yaml\nckpt: ⟦a¦@⟧\n",
    ),
    "yaml: two documents": ("a.yaml", "[1].ckpt", "ckpt: a\n---\nckpt: ⟦b¦@⟧\n...\n"),
    "yaml: a key with dots": ("a.yaml", "model.ckpt", "trainer.ckpt: a\nmodel.ckpt: ⟦b¦@⟧\n"),
    "yaml: a key with spaces": ("a.yaml", '"the model".ckpt', "the model: {ckpt: ⟦b¦@⟧}\nckpt: c\n"),
    "yaml: in a list": ("a.yaml", "m[1].ckpt", "m:\n  - ckpt: a\n  - n: 1\n    ckpt: ⟦b¦@⟧\n"),
    "yaml: letters of other planes": ("a.yaml", "ckpt", "🧠🧠: 🧠 # 🧠\nckpt: ⟦🧠¦@⟧ # 🧠\n"),
    "yaml: byte order mark": ("a.yaml", "ckpt", "\ufeff# c\nckpt: ⟦'a'¦'@'⟧\n"),
    "yaml: complex keys": ("a.yaml", "ckpt", "? [ckpt, b]\n: {d: e}\nckpt: ⟦a¦@⟧\n"),
    "toml: table": (
        "a.toml",
        "model.ckpt",
        '# ckpt = "no"\nckpt = "a"\n[model]  # c\nckpt   =   ⟦"b"¦"@"⟧ # c\nn = 1\n',
    ),
    "toml: literal": ("a.toml", "ckpt", "ckpt=⟦'C:\\x'¦'@'⟧\r\nd=1979-05-27\r\n"),
    "toml: long strings": ("a.toml", "ckpt", 'a = """\nckpt = "no" \\" """"\nckpt = ⟦"""\\\n  b"""¦"""@"""⟧\n'),
    "toml: long literal": ("a.toml", "ckpt", "a = '''\nckpt = 'no' '''\nckpt = ⟦'''b'''¦'''@'''⟧\n"),
    "toml: inline": ("a.toml", "m[1].ckpt", 'm = [ {ckpt="a"}, # ckpt="x"\n {"ckpt" = ⟦"b"¦"@"⟧, n="ckpt"},]\n'),
    "toml: tables in lists": (
        "a.toml",
        "m[1].ckpt",
        '[[m]]\nckpt="a"\n[[m]]\n"ckpt"=⟦"b"¦"@"⟧\n["q r"."s"]\nt=["u"]\n',
    ),
    "toml: keys in quotes": ("a.toml", "ckpt", 'm = {n = "x", "ckpt" = ⟦"b"¦"@"⟧, "c" = ["y", "z"]}\n'),
    "toml: dotted key": ("a.toml", "a.b.ckpt", 'a."b".ckpt = ⟦""¦"@"⟧\na.c = ["x", ["y"]]\n'),
    "toml: no newline at the end": ("a.toml", "ckpt", 'ckpt = ⟦"b"¦"@"⟧'),
    "json: nested": (
        "a.json",
        "model.ckpt",
        '{\n\t"ckpt": {"a": [1, "ckpt"]},\n\t"model": {"ckpt" : ⟦"a\\u0041\\/b"¦"@"⟧, "n": -1.5e3}\n}',
    ),
    "json: null and comments": ("a.jsonc", "ckpt", '{ // "ckpt": "no"\n /* "ckpt": 1 */ "ckpt": ⟦null¦"@"⟧ }\r\n'),
    "json: in lists": ("a.json", "m[1][0]", '{"m": ["a", [⟦"b"¦"@"⟧, {"c": true}], "d"]}'),
    "json: quotes and brackets in texts": ("a.json", "ckpt", '{"a\\"}": "{\\\\", "ckpt": ⟦"]"¦"@"⟧}'),
    "python: assignment": (
        "a.py",
        "load_from",
        "# load_from = 'no'\n_base_ = ['../b.py']\nload_from = ⟦'x.pth'¦'@'⟧  # keep\nresume = False\n",
    ),
    "python: None, single quotes": ("a.py", "load_from", "a = 'x'\nload_from = ⟦None¦'@'⟧\n"),
    "python: None, double quotes": ("a.py", "load_from", 'a = "x"\nload_from = ⟦None¦"@"⟧\n'),
    "python: mmengine": (
        "a.py",
        "checkpoint",
        MMENGINE,
    ),
    "python: attributes": ("a.py", "MODEL.WEIGHTS", 'cfg.MODEL.WEIGHTS = ⟦r"x"¦r"@"⟧\ncfg.TEST.WEIGHTS = "y"\n'),
    "python: subscripts": (
        "a.py",
        "cfg.load_from",
        "cfg['load_from']: str = ⟦u'''x'''¦u'''@'''⟧\nd['load_from'] = 'z'\n",
    ),
    "python: in a function": (
        "a.py",
        "config.ckpt",
        "def get_config():\n  '''Docs: ckpt = 1.'''\n  config = ConfigDict({'ckpt': ⟦'é'¦'@'⟧})\n  return config\n",
    ),
    "python: in pieces": ("a.py", "ckpt", "é = 1; ckpt = (⟦'a'\n   'b'¦'@'⟧)  # c\r\nx = 1\r\n"),
    "python: in blocks": (
        "a.py",
        "ckpt",
        "import os\nif os.name:\n  try:\n    with open('a') as f: ckpt = ⟦'a'¦'@'⟧\n  finally:\n    pass\n",
    ),
    "python: lists": ("a.py", "models[1].ckpt", "models = [dict(ckpt='a'), dict(ckpt=⟦'b'¦'@'⟧)]\n"),
    "python: two names": ("a.py", "ckpt", "ckpt = init = ⟦'a'¦'@'⟧\n"),
    "python: line ends of old": ("a.py", "ckpt", "a = 1\rckpt = ⟦'a'¦'@'⟧\rb = 1\r"),
    "python: class": ("a.py", "Small.ckpt", "class Big:\n  ckpt = 'a'\nclass Small(Big):\n  ckpt: str = ⟦'b'¦'@'⟧\n"),
    "python: bad escapes": ("a.py", "ckpt", "p = '\\d'\nckpt = ⟦'a'¦'@'⟧\n"),
}


def old_and_new(text: str, value: str = NEW) -> tuple[str, str]:
    """What a text with marks is before and after."""
    return _MARKED.sub(lambda m: m[1], text), _MARKED.sub(lambda m: m[2].replace("@", value), text)


@pytest.mark.parametrize(("name", "key", "text"), EDITS.values(), ids=EDITS)
def test_only_the_value_changes(name: str, key: str | None, text: str) -> None:
    old, new = old_and_new(text)
    assert old != new
    edited = edit(old, name, NEW, Wanted(key))
    assert edited.text == new
    assert edited.changed
    assert [change.new for change in edited.changes] == [NEW]
    start = old.removeprefix("\ufeff").index(_MARKED.search(text)[1]) if "⟦¦" not in text else None  # type: ignore[index]
    if start is not None and text.count(_MARKED.search(text)[1]) == 1:  # type: ignore[index]
        assert edited.changes[0].line == old.count("\n", 0, start + 1) + 1


@pytest.mark.parametrize(("name", "key", "text"), EDITS.values(), ids=EDITS)
def test_a_second_time_changes_nothing(name: str, key: str | None, text: str) -> None:
    new = old_and_new(text)[1]
    again = edit(new, name, NEW, Wanted(key))
    assert again.text == new
    assert not again.changed
    assert again.changes[0].old == NEW


@pytest.mark.parametrize("loader", [yaml.SafeLoader, config_yaml.LOADER], ids=["pure", "libyaml"])
def test_both_readers_of_yaml_agree(monkeypatch: pytest.MonkeyPatch, loader: type[yaml.SafeLoader]) -> None:
    monkeypatch.setattr(config_yaml, "LOADER", loader)
    for name, key, text in (row for row in EDITS.values() if row[0].endswith((".yaml", ".yml"))):
        old, new = old_and_new(text)
        assert edit(old, name, NEW, Wanted(key)).text == new


ALL = {
    "textproto": ("a.textproto", None, "a { initial_checkpoint: ⟦\"x\"¦\"@\"⟧ } initial_checkpoint: ⟦'y'¦'@'⟧"),
    "placeholders too": (
        "a.textproto",
        None,
        'a { initial_checkpoint: ⟦"x"¦"@"⟧ } weights: ⟦"${INIT_CHECKPOINT}"¦"@"⟧',
    ),
    "one is right already": (
        "a.json",
        "w",
        '{"a": {"w": ⟦"x"¦"@"⟧}, "w": ⟦"/srv/checkpoints/resnet50/tree/ckpt-100"¦"@"⟧}',
    ),
    "a list": ("a.yaml", "w", "w: [⟦x¦@⟧, ⟦'y'¦'@'⟧, 3]\n"),
    "reassigned": ("a.py", "w", "w = ⟦None¦'@'⟧\nw = ⟦'x'¦'@'⟧\nw = f(1)\n"),
    "toml": ("a.toml", "w", "[[a]]\nw=⟦'x'¦'@'⟧\n[[a]]\nw=⟦'y'¦'@'⟧\n[b]\nv='w'\n"),
}


@pytest.mark.parametrize(("name", "key", "text"), ALL.values(), ids=ALL)
def test_all_of_several(name: str, key: str | None, text: str) -> None:
    old, new = old_and_new(text)
    with pytest.raises(ConfigError, match="2 times"):
        edit(old, name, NEW, Wanted(key))
    assert edit(old, name, NEW, Wanted(key, every=True)).text == new
    assert edit(new, name, NEW, Wanted(key)).text == new  # nothing to choose between


ERRORS: dict[str, tuple[str, str | None, str, tuple[str, ...]]] = {
    "no key": (
        "m.yaml",
        None,
        "a: 1\nMODEL:\n  WEIGHTS: x\n",
        ("m.yaml:", "initial_checkpoint", "MODEL.WEIGHTS (line 3)"),
    ),
    "a slip": ("m.json", "chekpoint", '{"m": {"checkpoint": "a"}}', ("no chekpoint", "m.checkpoint (line 1)")),
    "nothing like it": ("m.toml", "ckpt", "a = 'b'\n", ("no ckpt", "give --key")),
    "empty file": ("m.textproto", None, "", ("no initial_checkpoint",)),
    "only in a comment": ("m.textproto", None, '# initial_checkpoint: "x"\n', ("no initial_checkpoint",)),
    "only in a text": ("m.py", "ckpt", "a = 'ckpt = 1'\n", ("no ckpt",)),
    "placeholder in a longer text": ("m.textproto", None, 'a: "${INIT_CHECKPOINT}/b"', ("no initial_checkpoint",)),
    "placeholder, but a key was named": ("m.textproto", "b", 'a: "${INIT_CHECKPOINT}"', ("no b",)),
    "candidates": (
        "m.textproto",
        None,
        'a {\n initial_checkpoint: "x" }\nb {\n initial_checkpoint: "y" }',
        ("2 times", "a.initial_checkpoint (line 2)", "b.initial_checkpoint (line 4)", "--all"),
    ),
    "candidates, one outermost": ("m.json", "w", '{"w": "", "a": {"w": ""}}', (" .w (line 1)", "a.w (line 1)")),
    "many candidates": ("m.yaml", "w", "".join(f"a{n}: {{w: x}}\n" for n in range(50)), ("50 times", "and 42 more")),
    "a number": ("m.yaml", "w", "\nw: 3\n", ("m.yaml:2:", "w is a number", "only a text")),
    "true": ("m.py", "w", "w = True\n", ("m.py:1:", "true or false")),
    "a list without texts": ("m.json", "w", '{"w": []}', ("is a list",)),
    "a table": ("m.toml", "w", "a=1\n[w]\n", ("m.toml:2:", "is a table")),
    "computed": ("m.py", "w", "w = os.path.join('a', 'b')\n", ("is computed",)),
    "an f-string": ("m.py", "w", "w = f'{a}'\n", ("is computed",)),
    "bytes": ("m.py", "w", "w = b'a'\n", ("bytes",)),
    "pieces with comments": ("m.py", "w", "w = ('a'  # one\n 'b')\n", ("comments between",)),
    "textproto pieces with comments": ("m.textproto", "w", 'w: "a" # one\n "b"', ("comments between",)),
    "a block": ("m.yaml", "w", "w: >-\n  a\nb: 1\n", ("m.yaml:1:", "a block text (>)")),
    "an alias": ("m.yaml", "w", "a: &x b\nw: *x\n", ("m.yaml:2:", "an alias")),
    "a tag": ("m.yaml", "w", "w: !include x.yaml\n", ("tagged !include",)),
    "a hidden null": ("m.yaml", "w", "w: &x\n", ("an anchor or a tag without",)),
    "a name without quotes": ("m.textproto", "w", "w: RESNET\n", ("without quotes",)),
    "broken textproto": ("m.textproto", None, "a: 1\nb {\n", ("m.textproto:3:", "the end of the file")),
    "quote not closed": ("m.textproto", None, 'a: 1\nb: "x\n', ("m.textproto:2:", "not closed")),
    "textproto without a colon": ("m.textproto", None, 'a "x"', ("m.textproto:1:", ": is expected")),
    "broken yaml": ("m.yaml", None, "a: 1\nb: [\n", ("m.yaml:3:",)),
    "broken toml": ("m.toml", None, "a = 1\nb = x\n", ("m.toml:2:", "not TOML")),
    "broken json": ("m.json", None, '{\n"a": 1,\n"b"}', ("m.json:3:", "not JSON")),
    "broken python": ("m.py", None, "a = 1\nb = (\n", ("m.py:2:", "not Python")),
    "unprintable yaml": ("m.yaml", None, "a: 1\nb: \x01\n", ("m.yaml:2:", "does not allow")),
    "unknown ending": ("m.gin", None, "train.ckpt = 'x'\n", ("m.gin", "--format")),
    "deep yaml": ("m.yaml", None, "[" * 100_000, ("nested too deep",)),
    "deep json": ("m.json", None, "[" * 100_000, ("nested too deep",)),
    "deep toml": ("m.toml", None, "a=" + "[" * 100_000, ("nested too deep",)),
    "deep python": ("m.py", None, "a=" + "-" * 100_000 + "1", ("nested too deep",)),
    "deep textproto": ("m.textproto", None, "a{" * 100_000, ("nested too deep",)),
    "no key at all": ("m.json", "", "{}", ("--key",)),
    "half a key": ("m.json", "a..b", "{}", ("--key", "is not a key")),
    "no number": ("m.json", "a[x]", "{}", ("is not a key",)),
    "explicit key without a value": ("m.yaml", "w", "? w\n", ("without changing more",)),
}


@pytest.mark.parametrize(("name", "key", "text", "said"), ERRORS.values(), ids=ERRORS)
def test_errors_are_one_line(name: str, key: str | None, text: str, said: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError) as caught:
        edit(text, name, NEW, Wanted(key))
    assert "\n" not in caught.value.message
    assert len(caught.value.message) < 800
    for words in said:
        assert words in caught.value.message


def test_a_path_that_is_not_unicode_is_refused() -> None:
    with pytest.raises(ConfigError, match="not UTF-8"):
        edit('initial_checkpoint: "x"', "a.textproto", "/a/\udcff")


def test_secrets_are_not_repeated() -> None:
    text = 'w: "https://me:hunter2@example.org/a?X-Amz-Signature=abc"\nb: "'
    with pytest.raises(ConfigError) as caught:
        edit(text, "m.textproto", NEW, Wanted("w"))
    assert "hunter2" not in caught.value.message
    lines = difference("m", 'w: "https://me:hunter2@example.org/a?X-Amz-Signature=abcdef"', 'w: "/a"')
    assert not [line for line in lines if "hunter2" in line or "abcdef" in line]


def test_a_format_can_be_given() -> None:
    text = "a: {initial_checkpoint: x}\n"
    assert edit(text, "m.conf", "/y", Wanted(format=Format.YAML)).text == "a: {initial_checkpoint: /y}\n"


@pytest.mark.parametrize("name", [f"a/b{ending.upper()}" for ending in ENDINGS])
def test_endings_are_known(name: str) -> None:
    """An empty file of every kind is read as one of that kind, so the key is what is missed."""
    empty = "{}" if "json" in name.lower() else ""
    with pytest.raises(ConfigError, match="no initial_checkpoint"):
        edit(empty, name, NEW)


def test_the_difference_is_a_diff() -> None:
    old = "a\r\nb\nc"
    assert difference("m.txt", old, "a\r\nB\nc") == [
        *("--- m.txt", "+++ m.txt", "@@ -1,3 +1,3 @@"),
        *(" a", "-b", "+B", " c", "\\ No newline at end of file"),
    ]
    assert difference("m.txt", old, old) == []


# ---- keys


@pytest.mark.parametrize(
    ("written", "path", "fits"),
    [
        ("w", ("a", "w"), True),
        ("w", ("w", "a"), False),
        ("a.w", ("a", "w"), True),
        ("a.w", ("b", "a", "w"), True),
        (".a.w", ("b", "a", "w"), False),
        (".a.w", (1, "a", "w"), True),
        ("a.w", ("a", 3, "w"), True),
        ("a[3].w", ("a", 3, "w"), True),
        ("a[2].w", ("a", 3, "w"), False),
        ("w", ("w", 0), True),
        ("w[0]", ("w", 0), True),
        ("w[0]", ("w",), False),
        ("b.w", ("a", "x.b", "w"), True),
        ("a.b.w", ("a.b.w",), True),
        ("w", ("W",), False),
        ("w", (), False),
        ('"a b".w', ("a b", "w"), True),
        ("[1].w", (1, "w"), True),
    ],
)
def test_keys_fit_the_end_of_a_path(written: str, path: Path, fits: bool) -> None:
    assert parse_key(written).fits(path) is fits


NAMES = st.text("abcxyz_-09 é", min_size=1, max_size=8).filter(lambda name: name.strip() == name)


@given(st.lists(NAMES | st.integers(0, 99), min_size=1, max_size=5).map(tuple))
def test_a_path_is_spelled_as_a_key_that_means_it(path: Path) -> None:
    assert parse_key(spelled(path)) == Key(path)
    assert parse_key("." + spelled(path)).fits(path)


@given(st.text("a\n\r", max_size=20), st.integers(0, 20))
def test_lines(text: str, offset: int) -> None:
    offset = min(offset, len(text))
    assert lines_in(text)(offset) == line_of(text, offset) == len(text[:offset].split("\n"))


# ---- what is written means the path, to the real readers of each format

PATHS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=30)
AWKWARD = st.text("/ab'\"\\#: ,{}[]$\n\t\r\x7f\x85\u2028é🧠-~!&*%@`|>?", min_size=1, max_size=20)
PATHS_OF_ALL_KINDS = (
    PATHS | AWKWARD | st.sampled_from(["null", "~", "true", "1e3", "2020-01-01", "=", "<<", "-", "'''"])
)


def textproto_value(literal: str) -> object:
    return config_text.scan(f"a: {literal}")[0].value


READERS: dict[str, tuple[Callable[[str, str], str], Callable[[str], object], tuple[str, ...]]] = {
    "textproto": (config_text.spell, textproto_value, ("'", '"')),
    "yaml": (config_yaml.spell, lambda text: yaml.safe_load(f"a: {text}")["a"], ("'", '"', "plain")),
    "yaml in a flow": (config_yaml.spell, lambda text: yaml.safe_load(f"[{text}, b]")[0], ("'", '"', "plain")),
    "toml": (config_toml.spell, lambda text: tomllib.loads(f"a = {text}")["a"], ("'", '"', "'''", '"""')),
    "json": (config_json.spell, json.loads, ('"',)),
    "python": (config_python.spell, ast.literal_eval, ("'", '"', "'''", '"""', "r'", 'R"', "u'", "r'''", 'r"""')),
}


@pytest.mark.parametrize(("spell", "means", "styles"), READERS.values(), ids=READERS)
@given(value=PATHS_OF_ALL_KINDS)
def test_what_is_spelled_is_read(
    spell: Callable[[str, str], str], means: Callable[[str], object], styles: tuple[str, ...], value: str
) -> None:
    for style in styles:
        assert means(spell(value, style)) == value, style


@given(value=PATHS_OF_ALL_KINDS, row=st.sampled_from(sorted(EDITS)))
def test_any_path_is_written_once(value: str, row: str) -> None:
    """Idempotent, and before and after the value the text is as it was."""
    name, key, text = EDITS[row]
    old = old_and_new(text)[0]
    edited = edit(old, name, value, Wanted(key))
    assert edit(edited.text, name, value, Wanted(key)) == Edited(
        edited.text, tuple(type(each)(each.key, each.line, value, value) for each in edited.changes)
    )
    found = _MARKED.search(text)
    assert found is not None
    before, after = old_and_new(text[: found.start()])[0], text[found.end() :]
    if edited.changed:
        assert edited.text.startswith(before)
        assert edited.text.endswith(after)


@given(value=PATHS_OF_ALL_KINDS, row=st.sampled_from(sorted(EDITS)))
def test_there_and_back(value: str, row: str) -> None:
    """What the real readers see is the same but for the one value."""
    name, key, text = EDITS[row]
    old = old_and_new(text)[0]
    read: dict[str, Callable[[str], object]] = {".json": json.loads, ".toml": tomllib.loads}
    reader = read.get(name[name.rindex(".") :])
    if reader is None:
        return
    assert flat(reader(edit(old, name, value, Wanted(key)).text)) ^ flat(reader(old)) <= {
        *(pair for pair in flat(reader(old)) if pair[0] in changed(name, old, value, key)),
        *((path, repr(value)) for path in changed(name, old, value, key)),
    }


def changed(name: str, old: str, value: str, key: str | None) -> set[str]:
    return {change.key.replace('"', "") for change in edit(old, name, value, Wanted(key)).changes}


def flat(value: object, path: Path = ()) -> set[tuple[str, str]]:
    """Every leaf with its path."""
    if isinstance(value, dict):
        return {pair for name, inner in value.items() for pair in flat(inner, (*path, name))}
    if isinstance(value, list):
        return {pair for number, inner in enumerate(value) for pair in flat(inner, (*path, number))}
    return {(spelled(path).replace('"', ""), repr(value))}


# ---- bad input

PIECES = [
    *("initial_checkpoint", ": ", " = ", '"', "'", '"""', "'''", "\\", "\n", "\r\n", " ", "  ", "#", "//", "/*", "*/"),
    *("{", "}", "[", "]", "<", ">", "(", ")", ",", ";", "- ", "? ", "&a ", "*a", "!t ", "|\n", ">-\n", "---\n", "x"),
    *("null", "None", "1", "dict(", "def f():", "if 1:", "${INIT_CHECKPOINT}", "é", "\ufeff", "\x01", "%", "\u2028"),
    *("a.", "[[", "]]", "~", "\t", "r", "f'", "\x85", "lambda: ", "\x0c", "\r"),
]


@given(st.lists(st.sampled_from(PIECES), max_size=25).map("".join), st.sampled_from(Format), st.booleans())
def test_whatever_is_there_is_edited_or_refused(text: str, form: Format, every: bool) -> None:
    """Nothing but ConfigError comes out, and a file that was edited is edited for good."""
    try:
        edited = edit(text, "m", NEW, Wanted(every=every, format=form))
    except ConfigError:
        return
    assert edit(edited.text, "m", NEW, Wanted(every=every, format=form)).text == edited.text
