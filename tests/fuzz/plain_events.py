"""Event files read record by record in plain Python: what readers must agree with."""

import struct


class Unsound(Exception):
    """A file that must be refused."""


def read_records(content, sensor, *, sort):
    """Return (x, y, t, p) of a file of five-byte records, or raise `Unsound`."""
    if len(content) % 5:
        raise Unsound("cut")
    events, clock = [], 0
    for i in range(0, len(content), 5):
        x, y, a, b, c = content[i : i + 5]
        if y == 240:
            clock += 8192
        else:
            events.append((x, y, clock + (a % 128) * 65536 + b * 256 + c, a >= 128))
    return _check(events, sensor, sort)


def _check(events, sensor, sort):
    for i, (x, y, t, _) in enumerate(events):
        if sensor is not None and (x >= sensor[0] or y >= sensor[1]):
            raise Unsound("outside")
        if not sort and i and t < events[i - 1][2]:
            raise Unsound("backward")
    return sorted(events, key=lambda event: event[2]) if sort else events


def _find_packets(content):
    if not content.startswith(b"#!AER-DAT3.1\r\n"):
        raise Unsound("first line")
    start = 14
    while True:
        stop = content.find(b"\n", start) + 1
        if stop == 0 or content[start : start + 1] != b"#" or stop - start > 4096 or start > 65536:
            raise Unsound("header line")
        if content[start:stop] == b"#!END-HEADER\r\n":
            return stop
        start = stop


def read_packets(content, sensor, *, sort):
    """Return (x, y, t, p) of an AEDAT 3.1 file, or raise `Unsound`."""
    start, events = _find_packets(content), []
    while start < len(content):
        if start + 28 > len(content):
            raise Unsound("packet header cut")
        kind, _, size, when, overflow, room, n, n_valid = struct.unpack_from(
            "<hhiiiiii", content, start
        )
        if size <= 0 or not 0 <= n_valid <= n <= room or overflow < 0 or kind < 0:
            raise Unsound("packet header")
        if (kind == 1 and (size, when) != (8, 4)) or start + 28 + n * size > len(content):
            raise Unsound("packet")
        found = 0
        for i in range(n if kind == 1 else 0):
            data, t = struct.unpack_from("<Ii", content, start + 28 + 8 * i)
            if t < 0:
                raise Unsound("time")
            if data % 2:
                found += 1
                t += overflow * 2**31
                events.append((data >> 17, data // 4 % 2**15, t, bool(data // 2 % 2)))
        if kind == 1 and found != n_valid:
            raise Unsound("count")
        start += 28 + n * size
    return _check(events, sensor, sort)
