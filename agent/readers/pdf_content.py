"""Counts what a page draws and writes before PyMuPDF draws it: a few kilobytes can hold a million strokes.

page --content streams, inflated within a limit--> operators, and those of the forms that they draw, as often as they do
"""

import base64
import binascii
import re
import zlib
from collections import Counter as Frequency
from collections.abc import Callable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import pymupdf

MAX_CONTENT_BYTES = 2**24  # all streams of a page together, inflated
MAX_STREAMS, MAX_DEPTH = 2000, 12


class Amount(NamedTuple):
    """Bytes of content that are executed, straight or curved segments, painted paths and pictures, and written
    characters.
    """

    content: int = 0
    segments: int = 0
    paths: int = 0
    characters: int = 0

    def plus(self, other: "Amount", times: int = 1) -> "Amount":
        """Returns the sum of this and of `times` the other."""
        return Amount(*(a + times * b for a, b in zip(self, other)))


# 12 leads x 10 s at 1000 Hz are 120,000 segments; 12 x 10 s at 500 Hz, each stroke a path of its own, 60,000 paths.
LIMITS = Amount(content=2**25, segments=200_000, paths=80_000, characters=50_000)

# An operator may follow a number without a blank between them; it ends where no further letter follows.
_BEFORE, _AFTER = rb"(?<![^\s\d.+\-/<>\[\](){}%])", rb"(?![^\s/<>\[\](){}%])"
SEGMENT = re.compile(_BEFORE + rb"(?:re|[lcvy])" + _AFTER)
PAINTING = re.compile(_BEFORE + rb"(?:Do|sh|[FfBb]\*?|[Ss])" + _AFTER)
DRAWING = re.compile(rb"/([^\s/<>\[\](){}%]+)\s+Do" + _AFTER)
ANY_DRAWING = re.compile(_BEFORE + rb"Do" + _AFTER)
BRACKET = re.compile(rb"\\.|[()]", re.DOTALL)
HEX_STRING = re.compile(rb"(?<!<)<[0-9A-Fa-f\s]*>")
REFERENCE = re.compile(r"/([^\s/<>\[\](){}%]+)\s*(\d+) \d+ R")
# The most that a byte becomes where a filter is not undone here.
EXPANSION = {"LZWDecode": 2560, "RunLengthDecode": 64}


def count_page(page: "pymupdf.Page") -> Amount:
    """Counts what one page of PyMuPDF draws and writes, its annotations too.

    Raises: `ValueError` where it is more than `LIMITS`, or where its content cannot be unpacked within them.
    """
    counter = ContentCounter(page.parent)
    amount = Amount()
    for xref in page.get_contents():
        amount = amount.plus(counter.count(xref, page.xref))
    for xref in counter.appearances(page.xref):
        amount = amount.plus(counter.count(xref, xref))
    for name, value, limit in zip(Amount._fields, amount, LIMITS):
        if value > limit:
            raise ValueError(f"it has {value} or more {UNITS[name]}, which no ECG report has (limit: {limit}).")
    return amount


UNITS = {
    "content": "bytes of content",
    "segments": "line segments",
    "paths": "painted paths",
    "characters": "written characters",
}


class ContentCounter:
    """Counts the content streams of a page, each once, and adds them as often as they are drawn."""

    def __init__(self, document: "pymupdf.Document"):
        self.document = document
        self.bytes_left = MAX_CONTENT_BYTES
        self.amounts: dict[int, Amount] = {}
        self.active: set[int] = set()

    def count(self, xref: int, owner: int, depth: int = 0) -> Amount:
        """Counts what the stream `xref` draws, with all that it draws by other streams; `owner` is the object with its
        resources.
        """
        if xref in self.active:
            raise ValueError("a part of its content draws itself, which no ECG report does.")
        if xref in self.amounts:
            return self.amounts[xref]
        if depth > MAX_DEPTH or len(self.amounts) >= MAX_STREAMS:
            raise ValueError(
                f"its content is more than {MAX_STREAMS} streams, or nested more than {MAX_DEPTH} deep, which no ECG "
                "report is."
            )
        self.active.add(xref)
        content = self.content(xref)
        amount = count_operators(content)
        names = [unescape(match[1].decode("latin-1")) for match in islice(DRAWING.finditer(content), LIMITS.paths + 1)]
        drawn = Frequency(names)
        # Drawings whose name is not plain to see count for the largest form.
        hidden = sum(1 for _ in islice(ANY_DRAWING.finditer(content), LIMITS.paths + 1)) - len(names)
        largest = Amount()
        for name, form in self.resources(owner, "XObject"):
            if (hidden > 0 or name in drawn) and self.document.xref_get_key(form, "Subtype")[1] == "/Form":
                form_amount = self.count(form, form if self.has(form, "Resources") else owner, depth + 1)
                largest = Amount(*map(max, largest, form_amount))
                amount = amount.plus(form_amount, drawn[name])
        amount = amount.plus(largest, max(hidden, 0))
        for _, pattern in self.resources(owner, "Pattern"):
            if self.document.xref_is_stream(pattern):
                amount = amount.plus(self.count(pattern, pattern, depth + 1), 1 + amount.paths)
        # A glyph that is drawn by a content stream is made once for each font; its own text is none of the page's.
        for _, font in self.resources(owner, "Font") if not self.has(owner, "CharProcs") else ():
            for _, glyph in self.references(font, "CharProcs"):
                amount = amount.plus(self.count(glyph, font, depth + 1))
        self.active.remove(xref)
        self.amounts[xref] = amount
        return amount

    def content(self, xref: int) -> bytes:
        """Returns the content of a stream, unpacked. Raises `ValueError` where it is larger than what is left of the
        limit.
        """
        kind, value = self.document.xref_get_key(xref, "Filter")
        if kind == "xref":
            value = self.document.xref_object(int(value.split()[0]), compressed=True)
        data = self.document.xref_stream_raw(xref) or b""
        for name in re.findall(r"/(\w+)", value):
            if name in DECODERS:
                data = DECODERS[name](data, self.bytes_left)
            elif len(data) * EXPANSION.get(name, self.bytes_left + 1) > self.bytes_left:
                raise ValueError(f"its content is packed with {name}, which cannot be unpacked within a limit.")
        content = self.document.xref_stream(xref) or b""
        self.bytes_left -= len(content)
        if self.bytes_left < 0:
            raise ValueError(f"it has more than {MAX_CONTENT_BYTES} bytes of content, which no ECG report has.")
        return content

    def has(self, xref: int, key: str) -> bool:
        """Tells whether an object has an entry."""
        return self.document.xref_get_key(xref, key)[0] != "null"

    def resources(self, owner: int, kind: str) -> Iterator[tuple[str, int]]:
        """Yields (name, number) of the resources of a kind, which a page may inherit."""
        for _ in range(MAX_DEPTH):
            if self.has(owner, "Resources"):
                yield from self.references(owner, f"Resources/{kind}")
                return
            parent, value = self.document.xref_get_key(owner, "Parent")
            if parent != "xref":
                return
            owner = int(value.split()[0])

    def references(self, xref: int, path: str) -> Iterator[tuple[str, int]]:
        """Yields (name, number) of the objects to which a dictionary refers."""
        kind, value = self.document.xref_get_key(xref, path)
        if kind == "xref":
            value = self.document.xref_object(int(value.split()[0]), compressed=True)
        for name, number in within_limit(REFERENCE.findall(value)):
            yield unescape(name), int(number)

    def appearances(self, page: int) -> Iterator[int]:
        """Yields the streams that annotations are drawn with."""
        kind, value = self.document.xref_get_key(page, "Annots")
        if kind == "xref":
            value = self.document.xref_object(int(value.split()[0]), compressed=True)
        for number in within_limit(re.findall(r"(\d+) \d+ R", value)):
            entry = self.document.xref_get_key(int(number), "AP/N")
            numbers = [entry[1]] if entry[0] == "xref" else re.findall(r"\d+ \d+ R", entry[1])
            for stream in (int(text.split()[0]) for text in numbers):
                if self.document.xref_is_stream(stream):
                    yield stream


def within_limit(references: list) -> list:
    """Returns the references of an object. Raises `ValueError` for more than `MAX_STREAMS`."""
    if len(references) > MAX_STREAMS:
        raise ValueError(f"a part of it refers to {len(references)} others, which no ECG report does.")
    return references


def count_operators(content: bytes) -> Amount:
    """Counts the things that a stream itself draws and writes, up to just above the limits."""
    segments = sum(1 for _ in islice(SEGMENT.finditer(content), LIMITS.segments + 1))
    paths = sum(1 for _ in islice(PAINTING.finditer(content), LIMITS.paths + 1))
    return Amount(len(content), segments, paths, count_characters(content))


def count_characters(content: bytes) -> int:
    """Counts the bytes within strings, and one for each string."""
    count = sum(len(match[0]) // 2 for match in islice(HEX_STRING.finditer(content), LIMITS.characters + 1))
    depth, start = 0, 0
    for match in BRACKET.finditer(content):
        if match[0] == b"(":
            start = start if depth else match.end()
            depth += 1
            count += 1
        elif match[0] == b")" and depth:
            depth -= 1
            count += 0 if depth else match.start() - start
        if count > LIMITS.characters:
            break
    return count + (len(content) - start if depth else 0)


def unescape(name: str) -> str:
    """Returns a name with its #xx written out."""
    return re.sub(r"#([0-9A-Fa-f]{2})", lambda match: chr(int(match[1], 16)), name)


def inflate(data: bytes, limit: int) -> bytes:
    """Undoes FlateDecode, as far as the data are sound. Raises `ValueError` for more than `limit` bytes."""
    inflater = zlib.decompressobj()
    parts, size = [], 0
    try:
        while data and not inflater.eof:
            parts.append(inflater.decompress(data, 2**16))
            size += len(parts[-1])
            data = inflater.unconsumed_tail
            if size > limit:
                raise ValueError(f"its content inflates to more than {limit} bytes, which no ECG report has.")
    except zlib.error:
        return b"".join(parts)
    return b"".join(parts)


def decode_base85(data: bytes, limit: int) -> bytes:
    """Undoes ASCII85Decode; `limit` bounds the result."""
    data = re.sub(rb"\s", b"", data.split(b"~")[0].removeprefix(b"<~"))
    if len(data) > limit:
        raise ValueError(f"its content unpacks to more than {limit} bytes, which no ECG report has.")
    try:
        return base64.a85decode(data)
    except ValueError as error:
        raise ValueError(f"its content is no base 85 ({error}).") from error


def decode_hex(data: bytes, limit: int) -> bytes:
    """Undoes ASCIIHexDecode, which only shrinks."""
    digits = re.sub(rb"[^0-9A-Fa-f]", b"", data.split(b">")[0])
    return binascii.unhexlify(digits + b"0" * (len(digits) % 2))


DECODERS: dict[str, Callable[[bytes, int], bytes]] = {
    "FlateDecode": inflate,
    "ASCII85Decode": decode_base85,
    "ASCIIHexDecode": decode_hex,
}
