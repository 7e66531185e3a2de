"""Handmade databases, each with one fault that random damage seldom hits."""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path

import pytest

from drctl.errors import InvalidInput
from drctl.etcd.bolt import BoltError, Bucket, Database, fnv64a
from drctl.etcd.snapshot import inspect_snapshot
from tests.etcd.samples import write_snapshot

PAGE = 4096


def meta(pages: int) -> bytes:
    body = struct.pack("<IIIIQQQQQ", 0xED0CDAED, 2, PAGE, 0, 2, 0, 2, pages, 1)
    return struct.pack("<QHHI", 0, 4, 0, 0) + body + struct.pack("<Q", fnv64a(body))


def leaf(number: int, items: list[tuple[int, bytes, bytes]], count: int | None = None) -> bytes:
    head = struct.pack("<QHHI", number, 2, len(items) if count is None else count, 0)
    elements, data = b"", b""
    for index, (flags, key, value) in enumerate(items):
        pos = 16 * (len(items) - index) + len(data)
        elements += struct.pack("<IIII", flags, pos, len(key), len(value))
        data += key + value
    return head + elements + data


def branch(number: int, *children: int) -> bytes:
    elements = b"".join(struct.pack("<IIQ", 0, 0, child) for child in children)
    return struct.pack("<QHHI", number, 1, len(children), 0) + elements


def bucket_at(page: int) -> bytes:
    return struct.pack("<QQ", page, 0)


def build(*pages: bytes) -> bytes:
    return b"".join(page.ljust(PAGE, b"\0") for page in (meta(len(pages) + 2), b"", *pages))


def opened(*pages: bytes) -> Bucket:
    """Bucket `b`, rooted at page 3, of a database whose pages from 3 on are given."""
    body = build(leaf(2, [(1, b"b", bucket_at(3))]), *pages)
    bucket = Database(lambda offset, size: body[offset : offset + size], len(body)).bucket(b"b")
    assert bucket is not None
    return bucket


def test_a_tree_of_two_leaves() -> None:
    tree = opened(branch(3, 4, 5), leaf(4, [(0, b"a", b"1")]), leaf(5, [(0, b"c", b"2")]))
    assert list(tree.items()) == [(b"a", b"1"), (b"c", b"2")]
    assert (tree.last_key(), tree.count()) == (b"c", 2)


def test_empty_buckets() -> None:
    tree = opened(leaf(3, []))
    assert (list(tree.items()), tree.last_key(), tree.count()) == ([], None, 0)


def test_inline_bucket() -> None:
    inline = bucket_at(0) + leaf(0, [(0, b"k", b"v")])
    inner = opened(leaf(3, [(1, b"in", inline)])).bucket(b"in")
    assert inner is not None
    assert dict(inner.items()) == {b"k": b"v"}


@pytest.mark.parametrize(
    ("pages", "words"),
    [
        ((branch(3, 3),), "loop"),
        ((branch(3, 4, 4), branch(4, 3, 3)), "loop"),
        ((branch(3, 99),), "page 99 is outside the file"),
        ((branch(3, 0),), "page 0 is outside the file"),
        ((leaf(9, []),), "damaged header"),
        ((struct.pack("<QHHI", 3, 2, 0, 7),), "damaged header"),
        ((struct.pack("<QHHI", 3, 16, 0, 0),), "flags 0x10"),
        ((struct.pack("<QHHIIIII", 3, 2, 1, 0, 0, 4000, 500, 0),), "is outside its page"),
        ((leaf(3, [(0, b"b", b""), (0, b"a", b"")]),), "out of order"),
        ((leaf(3, [(0, b"a", b""), (0, b"a", b"")]),), "out of order"),
    ],
)
def test_damage_is_one_clean_error(pages: tuple[bytes, ...], words: str) -> None:
    with pytest.raises(BoltError, match=words):
        list(opened(*pages).items())


@pytest.mark.parametrize("flags", [1, 2])
def test_60000_elements_on_one_page(flags: int) -> None:
    page = struct.pack("<QHHI", 3, flags, 60000, 0)
    with pytest.raises(BoltError, match="element 59999 is outside its page"):
        opened(page).last_key()


@pytest.mark.parametrize("inline", [b"", bucket_at(0), bucket_at(0) + branch(0, 2)])
def test_damaged_nested_buckets(inline: bytes) -> None:
    with pytest.raises(BoltError):
        for _, inner in opened(leaf(3, [(1, b"in", inline)])).buckets():
            list(inner.items())


@pytest.mark.parametrize("name", [b"bolt", b"key", b"meta"])
def test_another_programs_database_is_no_snapshot(tmp_path: Path, name: bytes) -> None:
    body = build(leaf(2, [(1, name, bucket_at(3))]), leaf(3, []))
    path = write_snapshot(tmp_path, body + hashlib.sha256(body).digest())
    with pytest.raises(InvalidInput, match="but not etcd's"):
        inspect_snapshot(path)


def test_a_file_that_ends_early_while_it_is_read() -> None:
    body = build(leaf(2, []))
    with pytest.raises(BoltError, match="ends inside a page"):
        list(Database(lambda o, s: body[: PAGE * 2 + 9][o : o + s], len(body)).root.items())
