"""Changes of event files that keep their records or packets whole."""

import struct

from tests.fuzz.mutations import NUMBERS, any_of_bytes

_FIELDS = "<hhiiiiii"


def edit_records(rng, content, other):
    """Change whole records of five bytes: order, number, coordinates, times, clock steps."""
    records = [content[i : i + 5] for i in range(0, len(content) - 4, 5)]
    i, j = (int(rng.integers(len(records) + 1)) for _ in range(2))
    choice = int(rng.integers(6))
    if choice == 0:
        rng.shuffle(records)
    elif choice == 1:
        del records[min(i, j) : max(i, j)]
    elif choice == 2:
        records[i:i] = records[min(i, j) : max(i, j)]
    elif choice == 3:
        records.insert(i, bytes([0, 240, 0, 0, 0]) * int(rng.integers(1, 5)))
    elif choice == 4:
        records.insert(i, rng.bytes(5))
    elif records:
        changed = bytearray(records[min(i, len(records) - 1)])
        changed[int(rng.integers(5))] = int(rng.integers(256))
        records[min(i, len(records) - 1)] = bytes(changed)
    return b"".join(records)


def _split(content):
    """Return header lines and packets of an AEDAT file that is sound."""
    end = content.index(b"#!END-HEADER\r\n") + 14
    packets, start = [], end
    while start < len(content):
        fields = struct.unpack_from(_FIELDS, content, start)
        stop = start + 28 + fields[2] * fields[6]
        packets.append((list(fields), content[start + 28 : stop]))
        start = stop
    return content[:end], packets


def _join(lines, packets):
    return lines + b"".join(struct.pack(_FIELDS, *fields) + body for fields, body in packets)


def edit_packet_header(rng, content, other):
    """Change a field of a packet's header: type, sizes, counts, overflow."""
    lines, packets = _split(content)
    if packets:
        fields = packets[int(rng.integers(len(packets)))][0]
        i = int(rng.integers(len(fields)))
        bits = 16 if i < 2 else 32
        if rng.random() < 0.5:
            fields[i] += int(rng.integers(-3, 4))
        else:
            number = int(NUMBERS[int(rng.integers(len(NUMBERS)))]) % 2**bits
            fields[i] = number - 2**bits if number >= 2 ** (bits - 1) else number
        fields[i] = max(min(fields[i], 2 ** (bits - 1) - 1), -(2 ** (bits - 1)))
    return _join(lines, packets)


def edit_packets(rng, content, other):
    """Repeat, drop, exchange or empty whole packets."""
    lines, packets = _split(content)
    i, j = (int(rng.integers(len(packets) + 1)) for _ in range(2))
    choice = int(rng.integers(4))
    if choice == 0:
        packets[i:i] = packets[min(i, j) : max(i, j)]
    elif choice == 1:
        del packets[min(i, j) : max(i, j)]
    elif choice == 2:
        rng.shuffle(packets)
    else:
        packets.insert(i, ([int(rng.integers(3)), 1, 8, 4, 0, 0, 0, 0], b""))
    return _join(lines, packets)


def edit_events(rng, content, other):
    """Change, add or remove whole events, with the counts of their packet right."""
    lines, packets = _split(content)
    polarity = [i for i, (fields, _) in enumerate(packets) if fields[0] == 1]
    if polarity:
        chosen = polarity[int(rng.integers(len(polarity)))]
        fields, body = packets[chosen]
        body = any_of_bytes(rng, body, body)
        body = body[: len(body) // 8 * 8]
        n = len(body) // 8
        valid = sum(body[8 * k] & 1 for k in range(n))
        packets[chosen] = ([*fields[:5], n, n, valid], body)
    return _join(lines, packets)


def edit_lines(rng, content, other):
    """Change the header lines."""
    lines, packets = _split(content)
    return any_of_bytes(rng, lines, lines) + _join(b"", packets)


def long_lines(rng, content, other):
    """Let header lines go on and on."""
    line = b"#" + b"x" * int(rng.choice([10, 4094, 5000, 10**5])) + b"\r\n"
    return content[:14] + line * int(rng.choice([1, 20, 200])) + content[14:]


def edit_numbers(rng, content, other):
    """Change the numbers of a table of labels."""
    rows = [line.split(b",") for line in content.split(b"\n")]
    row = rows[int(rng.integers(len(rows)))]
    values = (b"", b"0", b"-1", b"12", b"1e3", b"9" * 19, b"9" * 5000, b'"', b"\0", b"1\r", b" 3 ",
              "٣".encode(), "²".encode(), b"a" * 140_000)  # fmt: skip
    row[int(rng.integers(len(row)))] = values[int(rng.integers(len(values)))]
    return b"\n".join(b",".join(row) for row in rows)


RECORDS = {"edit_records": edit_records}
PACKETS = {
    change.__name__: change
    for change in (
        edit_packet_header, edit_packets, edit_events, edit_lines, long_lines,
    )
}  # fmt: skip
LABELS = {"edit_numbers": edit_numbers}
