"""The words of the house as values: what is wanted, what is locked, what came of it.

Frozen and slotted; paths are strings as the manifest wrote them (resolving them is I/O). Nothing here decides.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

PIECE = 16 * 1024 * 1024  # bytes of a piece; part of the lock's `pieces` value
BLOCK = 64 * 1024  # bytes of a block, whose CRC-32C helps to find damage within a piece


class Trust(StrEnum):
    """How sure we are that the bytes are the publisher's, best first."""

    PINNED = "pinned"  # the manifest's sha256
    WITNESSED = "witnessed"  # a digest published by the origin agreed
    FIRST_USE = "first-use"  # nobody but us says so

    @property
    def rank(self) -> int:
        """0 is best."""
        return list(Trust).index(self)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One `[[checkpoint]]` of the manifest. `file_name` is the last segment of the URL's path, decoded."""

    name: str
    url: str
    file_name: str
    mirrors: tuple[str, ...] = ()
    sha256: str | None = None
    size: int | None = None  # bytes
    unpack: bool = False
    tags: tuple[str, ...] = ()
    description: str = ""
    allow_http: bool = False
    priority: int = 0  # higher ones come first
    refresh: tuple[str, ...] = ()  # prints an address for `url` that is signed, and runs out
    in_place: str | None = None  # the file is this one, which somebody else keeps: it is read, and never written


@dataclass(frozen=True, slots=True)
class StoreSettings:
    path: str = "checkpoints"
    state: str = ""  # empty: `.ckptd` inside path
    lock: str = "manifest.lock"
    group: str | None = None
    keep_free: int | None = None  # bytes of the filesystem that are left to others


@dataclass(frozen=True, slots=True)
class TransferSettings:
    downloads: int = 8
    connections: int = 4
    connections_per_host: int = 16
    bandwidth: float | None = None  # bytes a second; None is unlimited
    min_rate: float = 1024.0  # bytes a second
    stall_timeout: float = 60.0  # seconds
    connect_timeout: float = 30.0  # seconds
    retries: int = 5
    max_size: int = 2_000_000_000_000  # bytes


class OnDamage(StrEnum):
    """What happens to a stored file that is damaged."""

    REPAIR = "repair"  # fetch the damaged ranges; where that cannot be, as `hold`
    HOLD = "hold"  # take its name away, so that no job reads bad weights
    KEEP = "keep"  # leave it where it is, and shout


@dataclass(frozen=True, slots=True)
class VerifySettings:
    max_age: float = 7 * 86400.0  # seconds
    rate: float | None = None  # bytes a second; None is unlimited
    window: tuple[int, int] = (0, 1440)  # minutes after local midnight
    on_damage: OnDamage = OnDamage.REPAIR
    io_pressure: float | None = 0.25  # share of time that others wait for the disk; None: never pause
    memory_pressure: float | None = 0.1  # the same for memory
    quarantine_size: int = 20_000_000_000  # bytes of damaged files that are kept as evidence
    quarantine_age: float = 90 * 86400.0  # seconds that they are kept


@dataclass(frozen=True, slots=True)
class UnpackSettings:
    """How much one archive may unpack to, and whether it is kept."""

    max_size: int = 200_000_000_000  # bytes of all files: ample for one checkpoint, and no shared disk is full of it
    max_ratio: float = 200.0  # unpacked bytes for each of the archive; weights come to about 1, zeros in gzip to 1000
    max_members: int = 1_000_000  # files, folders and links; each costs about half a kilobyte of memory
    max_path: int = 1024  # bytes of a member's path in UTF-8; 4096 with the store's own path is Linux's limit
    max_depth: int = 64  # folders on the way to a member
    keep_archive: bool = True  # False: only the tree stays, and a repair fetches the archive again

    @property
    def ratio_from(self) -> int:
        """Unpacked bytes from which on the ratio counts.

        Small models may be mostly zeros, which the default lets pass; whoever asks for less than the default means
        small archives, too, but for the padding that any tar has.
        """
        return 1024 * 1024 if self.max_ratio >= UnpackSettings().max_ratio else 64 * 1024


@dataclass(frozen=True, slots=True)
class SyncSettings:
    every: float = 6 * 3600.0  # seconds


@dataclass(frozen=True, slots=True)
class DaemonSettings:
    listen: str | None = None  # "host:port" of the page and the metrics; None: not served
    socket: str | None = None  # where callers reach the daemon; None: `daemon.sock` in the state folder
    textfile: str | None = None  # where metrics are written for node_exporter's textfile collector


@dataclass(frozen=True, slots=True)
class AlertSettings:
    """Who is told of damage, drift, a broken promise, repeated failure; and that it is over."""

    command: tuple[str, ...] = ()  # the incident comes as JSON on its stdin
    webhook: str | None = None  # a URL that the same JSON is posted to


@dataclass(frozen=True, slots=True)
class PolicySettings:
    require: Trust = Trust.FIRST_USE
    private_redirects: bool = False


@dataclass(frozen=True, slots=True)
class Use:
    """Config files that are kept pointing at a checkpoint. `files` are globs from the manifest's folder."""

    checkpoint: str
    files: tuple[str, ...]
    key: str | None = None  # None: `initial_checkpoint` and placeholders


@dataclass(frozen=True, slots=True)
class Auth:
    """Where the bearer token for one host comes from. The token itself is never kept in a model."""

    host: str
    bearer_file: str | None = None
    bearer_env: str | None = None


@dataclass(frozen=True, slots=True)
class Manifest:
    """Everything the operator wants. `sources` maps a URL prefix to the prefixes to try in its place, in order."""

    checkpoints: tuple[Checkpoint, ...]
    store: StoreSettings = StoreSettings()
    transfer: TransferSettings = TransferSettings()
    verify: VerifySettings = VerifySettings()
    sync: SyncSettings = SyncSettings()
    policy: PolicySettings = PolicySettings()
    unpack: UnpackSettings = UnpackSettings()
    daemon: DaemonSettings = DaemonSettings()
    alerts: AlertSettings = AlertSettings()
    sources: tuple[tuple[str, tuple[str, ...]], ...] = ()
    auth: tuple[Auth, ...] = ()
    uses: tuple[Use, ...] = ()


@dataclass(frozen=True, slots=True)
class LockEntry:
    """One `[[checkpoint]]` of the lock: only what the content determines."""

    name: str
    url: str
    size: int  # bytes
    sha256: str  # 64 lower-case hex digits
    trust: Trust
    witnesses: tuple[str, ...] = ()
    pieces: str | None = None  # "blake3:16777216:<64 hex>"
    revision: str | None = None  # the commit that the bytes came from, where the URL's own revision moves


@dataclass(frozen=True, slots=True)
class Lock:
    """The lock's entries by name."""

    entries: dict[str, LockEntry] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Witness:
    """A digest that somebody else published for the whole file, such as `x-goog-hash:crc32c`."""

    source: str  # as it is written into the lock
    algorithm: str  # "sha256", "sha512", "md5", "crc32c", "sha1"
    value: bytes


@dataclass(frozen=True, slots=True)
class Problem:
    """What `--json` shows as `error`."""

    kind: str
    message: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Damage:
    """A range of a stored file that is not what it was. Offsets and lengths in bytes; `detail` is for people."""

    offset: int
    length: int
    verdict: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Holder:
    """A process that uses a stored file."""

    pid: int
    user: str
    command: str  # its command line, cropped, fit to be shown
    since: float  # POSIX seconds: when the process started
    how: str  # "open", "mapped", "open and mapped"


@dataclass(frozen=True, slots=True)
class Usage:
    """Who uses a stored file, as far as could be seen."""

    holders: tuple[Holder, ...] = ()
    unseen: int = 0  # processes that we may not look at
    complete: bool = True  # False: processes are hidden from us altogether, or the time was up


@dataclass(frozen=True, slots=True)
class Case:
    """What is known about a damaged file, beyond where it is damaged."""

    cause: str  # a value of `diagnose.Cause`
    summary: str  # what happened, in a sentence or two
    last_good: float | None = None  # POSIX seconds: all of it was good then, or later
    usage: Usage = Usage()
    flips: tuple[tuple[int, int], ...] = ()  # offsets of bytes, and the bits of each that are the wrong way round
    quarantine: str | None = None  # where the evidence is


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one checkpoint in one command; `state` as in the contract's `--json`."""

    name: str
    state: str
    size: int | None = None
    sha256: str | None = None
    trust: Trust | None = None
    path: str | None = None
    bytes_fetched: int = 0
    bytes_reused: int = 0
    error: Problem | None = None
    exit_status: int = 0
    damage: tuple[Damage, ...] | None = None  # None: no piece digests, so nothing can be said
    notes: tuple[str, ...] = ()
    case: Case | None = None
    tree_only: bool = False  # the archive is as it should be, its unpacked tree is not
    usable: str | None = None  # of which kind is what a config wants of it; only `status` looks
    loose: tuple[str, ...] = ()  # paths in its tree, all of it intact, whose modes are not as they were made
