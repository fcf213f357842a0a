# Copyright 2026 The HeartcareGPT authors. Licensed under the Apache License, Version 2.0.
"""`ECG`: one recording. Every reader makes one, and processor, pipeline, server, data engine, benchmark and training
take it. Its constructor is the only check of a recording that there is.
"""

import hashlib
import re
from calendar import monthrange
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import date
from typing import Any

import numpy as np

from .configuration_heartcare import LEADS
from .files_heartcare import without_ending
from .limits_heartcare import most_values

MIN_RATE, MAX_RATE = 10, 20_000  # Hz
MAX_NAMES_SHOWN = 12  # lead names in a message


@dataclass(frozen=True, eq=False)
class ECG:
    """One recording, as it was read and before any cleaning.

    Attributes:
        signal: float32 (leads, samples) in mV; NaN where nothing was recorded. An array that is float32 already, with
            its leads one after the other, is taken as it is and not copied.
        sampling_rate: Hz, the same for all leads.
        lead_names: Standard names of the leads, in the order of `signal`. Signals that are none of the twelve leads are
            left out by the constructor, which notes it.
        source: Name of the recording, used in messages: a path, "upload", "array".
        format: Name of the file format, one of `heartcare.reading_heartcare.FORMATS`; "array" without a file.
        age: Years, or None. 90 stands for "over 89".
        sex: "male", "female" or None.
        patient_id: Pseudonym that is the same for all recordings of a patient, or None.
        statements: SCP-ECG statement -> likelihood in percent.
        report: Diagnostic text of the file.
        measurements: Values that the device itself measured, for example {"qrs_duration": 94.0} in ms.
        columns: Further columns of the source: PTB-XL's own (heart_axis, extra_beats, static_noise, ...); "dx", the
            diagnosis codes, and "reason_for_admission" of a WFDB header; "device_report" of devices.
        fold: 1 to 10, where the source has folds.
        notes: Sentences that say each assumption and each change that was made on the way from the file, in order.
        warnings: Names of assumptions and faults: "units_assumed_mV", "lead_unknown:ECG1", "gain_assumed_200:II" for a
            lead that was not calibrated, "amplitude_overflow:II" for values that float32 cannot hold, which are NaN in
            `signal`.

    Raises: `ValueError` without samples, without any of the twelve leads, with a lead twice, with another number of
        names than leads, or with an impossible sampling rate; `TypeError` for a source, notes or warnings that are no
        texts.
    """

    signal: np.ndarray
    sampling_rate: float
    lead_names: tuple[str, ...] = LEADS
    source: str = "array"
    format: str = "array"
    age: float | None = None
    sex: str | None = None
    patient_id: str | None = None
    statements: dict[str, float] = field(default_factory=dict)
    report: str = ""
    measurements: dict[str, float] = field(default_factory=dict)
    columns: dict[str, str] = field(default_factory=dict)
    fold: int | None = None
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def __post_init__(self):
        if not isinstance(self.source, str):
            raise TypeError(f"The source of an ECG is a text, the name of the recording, got {repr(self.source)[:60]}.")
        signal = self._checked_signal()
        rows, names, notes, warnings = self._standard_leads(len(signal))
        rate = self._checked_rate()
        signal = signal if rows == list(range(len(signal))) else signal[rows]
        with np.errstate(over="ignore"):
            signal = np.ascontiguousarray(signal, dtype=np.float32)
        # Lead by lead, since masks of a whole day would take as much memory as the recording of some hours.
        counts = [int(np.isinf(lead).sum()) for lead in signal]
        if any(counts):
            signal = np.where(np.isinf(signal), np.float32(np.nan), signal)
            for name, count in zip(names, counts):
                if count:
                    notes.append(f"left out {count} samples of lead {name} that are infinite or too large for float32")
                    warnings.append(f"amplitude_overflow:{name}")
        if not any(np.isfinite(lead).any() for lead in signal):
            raise ValueError(
                f"{self.source}: no lead can be used, since there is no sample in any lead; check the file."
            )
        checked = {
            "signal": signal,
            "sampling_rate": rate,
            "lead_names": names,
            "notes": (*as_texts(self.notes), *notes),
            "warnings": tuple(dict.fromkeys((*as_texts(self.warnings), *warnings))),
        }
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    @classmethod
    def of(
        cls,
        given: Any,
        sampling_rate: float | None = None,
        lead_names: Sequence[str] | None = None,
        units: str | None = None,
        source: str | None = None,
    ) -> "ECG":
        """Makes an ECG from an array, a mapping, or any object that has the attributes of an ECG.

        Args:
            given: (leads, samples) or (samples,) as a numpy array or torch tensor, with the other arguments beside it;
                or a mapping with "signal" (or "ecg") and any of the attributes of this class, and "units"; or an object
                that has these attributes, such as an ECG of another copy of this class. An ECG is returned as it is.
            sampling_rate: Hz.
            lead_names: Names of the leads in any usual spelling; needed unless there are all twelve in standard order.
            units: "mV", "uV", "V" or "nV". Without them mV are assumed, and the warning "units_assumed_mV" says so.
            source: Name of the recording for messages.

            A value in `given` itself counts before one of the other arguments.

        Raises: `TypeError` and `ValueError` that say what came and what was expected.
        """
        if isinstance(given, cls):
            return given
        names = [attribute.name for attribute in fields(cls)]
        if isinstance(given, Mapping):
            known = {name: value for name, value in given.items() if value is not None and name != "type"}
            if {"ecg", "signal"} <= known.keys():
                raise ValueError(
                    "An ECG dict has 'signal' and 'ecg', which are two names of one thing; give one of them."
                )
            if "ecg" in known:
                known["signal"] = known.pop("ecg")
            if unknown := sorted(set(known) - {*names, "units"}):
                raise ValueError(f"An ECG dict has unknown keys {unknown}; expected some of {[*names, 'units']}.")
            if "signal" not in known:
                raise ValueError(f"An ECG dict needs 'signal' (an array) or 'path', got the keys {sorted(given)}.")
        elif all(hasattr(given, name) for name in ("signal", "sampling_rate", "lead_names")):
            known = {name: getattr(given, name) for name in names if hasattr(given, name)}
            known["units"] = getattr(given, "units", None) or "mV"
        else:
            known = {"signal": given}
        beside = {"sampling_rate": sampling_rate, "lead_names": lead_names, "units": units, "source": source}
        known = {name: value for name, value in beside.items() if value is not None} | known
        return cls._in_millivolts(**known)

    @classmethod
    def _in_millivolts(cls, signal, sampling_rate=None, lead_names=None, units=None, source="array", **rest) -> "ECG":
        signal = as_array(signal, source)
        warnings, notes = as_texts(rest.pop("warnings", ())), as_texts(rest.pop("notes", ()))
        rest |= {name: parse(rest[name]) for name, parse in (("age", parse_age), ("sex", parse_sex)) if name in rest}
        lead_names = [lead_names] if isinstance(lead_names, str) else lead_names
        if units is None:
            warnings += ("units_assumed_mV",)
            notes += ("took the values for mV, since no units are given",)
        elif (factor := to_millivolts(1.0, units)) != 1:
            with np.errstate(over="ignore"):  # the constructor names what is too large
                signal = np.asarray(signal, np.result_type(signal, np.float32)) * factor
            notes += (f"scaled from {units} to mV",)
        if lead_names is None:
            lead_names = cls._standard_order(signal, source)
            notes += ("took the twelve rows for the leads in standard order, since no names are given",)
        return cls(signal, sampling_rate, tuple(lead_names), source, **rest, notes=notes, warnings=warnings)

    @staticmethod
    def _standard_order(signal: np.ndarray, source: str) -> tuple[str, ...]:
        if signal.ndim == 2 and len(signal) != len(LEADS):
            hint = " Transpose it: the leads come first." if signal.shape[1] == len(LEADS) else ""
            raise ValueError(
                f"{source}: {len(signal)} leads of unknown names, shape {signal.shape}; give lead_names=[...], or all "
                f"twelve in the order {' '.join(LEADS)}.{hint}"
            )
        return LEADS

    def _checked_signal(self) -> np.ndarray:
        signal = as_array(self.signal, self.source)
        if signal.ndim != 2:
            raise ValueError(f"{self.source}: an ECG must have shape (leads, samples), got {signal.shape}.")
        if signal.size > most_values():
            raise ValueError(f"{self.source} holds {signal.size} values; at most {most_values()} are read at a time.")
        if len(self.lead_names) != len(signal):
            raise ValueError(
                f"{self.source}: {len(self.lead_names)} lead names for {len(signal)} leads, shape {signal.shape}."
            )
        if not signal.shape[1]:
            raise ValueError(f"{self.source}: the record holds no samples: 0 samples in {len(signal)} leads.")
        return signal

    def _checked_rate(self) -> float:
        if self.sampling_rate is None:
            raise ValueError(
                f"{self.source} does not say its sampling rate: the sampling rate is missing; give sampling_rate= in "
                "Hz (it is never guessed)."
            )
        try:
            rate = float(self.sampling_rate)
        except (TypeError, ValueError):
            raise ValueError(
                f"{self.source}: the sampling rate must be a number in Hz, got {self.sampling_rate!r}."
            ) from None
        if not MIN_RATE <= rate <= MAX_RATE:
            raise ValueError(
                f"{self.source}: a sampling rate of {rate:g} Hz cannot be; expected {MIN_RATE} to {MAX_RATE} Hz."
            )
        return int(rate) if rate.is_integer() else rate

    def _standard_leads(self, count: int) -> tuple[list[int], tuple[str, ...], list[str], list[str]]:
        """Returns the rows of the twelve leads, their standard names, and the notes and warnings about other names."""
        rows, names, notes, warnings = [], [], [], []
        given = [str(name).strip().lower() for name in self.lead_names]
        is_chest = any(re.match(r"c[1256]\b", name) for name in given)  # C3 and C4 alone are channels of an EEG
        for row, name in enumerate(self.lead_names):
            standard = canonical_lead(name) if is_chest or not re.match(r"c[34]\b", given[row]) else None
            if standard is None:
                notes.append(f"left out {str(name)[:40]!r}, which is none of the twelve leads")
                warnings.append(f"lead_unknown:{str(name)[:40]}")
            elif standard in names:
                raise ValueError(f"{self.source}: lead {standard} is there twice in {list(self.lead_names)}.")
            else:
                if standard != name:
                    notes.append(f"took {str(name)[:40]!r} for lead {standard}")
                rows.append(row)
                names.append(standard)
        if not rows:
            shown = [str(name)[:40] for name in self.lead_names[:MAX_NAMES_SHOWN]]
            raise ValueError(
                f"{self.source}: none of the leads {shown} is one of {' '.join(LEADS)}; the file must "
                f"name the leads. If you know where the electrodes were, give lead_names=[...], one for each "
                f"of the {count} signals."
            )
        return rows, tuple(names), notes, warnings

    @property
    def recorded(self) -> np.ndarray:
        """bool (leads, samples), True where something was recorded."""
        return np.isfinite(self.signal)

    @property
    def seconds(self) -> float:
        """Length of the recording."""
        return self.signal.shape[1] / self.sampling_rate

    @property
    def name(self) -> str:
        """Name of the recording without its folder and the ending of its file; a full stop may be part of it."""
        return without_ending(self.source) if self.source else "array"

    def cut(self, start: int, stop: int) -> "ECG":
        """Returns samples `start` to `stop` of the recording.

        Raises: `ValueError` where nothing was recorded in them.
        """
        return replace(self, signal=self.signal[:, start:stop])

    def as_input(self) -> dict[str, Any]:
        """Returns the plain dict that messages carry and that `HeartcareProcessor` takes as `ecg=`."""
        return {
            "signal": self.signal,
            "sampling_rate": self.sampling_rate,
            "lead_names": list(self.lead_names),
            "units": "mV",
            "source": self.source,
            "warnings": list(self.warnings),
        }


# Other names of the twelve leads, in the form that `canonical_lead` compares.
LEAD_ALIASES = {
    "d1": "I", "di": "I", "l1": "I", "mli": "I", "ml1": "I", "lara": "I",
    "d2": "II", "dii": "II", "l2": "II", "mlii": "II", "ml2": "II", "llra": "II",
    "d3": "III", "diii": "III", "l3": "III", "mliii": "III", "ml3": "III", "llla": "III",
    "vr": "aVR", "vl": "aVL", "vf": "aVF",
    **{f"c{i}": f"V{i}" for i in range(1, 7)}, **{f"mv{i}": f"V{i}" for i in range(1, 7)},
}  # fmt: skip


LEADS_BY_LOWER_CASE = {lead.lower(): lead for lead in LEADS}


def canonical_lead(name: str) -> str | None:
    """Returns the standard name of a lead ("MLII" -> "II", "avr" -> "aVR", "EKG V1" -> "V1", "I-Ref" -> "I",
    "ECG LA-RA" -> "I"), or None if it is none of the twelve.

    A bare number ("1", "ECG2", "CH 3") is the number of a channel and says nothing about the electrodes, so it is no
    lead; "Lead 1" is lead I. Nor is a lead with its sign turned ("-aVR"), or a difference of leads ("I-II").
    """
    lower = str(name).strip().lower()
    words = [re.sub("lead|ableitung|ecg|ekg", "", word) for word in re.split(r"[\s._\-]+", lower)]
    if lower.startswith("-") or sum(word in LEADS_BY_LOWER_CASE for word in words) > 1:
        return None
    key = "".join(words).removesuffix("ref")
    if key in ("1", "2", "3"):
        return LEADS[int(key) - 1] if re.search(r"lead|ableitung", lower) else None
    return LEADS_BY_LOWER_CASE.get(key) or LEAD_ALIASES.get(key)


MILLIVOLTS = {
    **{"mv": 1.0, "millivolt": 1.0, "v": 1e3, "volt": 1e3, "nv": 1e-6, "nanovolt": 1e-6},
    **{"uv": 1e-3, "µv": 1e-3, "μv": 1e-3, "microvolt": 1e-3},
}


def to_millivolts(signal: np.ndarray | float, units: str) -> np.ndarray | float:
    """Scales `signal` in `units` (mV, uV, V or nV) to mV.

    Raises: `ValueError` for other units.
    """
    factor = MILLIVOLTS.get(str(units).strip().lower().rstrip("s"))
    if factor is None:
        raise ValueError(f"Units {units!r} are unknown; expected one of 'mV', 'uV', 'V', 'nV'.")
    return signal if factor == 1 else signal * factor


def as_array(signal: Any, source: str = "array") -> np.ndarray:
    """Returns an array or tensor of numbers as a numpy array of at least two dimensions.

    Raises: `TypeError` for what is neither, `ValueError` for an array that does not hold numbers.
    """
    if hasattr(signal, "detach"):
        signal = signal.detach().cpu()
        signal = (signal.float() if signal.is_floating_point() else signal).numpy()
    if isinstance(signal, np.ma.MaskedArray):
        signal = signal.astype(np.float64).filled(np.nan)  # masked is not recorded
    if isinstance(signal, (list, tuple)):
        raise TypeError(
            "An ECG was given as a nested Python list; expected a numpy array or torch tensor of shape (leads, "
            "samples), a path, or a dict. Use numpy.asarray(your_list)."
        )
    if not isinstance(signal, np.ndarray):
        raise TypeError(f"An ECG is given as a path, bytes, an array, a tensor or a dict, got {type(signal).__name__}.")
    if signal.dtype.kind not in "iuf":
        raise ValueError(f"{source}: an ECG must hold numbers, got an array of {signal.dtype}.")
    return signal[None] if signal.ndim == 1 else signal


def as_texts(texts: Any) -> tuple[str, ...]:
    """Returns notes or warnings as a tuple.

    Raises: `TypeError` for anything but a list or tuple of texts; a single text would be taken for its letters.
    """
    if not isinstance(texts, (list, tuple)) or not all(isinstance(text, str) for text in texts):
        raise TypeError(f"Notes and warnings of an ECG are lists of texts, got {repr(texts)[:60]}.")
    return tuple(texts)


def pseudonym(patient_id: object) -> str | None:
    """Returns a name that is the same for the same patient, or None for an empty number.

    It hides the number from readers, but not from somebody who has the list of all numbers.
    """
    text = str(patient_id or "").strip()
    return hashlib.sha256(text.encode()).hexdigest()[:16] if text else None


def parse_sex(text: object) -> str | None:
    """Returns "female" for "F", "w", "weiblich" and the like, "male" for "M", "männlich", and None for all else."""
    word = str(text or "").strip().lower()
    if word in ("f", "female", "w", "weiblich", "frau", "woman"):
        return "female"
    return "male" if word in ("m", "male", "männlich", "maennlich", "mann", "man") else None


def parse_age(value: object) -> float | None:
    """Returns years from 0 to 130, 90 for "over 89" (PTB-XL writes 300), and None for all else."""
    try:
        age = float(value)
    except (TypeError, ValueError):
        return None
    if age == 300:
        return 90.0
    return age if 0 <= age <= 130 else None


def age_between(birth: str, recorded: str) -> int | None:
    """Returns the whole years between two written dates, None where they are unknown or can mean several ages."""
    ages = {
        then.year - born.year - ((then.month, then.day) < (born.month, born.day))
        for born in parse_dates(birth)
        for then in parse_dates(recorded)
    }
    return ages.pop() if len(ages) == 1 else None


# First three letters of the months in English, German, French, Spanish and Italian; only "jui" is two of them.
MONTHS = {
    word: number
    for number, words in enumerate(
        "jan ene gen,feb fév fev,mar mär mae mrz,apr avr abr,may mai mag,jun jui giu,jul lug,aug aoû ago,sep set,"
        "oct okt ott,nov,dec dez dic déc".split(","),
        start=1,
    )
    for word in words.split()
}


def parse_dates(text: str) -> set[date]:
    """Returns all days that a written date may mean: two for "03/04/1990", one for "1990-04-03" or "Apr 3, 1990"."""
    text = text[:40].lower()
    numbers = [int(number) for number in re.findall(r"\d{1,4}", text)[:3]]
    words = [word for word in re.findall(r"[^\W\d_]{3,12}", text) if word[:3] in MONTHS]
    if len(numbers) > 1 and words:
        month, year = MONTHS[words[0][:3]], max(numbers[:2])
        if words[0].startswith("juil"):
            month = 7
        triples = [(year, month, min(numbers[:2]))]
    elif len(numbers) == 3 and numbers[0] > 31:
        triples = [tuple(numbers)]
    elif len(numbers) == 3:
        first, second, year = numbers
        triples = [(year, second, first)] + ([(year, first, second)] if "/" in text else [])
    else:
        triples = []
    days = set()
    for year, month, day in triples:
        if 1800 < year < 2200 and 0 < month <= 12 and 0 < day <= monthrange(year, month)[1]:
            days.add(date(year, month, day))
    return days


__all__ = [
    "ECG",
    "LEADS",
    "MAX_RATE",
    "MIN_RATE",
    "age_between",
    "canonical_lead",
    "parse_age",
    "parse_sex",
    "pseudonym",
    "to_millivolts",
]
