"""The protobuf field kinds that etcd's alarm keys and users have; nothing more of protobuf."""

from __future__ import annotations


def varint_fields(data: bytes) -> dict[int, int]:
    """{field number: value} of a message made of varints only. Raises ValueError otherwise."""
    fields: dict[int, int] = {}
    offset = 0
    while offset < len(data):
        tag, offset = _varint(data, offset)
        if tag & 7:
            raise ValueError(f"field {tag >> 3} is not a varint")
        fields[tag >> 3], offset = _varint(data, offset)
    return fields


def byte_fields(data: bytes) -> dict[int, tuple[bytes, ...]]:
    """{field number: each value} of a message made of byte strings only. Raises ValueError else."""
    fields: dict[int, tuple[bytes, ...]] = {}
    offset = 0
    while offset < len(data):
        tag, offset = _varint(data, offset)
        if tag & 7 != 2:
            raise ValueError(f"field {tag >> 3} is not a string of bytes")
        size, offset = _varint(data, offset)
        if offset + size > len(data):
            raise ValueError("a string of bytes is cut off")
        fields[tag >> 3] = (*fields.get(tag >> 3, ()), data[offset : offset + size])
        offset += size
    return fields


def _varint(data: bytes, offset: int) -> tuple[int, int]:
    value = shift = 0
    while shift < 70:
        if offset >= len(data):
            break
        byte = data[offset]
        value |= (byte & 0x7F) << shift
        offset, shift = offset + 1, shift + 7
        if byte < 0x80:
            return value, offset
    raise ValueError("a varint is cut off")
