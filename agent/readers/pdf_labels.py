"""Tells the lead that a trace shows: labels and rows of traces -> the leads' stretches.

labels + rows --one rule for the page--> labelled stretches, checked by III = II - I and aVR + aVL + aVF = 0
traces without a label --correlation with the labelled ones--> rhythm strips
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import product

import numpy as np

from ...ecg_heartcare import LEADS
from .pdf_geometry import Row, Scale, Trace

LEADS_BY_LOWER_CASE = {lead.lower(): lead for lead in LEADS}
LABEL = re.compile(rf"[(*]?([-\u2212\u2013]?)({'|'.join(LEADS_BY_LOWER_CASE)})[:.)*]*", re.IGNORECASE)
PREFIXES = ("lead", "ableitung", "abl", "ecg", "ekg")
SIDE_MM = 15  # the farthest that a label may stand to the side of its trace
AGREES = 0.15  # largest RMS of sums that should be 0, or of differences, relative to the largest lead
MAX_SCATTER_MM = 7  # labels stand to their rows with no more scatter than this
CLEARLY_NEARER = 0.6  # largest distance to a row, as a share of that to the other row
MAX_REPEATED = 3  # number of stretches of one lead that are compared
OPEN = "it cannot be told whether the lead labels stand above, below or beside their traces"
MIN_OVERLAP = 50  # samples that two stretches must share to be compared


@dataclass(frozen=True)
class Word:
    """A word of the page and its box."""

    text: str
    left: float
    top: float
    right: float
    bottom: float

    @property
    def x(self) -> float:
        """Middle of the box."""
        return (self.left + self.right) / 2

    @property
    def y(self) -> float:
        """Middle height of the box."""
        return (self.top + self.bottom) / 2

    @property
    def height(self) -> float:
        """Height of the box, a little more than that of its letters."""
        return self.bottom - self.top


@dataclass(frozen=True)
class Label:
    """The name of a lead, its place (x, y), and -1 where the trace shows the lead upside down (Cabrera's -aVR)."""

    lead: str
    sign: int
    x: float
    y: float


@dataclass(frozen=True)
class Stretch:
    """One lead over a part of the page: `trace` is of `row`, `sign` as that of its label."""

    lead: str
    sign: int
    trace: Trace
    row: Row


@dataclass
class Naming:
    """The result of one rule on a page: its stretches, how many labels it uses, the traces that it leaves without a
    label, how far below its row a label typically stands, and notes and warnings for the reader of the ECG.
    """

    stretches: list[Stretch] = field(default_factory=list)
    used: int = 0
    unnamed: list[tuple[Trace, Row]] = field(default_factory=list)
    offset: float = 0.0
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def content(self) -> list[tuple[str, float, float]]:
        """The stretches in a form that is equal for two namings that name the traces alike."""
        return sorted((s.lead, s.trace.left, s.row.level) for s in self.stretches)


def find_labels(words: list[Word]) -> list[Label]:
    """Returns the names of leads that stand alone; leads that a sentence speaks of are no labels."""
    labels = []
    for word in words:
        match = LABEL.fullmatch(word.text)
        if not match:
            continue
        beside = [
            other
            for other in words
            if other is not word
            and abs(other.y - word.y) < 0.5 * word.height
            and -word.height < max(other.left - word.right, word.left - other.right) < word.height
        ]
        if all(other.text.lower().strip(" .:") in PREFIXES for other in beside):
            labels.append(Label(LEADS_BY_LOWER_CASE[match[2].lower()], -1 if match[1] else 1, word.x, word.y))
    return labels


# Levels of the rows, height of a label -> rows that the label may belong to, by each place that labels may have.
RULES: dict[str, Callable[[np.ndarray, float], np.ndarray]] = {
    "above": lambda levels, y: levels > y,
    "below": lambda levels, y: levels < y,
    "beside": lambda levels, y: np.ones(len(levels), bool),
}


def name_rows(labels: list[Label], rows: list[Row], scale: Scale) -> Naming:
    """Tells by the page whether labels stand above, below or beside their traces, and names the traces by that.

    Of the rules that agree with the limb leads (III = II - I, aVR + aVL + aVF = 0), or of all if none does, the best is
    the one that uses the most labels, leaves the fewest traces without one, and whose labels are much nearer to their
    rows.

    Returns: the naming, with notes on how it was told, and a warning where the limb leads do not agree.

    Raises: `ValueError` where the page leaves it open.
    """
    namings: list[Naming] = []
    for rule in RULES:
        naming = apply_rule(rule, labels, rows, scale)
        if naming.stretches and all(naming.content != other.content for other in namings):
            namings.append(naming)
    if not namings:
        raise ValueError("no trace stands with any of the lead labels")
    errors = {id(naming): limb_error(naming.stretches) for naming in namings}
    agreeing = [naming for naming in namings if errors[id(naming)] is not None and errors[id(naming)] < AGREES]
    fullest = keep_fullest(agreeing or namings)
    best = select_nearest(fullest)
    error = errors[id(best)]
    if error is not None and error > AGREES and len(fullest) > 1:
        raise ValueError(f"{OPEN}: by none of these does III equal II - I")
    place = "beside" if abs(best.offset) < 2 * scale.y else "below" if best.offset > 0 else "above"
    best.notes.append(f"labels stand {place} their traces")
    if error is None:
        best.notes.append("the page does not show the limb leads at one time, by which this could be checked")
    else:
        difference = f"{100 * error:.0f} % of the largest limb lead"
        best.notes.append(f"III - II + I and aVR + aVL + aVF differ from 0 by {difference}")
    if error is not None and error > AGREES:
        best.warnings.append("limb_leads_disagree")
    return best


def apply_rule(rule: str, labels: list[Label], rows: list[Row], scale: Scale) -> Naming:
    """Gives each label the nearest row that the rule allows. Labels that do not stand to their row as most do are left
    out: they belong to a text.
    """
    levels = np.array([row.level for row in rows])
    placed: list[tuple[Label, int]] = []
    for label in labels:
        allowed = np.flatnonzero(RULES[rule](levels, label.y))
        if len(allowed):
            placed.append((label, int(allowed[np.abs(levels[allowed] - label.y).argmin()])))
    naming = Naming()
    if not placed:
        return naming
    offsets = np.array([label.y - levels[row] for label, row in placed])
    naming.offset = float(np.median(offsets))
    near = np.abs(offsets - naming.offset) < MAX_SCATTER_MM * scale.y
    for number, row in enumerate(rows):
        labels_of_row = [label for (label, place), keep in zip(placed, near) if place == number and keep]
        for trace, here in pair_labels(labels_of_row, row, scale):
            stretches = list(cut_stretches(trace, here, row, scale))
            naming.used += len(stretches)
            naming.stretches += stretches
            if not stretches:
                naming.unnamed.append((trace, row))
    return naming


def pair_labels(labels: list[Label], row: Row, scale: Scale) -> Iterator[tuple[Trace, list[Label]]]:
    """Yields each trace of a row with its labels: as many labels as traces are paired in order, others by nearness."""
    labels = sorted(labels, key=lambda label: label.x)

    def distance(label: Label, trace: Trace) -> float:
        return max(trace.left - label.x, label.x - trace.right, 0)

    labels = [label for label in labels if min(distance(label, t) for t in row.traces) < SIDE_MM * scale.x]
    if len(labels) == len(row.traces):
        yield from ((trace, [label]) for trace, label in zip(row.traces, labels))
        return
    fewer = len(labels) < len(row.traces)
    nearest = [
        min(
            range(len(row.traces)),
            key=lambda i: (
                abs(label.x - row.traces[i].left) if fewer else distance(label, row.traces[i]),
                row.traces[i].left,
            ),
        )
        for label in labels
    ]
    for number, trace in enumerate(row.traces):
        yield trace, [label for label, at in zip(labels, nearest) if at == number]


def cut_stretches(trace: Trace, labels: list[Label], row: Row, scale: Scale) -> Iterator[Stretch]:
    """Yields the parts of a trace that runs through several leads, one after the other and equally long; nothing where
    the labels do not stand one to a part.
    """
    edges = np.linspace(trace.left, trace.right, len(labels) + 1)
    side = SIDE_MM * scale.x
    if not all(left - side < label.x < right + side for label, left, right in zip(labels, edges, edges[1:])):
        return
    for label, left, right in zip(labels, edges, edges[1:]):
        part = trace.cut(left, right) if len(labels) > 1 else trace
        if len(part.x) >= 2:
            yield Stretch(label.lead, label.sign, part, row)


def check_repeats(stretches: list[Stretch]) -> None:
    """Raises `ValueError` where several traces of one length show the same lead and differ: rows that go on in time. A
    rhythm strip is longer than the stretch of its lead.
    """
    for i, stretch in enumerate(stretches):
        for other in stretches[:i]:
            if other.lead != stretch.lead:
                continue
            shared = min(stretch.trace.right, other.trace.right) - max(stretch.trace.left, other.trace.left)
            values = common_values([stretch, other])
            if values and shared > 0.9 * max(np.ptp(stretch.trace.x), np.ptp(other.trace.x)):
                size = max(float(np.sqrt(np.mean(value**2))) for value in values)
                if np.sqrt(np.mean((values[0] - values[1]) ** 2)) > AGREES * size:
                    raise ValueError(
                        f"lead {stretch.lead} is shown by several traces of one length that differ, as where each row "
                        "goes on from the row before; such pages are not read."
                    )


def limb_error(stretches: list[Stretch]) -> float | None:
    """Returns the RMS of III - II + I or of aVR + aVL + aVF, the larger of the two, relative to the largest of these
    leads; None where the page does not show them at one time.
    """
    errors = []
    for leads, signs in ((("I", "II", "III"), (1, -1, 1)), (("aVR", "aVL", "aVF"), (1, 1, 1))):
        options = [[stretch for stretch in stretches if stretch.lead == lead][:MAX_REPEATED] for lead in leads]
        for chosen in product(*options):
            values = common_values(list(chosen))
            size = max((np.sqrt(np.mean(value**2)) for value in values), default=0)
            if size > 0.1:  # points; flat leads agree with all
                total = sum(sign * value for sign, value in zip(signs, values))
                errors.append(float(np.sqrt(np.mean(total**2)) / size))
    return max(errors, default=None)


def common_values(stretches: list[Stretch]) -> list[np.ndarray]:
    """Returns the values of stretches, in points upwards and without their means, over the time that all of them show;
    an empty list where that is too short.
    """
    left, right = max(s.trace.left for s in stretches), min(s.trace.right for s in stretches)
    x = stretches[0].trace.x
    x = x[(x >= left) & (x <= right)]
    if len(x) < MIN_OVERLAP:
        return []
    values = [-s.sign * np.interp(x, s.trace.x, s.trace.y) for s in stretches]
    return [value - value.mean() for value in values]


def keep_fullest(namings: list[Naming]) -> list[Naming]:
    """Returns the namings that use the most labels and, of these, leave the fewest traces without one."""
    most = max(naming.used for naming in namings)
    namings = [naming for naming in namings if naming.used == most]
    fewest = min(len(naming.unnamed) for naming in namings)
    return [naming for naming in namings if len(naming.unnamed) == fewest]


def select_nearest(namings: list[Naming]) -> Naming:
    """Returns the naming whose labels are nearer to their rows than those of all others, and that by far.

    Raises: `ValueError` where two are as near.
    """
    first, *others = sorted(namings, key=lambda naming: abs(naming.offset))
    if others and abs(first.offset) > CLEARLY_NEARER * abs(others[0].offset):
        raise ValueError(f"{OPEN}, since they are as far from the row above as from the row below")
    return first


def name_strips(naming: Naming) -> tuple[list[Stretch], int]:
    """Names traces without a label, rhythm strips, by the labelled stretches that they equal where both show the same
    time.

    Returns: the stretches of the strips, and the number of traces that equal no lead or several.
    """
    strips, unknown = [], 0
    for trace, row in naming.unnamed:
        errors: dict[str, float] = {}
        for stretch in naming.stretches:
            values = common_values([stretch, Stretch(stretch.lead, 1, trace, row)])
            size = max((np.sqrt(np.mean(value**2)) for value in values), default=0)
            if size > 0.1:
                error = float(np.sqrt(np.mean((values[0] - values[1]) ** 2)) / size)
                errors[stretch.lead] = max(error, errors.get(stretch.lead, 0))
        ranked = sorted(errors.items(), key=lambda item: item[1])
        if ranked and ranked[0][1] < AGREES and (len(ranked) == 1 or ranked[1][1] > 2 * ranked[0][1]):
            strips.append(Stretch(ranked[0][0], 1, trace, row))
        else:
            unknown += 1
    return strips, unknown
