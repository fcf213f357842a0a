"""Checks the limits of the vendors' formats before a parser builds anything: small files can unpack to any size.

XML is counted in one streaming pass, DICOM in one over its data elements; of XLI-compressed leads and of annotations of
EDF+ only the size is taken.
"""

import base64
import binascii
import re
import struct
import zlib
from pathlib import Path
from xml.parsers import expat

import numpy as np

MAX_BYTES = 2**28  # a DICOM or EDF recording of a day; the readers hold a file in memory several times over
MAX_XML_BYTES = 2**25  # 5 minutes of twelve leads at 1 kHz, written as numbers
MAX_XML_TAGS = 2**18  # elements and attributes; a tree of as many takes 60 MB
MAX_XML_DEPTH = 256
MAX_XML_VALUES = 2**22  # numbers in text; each becomes a Python string for a while
MAX_INFLATED_BYTES = 2**26  # 90 minutes of twelve leads at 500 Hz and 16 bits
MAX_DICOM_ELEMENTS = 2**17  # data elements and items, for which pydicom takes 70 MB and seconds
MAX_XLI_BYTES = 2**23  # 5 minutes of twelve leads at 1 kHz
MAX_ANNOTATION_BYTES = 2**22  # each annotation of an EDF+ file may take seven bytes, and 400 in memory

IMPLICIT, BIG_ENDIAN, DEFLATED = "1.2.840.10008.1.2", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"
LONG_REPRESENTATIONS = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())  # with a length of four bytes

PIECE = 2**16  # bytes that are read at a time
XLI_HEADER = 8  # bytes before each lead
LZW_BITS = 10
LZW_LAST_CODE = 2**LZW_BITS - 2


class Refused(ValueError):
    """A file is or unpacks to too much, or declares entities."""


def check_limits(path: Path, format: str):
    """Checks the size of a file of `format`, and the size of what it unpacks to.

    Raises: `ValueError` for a file that is or becomes too large, and for XML that declares entities.
    """
    limit = MAX_XML_BYTES if format.endswith(("-xml", "-aecg")) else MAX_BYTES
    size = path.stat().st_size
    if size > limit:
        raise Refused(f"{path} has {size} bytes; {format} files are read up to {limit} bytes.")
    if check := CHECKS.get(format):
        check(path)


def check_xml(path: Path):
    """Streams an XML file past `XMLCounter`, which refuses too much of anything.

    Raises: `ValueError`, also for malformed XML.
    """
    content = path.read_bytes()
    try:
        try:
            counter = XMLCounter(path)
            counter.parser.Parse(content, True)
        except expat.ExpatError:  # the parsers try again with decoded bytes, so those are counted
            counter = XMLCounter(path)
            counter.parser.Parse(decode_xml(content), True)
    except Refused:
        raise
    except (expat.ExpatError, ValueError) as error:  # a ValueError for encodings of several bytes, such as Shift JIS
        raise ValueError(
            f"{path} cannot be read: it is damaged XML, or of an encoding that is not read ({error})."
        ) from None
    for text in counter.compressed:
        check_xli(path, text)


def decode_xml(content: bytes) -> str:
    """Decodes XML of a wrong or unknown encoding by the encoding that it declares, UTF-8 or else Latin-1."""
    content = content.removeprefix(b"\xef\xbb\xbf")
    declared = re.match(rb"""^\s*<\?xml[^>]*?encoding\s*=\s*["']([A-Za-z0-9._-]+)["'][^>]*\?>""", content)
    text = content.decode("latin-1")
    for encoding in ([declared[1].decode("ascii")] if declared else []) + ["utf-8"]:
        try:
            text = content.decode(encoding)
            break
        except (UnicodeDecodeError, LookupError):
            continue
    return re.sub(r"^\s*<\?xml[^>]*\?>", "", text, count=1)


class XMLCounter:
    """Counts elements, depth and numbers of an XML document while expat reads it, and keeps its XLI-compressed texts.

    Raises: `Refused` as soon as there is too much of something, or an entity is declared: entities can unpack to any
        size or read other files, and no ECG needs them.
    """

    def __init__(self, path: Path):
        self.path = path
        self.tags = self.depth = self.values = 0
        self.compressed: list[str] = []
        self.pieces: list[str] | None = None
        self.parser = expat.ParserCreate()
        self.parser.buffer_text = True
        self.parser.buffer_size = PIECE
        self.parser.StartElementHandler = self.start
        self.parser.EndElementHandler = self.end
        self.parser.CharacterDataHandler = self.text
        self.parser.EntityDeclHandler = self.entity

    def start(self, name: str, attributes: dict[str, str]):
        """Counts an element that begins, and its attributes."""
        self.tags += 1 + len(attributes)
        self.depth += 1
        if self.tags > MAX_XML_TAGS:
            raise Refused(f"{self.path} has more than {MAX_XML_TAGS} XML elements and attributes, which is no ECG.")
        if self.depth > MAX_XML_DEPTH:
            raise Refused(f"{self.path} nests XML elements more than {MAX_XML_DEPTH} deep, which is no ECG.")
        if name.lower() == "parsedwaveforms" and "XLI" in (value.strip().upper() for value in attributes.values()):
            self.pieces = []

    def end(self, name: str):
        """Leaves an element, and keeps its text if it is XLI-compressed."""
        self.depth -= 1
        if self.pieces is not None and name.lower() == "parsedwaveforms":
            self.compressed.append("".join(self.pieces))
            self.pieces = None

    def text(self, piece: str):
        """Counts the numbers in a piece of text."""
        self.values += len(piece.split())
        if self.values > MAX_XML_VALUES:
            raise Refused(f"{self.path} holds more than {MAX_XML_VALUES} words and numbers; no more are read of XML.")
        if self.pieces is not None:
            self.pieces.append(piece)

    def entity(self, *declaration):
        """Refuses the declaration of an entity."""
        raise Refused(f"{self.path} declares XML entities, which are refused.")


def check_xli(path: Path, text: str):
    """Adds up what the leads of an XLI-compressed recording unpack to.

    Raises: `ValueError` for more than `MAX_XLI_BYTES`.
    """
    try:
        content = base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"{path} cannot be read: its waveforms are no base64.") from None
    total = 0
    while len(content) >= XLI_HEADER:
        size = int.from_bytes(content[:4], "little")
        total += lzw_length(content[XLI_HEADER : XLI_HEADER + size], MAX_XLI_BYTES - total)
        if total > MAX_XLI_BYTES:
            raise Refused(f"{path}: its compressed leads unpack to more than {MAX_XLI_BYTES} bytes.")
        content = content[XLI_HEADER + size :]


def lzw_length(content: bytes, limit: int) -> int:
    """Returns the number of bytes that an LZW stream of 10-bit codes unpacks to, or any number above `limit`.

    The dictionary has only the lengths of the strings, not the strings.
    """
    bits = np.unpackbits(np.frombuffer(content, np.uint8))
    codes = bits[: len(bits) // LZW_BITS * LZW_BITS].reshape(-1, LZW_BITS) @ (1 << np.arange(LZW_BITS)[::-1])
    lengths = dict.fromkeys(range(256), 1)
    following, previous, total = 256, 0, 0
    for code in codes.tolist():
        if code > LZW_LAST_CODE or total > limit:
            break
        length = lengths.setdefault(code, previous + 1)
        if previous and following <= LZW_LAST_CODE:
            lengths[following] = previous + 1
            following += 1
        previous = length
        total += length
    return total


def check_dicom(path: Path):
    """Inflates a DICOM file, if it is deflated, and counts its data elements.

    Raises: `Refused` for more than `MAX_INFLATED_BYTES` or `MAX_DICOM_ELEMENTS`.
    """
    with open(path, "rb") as file:
        syntax = skip_file_meta(file)
        content = inflate(path, file) if syntax == DEFLATED else file.read()
    if count_elements(content, syntax) > MAX_DICOM_ELEMENTS:
        raise Refused(f"{path} has more than {MAX_DICOM_ELEMENTS} data elements, which is no ECG.")


def inflate(path: Path, file) -> bytes:
    """Inflates the rest of a file.

    Raises: `Refused` for more than `MAX_INFLATED_BYTES`; `ValueError` for what is damaged.
    """
    inflater, pieces, total, piece = zlib.decompressobj(-zlib.MAX_WBITS), [], 0, file.read(PIECE)
    while piece and not inflater.eof:
        try:
            pieces.append(inflater.decompress(piece, 2**20))
        except zlib.error as error:
            raise ValueError(f"{path} cannot be read, its deflated part is damaged ({error}).") from None
        total += len(pieces[-1])
        if total > MAX_INFLATED_BYTES:
            raise Refused(f"{path} unpacks to more than {MAX_INFLATED_BYTES} bytes, which is refused.")
        piece = inflater.unconsumed_tail or file.read(PIECE)
    return b"".join(pieces)


def count_elements(content: bytes, syntax: str) -> int:
    """Counts data elements, items and their ends in a DICOM data set, at most to one more than `MAX_DICOM_ELEMENTS`.

    Sequences and items are entered rather than skipped, so that one loop goes through all levels.
    """
    try:
        from pydicom.datadict import dictionary_has_tag, dictionary_VR
    except ImportError as error:
        raise ImportError("Reading DICOM needs pydicom: pip install heartcare[formats]") from error
    order, place, count = ">" if syntax == BIG_ENDIAN else "<", 0, 0
    while place + 8 <= len(content) and count <= MAX_DICOM_ELEMENTS:
        group, element = struct.unpack_from(f"{order}HH", content, place)
        representation = content[place + 4 : place + 6]
        explicit = syntax != IMPLICIT and representation.isalpha() and representation.isupper()
        is_long = explicit and representation in LONG_REPRESENTATIONS
        count, place = count + 1, place + (12 if is_long else 8)
        if group == 0xFFFE:  # the beginning of an item, or the end of one or of a sequence
            continue
        if explicit and not is_long:
            place += struct.unpack_from(f"{order}H", content, place - 2)[0]
        elif place <= len(content):
            length = struct.unpack_from(f"{order}I", content, place - 4)[0]
            tag = group << 16 | element
            known = representation.decode() if explicit else dictionary_VR(tag) if dictionary_has_tag(tag) else ""
            place += 0 if known == "SQ" or length == 2**32 - 1 else length
    return count


def skip_file_meta(file) -> str:
    """Reads the file meta information, group 0002, of a DICOM file, and returns its transfer syntax UID.

    `file` is left at the first byte after it.
    """
    file.seek(132)
    syntax = ""
    while len(head := file.read(8)) == 8:
        group, element, representation, length = struct.unpack("<HH2sH", head)
        if group != 2:
            file.seek(-8, 1)
            break
        if representation in LONG_REPRESENTATIONS:
            length = int.from_bytes(file.read(4), "little")
        if element == 0x10:
            syntax = file.read(length).decode("ascii", "replace").strip("\0 ")
        else:
            file.seek(length, 1)
    return syntax


def check_edf(path: Path):
    """Adds up the annotation channels of an EDF+ file.

    Raises: `ValueError` for more than `MAX_ANNOTATION_BYTES`.
    """
    with open(path, "rb") as file:
        try:
            count = int(file.read(256)[252:256])
            head = file.read(256 * max(count, 0))
            labels = [head[16 * i : 16 * i + 16].strip(b"\0 ") for i in range(count)]
            samples = [int(head[216 * count + 8 * i : 216 * count + 8 * i + 8]) for i in range(count)]
            records = (path.stat().st_size - 256 * (count + 1)) // (2 * sum(samples))
        except (ValueError, ZeroDivisionError):
            return  # the parser names what is wrong with the header
    annotations = 2 * records * sum(size for label, size in zip(labels, samples) if label == b"EDF Annotations")
    if annotations > MAX_ANNOTATION_BYTES:
        raise Refused(f"{path} has {annotations} bytes of annotations; up to {MAX_ANNOTATION_BYTES} are read.")


CHECKS = {
    "dicom": check_dicom,
    "edf": check_edf,
    "muse-xml": check_xml,
    "sierra-xml": check_xml,
    "hl7-aecg": check_xml,
}
