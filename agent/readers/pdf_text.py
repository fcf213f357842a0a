"""Words of a page -> what the report says: speed and gain, patient, the device's measurements, statements.

words --runs without a wide gap--> cells (a column's line)
cell + cells to its right  -->  measurements, age, sex, patient's number
cells that speak of findings, without anything that identifies a person  -->  report
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache

from ...privacy_heartcare import DEGREES, PERSON_IN_FORM, TRACES, is_name
from ..lexicon import FINDINGS, PATTERNS, find_mentions
from .device_findings import POSSIBLE
from .pdf_labels import Word

MAX_COLUMNS = 8  # number of cells to the right of a cell that may belong to it
WIDE_GAP = 0.8  # gaps wider than this share of a word's height divide columns

PATIENT = {
    "age": re.compile(r"\b(?:age|alter)\s*:?\s*(\d{1,3})|\b(\d{1,3})[ -]*(?:years?(?: old)?|yrs?|jahre)\b", re.I),
    "sex": re.compile(r"\b(?:sex|gender|geschlecht)\s*:?\s*(\w+)|\b(male|female|männlich|weiblich)\b", re.I),
    "patient_id": re.compile(r"\b(?:patient(?:en)?[ -]?(?:id|nr\.?)|pid|id|mrn)\s*:\s*(\S+)", re.I),
}
_TO, _VALUE, _AND = r"\s*[:=]?\s*", r"(-?\d{1,3})", r"\s*[/ ,]\s*"
_INTERVAL = r"(?:[- ]?(?:int(?:erval|\.)?|dur(?:ation|\.)?|zeit|dauer|breite))?"
_QTC_VALUE = rf"{_TO}(?:\d{{3}}\s*/\s*)?(\d{{3}})\b"
_AXES, _ANY = rf"p[-/ ](?:qrs|r)[-/ ]t(?: ax[ei]s)?{_TO}", r"-?\d{1,3}"
# Name of a measurement -> pattern of its name and value.
MEASUREMENTS = {
    "heart_rate": rf"(?:(?:vent(?:ricular)?\.? |heart )?rate|hr|hf|herzfrequenz){_TO}(\d{{2,3}})\b(?!\s*mm)",
    "pr_interval": rf"(?:pr|pq){_INTERVAL}{_TO}(\d{{2,3}})\b",
    "qrs_duration": rf"qrsd?{_INTERVAL}{_TO}(\d{{2,3}})\b(?!\s*[°/])",
    "qt_interval": rf"qt{_INTERVAL}\s*(?:/\s*qtc\w*(?:[- ]?\(?[a-z]+\)?)?)?{_TO}(\d{{3}})\b",
    # A page that names no formula says just QTc; which one the device used is not known.
    "qtc": rf"(?:qt\s*/\s*)?qtc(?!\w){_INTERVAL}{_QTC_VALUE}",
    "qtc_bazett": rf"(?:qt\s*/\s*)?qtc[- ]?\(?b(?:az\w*)?\)?{_INTERVAL}{_QTC_VALUE}",
    "qtc_fridericia": rf"(?:qt\s*/\s*)?qtc[- ]?\(?f(?:r(?:id|ed)\w*)?\)?{_INTERVAL}{_QTC_VALUE}",
    "p_axis": rf"{_AXES}{_VALUE}{_AND}{_ANY}{_AND}{_ANY}|p[- ](?:axis|achse){_TO}{_VALUE}",
    "qrs_axis": rf"{_AXES}{_ANY}{_AND}{_VALUE}{_AND}{_ANY}|(?:qrs|r)[- ](?:axis|achse){_TO}{_VALUE}",
    "t_axis": rf"{_AXES}{_ANY}{_AND}{_ANY}{_AND}{_VALUE}|t[- ](?:axis|achse){_TO}{_VALUE}",
}
MEASUREMENTS = {
    name: re.compile(rf"(?<![\w/-])(?<!atrial )(?:{pattern})", re.I) for name, pattern in MEASUREMENTS.items()
}
SPEED = re.compile(r"(\d+(?:[.,]\d+)?)\s*mm\s*/\s*s", re.I)
GAIN = re.compile(r"(\d+(?:[.,]\d+)?)\s*mm\s*/\s*mV", re.I)
CHEST_GAIN = re.compile(r"\b(?:chest|precordial|brustwand|v)\s*:?\s*(\d+(?:[.,]\d+)?)\s*mm\s*/\s*mV", re.I)

# Fields of a page that identify nobody and are no statements either; their values are left out as well.
FIELD = re.compile(
    r"\b(?:unit|loc(?:ation)?|dept|department|abteilung|date|datum|time|zeit)(?:[- ]?(?:id|no|nr|number|nummer)\b\.?)?"
    r"\s*[:#]|\b(?:hospital|clinic|klinik|unconfirmed)\b",
    re.I,
)
_MONTH = r"(?:jan|feb|m[aä]r|apr|ma[iy]|jun|jul|aug|sep|o[ck]t|nov|de[cz])[a-z]*\.?"
# Dates, times and long numbers.
DATES_AND_NUMBERS = re.compile(
    rf"\b\d{{1,4}}[-./ ](?:\d{{1,2}}|{_MONTH})\.?[-./ ]\d{{2,4}}\b|\b{_MONTH} \d{{1,2}},? \d{{4}}\b"
    r"|\b\d{1,2}:\d{2}(?::\d{2})?\b|\S*\d{4,}\S*",
    re.I,
)
NAME_AND_DEGREE = re.compile(rf"((?:\b[\w'-]+\.?,? ){{1,3}}){DEGREES}")
# A line of these words alone names no finding, and yet belongs to the statements.
GENERAL_WORDS = frozenset(
    """
    abnormal borderline normal otherwise within limits ecg ekg for age and or with of the to no not is are was be
    may in on has have when compared previous prior tracing longer present now new old since changed change changes
    significant found consider suggests suggestive probable possible probably possibly poor data quality
    interpretation adversely affected variant pediatric analysis criteria minimal moderate mild marked voltage axis
    deviation rate rhythm left right anterior inferior lateral septal posterior wave waves segment st qrs qt qtc pr
    lengthened shortened increased decreased replaced appears auffälliges auffällig pathologisches grenzwertiges
    normales unauffälliges im vergleich zum vorbefund keine änderung
    """.split()
)
ECG_WORDS = GENERAL_WORDS.union(*(re.findall(r"[a-z]{3,}", pattern.pattern) for _, pattern in (*PATTERNS, *FINDINGS)))


@dataclass(frozen=True)
class Cell:
    """Words that stand in one line without a wide gap."""

    words: tuple[Word, ...]

    @cached_property
    def box(self) -> Word:
        """The box around all of its words."""
        words = self.words
        return Word(
            self.text,
            words[0].left,
            min(word.top for word in words),
            words[-1].right,
            max(word.bottom for word in words),
        )

    @cached_property
    def text(self) -> str:
        """The words with single blanks between them."""
        return " ".join(word.text for word in self.words)


def find_cells(words: list[Word]) -> list[Cell]:
    """Returns the lines of each column of a page, from the top and from the left."""
    lines: list[list[Word]] = []
    for word in sorted(words, key=lambda word: (word.y, word.left)):
        line = lines[-1] if lines else None
        if line and abs(word.y - line[0].y) < 0.4 * min(word.height, line[0].height):
            line.append(word)
        else:
            lines.append([word])
    cells = []
    for line in lines:
        line.sort(key=lambda word: word.left)
        start = 0
        for i in range(1, len(line) + 1):
            if i == len(line) or line[i].left - line[i - 1].right > WIDE_GAP * line[i].height:
                cells.append(Cell(tuple(line[start:i])))
                start = i
    return cells


def find_scales(cells: list[Cell]) -> tuple[float | None, float | None, float | None]:
    """Returns speed in mm/s, gain in mm/mV and gain of the chest leads, each None where the page does not say it."""
    text = "\n".join(cell.text for cell in cells)
    values = []
    for pattern in (SPEED, GAIN, CHEST_GAIN):
        match = pattern.search(text)
        value = float(match[1].replace(",", ".")) if match else 0.0
        values.append(value if 1 <= value <= 200 else None)
    return tuple(values)


def find_patient(cells: list[Cell]) -> dict[str, str | None]:
    """Returns age, sex and number of the patient, as they are written."""
    lines = list(texts_of_lines(cells))
    return {
        key: next((g for text, _ in lines if (m := pattern.search(text)) for g in m.groups() if g), None)
        for key, pattern in PATIENT.items()
    }


def find_measurements(cells: list[Cell]) -> dict[str, float]:
    """Reads measurements of the device: a name in a cell, and its value there or in the next cells of the line."""
    measurements: dict[str, float] = {}
    for text, own_length in texts_of_lines(cells):
        for name, pattern in MEASUREMENTS.items():
            for match in pattern.finditer(text):
                value = float(next(group for group in match.groups() if group))
                low, high = POSSIBLE[name]
                if match.start() < own_length and low <= value <= high:
                    measurements.setdefault(name, value)
    return measurements


def texts_of_lines(cells: list[Cell]) -> Iterator[tuple[str, int]]:
    """Yields for each cell its text and that of all cells to its right, and how long its own text is."""
    for cell, *right in lines_of_cells(cells):
        yield " ".join([cell.text, *(other.text for other in right)]), len(cell.text)


def find_report(cells: list[Cell]) -> str:
    """Returns the statements of a page, each with a full stop, and nothing that identifies a person."""
    persons = find_persons(cells)
    blocks = [[(line, remove_persons(line, persons)) for line in block] for block in find_blocks(cells)]
    sentences: list[str] = []
    for block in blocks:
        texts = [text for _, text in block]
        counts = [count_findings(text) for text in texts]
        joined = False
        for i, text in enumerate(texts):
            # A statement may be wrapped: its two lines then say more than each of them.
            wrapped = i + 1 < len(texts) and count_findings(f"{text} {texts[i + 1]}") > counts[i] + counts[i + 1]
            if joined:
                sentences[-1] += f" {text}"
            elif counts[i] or wrapped or (any(counts) and is_general(text)) or is_verdict(text):
                sentences.append(text)
            joined = wrapped
    return " ".join(sentence.strip(" .,;") + "." for sentence in dict.fromkeys(sentences) if sentence.strip(" .,;"))


def find_blocks(cells: list[Cell]) -> list[list[str]]:
    """Returns the texts of cells that stand below one another with one left edge, without those that give scale or a
    value.
    """
    blocks: list[list[Cell]] = []
    for cell in cells:
        box = cell.box
        above = [
            block
            for block in blocks
            if abs(block[-1].box.left - box.left) < 0.5 * box.height and 0 < box.y - block[-1].box.y < 2 * box.height
        ]
        if above:
            above[-1].append(cell)
        else:
            blocks.append([cell])
    return [[cell.text for cell in block if not is_value(cell.text)] for block in blocks]


def is_value(text: str) -> bool:
    """Tells whether a text is the scale or a measurement and names no finding."""
    values = (SPEED, *MEASUREMENTS.values())
    return any(pattern.search(text) for pattern in values) and not count_findings(text)


def find_persons(cells: list[Cell]) -> set[str]:
    """Words and numbers in lower case that the page gives as names, numbers, addresses of persons and the like."""
    persons: set[str] = set()
    for cell, *right in lines_of_cells(cells):
        for match in (*PERSON_IN_FORM.finditer(cell.text), *FIELD.finditer(cell.text)):
            value = cell.text[match.end() :]
            if not value.strip(" :#.") and right and not count_findings(right[0].text):
                value = right[0].text
            persons.update(tokens(value))
        if is_name(cell.text):
            persons.update(tokens(cell.text))
        for match in TRACES.finditer(cell.text):
            persons.update(tokens(match[0]))
    return {word for word in persons if word not in ECG_WORDS}


def lines_of_cells(cells: list[Cell]) -> Iterator[list[Cell]]:
    """Yields each cell with the cells to its right, in order."""
    for cell in cells:
        box = cell.box
        right = [
            other
            for other in cells
            if other.box.left > box.left and abs(other.box.y - box.y) < 0.5 * min(box.height, other.box.height)
        ]
        yield [cell, *sorted(right, key=lambda other: other.box.left)[:MAX_COLUMNS]]


def remove_persons(text: str, persons: set[str]) -> str:
    """Returns a line without what speaks of a person: all from words such as "Name:" on, dates, numbers, and names that
    stand elsewhere on the page.
    """
    text = NAME_AND_DEGREE.sub(lambda match: keep_known_words(match[1]), DATES_AND_NUMBERS.sub(" ", text))
    starts = [match.start() for pattern in (PERSON_IN_FORM, FIELD) if (match := pattern.search(text))]
    text = text[: min(starts, default=None)]
    kept = [word for word in TRACES.sub(" ", text).split() if not tokens(word) or not set(tokens(word)) <= persons]
    return " ".join(kept).strip(" ,;:-(")


def keep_known_words(text: str) -> str:
    """Returns the words of a text that ECG reports use."""
    return " ".join(word for word in text.split() if set(tokens(word)) & ECG_WORDS)


def is_verdict(text: str) -> bool:
    """Tells whether a line is a general verdict on the ECG ("ABNORMAL ECG")."""
    return is_general(text) and re.search(r"\b(?:ecg|ekg)\b", text, re.I) is not None and len(text.split()) > 1


def is_general(text: str) -> bool:
    """Tells whether a line consists of general words of statements alone, such as "when compared with ECG of"."""
    words = re.findall(r"[^\W\d_]+", text.lower())
    return bool(words) and all(word in GENERAL_WORDS for word in words)


@lru_cache(maxsize=4096)
def count_findings(text: str) -> int:
    """Returns the number of findings that a text names, denied ones too."""
    return sum(bool(mention.code) for mention in find_mentions(text, FINDINGS))


def tokens(text: str) -> list[str]:
    """Returns the words of more than one letter and the numbers of more than two digits of a text."""
    return [word for word in re.findall(r"[^\W_]+(?:['-][^\W_]+)*", text.lower()) if len(word) > 1]
