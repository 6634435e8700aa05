"""Reads the PNGs that cells are kept in: 8 bits a channel, RGB."""

import struct
import zlib


def read_png(path):
    """Width, height and the bytes of all pixels."""
    with open(path, "rb") as file:
        data = file.read()
    at, packed, size = 8, b"", None
    while at + 8 <= len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        kind, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        if kind == b"IHDR":
            *size, depth, colours, _, _, interlaced = struct.unpack(">IIBBBBB", body)
            if (depth, colours, interlaced) != (8, 2, 0):
                raise ValueError(f"{path} is no plain RGB picture")
        elif kind == b"IDAT":
            packed += body
        at += length + 12
    width, height = size
    return width, height, _unfiltered(zlib.decompress(packed), 3 * width, height)


def _unfiltered(data, row, height):
    out, above = bytearray(), bytes(row)
    for y in range(height):
        start = y * (row + 1)
        kind, line = data[start], bytearray(data[start + 1 : start + 1 + row])
        for i in range(row) if kind else ():
            left, corner = (line[i - 3], above[i - 3]) if i >= 3 else (0, 0)
            line[i] = (line[i] + _guess(kind, left, above[i], corner)) & 255
        out += line
        above = line
    return bytes(out)


def _guess(kind, left, above, corner):
    if kind == 1:
        return left
    if kind == 2:
        return above
    if kind == 3:
        return (left + above) // 2
    nearest = left + above - corner
    return min((left, above, corner), key=lambda it: abs(nearest - it))
