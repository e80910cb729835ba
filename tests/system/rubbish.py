"""Octets that are no envelope (B34): each by the name of what is wrong with it."""
import random

from harness.wire import Envelope, packed
import control_pb2


def varint(n):
    out = b""
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def field(number, octets):
    return varint(number << 3 | 2) + varint(len(octets)) + octets


GOOD = packed(Envelope(version=1, id=7, get_status=control_pb2.GetStatus()))


def nested(depth):
    inner = b""
    for _ in range(depth):
        inner = field(60, inner)
    return b"\x08\x01\x10\x07" + inner


RUBBISH = {
    "empty": b"", "noise": random.Random(34).randbytes(200), "zeroes": bytes(100), "half": GOOD[:-1], "field 0": b"\x00\x01" + GOOD,
    "endless varint": b"\x08" + b"\xff" * 12, "length 2^31": b"\x08\x01\x10\x07" + varint(60 << 3 | 2) + varint(1 << 31),
    "length 2^63": b"\x08\x01\x10\x07" + varint(60 << 3 | 2) + varint(1 << 63),
    "doubled id": GOOD[:2] + b"\x10\x07\x10\x08" + GOOD[4:], "long varint": b"\x08\x81\x00\x10\x07" + GOOD[4:],
    "wrong order": GOOD[2:] + GOOD[:2], "wrong type": b"\x0d\x01\x00\x00\x00" + GOOD[2:], "group": b"\x0b\x0c" + GOOD,
    "two bodies": GOOD + field(94, b""), "unknown body": b"\x08\x01\x10\x07" + field(5000, b"x"),
    "unknown field": GOOD + field(3000, b"x"), "id 0": b"\x08\x01\x10\x00" + GOOD[4:], "no body": b"\x08\x01\x10\x07",
    "version 99": b"\x08\x63" + GOOD[2:], "version 0": b"\x08\x00" + GOOD[2:], "deep": nested(10000),
    "no utf-8": packed(Envelope(version=1, id=7)) + field(69, field(1, b"mx\xff1")),
    "nul in text": packed(Envelope(version=1, id=7)) + field(69, field(1, b"mx\x001")),
    "many empty items": packed(Envelope(version=1, id=7)) + field(60, b"\x0a\x00" * 400000),
    "bool of 2": packed(Envelope(version=1, id=7)) + field(70, b"\x08\x02"),
}
