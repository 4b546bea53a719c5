"""`ckptd use`: configs name the checkpoint that is there, and nothing else of them changes."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import click
import pytest
from origin import Origin
from workplace import Workplace, tgz

from ckptd.cli.use import use
from ckptd.core.configs import Format, Wanted
from ckptd.errors import MissingError, StorageError
from ckptd.service.use import expand, follow
from ckptd.service.workplace import enter

pytestmark = pytest.mark.slow

BODY = tgz(20_000, 1)
TEXTPROTO = """\
# proto-file: config.proto
experiment_name: "${EXPERIMENT_NAME}"
model_options {
  # initial_checkpoint: "/left/alone"
  initial_checkpoint: "${INIT_CHECKPOINT}"  # update me
  backbone { name: "resnet50" }
}
"""
CONFIGS = {
    "r50.textproto": (TEXTPROTO, '"${INIT_CHECKPOINT}"', '"@"'),
    "r50.yaml": ("# c\r\nm:\r\n  initial_checkpoint: /old  # c\r\n", "/old", "@"),
    "r50.toml": ("[m]\ninitial_checkpoint = '/old' # c", "'/old'", "'@'"),
    "r50.json": ('{"a":1,\n\t"initial_checkpoint" : null }\n', "null", '"@"'),
    "r50.py": ("# c\ninitial_checkpoint = '/old'  # c\nx = dict(y='z')\n", "'/old'", "'@'"),
}


@pytest.fixture
def place(origin: Origin, site: Workplace) -> Workplace:
    """A site where `a` is published, and `b` is wanted."""
    site.write({"name": "a", "url": origin.put("/a.bin", BODY)}, {"name": "b", "url": origin.url("/b.bin")})
    site.sync("a").expect(0)
    return site


@pytest.fixture
def configs(place: Workplace) -> list[str]:
    """One config of every format beside the manifest; their names."""
    for name, (text, _, _) in CONFIGS.items():
        (place.root / name).write_bytes(text.encode())
    return list(CONFIGS)


def target(place: Workplace, name: str = "a") -> str:
    return place.run("path", name).expect(0).out.strip()


def expected(place: Workplace, name: str) -> bytes:
    text, old, new = CONFIGS[name]
    return text.replace(old, new.replace("@", target(place))).encode()


def snapshot(root: Path) -> dict[str, tuple[bytes, int]]:
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in root.iterdir() if path.is_file()}


def test_every_format_at_once(place: Workplace, configs: list[str]) -> None:
    for name in configs:
        (place.root / name).chmod(0o664)
    run = place.run("use", "a", *configs).expect(0)
    for name in configs:
        assert (place.root / name).read_bytes() == expected(place, name)
        assert stat.S_IMODE((place.root / name).stat().st_mode) == 0o664
    assert run.err == ""
    assert run.out.splitlines()[0] == (
        f'r50.textproto:5: model_options.initial_checkpoint is now "{target(place)}", not "${{INIT_CHECKPOINT}}"'
    )
    assert len(run.out.splitlines()) == len(configs)


def test_a_second_time_writes_nothing(place: Workplace, configs: list[str]) -> None:
    place.run("use", "a", *configs).expect(0)
    before = snapshot(place.root)
    run = place.run("use", "a", *configs).expect(0)
    assert snapshot(place.root) == before
    assert all("right already" in line for line in run.out.splitlines())
    place.run("use", "a", *configs, "--check").expect(0)


def test_check_says_and_writes_nothing(place: Workplace, configs: list[str]) -> None:
    place.run("use", "a", "r50.yaml").expect(0)
    before = snapshot(place.root)
    run = place.run("use", "a", *configs, "--check").expect(1)
    assert snapshot(place.root) == before
    assert [line.split(":")[0] for line in run.out.splitlines() if "would be" in line] == [
        name for name in configs if name != "r50.yaml"
    ]
    assert place.run("use", "a", *configs, "--check", "--quiet").expect(1).out == ""


@pytest.mark.parametrize("flags", [["--diff"], ["--diff", "--check"]], ids=["written", "checked"])
def test_diff(place: Workplace, flags: list[str]) -> None:
    path = place.root / "r50.textproto"
    path.write_text(TEXTPROTO)
    run = place.run("use", "a", "r50.textproto", *flags)
    assert run.out.splitlines() == [
        *("--- r50.textproto", "+++ r50.textproto", "@@ -2,6 +2,6 @@"),
        *(f" {line}" for line in TEXTPROTO.splitlines()[1:4]),
        '-  initial_checkpoint: "${INIT_CHECKPOINT}"  # update me',
        f'+  initial_checkpoint: "{target(place)}"  # update me',
        *(f" {line}" for line in TEXTPROTO.splitlines()[5:]),
    ]
    assert run.status == len(flags) - 1
    assert (path.read_text() == TEXTPROTO) == ("--check" in flags)
    again = place.run("use", "a", "r50.textproto", "--diff")
    assert (again.out == "") == ("--check" not in flags)


def test_json(place: Workplace) -> None:
    (place.root / "m.yaml").write_text("a: {w: x}\nb: {w: 'https://me:hunter2@example.org/m?X-Amz-Signature=abc'}\n")
    place.secrets += ["hunter2", "X-Amz-Signature=abc"]
    run = place.run("use", "a", "m.yaml", "--key", "w", "--all", "--check", "--diff", "--json", invariants=False)
    report = run.expect(1).report
    assert report["files"] == [
        {"path": "m.yaml", "changed": True, "key": "a.w", "line": 1, "old": "x", "new": target(place)},
        {**report["files"][1], "path": "m.yaml", "changed": True, "key": "b.w", "line": 2, "new": target(place)},
    ]
    assert report["files"][1]["old"].startswith("https://")
    assert report["diff"].startswith("--- m.yaml\n+++ m.yaml\n")
    assert run.entry("a")["path"] == target(place)
    place.secrets.clear()  # the file itself is the operator's
    run = place.run("use", "a", "m.yaml", "--key", "w", "--all", "--json").expect(0)
    assert [file["changed"] for file in run.report["files"]] == [True, True]
    run = place.run("use", "a", "m.yaml", "--key", "a.w", "--json").expect(0)
    assert [(file["key"], file["changed"]) for file in run.report["files"]] == [("a.w", False)]
    assert "diff" not in run.report


def test_one_bad_config_and_none_is_written(place: Workplace, configs: list[str]) -> None:
    (place.root / "bad.json").write_text('{"a": 1,}')
    (place.root / "two.yaml").write_text("a: {initial_checkpoint: x}\nb: {initial_checkpoint: y}\n")
    before = snapshot(place.root)
    run = place.run("use", "a", *configs, "bad.json", "two.yaml", "gone.yaml").expect(2)
    assert snapshot(place.root) == before
    assert run.out == ""
    said = run.err.splitlines()
    assert said[0].startswith("ckptd: error: bad.json:1: this is not JSON")
    assert said[1].startswith("two.yaml: initial_checkpoint stands here 2 times: a.initial_checkpoint (line 1), b.")
    assert said[2] == "gone.yaml is not there"
    assert said[3] == "  hint: Nothing was written."
    report = json.loads(place.run("use", "a", "bad.json", "--json").expect(2).out)
    assert report["error"]["kind"] == "config"


def test_what_is_not_there_is_not_written(place: Workplace, configs: list[str]) -> None:
    before = snapshot(place.root)
    run = place.run("use", "b", *configs).expect(1)
    assert "ckptd sync b" in run.err
    assert snapshot(place.root) == before
    place.run("use", "c", *configs).expect(2)
    place.run("use", "a").expect(2)


def test_a_key_and_a_format_can_be_given(place: Workplace) -> None:
    path = place.root / "model.conf"
    path.write_text("MODEL: {WEIGHTS: x}\nload_from: y\n")
    assert "--format" in place.run("use", "a", "model.conf", "--key", "WEIGHTS").expect(2).err
    place.run("use", "a", "model.conf", "--key", "WEIGHTS", "--format", "yaml").expect(0)
    assert path.read_text() == f"MODEL: {{WEIGHTS: {target(place)}}}\nload_from: y\n"


def test_a_linked_config_is_edited_where_it_lies(place: Workplace) -> None:
    (place.root / "real").mkdir()
    real = place.root / "real" / "a.textproto"
    real.write_text(TEXTPROTO)
    link = place.root / "a.textproto"
    link.symlink_to("real/a.textproto")
    run = place.run("use", "a", "a.textproto", "real/a.textproto").expect(0)
    assert len(run.out.splitlines()) == 1  # one file under two names
    assert link.is_symlink()
    assert target(place) in real.read_text()


def test_files_of_ckptd_are_left_alone(place: Workplace) -> None:
    (place.root / "config.json").symlink_to(target(place))
    for name in ("manifest.toml", "manifest.lock"):
        run = place.run("use", "a", name, "--key", "name", "--all", "--format", "toml").expect(2)
        assert "ckptd's own" in run.err
    lost = place.store / "a" / "config.json"
    lost.write_text('{"w": "x"}')
    run = place.run("use", "a", str(lost), "--key", "w", invariants=False).expect(2)
    assert "lies in the store" in run.err
    assert lost.read_text() == '{"w": "x"}'
    lost.unlink()


def test_an_archive_is_said_to_be_one(origin: Origin, site: Workplace) -> None:
    site.one(origin.put("/a.tar.gz", BODY))
    site.sync().expect(0)
    (site.root / "m.yaml").write_text("initial_checkpoint:\n")
    run = site.run("use", "a", "m.yaml").expect(0)
    assert "is an archive" in run.err
    assert (site.root / "m.yaml").read_text() == f"initial_checkpoint: {target(site)}\n"


def test_names_that_are_not_unicode(place: Workplace) -> None:
    name = os.fsdecode(b"m\xff.yaml")
    (place.root / name).write_text("initial_checkpoint: x\n")
    run = place.run("use", "a", name, "--diff", env={"PYTHONIOENCODING": "utf-8:strict"}).expect(0)
    assert "internal" not in run.err
    place.run("use", "a", name, "--json", env={"PYTHONIOENCODING": "utf-8:strict"}).expect(0)
    assert (place.root / name).read_text() == f"initial_checkpoint: {target(place)}\n"


def test_formats_of_the_command_line_are_those_there_are() -> None:
    option = next(each for each in use.params if each.name == "form")
    assert isinstance(option.type, click.Choice)
    assert set(option.type.choices) == {str(form) for form in Format}


# ---- rules: what keeps configs up to date with every sync


def test_a_rule_keeps_files_up_to_date(place: Workplace) -> None:
    deep = place.root / "configs" / "a" / "b"
    deep.mkdir(parents=True)
    for folder in (deep, deep.parent):
        (folder / "m.textproto").write_text(TEXTPROTO)
    (deep / "bad.textproto").write_text("a {")
    workplace = enter(place.manifest, ())
    a, b = workplace.manifest.checkpoints
    found = follow(workplace, a, ("configs/**/*.textproto", "configs/a/*.textproto", "none/*.yaml"), Wanted())
    names = [Path(each.path).name for each in found]
    assert names == ["bad.textproto", "m.textproto", "m.textproto", "*.yaml"]
    assert [each.error is None for each in found] == [False, True, True, False]
    assert [each.edited is not None and each.edited.changed for each in found] == [False, True, True, False]
    assert "no file" in str(found[-1].error)
    for folder in (deep, deep.parent):
        assert target(place) in (folder / "m.textproto").read_text()
    again = follow(workplace, a, ("configs/a/*.textproto",), Wanted())
    assert [each.edited is not None and each.edited.changed for each in again] == [False]
    with pytest.raises(MissingError):
        follow(workplace, b, ("configs/a/*.textproto",), Wanted())


def test_a_rule_goes_on_where_a_file_cannot_be_written(place: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("m1.json", "m2.json"):
        (place.root / name).write_text('{"w": ""}')

    def fail(fd: int) -> None:
        raise OSError(28, "No space left on device")

    workplace = enter(place.manifest, ())
    checkpoint = workplace.manifest.checkpoints[0]
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", fail)
        found = follow(workplace, checkpoint, ("m?.json",), Wanted("w"))
    assert [type(each.error) for each in found] == [StorageError, StorageError]
    assert [path.read_text() for path in sorted(place.root.glob("m?.json"))] == ['{"w": ""}'] * 2
    assert not list(place.root.glob(".*tmp"))


def test_patterns_begin_at_the_folder_of_the_manifest(tmp_path: Path) -> None:
    odd = tmp_path / "a[b]*"
    odd.mkdir()
    for path in (odd / "x.yaml", odd / "y.yaml", tmp_path / "z.yaml"):
        path.write_text("")
    (odd / "folder.yaml").mkdir()
    found = dict(expand(odd, ["*.yaml", str(tmp_path / "z.*"), "q"]))
    assert found == {
        "*.yaml": [str(odd / "x.yaml"), str(odd / "y.yaml")],
        str(tmp_path / "z.*"): [str(tmp_path / "z.yaml")],
        "q": [],
    }
