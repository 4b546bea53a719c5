"""The manifest's settings, table by table: everything in it that is not a checkpoint.

A table that is missing gives the defaults, which stand in `models`. Each function reads one table and knows
no other; what must agree between them is checked in `manifest`.
"""

from __future__ import annotations

from ckptd.core import schema
from ckptd.core.document import Table, shown
from ckptd.core.models import (
    AlertSettings,
    Auth,
    DaemonSettings,
    PolicySettings,
    StoreSettings,
    SyncSettings,
    TransferSettings,
    UnpackSettings,
    Use,
    VerifySettings,
)
from ckptd.core.units import parse_duration, parse_rate, parse_size

CONNECTIONS = schema.whole(1, 1024)
RETRIES = schema.whole(0, 1_000_000)
RATIO = schema.whole(1, 1_000_000)
MEMBERS = schema.whole(1, 1_000_000_000)
FILES = schema.some(schema.path)
LENGTHS = schema.whole(1, 4096)


def store(table: Table) -> StoreSettings:
    default = StoreSettings()
    path = table.get("path", schema.path, default.path)
    settings = StoreSettings(
        path=path,
        state=table.get("state", schema.path, path.rstrip("/") + "/.ckptd"),
        lock=table.get("lock", schema.path, default.lock),
        group=table.get("group", schema.text, default.group),
        keep_free=table.get("keep_free", parse_size, default.keep_free),
    )
    table.finish()
    return settings


def transfer(table: Table) -> TransferSettings:
    default = TransferSettings()
    settings = TransferSettings(
        downloads=table.get("downloads", CONNECTIONS, default.downloads),
        connections=table.get("connections", CONNECTIONS, default.connections),
        connections_per_host=table.get("connections_per_host", CONNECTIONS, default.connections_per_host),
        bandwidth=table.get("bandwidth", parse_rate, default.bandwidth),
        min_rate=table.get("min_rate", schema.limit, default.min_rate),
        stall_timeout=table.get("stall_timeout", parse_duration, default.stall_timeout),
        connect_timeout=table.get("connect_timeout", parse_duration, default.connect_timeout),
        retries=table.get("retries", RETRIES, default.retries),
        max_size=table.get("max_size", parse_size, default.max_size),
    )
    table.finish()
    return settings


def verify(table: Table) -> VerifySettings:
    default = VerifySettings()
    settings = VerifySettings(
        max_age=table.get("max_age", parse_duration, default.max_age),
        rate=table.get("rate", parse_rate, default.rate),
        window=table.get("window", schema.window, default.window),
        on_damage=table.get("on_damage", schema.on_damage, default.on_damage),
        io_pressure=table.get("io_pressure", schema.share, default.io_pressure),
        memory_pressure=table.get("memory_pressure", schema.share, default.memory_pressure),
        quarantine_size=table.get("quarantine_size", parse_size, default.quarantine_size),
        quarantine_age=table.get("quarantine_age", parse_duration, default.quarantine_age),
    )
    table.finish()
    return settings


def sync(table: Table) -> SyncSettings:
    settings = SyncSettings(every=table.get("every", parse_duration, SyncSettings().every))
    table.finish()
    return settings


def policy(table: Table) -> PolicySettings:
    default = PolicySettings()
    settings = PolicySettings(
        require=table.get("require", schema.trust, default.require),
        private_redirects=table.get("private_redirects", schema.flag, default.private_redirects),
    )
    table.finish()
    return settings


def unpack(table: Table) -> UnpackSettings:
    default = UnpackSettings()
    settings = UnpackSettings(
        max_size=table.get("max_size", parse_size, default.max_size),
        max_ratio=float(table.get("max_ratio", RATIO, int(default.max_ratio))),
        max_members=table.get("max_members", MEMBERS, default.max_members),
        max_path=table.get("max_path", LENGTHS, default.max_path),
        max_depth=table.get("max_depth", LENGTHS, default.max_depth),
        keep_archive=table.get("keep_archive", schema.flag, default.keep_archive),
    )
    table.finish()
    return settings


def daemon(table: Table) -> DaemonSettings:
    settings = DaemonSettings(
        listen=table.get("listen", schema.address, None),
        socket=table.get("socket", schema.path, None),
        textfile=table.get("textfile", schema.path, None),
    )
    table.finish()
    return settings


def alerts(table: Table) -> AlertSettings:
    settings = AlertSettings(
        command=table.get("command", schema.command, ()),
        webhook=table.get("webhook", schema.webhook, None, secret=True),
    )
    table.finish()
    return settings


def uses(tables: list[Table]) -> tuple[Use, ...]:
    found = []
    for table in tables:
        use = Use(
            checkpoint=table.need("checkpoint", schema.name, "", 'checkpoint = "..."'),
            files=table.need("files", FILES, (), 'files = ["configs/*.textproto"]'),
            key=table.get("key", schema.config_key, None),
        )
        table.finish()
        found.append(use)
    return tuple(found)


def sources(table: Table) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Plain http is allowed here even far away: the digest decides what is kept, not the mirror."""
    for key in table.data:
        _check_key(table, key, schema.prefix)
    return tuple((key, table.get(key, schema.prefixes, ())) for key in table.data)


def _check_key(table: Table, key: str, read: schema.Reader) -> None:
    try:
        read(key)
    except ValueError as error:
        table.complain(key, f"this key {error}")


def auth(table: Table) -> tuple[Auth, ...]:
    found: dict[str, Auth] = {}
    for key, value in table.data.items():
        inner = next(iter(value), "") if isinstance(value, dict) else ""
        if isinstance(value, dict) and isinstance(value.get(inner), dict):  # [auth.huggingface.co] is two tables
            table.complain(key, f"quote the host: [auth.{shown(f'{key}.{inner}')}]")
            continue
        _check_key(table, key, schema.host)
        if key.lower() in found:
            table.complain(key, "stands here twice, in different letters; keep one")
        found[key.lower()] = _bearer(table.table(key, f"[auth.{shown(key)}]"), key.lower())
    return tuple(found.values())


def _bearer(table: Table, host: str) -> Auth:
    auth = Auth(
        host=host,
        bearer_file=table.get("bearer_file", schema.path, None, secret=True),
        bearer_env=table.get("bearer_env", schema.variable, None, secret=True),
    )
    given = [key for key in ("bearer_file", "bearer_env") if key in table.data]
    if len(given) != 1:
        table.complain(None, 'write either bearer_file = "/path" or bearer_env = "NAME", and only one of them')
    table.finish()
    return auth
