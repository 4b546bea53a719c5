"""The manifest: text in, `Manifest` out, or one ConfigError that says all that is wrong, line by line.

Also settles which checkpoints a command line means. Reads no file and resolves no path: relative paths stay
as written. What a single value may be stands in `schema`, the other tables in `settings`, TOML in `document`.
"""

from __future__ import annotations

from collections.abc import Sequence

from ckptd.core import schema, settings
from ckptd.core.document import Table, bare, load, shown, suggestion
from ckptd.core.models import Checkpoint, Manifest
from ckptd.core.units import parse_size
from ckptd.core.urls import is_loopback_host, origin_of
from ckptd.errors import ConfigError

HINT = "Correct the manifest and run the command again; nothing was touched."
PLAIN_HTTP = "plain http can be changed on the way; use https, give sha256, or write allow_http = true"
TAGS = schema.items(schema.tag)
URLS = schema.items(schema.url)
IN_PLACE_UNPACKED = (
    "a file that is watched in place is never unpacked, since nothing of ours may lie beside it; "
    "take one of in_place and unpack out"
)
PRIORITY = schema.whole(-1000, 1000)


def parse(text: str, path: str = "manifest.toml") -> Manifest:
    """The manifest in `text`; `path` is where it was found, for messages and for telling paths apart.

    Raises ConfigError with one line for each fault: file, line, table or entry, key, what would be right.
    """
    top = load(text, path, HINT)
    manifest = Manifest(
        store=settings.store(top.table("store")),
        transfer=settings.transfer(top.table("transfer")),
        verify=settings.verify(top.table("verify")),
        sync=settings.sync(top.table("sync")),
        policy=settings.policy(top.table("policy")),
        unpack=settings.unpack(top.table("unpack")),
        daemon=settings.daemon(top.table("daemon")),
        alerts=settings.alerts(top.table("alerts")),
        sources=settings.sources(top.table("sources")),
        auth=settings.auth(top.table("auth")),
        checkpoints=_checkpoints(top.tables("checkpoint")),
        uses=settings.uses(top.tables("use")),
    )
    _check_top(top)
    _check_places(top, manifest, path)
    _check_uses(top, manifest)
    top.document.settle(HINT)
    return manifest


def _check_top(top: Table) -> None:
    for key, value in top.data.items():
        if key in top.asked:
            continue
        if isinstance(value, (dict, list)):
            known = (f"[{each}]" if each in {"checkpoint", "use"} else each for each in top.asked)  # [[checkpoint]]
            top.document.complain((key,), f"unknown table [{bare(key)}]; {suggestion(key, known, '[{}]')}")
        else:
            tables = ", ".join(f"[{each}]" for each in top.asked)
            top.document.complain((key,), f"key {shown(key)} stands outside of every table; tables are {tables}")


def _checkpoints(tables: list[Table]) -> tuple[Checkpoint, ...]:
    seen: dict[str, tuple[int, str]] = {}  # lower-cased, since some file systems do not tell them apart
    found = []
    for number, table in enumerate(tables, start=1):
        checkpoint = _checkpoint(table)
        found.append(checkpoint)
        first = seen.setdefault(checkpoint.name.lower(), (number, checkpoint.name))
        if checkpoint.name and first[0] != number:
            same = "" if first[1] == checkpoint.name else f' as "{first[1]}", which differs only in case'
            table.complain("name", f"already belongs to entry number {first[0]}{same}; names are unique")
    return tuple(found)


def _checkpoint(table: Table) -> Checkpoint:
    url, file_name = table.need("url", schema.file_url, ("", ""), 'url = "https://..."')
    checkpoint = Checkpoint(
        name=table.need("name", schema.name, "", 'name = "..."'),
        url=url,
        file_name=file_name,
        mirrors=table.get("mirrors", URLS, ()),
        sha256=table.get("sha256", schema.sha256, None),
        size=table.get("size", parse_size, None),
        unpack=table.get("unpack", schema.flag, False),
        tags=table.get("tags", TAGS, ()),
        description=table.get("description", schema.description, ""),
        allow_http=table.get("allow_http", schema.flag, False),
        priority=table.get("priority", PRIORITY, 0),
        refresh=table.get("refresh", schema.command, ()),
        in_place=table.get("in_place", schema.path, None),
    )
    table.finish()
    if checkpoint.in_place is not None and checkpoint.unpack:
        table.complain("in_place", IN_PLACE_UNPACKED)
    if not checkpoint.allow_http and "sha256" not in table.data:
        for key, urls in (("url", (checkpoint.url,)), ("mirrors", checkpoint.mirrors)):
            if any(_is_open(each) for each in urls):
                table.complain(key, PLAIN_HTTP)
    return checkpoint


def _is_open(url: str) -> bool:
    """Whether others on the way could change what `url` serves."""
    if not url.lower().startswith("http://"):
        return False
    return not is_loopback_host(origin_of(url)[1])


def _check_places(top: Table, manifest: Manifest, path: str) -> None:
    """No two of store, state, lock and manifest may be the same, or stand in the folder of a checkpoint."""
    folder = path.rpartition("/")[0] or ("/" if path.startswith("/") else "")
    wanted = manifest.store
    store, state, lock = (_place(folder, each) for each in (wanted.path, wanted.state, wanted.lock))
    this = _place("", path)
    table = top.table("store")
    faults = (
        (
            "path",
            store == ("/",),
            "the root of the file system cannot be the store; write a folder of its own",
        ),
        (
            "state",
            state == store[: len(state)],
            "the store would lie in it; write a folder inside or beside the store",
        ),
        ("lock", lock == this, "is the manifest itself; write another file, such as manifest.lock"),
        ("lock", lock in (store, state), "is a folder of the store; write a file, such as manifest.lock"),
    )
    names = {checkpoint.name for checkpoint in manifest.checkpoints}
    for key, wrong, message in faults:
        if wrong:
            table.complain(key, message)
    for key, place in (("state", state), ("lock", lock), ("path", this)):
        if place[: len(store)] == store and len(place) > len(store) and place[len(store)] in names:
            what = "the manifest" if key == "path" else f"the {key}"
            table.complain(key, f'{what} would lie in the folder of checkpoint "{place[len(store)]}"; move it')


def _check_uses(top: Table, manifest: Manifest) -> None:
    """Every `[[use]]` is about a checkpoint of this manifest."""
    names = [checkpoint.name for checkpoint in manifest.checkpoints]
    for table, use in zip(top.tables("use"), manifest.uses, strict=True):
        if use.checkpoint and use.checkpoint not in names:
            table.complain("checkpoint", f"no checkpoint {shown(use.checkpoint)}; {suggestion(use.checkpoint, names)}")


def _place(folder: str, path: str) -> tuple[str, ...]:
    """Where `path` leads when followed from `folder`, by its text alone: symlinks are not known here."""
    whole = path if path.startswith("/") or not folder else f"{folder}/{path}"
    parts = ["/"] if whole.startswith("/") else []
    for part in whole.split("/"):
        if part == ".." and parts and parts[-1] != "..":
            parts = parts[:1] if parts == ["/"] else parts[:-1]
        elif part not in ("", "."):
            parts.append(part)
    return tuple(parts)


def select(checkpoints: Sequence[Checkpoint], wanted: Sequence[str]) -> tuple[Checkpoint, ...]:
    """The checkpoints that `wanted` (names and @tags; none means all) stands for, each once, in order.

    Raises ConfigError for a name or tag that nothing has.
    """
    if not wanted:
        return tuple(checkpoints)
    names = [checkpoint.name for checkpoint in checkpoints]
    tags = list(dict.fromkeys(f"@{tag}" for checkpoint in checkpoints for tag in checkpoint.tags))
    unknown = [word for word in dict.fromkeys(wanted) if word not in names and word not in tags]
    if unknown:
        said = [_unknown(word, tags if word.startswith("@") else names) for word in unknown]
        raise ConfigError("\n".join(said), hint="`ckptd status` lists the checkpoints of the manifest.")
    asked = set(wanted)
    return tuple(each for each in checkpoints if each.name in asked or any(f"@{tag}" in asked for tag in each.tags))


def _unknown(word: str, known: list[str]) -> str:
    kind = "tag" if word.startswith("@") else "checkpoint"
    return f"no {kind} {shown(word)} in the manifest; {suggestion(word, known)}"
