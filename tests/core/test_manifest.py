"""The manifest: what is read from it, and what is said about every way to get it wrong."""

from __future__ import annotations

import time
import tomllib
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ckptd.core.manifest import parse, select
from ckptd.core.models import (
    Auth,
    Checkpoint,
    Manifest,
    PolicySettings,
    StoreSettings,
    SyncSettings,
    TransferSettings,
    Trust,
    VerifySettings,
)
from ckptd.errors import ConfigError

ROOT = Path(__file__).parents[2]
HEX = "0123456789abcdef" * 4

FULL = f"""\
[store]
path = "/srv/checkpoints"
state = "/srv/.ckptd"
lock = "locks/manifest.lock"
group = "ml"

[transfer]
downloads = 2
connections = 3
connections_per_host = 5
bandwidth = "50 MB/s"
min_rate = "2 KiB/s"
stall_timeout = "90s"
connect_timeout = 10
retries = 0
max_size = "1.5 GiB"

[verify]
max_age = "2w"
rate = "100 MB/s"
window = "22:00-06:30"

[sync]
every = "30m"

[policy]
require = "witnessed"
private_redirects = true

[sources]
"https://storage.googleapis.com/" = ["https://mirror.example.org/gcs/", "http://near.example/"]
"https://h/" = "https://i/"

[auth."HuggingFace.co"]
bearer_file = "/run/credentials/hf"

[auth."h.example:8443"]
bearer_env = "H_TOKEN"

[[checkpoint]]
name = "resnet50"
url = "https://h/dir/resnet%2050.tar.gz?download=1"
mirrors = ["https://m/1", "https://m/2", "https://m/1"]
sha256 = "{HEX.upper()}"
size = "16 MiB"
unpack = true
tags = ["imagenet1k", "simple", "simple"]
description = "ResNet-50,\\nsimple"
allow_http = true

[[checkpoint]]
name = "b"
url = "gs://bucket/b.tgz"
in_place = "/data/b.tgz"
"""


def test_everything_that_can_be_said() -> None:
    assert parse(FULL) == Manifest(
        checkpoints=(
            Checkpoint(
                name="resnet50",
                url="https://h/dir/resnet%2050.tar.gz?download=1",
                file_name="resnet 50.tar.gz",
                mirrors=("https://m/1", "https://m/2"),
                sha256=HEX,
                size=16 * 1024 * 1024,
                unpack=True,
                tags=("imagenet1k", "simple"),
                description="ResNet-50,\nsimple",
                allow_http=True,
            ),
            Checkpoint(name="b", url="gs://bucket/b.tgz", file_name="b.tgz", in_place="/data/b.tgz"),
        ),
        store=StoreSettings("/srv/checkpoints", "/srv/.ckptd", "locks/manifest.lock", "ml"),
        transfer=TransferSettings(2, 3, 5, 50e6, 2048.0, 90.0, 10.0, 0, 1_610_612_736),
        verify=VerifySettings(1_209_600.0, 100e6, (1320, 390)),
        sync=SyncSettings(1800.0),
        policy=PolicySettings(Trust.WITNESSED, private_redirects=True),
        sources=(
            ("https://storage.googleapis.com/", ("https://mirror.example.org/gcs/", "http://near.example/")),
            ("https://h/", ("https://i/",)),
        ),
        auth=(
            Auth("huggingface.co", bearer_file="/run/credentials/hf"),
            Auth("h.example:8443", bearer_env="H_TOKEN"),
        ),
    )


@pytest.mark.parametrize("text", ["", "\n# nothing\n", "\ufeff", "[store]\n", "checkpoint = []\n"])
def test_an_empty_manifest_is_one(text: str) -> None:
    manifest = parse(text)
    assert manifest.checkpoints == ()
    assert manifest.store == StoreSettings("checkpoints", "checkpoints/.ckptd", "manifest.lock")
    assert manifest.transfer == TransferSettings()


def test_other_editors_are_welcome() -> None:
    assert parse("\ufeff" + FULL.replace("\n", "\r\n")) == parse(FULL)


def test_state_follows_the_store() -> None:
    assert parse('[store]\npath = "/srv/c/"').store.state == "/srv/c/.ckptd"


@pytest.mark.parametrize(
    ("written", "minutes"),
    [
        ("00:00-24:00", (0, 1440)),
        ("22:00-06:00", (1320, 360)),
        ("7:30 - 8:00", (450, 480)),
        ("12:00-00:00", (720, 0)),
    ],
)
def test_window(written: str, minutes: tuple[int, int]) -> None:
    assert parse(f'[verify]\nwindow = "{written}"').verify.window == minutes


def entry(**keys: str) -> str:
    """A manifest of one checkpoint; its own lines begin at 2."""
    given = {"name": '"foo"', "url": '"https://h/f.tgz"'} | keys
    return "[[checkpoint]]\n" + "".join(f"{key} = {value}\n" for key, value in given.items() if value)


# what is wrong -> the parts that the one line must have, and its number
MISTAKES: list[tuple[str, int, list[str]]] = [
    # TOML
    ("a = \n", 1, ["not a value", "quotes"]),
    ('[store]\npath = "a\n', 2, []),
    ('[store]\npath = "a"\npath = "b"\n', 3, ["second time"]),
    (entry() + "<<<<<<< HEAD\nsize = 1\n=======\nsize = 2\n>>>>>>> other\n", 4, ["merge conflict"]),
    (entry() + "size = 1\n=======\nsize = 2\n", 5, ["merge conflict"]),
    ("# torn\n\x00\x00", 2, ["NUL"]),
    ("a = " + "[" * 9999, 1, ["nested too deep"]),
    ("a = " + "9" * 9999, 1, ["too long"]),
    # tables
    ("[stroe]\n", 1, ["unknown table [stroe]", "did you mean [store]?"]),
    ("\n[[checkpoints]]\n", 2, ["[checkpoints]", "did you mean [[checkpoint]]?"]),
    ("[zzz]\n", 1, ["[zzz]", "known", "[transfer]", "[[checkpoint]]"]),
    ('path = "x"\n', 1, ['"path"', "outside of every table", "[store]"]),
    ("[checkpoint]\n", 1, ["two brackets"]),
    ("[[store]]\n", 1, ["[store]", "is not a table"]),
    ("store = 1\n", 1, ["is not a table"]),
    ("checkpoint = [1]\n", 1, ["not a list of tables"]),
    # keys
    (entry(sha265=f'"{HEX}"'), 4, ['[[checkpoint]] "foo"', 'unknown key "sha265"', 'did you mean "sha256"?']),
    ("[transfer]\nconections = 1\n", 2, ["[transfer]", '"conections"', 'did you mean "connections"?']),
    ("[transfer]\nStall-Timeout = 1\n", 2, ['"Stall-Timeout"', 'did you mean "stall_timeout"?']),
    ("[sync]\nqqq = 1\n", 2, ["[sync]", '"qqq"', '"every"']),
    # names and what is missing
    (entry(name=""), 1, ["[[checkpoint]] number 1", '"name" is missing']),
    (entry(url=""), 1, ['[[checkpoint]] "foo"', '"url" is missing']),
    (entry(name='".ckptd"'), 2, ["name", '".ckptd"', "beginning with a letter"]),
    (entry(name='"../x"'), 2, ["../x", "is not a name"]),
    (entry(name='"a/b"'), 2, ["is not a name"]),
    (entry(name='"a b"'), 2, ["is not a name"]),
    (entry(name='"é"'), 2, ["is not a name"]),
    (entry(name='"a\\n"'), 2, ["is not a name"]),
    (entry(name='""'), 2, ["number 1", "is not a name"]),
    (entry(name="5"), 2, ["number 1", "5 is not a name"]),
    (entry(name=f'"{"a" * 129}"'), 2, ["longer than 128"]),
    (entry() + entry(), 5, ["name", "already belongs to entry number 1"]),
    (entry() + entry(name='"FOO"'), 5, ['"FOO"', '"foo"', "case"]),
    # URLs
    (entry(url='"ftp://h/f"'), 3, ["url", "ftp://h/f", "https://"]),
    (entry(url='"h/f.tgz"'), 3, ["https://"]),
    (entry(url='"file:///etc/passwd"'), 3, ["https://"]),
    (entry(url="1"), 3, ["url: 1 ", "https://"]),
    (entry(url='"https://h/a b.tgz"'), 3, ["percent-encode"]),
    (entry(url='"https://h/a\\tb.tgz"'), 3, ["percent-encode"]),
    (entry(url='"https://h\\\\@evil/f"'), 3, ["backslashes"]),
    (entry(url='"https:///f.tgz"'), 3, ["no host"]),
    (entry(url='"https://h:0/f.tgz"'), 3, ["not a port"]),
    (entry(url='"https://h:x/f.tgz"'), 3, ["not a usable URL"]),
    (entry(url='"https://h/"'), 3, ["no file name"]),
    (entry(url='"https://h/..%2Ff"'), 3, ["slash"]),
    (entry(url='"https://h/tree"'), 3, ["reserved"]),
    (entry(url='"gs://bucket"'), 3, ["gs://bucket/object"]),
    (entry(url='"hf://org/f"'), 3, ["hf://organisation/repository"]),
    (entry(url='"http://h/f.tgz"'), 3, ["url", "plain http", "sha256", "allow_http"]),
    (entry(mirrors='["https://m/f", "http://m/f"]'), 4, ["mirrors", "plain http"]),
    (entry(mirrors='["https://m/f", "m/f"]'), 4, ["mirrors", "number 2", '"m/f"']),
    (entry(mirrors='"https://m/f"'), 4, ["mirrors", "is not a list"]),
    # the other keys of a checkpoint
    (entry(sha256='""'), 4, ["sha256", "64 hexadecimal"]),
    (entry(sha256='"..."'), 4, ["64 hexadecimal"]),
    (entry(sha256=f'"{HEX[:-1]}"'), 4, ["64 hexadecimal"]),
    (entry(sha256=f'"{HEX[:-1]}g"'), 4, ["64 hexadecimal"]),
    (entry(sha256=f'"{HEX[:40]}"'), 4, ["SHA-1", "64 hexadecimal"]),
    (entry(sha256=f'"{HEX[:32]}"'), 4, ["MD5"]),
    (entry(sha256="123456"), 4, ["123456", "64 hexadecimal"]),
    (entry(sha256="12ab"), 4, ["quotes"]),
    (entry(size="0"), 4, ["size", "more than zero"]),
    (entry(size="-5"), 4, ["-5", "more than zero"]),
    (entry(size='"16 M"'), 4, ['unknown unit "M"', "16 MiB"]),
    (entry(size="1.5"), 4, ["1.5", "16 MiB"]),
    (entry(size="true"), 4, ["true", "16 MiB"]),
    (entry(unpack='"yes"'), 4, ["unpack", '"yes"', "true or false"]),
    (entry(unpack="1"), 4, ["true or false"]),
    (entry(in_place='"~/x"'), 4, ["in_place", "only a shell understands"]),
    (entry(in_place='"/x"', unpack="true"), 4, ["in_place", "never unpacked", "take one"]),
    (entry(tags='["ok", "@no"]'), 4, ["tags", '"@no"', "number 2"]),
    (entry(tags='"x"'), 4, ["tags", "is not a list"]),
    (entry(description="1979-05-27"), 4, ["a date", "not a text"]),
    (entry(description='"\\u001b[31m"'), 4, ["control characters"]),
    # settings
    ('[transfer]\ndownloads = "8"\n', 2, ['downloads: "8"', "1 to 1024", "without quotes"]),
    ("[transfer]\ndownloads = true\n", 2, ["true is not a whole number"]),
    ("[transfer]\ndownloads = 8.0\n", 2, ["whole number"]),
    ("[transfer]\nconnections = 0\n", 2, ["1 to 1024"]),
    ("[transfer]\nconnections_per_host = 1025\n", 2, ["1 to 1024"]),
    ("[transfer]\nretries = -1\n", 2, ["retries", "from 0"]),
    (f"[transfer]\nretries = 0x{'f' * 9000}\n", 2, ["retries", "huge"]),
    ('[transfer]\nbandwidth = "50 MB"\n', 2, ["50 MB/s"]),
    ("[transfer]\nbandwidth = 0\n", 2, ["more than zero"]),
    ('[transfer]\nmin_rate = "unlimited"\n', 2, ["min_rate", "lower bound"]),
    ('[transfer]\nstall_timeout = "0s"\n', 2, ["more than zero"]),
    ('[transfer]\nmax_size = "-1 GB"\n', 2, ["max_size"]),
    ("[verify]\nmax_age = inf\n", 2, ["inf", "7d"]),
    ("[sync]\nevery = false\n", 2, ["every", "12h"]),
    ('[verify]\nwindow = "22-06"\n', 2, ["22:00-06:00"]),
    ('[verify]\nwindow = "25:00-26:00"\n', 2, ["no clock"]),
    ('[verify]\nwindow = "22:60-23:00"\n', 2, ["no clock"]),
    ('[verify]\nwindow = "24:00-06:00"\n', 2, ["no clock"]),
    ('[verify]\nwindow = "10:00-24:01"\n', 2, ["no clock"]),
    ('[verify]\nwindow = "08:00-08:00"\n', 2, ["empty", "00:00-24:00"]),
    ('[policy]\nrequire = "first_use"\n', 2, ['did you mean "first-use"?']),
    ('[policy]\nrequire = "xyz"\n', 2, ['"pinned"', '"witnessed"', '"first-use"']),
    ("[policy]\nprivate_redirects = 0\n", 2, ["true or false"]),
    ('[sources]\n"https://h" = ["https://m/"]\n', 2, ["https://h", 'ends with "/"']),
    ('[sources]\n"gs://h/" = ["https://m/"]\n', 2, ["gs://h/", "https://"]),
    ('[sources]\n"https://h/" = ["https://m"]\n', 2, ['"https://m"', 'ends with "/"']),
    ('[sources]\n"https://h/" = []\n', 2, ["empty", "at least one"]),
    ('[sources]\n"https://h/" = 5\n', 2, ["is not a list"]),
    ('[auth."h/x"]\nbearer_env = "X"\n', 1, ["h/x", "is not a host"]),
    ('[auth."h:99999"]\nbearer_env = "X"\n', 1, ["is not a host"]),
    ('[auth.huggingface.co]\nbearer_env = "X"\n', 1, ['[auth."huggingface.co"]', "quote"]),
    ('[auth."h"]\n', 1, ["bearer_file", "bearer_env"]),
    ('[auth."h"]\nbearer_file = "/a"\nbearer_env = "A"\n', 1, ["only one"]),
    ('[auth."h"]\nbearer_env = "A B"\n', 2, ["environment variable"]),
    # paths
    ('[store]\npath = ""\n', 2, ["path", "empty"]),
    ('[store]\nlock = " "\n', 2, ["lock", "empty"]),
    ('[store]\nstate = "a\\u0000b"\n', 2, ["control characters"]),
    ('[store]\npath = "~/c"\n', 2, ['"~"', "whole path"]),
    ('[store]\npath = "/"\nstate = "/s"\n', 2, ["root"]),
    ('[store]\npath = "c"\nstate = "./c/"\n', 3, ["state", "store would lie in it"]),
    ('[store]\npath = "a/b"\nstate = "a"\n', 3, ["state"]),
    ('[store]\nlock = "x/../manifest.toml"\n', 2, ["lock", "manifest itself"]),
    ('[store]\nlock = "checkpoints"\n', 2, ["lock", "folder"]),
    ('[store]\nlock = "checkpoints/.ckptd"\n', 2, ["lock", "folder"]),
    (entry() + '[store]\nstate = "checkpoints/foo"\n', 5, ["state", 'checkpoint "foo"']),
    (entry() + '[store]\nstate = "checkpoints/foo/.state"\n', 5, ["state", 'checkpoint "foo"']),
    (entry() + '[store]\nlock = "checkpoints/foo/l"\n', 5, ["lock", 'checkpoint "foo"']),
    (entry(name='"manifest.toml"') + '[store]\npath = "."\n', 5, ["manifest", 'checkpoint "manifest.toml"']),
]  # fmt: skip


@pytest.mark.parametrize(("text", "line", "parts"), MISTAKES)
def test_a_mistake_is_explained_where_it_stands(text: str, line: int, parts: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    message = caught.value.message
    assert "\n" not in message
    assert message.startswith(f"manifest.toml:{line}: ")
    for part in parts:
        assert part in message
    assert caught.value.hint


def test_the_contracts_own_example_of_a_message() -> None:
    with pytest.raises(ConfigError) as caught:
        parse("\n" * 8 + entry(sha265='"x"'), "/etc/ckptd/manifest.toml")
    expected = '/etc/ckptd/manifest.toml:12: [[checkpoint]] "foo": unknown key "sha265"; did you mean "sha256"?'
    assert caught.value.message == expected


def test_all_mistakes_are_told_at_once_in_the_order_of_the_file() -> None:
    text = entry(size="0", sha265="1") + entry(name='"b"', url='"ftp://h/f"') + "[transfer]\nretries = -1\n"
    with pytest.raises(ConfigError) as caught:
        parse(text)
    told = [line.split(": ")[0] for line in caught.value.message.splitlines()]
    assert told == ["manifest.toml:4", "manifest.toml:5", "manifest.toml:8", "manifest.toml:10"]


def test_thousands_of_mistakes_are_counted() -> None:
    with pytest.raises(ConfigError) as caught:
        parse("".join(entry(name=f'"n{number}"', size="0") for number in range(500)))
    assert len(caught.value.message.splitlines()) == 51
    assert caught.value.message.endswith("... and 450 more")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('checkpoint = [\n  {name = "a", url = "https://h/f"},\n  {name = "b", size = 0},\n]\n', 1),
        ('store.path = "c"\n\nstore.lock = ""\n', 3),
        ('store = { path = "c",\n  lock = "" }\n', 1),
        ('[ "store" ] # [x]\n"path" = "c"\n\'lock\' = ""\n', 3),
        (
            '[[checkpoint]]\nname="a"\nurl="https://h/f"\ndescription="""\n[store]\nsize=1\n"""\nsize = 0\n',
            8,
        ),
        ('[[checkpoint]]\nname="a"\nurl="https://h/f"\ntags=[ # ]\n "x", # [["\n \'y\']\nsize=0\n', 7),
        ("[[checkpoint]]\nname='a'\nurl='https://h/f'\ndescription='''\n'a''' # '''\nsize=0\n", 6),
        ('[[checkpoint]]\r\nname="a"\r\nurl="https://h/f"\r\nsize=0\r\n', 4),
        (entry() + entry(name='"b"') + entry(name='"c"', size="0") + entry(name='"d"'), 10),
    ],
)
def test_lines_are_found_in_every_way_to_write_toml(text: str, line: int) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    assert caught.value.message.startswith(f"manifest.toml:{line}: ")


@pytest.mark.parametrize(
    "text",
    [
        entry(url='"https://me:SECRET@h/f.tgz"'),
        entry(url='"ftp://h/f?X-Amz-Signature=SECRET"'),
        entry(mirrors='["https://me:SECRET@h/f"]'),
        entry(url='"https://h/a b?sig=SECRET"'),
        entry(token='"SECRET"'),
        '[auth."h"]\nbearer_env = "SECRET!"\n',
        '[auth."h"]\nbearer = "SECRET"\n',
        '[sources]\n"https://me:SECRET@h/" = ["https://m/"]\n',
        '[auth."https://me:SECRET@h"]\nbearer_env = "A"\n',
        '[auth."h"]\nbearer_env = "SECRET\n',
    ],
)
def test_no_message_repeats_a_secret(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    assert "SECRET" not in caught.value.message + caught.value.hint


def test_credentials_in_a_url_are_sent_to_where_they_belong() -> None:
    with pytest.raises(ConfigError, match=r'url: "https://h/f" carries credentials.*\[auth'):
        parse(entry(url='"https://me:pw@h/f"'))


@pytest.mark.parametrize(
    "keys",
    [
        {"url": '"http://h/f"', "allow_http": "true"},
        {"url": '"http://h/f"', "sha256": f'"{HEX}"'},
        {"url": '"http://127.0.0.1:8000/f"'},
        {"url": '"http://[::1]:8000/f"'},
        {"url": '"http://localhost/f"', "mirrors": '["http://127.0.0.2/f"]'},
    ],
)
def test_plain_http_that_is_allowed(keys: dict[str, str]) -> None:
    (checkpoint,) = parse(entry(**keys)).checkpoints
    assert f'"{checkpoint.url}"' == keys["url"]


def test_paths_are_told_apart_by_where_the_manifest_is() -> None:
    parse('[store]\nlock = "/elsewhere/manifest.toml"\n', "/etc/ckptd/manifest.toml")
    with pytest.raises(ConfigError, match="manifest itself"):
        parse('[store]\nlock = "/etc/ckptd/manifest.toml"\n', "/etc/ckptd/manifest.toml")


def test_the_shipped_manifest_has_the_pages_checkpoints() -> None:
    shipped = parse((ROOT / "manifest.toml").read_text(encoding="utf-8"))
    assert len(shipped.checkpoints) == 14
    for checkpoint in shipped.checkpoints:
        assert checkpoint.file_name == f"{checkpoint.name}.tar.gz"
        assert checkpoint.url.startswith("https://storage.googleapis.com/gresearch/tf-deeplab/checkpoint/")
        assert ("strong" in checkpoint.tags) == ("strong" in checkpoint.name)
    assert len(select(shipped.checkpoints, ["@simple"])) == 3


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        ([], ["a", "b", "c"]),
        (["c", "a"], ["a", "c"]),
        (["a", "a"], ["a"]),
        (["@x"], ["a", "c"]),
        (["@x", "b", "c"], ["a", "b", "c"]),
        (["@b"], ["c"]),
    ],
)
def test_select(wanted: list[str], names: list[str]) -> None:
    assert [checkpoint.name for checkpoint in select(ABC, wanted)] == names


ABC = (
    Checkpoint("a", "https://h/a", "a", tags=("x",)),
    Checkpoint("b", "https://h/b", "b"),
    Checkpoint("c", "https://h/c", "c", tags=("x", "b")),
)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (["resnet5"], 'no checkpoint "resnet5" in the manifest; did you mean "resnet50"?'),
        (["@imagnet"], 'no tag "@imagnet" in the manifest; did you mean "@imagenet"?'),
        (["imagenet"], 'no checkpoint "imagenet" in the manifest; known: "resnet50"'),
        (["@"], 'no tag "@" in the manifest; known: "@imagenet"'),
        (
            ["resnet50", "x", "y"],
            'no checkpoint "x" in the manifest; known: "resnet50"\nno checkpoint "y" in',
        ),
    ],
)
def test_select_knows_what_was_meant(wanted: list[str], message: str) -> None:
    one = Checkpoint("resnet50", "https://h/a", "a", tags=("imagenet",))
    with pytest.raises(ConfigError) as caught:
        select([one], wanted)
    assert caught.value.message.startswith(message)


def test_select_lists_only_some_of_very_many() -> None:
    many = [Checkpoint(f"model-{number}", "https://h/a", "a") for number in range(500)]
    with pytest.raises(ConfigError, match=r'"model-15" and 484 more$'):
        select(many, ["\x1b[31m"])


def test_select_from_nothing() -> None:
    assert select([], []) == ()
    with pytest.raises(ConfigError, match="there are none"):
        select([], ["a"])


VALUES = st.sampled_from(
    [
        '""',
        '"x"',
        "0",
        "-1",
        "1",
        "true",
        "[]",
        '["x"]',
        "{}",
        "1.5",
        "nan",
        "1979-05-27",
        '"https://h/f"',
        '"\\u0000"',
    ]
)
KEYS = st.sampled_from([*tomllib.loads(FULL)["transfer"], "name", "url", "size", "sha256", "tags", "path", "lock", "x"])
TABLES = st.sampled_from(["[store]", "[transfer]", "[verify]", "[policy]", "[sources]", "[auth]", "[[checkpoint]]"])
LINES = st.one_of(TABLES, st.builds("{} = {}".format, KEYS, VALUES), st.text(max_size=12))


@settings(deadline=None)
@given(st.lists(LINES, max_size=12).map("\n".join))
@example('[auth]\n"" = 1')
@example('[sources]\n"\\u0000" = 1')
def test_any_text_is_a_manifest_or_explained(text: str) -> None:
    try:
        parse(text)
    except ConfigError as error:
        count = text.count("\n") + 1
        for said in error.message.splitlines():
            path, line, rest = said.split(":", 2)
            assert path == "manifest.toml"
            assert 1 <= int(line) <= count
            assert rest.strip()


def test_a_thousand_checkpoints_are_read_at_once() -> None:
    text = "".join(entry(name=f'"model-{number}"', sha256=f'"{HEX}"', tags='["a", "b"]') for number in range(1000))
    best = 9.9
    for _ in range(5):
        start = time.process_time()
        assert len(parse(text).checkpoints) == 1000
        best = min(best, time.process_time() - start)
    assert best < 0.1
