"""A PNG of a page with 256 colours, of which pages have few: a third of the size.

    palette.py page.png
"""

import collections
import pathlib
import struct
import sys
import zlib


def pixels(png):
    """Width, height and rows of a PNG of 8 bits in RGB or RGBA that is not interlaced."""
    at, data = 8, b""
    while at < len(png):
        length, kind = struct.unpack(">I4s", png[at : at + 8])
        if kind == b"IHDR":
            width, height, depth, colours, _, _, interlaced = struct.unpack(">IIBBBBB", png[at + 8 : at + 21])
            assert (depth, interlaced) == (8, 0) and colours in (2, 6), (depth, colours, interlaced)
        elif kind == b"IDAT":
            data += png[at + 8 : at + 8 + length]
        at += length + 12
    step = 3 if colours == 2 else 4
    data, size = zlib.decompress(data), width * step
    above, rows = bytearray(size), []
    for row in range(height):
        start = row * (size + 1)
        kind, line = data[start], bytearray(data[start + 1 : start + 1 + size])
        for at in range(size) if kind else ():
            left = line[at - step] if at >= step else 0
            up, corner = above[at], above[at - step] if at >= step else 0
            if kind == 4:
                guess = left + up - corner
                off = abs(guess - left), abs(guess - up), abs(guess - corner)
                added = left if off[0] <= off[1] and off[0] <= off[2] else up if off[1] <= off[2] else corner
            else:
                added = (left, up, (left + up) // 2)[kind - 1]
            line[at] = (line[at] + added) & 255
        rows.append([bytes(line[at : at + 3]) for at in range(0, size, step)])
        above = line
    return width, height, rows


def main():
    path = pathlib.Path(sys.argv[1])
    width, height, rows = pixels(path.read_bytes())
    counts = collections.Counter(colour for row in rows for colour in row)
    palette = [colour for colour, _ in counts.most_common(256)]
    place = {colour: at for at, colour in enumerate(palette)}
    for colour in counts:
        if colour not in place:
            apart = [sum((one - other) ** 2 for one, other in zip(colour, known)) for known in palette]
            place[colour] = apart.index(min(apart))
    lines = b"".join(b"\0" + bytes(place[colour] for colour in row) for row in rows)

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    chunks = chunk(b"IHDR", header) + chunk(b"PLTE", b"".join(palette)) + chunk(b"IDAT", zlib.compress(lines, 9)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)


if __name__ == "__main__":
    main()
