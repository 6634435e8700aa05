"""PNG in and out, 8 bits a channel, as much of it as photographs of cells need: no interlacing, no palette."""

import struct
import zlib

SIGNATURE = b"\x89PNG\r\n\x1a\n"
# Channels by colour type: grey, RGB, grey with alpha, RGB with alpha.
CHANNELS = {0: 1, 2: 3, 4: 2, 6: 4}


class Picture:
    """RGB, row after row."""

    def __init__(self, width, height, pixels):
        self.width, self.height, self.pixels = width, height, pixels

    def crop(self, x1, y1, x2, y2):
        """The box with its right and lower edge left out, like a slice."""
        rows = bytearray()
        for y in range(y1, y2):
            start = (y * self.width + x1) * 3
            rows += self.pixels[start : start + (x2 - x1) * 3]
        return Picture(x2 - x1, y2 - y1, bytes(rows))


def read(path):
    with open(path, "rb") as file:
        data = file.read()
    if not data.startswith(SIGNATURE):
        raise ValueError(f"{path} is no PNG")
    header, packed = None, b""
    for kind, body in _chunks(data):
        if kind == b"IHDR":
            header = struct.unpack(">IIBBBBB", body)
        elif kind == b"IDAT":
            packed += body
    if header is None or header[2] != 8 or header[3] not in CHANNELS or header[6] != 0:
        raise ValueError(f"{path}: 8 bits a channel, no palette, no interlacing is what this codec reads")
    width, height, channels = header[0], header[1], CHANNELS[header[3]]
    raw = _unfiltered(zlib.decompress(packed), width * channels, height, channels)
    return Picture(width, height, _as_rgb(raw, channels))


def write(path, picture):
    row = picture.width * 3
    lines = (b"\0" + picture.pixels[at : at + row] for at in range(0, row * picture.height, row))
    header = struct.pack(">IIBBBBB", picture.width, picture.height, 8, 2, 0, 0, 0)
    with open(path, "wb") as file:
        file.write(SIGNATURE)
        for kind, body in ((b"IHDR", header), (b"IDAT", zlib.compress(b"".join(lines))), (b"IEND", b"")):
            checked = kind + body
            file.write(struct.pack(">I", len(body)) + checked + struct.pack(">I", zlib.crc32(checked)))


def _chunks(data):
    at = len(SIGNATURE)
    while at + 8 <= len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        yield data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        at += length + 12


def _unfiltered(data, row, height, step):
    """Undoes the five filters of PNG, line by line."""
    out, before, at = bytearray(), bytes(row), 0
    for _ in range(height):
        kind, line = data[at], bytearray(data[at + 1 : at + 1 + row])
        at += row + 1
        if kind == 1:
            for i in range(step, row):
                line[i] = (line[i] + line[i - step]) & 255
        elif kind == 2:
            for i in range(row):
                line[i] = (line[i] + before[i]) & 255
        elif kind == 3:
            for i in range(row):
                left = line[i - step] if i >= step else 0
                line[i] = (line[i] + (left + before[i]) // 2) & 255
        elif kind == 4:
            for i in range(row):
                left, corner = (line[i - step], before[i - step]) if i >= step else (0, 0)
                line[i] = (line[i] + _paeth(left, before[i], corner)) & 255
        elif kind != 0:
            raise ValueError(f"PNG filter {kind}")
        out += line
        before = line
    return bytes(out)


def _paeth(left, above, corner):
    guess = left + above - corner
    to_left, to_above, to_corner = abs(guess - left), abs(guess - above), abs(guess - corner)
    if to_left <= to_above and to_left <= to_corner:
        return left
    return above if to_above <= to_corner else corner


def _as_rgb(raw, channels):
    if channels == 3:
        return raw
    if channels == 4:
        return b"".join(raw[at : at + 3] for at in range(0, len(raw), 4))
    return b"".join(raw[at : at + 1] * 3 for at in range(0, len(raw), channels))
