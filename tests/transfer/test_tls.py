"""Certificates are read once, and again when they have changed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import trustme

from ckptd.errors import ConfigError
from ckptd.transfer import tls


def authority(path: Path, moment: int) -> None:
    trustme.CA().cert_pem.write_to_path(str(path))
    os.utime(path, (moment, moment))


async def test_read_again_when_the_file_has_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "ca.pem"
    authority(file, 1)
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    first = await tls.context()
    assert await tls.context() is first
    authority(file, 2)
    second = await tls.context()
    assert second is not first
    assert set(second.get_ca_certs(binary_form=True)) - set(first.get_ca_certs(binary_form=True))


async def test_another_file_is_another_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    usual = await tls.context()
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    with pytest.raises(ConfigError, match=r"SSL_CERT_FILE: cannot use .*none\.pem"):
        await tls.context()
    monkeypatch.delenv("SSL_CERT_FILE")
    assert await tls.context() is usual
