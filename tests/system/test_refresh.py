"""Addresses that are signed and run out: a command of the operator's gives new ones, and none is ever kept."""

from __future__ import annotations

import stat
from pathlib import Path

import faults as f
from origin import Origin, Turn
from workplace import Workplace, tgz

A = tgz(3_000_000, 1)
PATH = "/a.tar.gz"
SECRET = "SECRETSIGNATURE"


def giver(site: Workplace, origin: Origin) -> Path:
    """A command that counts how often it is asked, and signs with a new signature each time."""
    calls, script = site.root / "calls", site.root / "give"
    script.write_text(
        f'#!/bin/sh\necho called >> {calls}\necho "{origin.url(PATH)}?X-Amz-Signature={SECRET}$(wc -l < {calls})"\n'
    )
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return script


def test_an_address_that_runs_out_in_the_middle_is_renewed(origin: Origin, site: Workplace) -> None:
    """The first signature is good for one answer, which breaks off; what came is kept, and no secret is."""
    site.secrets.append(SECRET)
    plain = origin.put(PATH, A)
    origin.on(PATH, f.cut(1_000_000), times=1)

    def only_signed(turn: Turn) -> None:
        signature = turn.request.query.partition("Signature=")[2]
        good = signature == f"{SECRET}1" if not origin.body_bytes() else signature == f"{SECRET}2"
        if not good:
            f.status(403)(turn)

    origin.on(PATH, only_signed, times=None)
    site.one(plain, refresh=[str(giver(site, origin))])
    run = site.sync().expect(0)
    site.assert_good("a", A)
    assert (site.root / "calls").read_text().split() == ["called", "called"]
    assert run.entry("a")["bytes_fetched"] < len(A) * 1.2
    assert site.lock["a"]["url"] == plain


def test_a_command_that_fails_is_said(origin: Origin, site: Workplace) -> None:
    site.one(origin.put(PATH, A), refresh=["/bin/false"])
    run = site.sync().expect(1)
    assert "/bin/false ended with status 1" in run.message("a")
    site.one(origin.put(PATH, A), refresh=["/no/such/program"])
    assert "cannot be run" in site.sync().expect(1).message("a")
    site.one(origin.put(PATH, A), refresh=["/bin/echo", "not a url"])
    assert "did not print an http or https URL" in site.sync().expect(1).message("a")
    site.assert_absent("a")
