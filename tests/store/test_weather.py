"""The kernel's pressure files: as they are here, and as they are where there are none."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from ckptd.core.pressure import Sample
from ckptd.store.weather import PRESSURE, weather

LINE = "some avg10=0.00 avg60=0.00 avg300=0.00 total={}\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=1\n"


def test_both_are_read(tmp_path: Path) -> None:
    (tmp_path / "io").write_text(LINE.format(1234))
    (tmp_path / "memory").write_text(LINE.format(56))
    assert weather(tmp_path) == Sample(io=1234, memory=56)


@pytest.mark.parametrize("content", [b"", b"\xff\x00", b"cpu 1 2 3\n"])
def test_what_is_not_understood_is_not_known(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "io").write_bytes(content)
    (tmp_path / "memory").write_text(LINE.format(56))
    assert weather(tmp_path) == Sample(io=None, memory=56)


def test_a_kernel_without_pressure_is_no_error(tmp_path: Path) -> None:
    assert weather(tmp_path / "none") == Sample()
    (tmp_path / "io").mkdir()
    assert weather(tmp_path) == Sample()


def test_switched_off_at_boot(monkeypatch: pytest.MonkeyPatch) -> None:
    """With psi=0 the files are there, and opening them fails."""

    def refused(path: Path) -> bytes:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported", str(path))

    monkeypatch.setattr(Path, "read_bytes", refused)
    assert weather() == Sample()


def test_this_machine() -> None:
    if not PRESSURE.is_dir():
        pytest.skip("this kernel has no pressure information")
    first, second = weather(), weather()
    assert first.io is None or second.io is None or 0 <= first.io <= second.io
    assert first.memory is None or second.memory is None or 0 <= first.memory <= second.memory
