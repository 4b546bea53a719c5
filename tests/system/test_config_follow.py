"""`[[use]]`: config files that are kept pointing at a checkpoint by `sync`; the real program."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from origin import Origin
from test_unpacked import ONE, TWO, packed, tree_of
from workplace import Workplace

pytestmark = pytest.mark.slow

PATH = "/model.tar.gz"
CONFIG = '# ours\nmodel_options {\n  initial_checkpoint: "${INIT_CHECKPOINT}"  # set by hand\r\n}\n'


def write(site: Workplace, origin: Origin, *uses: str, **keys: object) -> None:
    site.write({"name": "a", "url": origin.url(PATH), "unpack": True, **keys})
    site.manifest.write_text(site.manifest.read_text() + "".join(f"\n[[use]]\n{use}\n" for use in uses))


@pytest.fixture
def config(origin: Origin, site: Workplace) -> Path:
    origin.put(PATH, packed(ONE))
    path = site.root / "configs" / "deep" / "model.textproto"
    path.parent.mkdir(parents=True)
    path.write_bytes(CONFIG.encode())
    path.chmod(0o640)
    return path


USE = 'checkpoint = "a"\nfiles = ["configs/**/*.textproto"]'


def test_it_points_at_the_current_version(origin: Origin, site: Workplace, config: Path) -> None:
    """`sync` keeps those files pointing at it; only the value changes; a second run changes nothing."""
    write(site, origin, USE)
    run = site.sync(invariants=False).expect(0)
    assert "points at it now" in run.err
    prefix = tree_of(site) / "resnet" / "ckpt-100"
    assert config.read_bytes() == CONFIG.replace("${INIT_CHECKPOINT}", str(prefix)).encode()
    assert stat.S_IMODE(config.stat().st_mode) == 0o640
    before = config.stat()
    assert "points at it" not in site.sync(invariants=False).expect(0).err
    assert (config.stat().st_ino, config.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_update_is_followed(origin: Origin, site: Workplace, config: Path) -> None:
    """The new version has another prefix: the files say so when `update` returns."""
    write(site, origin, USE)
    site.sync(invariants=False).expect(0)
    origin.put(PATH, packed(TWO))
    site.run("update", "a", invariants=False).expect(0)
    assert "ckpt-200" in config.read_text()


def test_what_cannot_be_pointed_is_told(origin: Origin, site: Workplace, config: Path) -> None:
    """No file, no such key, two of them: told each, none of it stops the sync, and nothing else is touched."""
    other = config.with_name("other.yaml")
    other.write_text("lr: 1\n")
    write(
        site, origin, USE, 'checkpoint = "a"\nfiles = ["nowhere/*.yaml"]', 'checkpoint = "a"\nfiles = ["configs/*/o*"]'
    )
    run = site.sync(invariants=False).expect(0)
    assert "ckpt-100" in config.read_text()
    assert other.read_text() == "lr: 1\n"
    assert "nowhere/*.yaml" in run.err
    assert "other.yaml" in run.err


def test_a_failed_checkpoint_leaves_its_files(origin: Origin, site: Workplace, config: Path) -> None:
    write(site, origin, USE)
    origin.remove(PATH)
    site.sync(invariants=False).expect(1)
    assert config.read_bytes() == CONFIG.encode()


@pytest.mark.parametrize(
    ("use", "says"),
    [
        ('checkpoint = "nobody"\nfiles = ["x"]', "nobody"),
        ('checkpoint = "a"', "files"),
        ('files = ["x"]', "checkpoint"),
        ('checkpoint = "a"\nfiles = ["x"]\nkeys = "y"', "keys"),
    ],
    ids=["unknown checkpoint", "no files", "no checkpoint", "unknown key"],
)
def test_wrong_rules(origin: Origin, site: Workplace, config: Path, use: str, says: str) -> None:
    """A rule that cannot be meant is an error of the manifest (2), and nothing is touched."""
    write(site, origin, use)
    run = site.run("sync").expect(2)
    assert says in run.err
    assert config.read_bytes() == CONFIG.encode()
    assert not site.store.exists()


def test_links_and_the_store_are_left_alone(origin: Origin, site: Workplace, config: Path) -> None:
    """A config that is a link is written where it leads to; what lies in the store is never written."""
    link = site.root / "link.textproto"
    os.symlink(config, link)
    write(site, origin, 'checkpoint = "a"\nfiles = ["link.textproto", "checkpoints/**/*"]')
    run = site.sync(invariants=False).expect(0)
    assert link.is_symlink()
    assert "ckpt-100" in config.read_text()
    assert "lies in the store" in run.err
    site.verify().expect(0)
