"""The two protobuf field kinds that etcd's alarm keys use; nothing more of protobuf."""

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
