"""A read-only reader of bbolt files, as small as etcd's snapshots allow.

Layout (bbolt `page.go`, `meta.go`, `bucket.go`; all little-endian): a file is an array of pages.
Pages 0 and 1 are metas, the valid one with the higher transaction id counts. Every page begins
with a 16-byte header: id u64, flags u16, count u16, overflow u32. A leaf's elements are
(flags u32, pos u32, ksize u32, vsize u32), a branch's (pos u32, ksize u32, child u64), `pos` from
the element itself. A bucket is a leaf value: root page u64, sequence u64, and where the root is 0
the bucket's only page follows in place ("inline").

Everything that is read is bounds-checked: a damaged file raises `BoltError`, nothing else, and
every walk ends. The file is read by `pread`, not by mmap: where the disk is bad or the file shrinks
under a map the kernel kills the process (SIGBUS); a read says OSError.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

MAGIC = 0xED0CDAED
VERSION = 2
_PAGE = struct.Struct("<QHHI")
_META = struct.Struct("<IIIIQQQQQQ")
_LEAF = struct.Struct("<IIII")
_BRANCH = struct.Struct("<IIQ")
_BUCKET = struct.Struct("<QQ")
_BRANCH_PAGE, _LEAF_PAGE = 0x01, 0x02
_BUCKET_LEAF = 0x01
# Page sizes that an operating system has used; the second meta lies one page in.
_PAGE_SIZES = (4096, 8192, 16384, 32768, 65536, 1024, 2048)

ReadAt = Callable[[int, int], bytes]
"""(offset, size) -> at most `size` bytes; fewer at the end of the file."""


class BoltError(Exception):
    """The file is no bbolt database, or a damaged one."""


@dataclass(frozen=True)
class Meta:
    """The root of one committed transaction. `pages` is the file's high-water mark in pages."""

    page_size: int
    root: int
    pages: int
    txid: int


def fnv64a(data: bytes) -> int:
    """FNV-1a, 64 bit: the checksum of a meta page."""
    value = 0xCBF29CE484222325
    for byte in data:
        value = ((value ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return value


def _meta_at(read: ReadAt, offset: int) -> Meta | None:
    raw = read(offset + _PAGE.size, _META.size)
    if len(raw) < _META.size:
        return None
    magic, version, page_size, _flags, root, _seq, _free, pages, txid, checksum = _META.unpack(raw)
    if magic != MAGIC or version != VERSION or checksum != fnv64a(raw[:-8]):
        return None
    if page_size < 512 or page_size & (page_size - 1):
        return None
    return Meta(page_size, root, pages, txid)


def read_meta(read: ReadAt) -> Meta:
    """The newest valid meta page. Raises BoltError where there is none."""
    first = _meta_at(read, 0)
    sizes = (first.page_size,) if first else _PAGE_SIZES
    found = [first, *(_meta_at(read, size) for size in sizes)]
    valid = [meta for meta in found if meta is not None]
    if not valid:
        raise BoltError("no valid bbolt meta page")
    return max(valid, key=lambda meta: meta.txid)


@dataclass(frozen=True)
class _Page:
    """A page's body: `data` starts at its header and ends with its overflow."""

    data: bytes
    flags: int
    count: int

    def element(self, layout: struct.Struct, index: int) -> tuple[int, tuple[int, ...]]:
        """(offset of element `index`, its fields)."""
        offset = _PAGE.size + index * layout.size
        if offset + layout.size > len(self.data):
            raise BoltError(f"element {index} is outside its page")
        return offset, layout.unpack_from(self.data, offset)

    def slice(self, start: int, size: int) -> bytes:
        if start + size > len(self.data):
            raise BoltError("a key or value is outside its page")
        return self.data[start : start + size]


def _parse_page(data: bytes) -> _Page:
    if len(data) < _PAGE.size:
        raise BoltError("a page header is cut off")
    _id, flags, count, _overflow = _PAGE.unpack_from(data, 0)
    if not flags & (_BRANCH_PAGE | _LEAF_PAGE):
        raise BoltError(f"a page in the tree has flags {flags:#x}")
    return _Page(data, flags, count)


class Bucket:
    """One bucket of an open database. Iteration is lazy and in key order."""

    def __init__(self, database: Database, root: int, inline: bytes | None = None) -> None:
        self._database = database
        self._root = root
        self._inline = inline

    def _page(self, number: int) -> _Page:
        if self._inline is not None:
            return _parse_page(self._inline)
        return self._database._page(number)

    def _leaves(self, last_only: bool = False) -> Iterator[_Page]:
        """The leaf pages in key order; only the rightmost with `last_only`."""
        waiting = [self._root]
        # Each page has one parent, so a walk that sees more pages than there are is in a loop.
        budget = self._database.meta.pages
        while waiting:
            budget -= 1
            if budget < 0:
                raise BoltError("the page tree has a loop")
            page = self._page(waiting.pop())
            if page.flags & _LEAF_PAGE:
                yield page
            else:
                waiting.extend(self._children(page, last_only))

    def _children(self, page: _Page, last_only: bool) -> Iterator[int]:
        """A branch page's children, last first (they go on a stack)."""
        if self._inline is not None:
            raise BoltError("an inline bucket contains a branch page")
        first = max(page.count - 1, 0) if last_only else 0
        for index in reversed(range(first, page.count)):
            _, (_pos, _ksize, child) = page.element(_BRANCH, index)
            yield child

    @staticmethod
    def _leaf_item(page: _Page, index: int) -> tuple[int, bytes, bytes]:
        offset, (flags, pos, ksize, vsize) = page.element(_LEAF, index)
        start = offset + pos
        return flags, page.slice(start, ksize), page.slice(start + ksize, vsize)

    def _raw(self) -> Iterator[tuple[int, bytes, bytes]]:
        previous: bytes | None = None
        for page in self._leaves():
            for index in range(page.count):
                item = self._leaf_item(page, index)
                # Strictly rising keys are what makes a walk over a damaged file end.
                if previous is not None and item[1] <= previous:
                    raise BoltError("keys are out of order")
                previous = item[1]
                yield item

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """(key, value) of every entry that is not a nested bucket."""
        return ((key, value) for flags, key, value in self._raw() if not flags & _BUCKET_LEAF)

    def get(self, key: bytes) -> bytes | None:
        """The value of `key`, or None. Walks the bucket: meant for etcd's few small ones."""
        return next((value for found, value in self.items() if found == key), None)

    def last_key(self) -> bytes | None:
        """The greatest key, by the rightmost pages alone; None in an empty bucket."""
        last = next(self._leaves(last_only=True), None)
        if last is None or last.count == 0:
            return None
        return self._leaf_item(last, last.count - 1)[1]

    def count(self) -> int:
        """How many entries the bucket has, without reading keys or values."""
        return sum(page.count for page in self._leaves())

    def buckets(self) -> Iterator[tuple[bytes, Bucket]]:
        """(name, bucket) of every nested bucket."""
        for flags, key, value in self._raw():
            if flags & _BUCKET_LEAF:
                yield key, self._database._bucket(value)

    def bucket(self, name: bytes) -> Bucket | None:
        """The nested bucket `name`, or None."""
        return next((bucket for key, bucket in self.buckets() if key == name), None)


class Database:
    """A whole bbolt file of `size` bytes, read on demand. Nothing is ever written."""

    def __init__(self, read: ReadAt, size: int) -> None:
        self.meta = read_meta(read)
        self._read = read
        if self.meta.pages * self.meta.page_size > size:
            raise BoltError("the file is shorter than its meta page says")

    @property
    def root(self) -> Bucket:
        """The bucket that holds all others."""
        return Bucket(self, self.meta.root)

    def bucket(self, name: bytes) -> Bucket | None:
        """The top-level bucket `name`, or None."""
        return self.root.bucket(name)

    def _exactly(self, offset: int, size: int) -> bytes:
        data = self._read(offset, size)
        if len(data) != size:
            raise BoltError("the file ends inside a page")
        return data

    def _page(self, number: int) -> _Page:
        size, pages = self.meta.page_size, self.meta.pages
        if not 2 <= number < pages:
            raise BoltError(f"page {number} is outside the file")
        stored, _flags, _count, overflow = _PAGE.unpack(self._exactly(number * size, _PAGE.size))
        if stored != number or number + overflow >= pages:
            raise BoltError(f"page {number} has a damaged header")
        return _parse_page(self._exactly(number * size, (overflow + 1) * size))

    def _bucket(self, value: bytes) -> Bucket:
        if len(value) < _BUCKET.size:
            raise BoltError("a bucket's header is cut off")
        root, _sequence = _BUCKET.unpack_from(value, 0)
        return Bucket(self, root, value[_BUCKET.size :] if root == 0 else None)
