# Copyright 2026 The HeartcareGPT authors. Licensed under the Apache License, Version 2.0.
"""One opinion of an ECG: probabilities of statements that agree with each other, and the words for every question.

    calibrated logits --what excludes or includes what--> probabilities --topics--> answers, report, differences

All that is said of an ECG is said from this one set, so that no answer contradicts another.
"""

import math
from collections.abc import Iterable, Mapping

from .scp_heartcare import DIAGNOSTIC_CLASS, FORM, NORMAL, RHYTHM, SUPERCLASS, TOPICS

STATED = 0.5  # probability from which on a statement is made
# A report names diagnoses from POSSIBLE on, and from CERTAIN on without "probable"; from SURE on a statement is chosen
# among options however rare the others are. All were chosen on PTB-XL's fold 9.
POSSIBLE, CERTAIN, SURE = 0.4, 0.6, 0.65
# Degrees by which the measured QRS axis must lie beyond the limits of the axis that is read, to count instead of it.
AXIS_ERROR = 5.0
# PTB-XL calls an axis left from some 10 degrees on. A left axis that is read stays one unless it is measured to be
# right of `RIGHTMOST_LEFT`; if it is measured above `LEFT_AXIS`, the limit of left axis deviation (AHA/ACCF/HRS
# recommendations, 2009), it is called `LEFTWARD`.
RIGHTMOST_LEFT, LEFT_AXIS, LEFTWARD = 30.0, -30.0, "a leftward axis"
NO_DIAGNOSIS = "no certain diagnosis"
# Words of a statement in a list, where its own hold an "or".
IN_LISTS = {"super:STTC": "changes of repolarization", "EL": "electrolytic/drug effect"}
NO_FORM = f"waveform:{NORMAL['waveform'][0]}"
# Diagnoses that change the QRS, beside which "no abnormality of the waveform" would be untrue.
SHAPES_QRS = ("CLBBB", "CRBBB", "ILBBB", "IRBBB", "IVCD", "WPW", "LAFB", "LPFB")
# Groups of statements that exclude each other; a nested group counts as one statement.
EXCLUSIVE: tuple[tuple[str | tuple[str, ...], ...], ...] = (
    tuple(RHYTHM),
    ("1AVB", "2AVB", "3AVB"),
    ("CLBBB", "CRBBB", "ILBBB", "IRBBB"),
    ("LAFB", "LPFB"),
    tuple(f"axis:{code}" for code in TOPICS["axis"]),
    tuple(f"stage:{code}" for code in TOPICS["stage"]),
    tuple(f"ectopy:{code}" for code in TOPICS["ectopy"]),
    ("noise:no-noise", tuple(f"noise:{code}" for code in TOPICS["noise"] if code != "no-noise")),
    (NO_FORM, tuple(FORM)),
    (("NORM", "super:NORM"), ("super:MI", "super:STTC", "super:CD", "super:HYP")),
)
# A statement that is there whenever one of others is.
INCLUDES: dict[str, tuple[str, ...]] = {
    **{f"super:{name}": members for name, members in DIAGNOSTIC_CLASS.items()},
    "PVC": ("ectopy:VES", "ectopy:SVES+VES"),
    "PAC": ("ectopy:SVES", "ectopy:SVES+VES"),
    "LPR": ("1AVB",),
}
# Families of statements that people ask for by one name.
FAMILIES: dict[str, tuple[str, ...]] = {
    "BBB": ("CLBBB", "CRBBB", "ILBBB", "IRBBB"),
    "AVB": ("1AVB", "2AVB", "3AVB"),
    "FASCICULAR": ("LAFB", "LPFB"),
    "BLOCK": ("CLBBB", "CRBBB", "ILBBB", "IRBBB", "1AVB", "2AVB", "3AVB", "LAFB", "LPFB", "IVCD"),
    "PREMATURE": ("PVC", "PAC", "PRC(S)", "BIGU", "TRIGU"),
    "ISCHEMIA": ("ISC_", "ISCAL", "ISCIN", "ISCIL", "ISCAS", "ISCLA", "ISCAN"),
    "ARRHYTHMIA": ("AFIB", "AFLT", "SVARR", "SVTAC", "PSVT", "SARRH", "PVC", "PAC", "PRC(S)", "BIGU", "TRIGU", "3AVB"),
    "TACHYCARDIA": ("STACH", "SVTAC", "PSVT"),
    "BRADYCARDIA": ("SBRAD",),
    "AXIS_DEVIATION": ("axis:LAD", "axis:ALAD", "axis:RAD", "axis:ARAD"),
    "ATRIAL_ENLARGEMENT": ("LAO/LAE", "RAO/RAE"),
    "NOISE": ("noise:static_noise", "noise:burst_noise", "noise:baseline_drift", "noise:electrodes_problems"),
}


class Opinion:
    """Holds what is said of one ECG.

    Args:
        logits: Code of each statement -> its calibrated logit.
        wordings: Code of each statement -> its words.
        untold: Codes that the recorded leads cannot tell.
        axis: Measured QRS axis in degrees, if there is one.
    """

    def __init__(
        self,
        logits: Mapping[str, float],
        wordings: Mapping[str, str],
        untold: Iterable[str] = (),
        axis: float | None = None,
    ):
        self.wordings, self.untold = wordings, frozenset(untold)
        self.spoken = dict(wordings)  # the words of answers and reports
        if axis is not None and LEFT_AXIS <= axis <= 90:
            self.spoken |= {"axis:LAD": LEFTWARD}
        shares = coherent(logits) if axis is None else with_measured_axis(coherent(logits), axis)
        self.shares = {code: share for code, share in shares.items() if code not in self.untold}

    def __contains__(self, code: str) -> bool:
        """Tells whether a statement is made."""
        return self.shares.get(code, 0.0) >= STATED

    def ranked(self) -> dict[str, float]:
        """Returns words of each statement -> probability, the likeliest first."""
        shares = {self.wordings[code]: share for code, share in self.shares.items()}
        return dict(sorted(shares.items(), key=lambda item: -item[1]))

    def report(self) -> str:
        """Returns the structured report."""
        parts = []
        for title, topic in (("Rhythm", "rhythm"), ("Axis", "axis"), ("Waveform", "waveform")):
            words = [self.spoken[code] for code in self.stated(topic)]
            if topic == "rhythm" and not words:
                words = [f"possible {self.spoken[code]}" for code in self.codes_of(topic)[:1]]
            if words:
                parts.append(f"{title}: {', '.join(words)}.")
        parts.append(f"Diagnosis: {', '.join(self.diagnoses()) or NO_DIAGNOSIS}.")
        for title, topic in (("Ectopic beats", "ectopy"), ("Recording", "noise")):
            stated = [code for code in self.stated(topic) if not code.endswith(NORMAL[topic][0])]
            if stated:
                parts.append(f"{title}: {', '.join(self.spoken[code] for code in stated)}.")
        return " ".join(parts)

    def diagnoses(self) -> list[str]:
        """Returns the words of the diagnoses with how likely they are, and of an infarction its stage."""
        stage, stated, found = self.stated("stage")[:1], self.stated("diagnosis"), []
        doubted = [code for code in self.codes_of("diagnosis") if POSSIBLE <= self.shares[code] < STATED]
        for code in [*stated, *(code for code in doubted if code != "NORM")]:
            words = IN_LISTS.get(code, self.spoken[code])
            if self.shares[code] < CERTAIN:
                likely = "probable" if code in stated else "possible"
                words = f"{likely} {words.removeprefix('a ').removeprefix('an ')}"
            if stage and code in stated and code.removeprefix("super:") in (*DIAGNOSTIC_CLASS["MI"], "MI"):
                of_stage = self.spoken[stage[0]]
                words += f" {of_stage}" if of_stage.startswith("of ") else f" of {of_stage}"
            found.append(words)
        return found

    def answer(self, topic: str) -> str:
        """Returns the statements of a topic as a sentence; where none is certain, the likeliest one."""
        if stated := self.stated(topic):
            return as_sentence(", ".join(self.spoken[code] for code in stated))
        if topic == "diagnosis":
            return as_sentence(NO_DIAGNOSIS)
        if topic == "stage" and "super:MI" not in self:
            return "No infarction is found, so there is no stage."
        if not (codes := self.codes_of(topic)):
            return "That cannot be told from these leads."
        if topic == "waveform":
            shaped = [self.spoken[code] for code in SHAPES_QRS if code in self]
            return as_sentence(NORMAL["waveform"][1] + (f" beside {', '.join(shaped)}" if shaped else ""))
        likeliest = f"the likeliest is {self.spoken[codes[0]]} ({100 * self.shares[codes[0]]:.0f} %)"
        return f"None is certain; {likeliest}."

    def stated(self, topic: str) -> list[str]:
        """Returns the codes of the statements of a topic that are made, the likeliest first. Where a superclass is
        certain and no statement of it, that superclass is stated; but a normal ECG has one statement, and is stated
        where that is made. A stage is stated only beside an infarction, and "no abnormality of the waveform" never
        beside a diagnosis that changes the QRS.
        """
        found = [code for code in self.codes_of(topic) if code in self]
        if topic == "diagnosis":
            for name in SUPERCLASS:
                is_known = name == "NORM" and "NORM" in self.shares
                if f"super:{name}" in self and not is_known and not set(DIAGNOSTIC_CLASS[name]) & set(found):
                    found.append(f"super:{name}")
        if topic == "stage" and "super:MI" not in self:
            return []
        if found == [NO_FORM] and any(code in self for code in SHAPES_QRS):
            return []
        return found

    def codes_of(self, topic: str) -> list[str]:
        """Returns the codes of all statements of a topic that the model knows, the likeliest first."""
        prefix = "" if topic in ("rhythm", "waveform", "diagnosis") else f"{topic}:"
        codes = [f"{prefix}{code}" for code in TOPICS[topic]]
        if topic == "waveform":
            codes.append(NO_FORM)
        return sorted((code for code in codes if code in self.shares), key=lambda code: -self.shares[code])

    def share(self, code: str) -> float | None:
        """Returns the probability of a statement, or of a family: that of its likeliest statement. None for one that is
        not known, or that the recorded leads cannot tell.
        """
        return max((self.shares[each] for each in self.members(code)), default=None)

    def members(self, code: str) -> tuple[str, ...]:
        """Returns the statements of a family; of a statement, itself."""
        return tuple(each for each in FAMILIES.get(code, (code,)) if each in self.shares)


def coherent(logits: Mapping[str, float]) -> dict[str, float]:
    """Returns the probability of each statement so that none contradicts another: what includes others is as likely as
    the likeliest of them, and what excludes each other adds up to 1 at most.

    Args:
        logits: Code of each statement -> its calibrated logit.
    """
    shares = {code: 1 / (1 + math.exp(-logit)) for code, logit in logits.items()}
    for code, members in INCLUDES.items():
        if code in shares:
            shares[code] = max(shares[code], *(shares.get(member, 0.0) for member in members))
    for group in EXCLUSIVE:
        parts = [[code for code in as_tuple(part) if code in shares] for part in group]
        total = sum(max(shares[code] for code in part) for part in parts if part)
        if total > 1:
            for code in (code for part in parts for code in part):
                shares[code] /= total
    for code, members in INCLUDES.items():
        # A statement is no likelier than what includes it, which may have become less likely.
        for member in members:
            if code in shares and member in shares:
                shares[member] = min(shares[member], shares[code])
    return shares


def as_tuple(part: str | tuple[str, ...]) -> tuple[str, ...]:
    """Returns a group of codes as it is, and a code as a group of one."""
    return (part,) if isinstance(part, str) else part


def with_measured_axis(shares: dict[str, float], degrees: float) -> dict[str, float]:
    """Returns the probabilities; those of a normal axis and of a right or left one are exchanged where the measured
    axis is clearly the other one. A left axis that is read stays up to `RIGHTMOST_LEFT`, since PTB-XL calls an axis
    left from some 10 degrees on.

    Args:
        shares: Probabilities of the statements.
        degrees: QRS axis, -180 to 180.
    """
    axes = [code for code in shares if code.startswith("axis:")]
    is_right = degrees > 90 + AXIS_ERROR or degrees < -90 - AXIS_ERROR
    is_normal = -30 + AXIS_ERROR < degrees < 90 - AXIS_ERROR
    read = max(axes, key=shares.__getitem__, default="")
    exchanged = {
        "axis:MID": "axis:RAD" if is_right else "",
        "axis:RAD": "axis:MID" if is_normal else "",
        "axis:LAD": "axis:MID" if is_normal and degrees > RIGHTMOST_LEFT else "",
    }
    other = exchanged.get(read, "")
    return shares | {read: shares[other], other: shares[read]} if other in shares else shares


def difference(first: Opinion, second: Opinion, topic: str) -> str:
    """Returns what both of two ECGs show of a topic, and what only one of them does, in words."""
    one, other = first.stated(topic), second.stated(topic)
    shared = [code for code in one if code in other]
    alone = [code for code in one if code not in shared], [code for code in other if code not in shared]
    parts = [
        f"{title}: {', '.join(first.spoken[code] for code in codes)}."
        for title, codes in (("Both", shared), ("Only the first", alone[0]), ("Only the second", alone[1]))
        if codes
    ]
    return ("" if any(alone) else "No difference. ") + " ".join(parts)


def as_sentence(text: str) -> str:
    """Returns a text with a capital letter and a full stop."""
    return f"{text[0].upper()}{text[1:]}."


__all__ = ["FAMILIES", "NO_FORM", "STATED", "SURE", "Opinion", "as_sentence", "coherent", "difference"]
