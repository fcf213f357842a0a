# Copyright 2026 The HeartcareGPT authors. Licensed under the Apache License, Version 2.0.
"""Recordings in JSON, of the kinds in `KINDS`: an ECG dict, an HL7 FHIR Observation, a recording of Kardia's
interface.
"""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .ecg_heartcare import (
    MAX_RATE,
    MIN_RATE,
    age_between,
    canonical_lead,
    parse_age,
    parse_sex,
    pseudonym,
    to_millivolts,
)
from .files_heartcare import encoding_of, read_bytes
from .wfdb_heartcare import at_one_rate, padding_note

MAX_JSON_BYTES = 2**26
MAX_JSON_PARTS = 2**18  # objects and lists of a file, which take far more memory than their text
MAX_RESOURCES = 1000  # most resources of a FHIR Bundle that are read


@dataclass(frozen=True)
class Kind:
    """A kind of JSON object: its `name`, whether an object `matches` it, and its reader, (path, object) ->
    attributes.
    """

    name: str
    matches: Callable[[dict], bool]
    read: Callable[[Path, dict], dict]


def read_json(path: Path) -> dict:
    """Reads a recording in JSON.

    Returns: attributes of an `ECG` and "units", as far as the file says them.

    Raises: `ValueError`, which names the kind of a file that is not read.
    """
    content = parse_json(path)
    if isinstance(content, dict):
        for kind in KINDS:
            if kind.matches(content):
                return kind.read(path, content)
        found = f"an object with the keys {[str(key)[:20] for key in list(content)[:8]]}"
    else:
        found = "a list"
    raise not_read(path, found)


def parse_json(path: Path) -> Any:
    """Parses a JSON file of bounded size and number of parts.

    Raises: `ValueError`.
    """
    raw = read_bytes(path, MAX_JSON_BYTES)
    text = raw.decode(encoding_of(raw[:4096]) or "utf-8", errors="replace")
    if (parts := text.count("[") + text.count("{")) > MAX_JSON_PARTS:
        raise ValueError(
            f"{path} has {parts} lists and objects; at most {MAX_JSON_PARTS} are read. A signal is one list for each "
            "lead."
        )
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} begins as a JSON file but is none: {error}.") from error


SIGNAL_KEYS = ("signal", "ecg", "sampling_rate", "lead_names", "units", "age", "sex", "source", "warnings")


def read_signal(path: Path, content: dict) -> dict:
    """Reads an ECG dict, as the server takes it and `ECG.as_input` gives it: {"signal": [[...], ...], "sampling_rate":
    500, "lead_names": [...]}.
    """
    if unknown := sorted(str(key)[:20] for key in set(content) - {*SIGNAL_KEYS, "type"}):
        raise ValueError(f"{path}: an ECG dict has unknown keys {unknown[:8]}; expected some of {list(SIGNAL_KEYS)}.")
    if "signal" in content and "ecg" in content:
        raise ValueError(
            f"{path}: an ECG dict has both 'signal' and 'ecg', which mean the same; leave one of them out."
        )
    names, units, source = (content.get(key) for key in ("lead_names", "units", "source"))
    if not (names is None or isinstance(names, list) and all(isinstance(name, str) for name in names)):
        raise ValueError(f"{path}: lead_names must be a list of names.")
    if not (units is None or isinstance(units, str)):
        raise ValueError(f"{path}: units must be a word such as 'mV'.")
    if not (source is None or isinstance(source, str)):
        raise ValueError(f"{path}: source must be the name of the recording, got {str(source)[:40]!r}.")
    warnings = content.get("warnings") or []
    if not (isinstance(warnings, list) and all(isinstance(name, str) for name in warnings)):
        raise ValueError(f"{path}: warnings must be a list of names, got {str(warnings)[:40]!r}.")
    rows = content.get("signal", content.get("ecg"))
    if not isinstance(rows, list) or not rows:
        raise ValueError(f"{path}: the signal must be a list of leads, each a list of numbers.")
    rows = rows if isinstance(rows[0], list) else [rows]
    rows = [as_row(path, row) for row in rows]
    stated = {"sampling_rate": content.get("sampling_rate"), "lead_names": names, "units": units, "source": source}
    return {
        "signal": joined(rows),
        **{key: value for key, value in stated.items() if value is not None},
        "age": parse_age(content.get("age")),
        "sex": parse_sex(content.get("sex")),
        "warnings": tuple(warnings),
        "notes": padding_note([len(row) for row in rows]),
    }


class Sampled(NamedTuple):
    """A FHIR SampledData: name of its lead, values float64 (samples,), rate in Hz, unit ("" where there is none)."""

    name: str
    values: np.ndarray
    rate: float
    unit: str


class Recording(NamedTuple):
    """The leads of one recording share the reference to the patient and the effective time in FHIR; both are "" where
    the file does not say them.
    """

    subject: str
    time: str


def read_fhir(path: Path, content: dict) -> dict:
    """Reads the leads of an HL7 FHIR Observation from its SampledData; the Observation may be in a Bundle or contained.

    Without a unit in `origin`, uV are assumed and the origin is taken for the zero of the digital values, as in the
    example of the standard.

    Raises: `ValueError` for Observations of several patients or times, which are several recordings.
    """
    recordings: dict[Recording, list[Sampled]] = {}
    for resource in resources(content):
        if resource.get("resourceType") == "Observation":
            for part in [resource, *dicts(resource.get("component"))]:
                if isinstance(part.get("valueSampledData"), dict):
                    recordings.setdefault(recording_of(resource), []).extend(read_sampled(path, part))
    if not recordings:
        raise not_read(path, f"FHIR {str(content.get('resourceType'))[:40]} without SampledData")
    if len(recordings) > 1:
        listed = "; ".join(f"{key.subject[:40] or 'no subject'} at {key.time[:40] or 'no time'}" for key in recordings)
        raise ValueError(
            f"{path} holds {len(recordings)} recordings ({listed[:400]}); expected the Observations of one patient and "
            "one effective time. Give each recording as a file of its own."
        )
    ((recording, sampled),) = recordings.items()
    person = read_person(content, recording)
    without_unit = [lead.name for lead in sampled if not lead.unit]
    names, values, rates, _ = map(list, zip(*sampled))
    if len(without_unit) == len(sampled):
        read = at_one_rate(path, names, ["mV"] * len(names), values, rates)
        del read["units"]
        return read | person | {"assumed": {"units": "uV"}}
    if without_unit:
        raise ValueError(f"{path}: the leads {without_unit[:12]} have no unit, but other leads have one.")
    return at_one_rate(path, names, [lead.unit for lead in sampled], values, rates) | person


def recording_of(observation: dict) -> Recording:
    """Returns the patient and the time of an Observation."""
    period, subject = observation.get("effectivePeriod"), observation.get("subject")
    start = period.get("start") if isinstance(period, dict) else None
    return Recording(
        str(subject.get("reference") or "") if isinstance(subject, dict) else "",
        str(observation.get("effectiveDateTime") or observation.get("effectiveInstant") or start or ""),
    )


def read_sampled(path: Path, part: dict) -> list[Sampled]:
    """Reads one SampledData: value = origin + factor * data; with several dimensions, one signal for each."""
    data, name = part["valueSampledData"], lead_of(part.get("code"))
    if "offsets" in data or "codeMap" in data:
        raise ValueError(f"{path}: {name} has samples at unequal times (offsets), which are not read.")
    origin = data.get("origin") if isinstance(data.get("origin"), dict) else {}
    zero, factor = number_of(path, origin, "value", 0.0), number_of(path, data, "factor", 1.0)
    dimensions = number_of(path, data, "dimensions", 1.0)
    limits = [number_of(path, data, key, np.nan) for key in ("lowerLimit", "upperLimit")]
    counts = as_counts(path, data.get("data"), *limits)
    if not (1 <= dimensions <= max(1, len(counts)) and dimensions.is_integer()) or len(counts) % int(dimensions):
        raise ValueError(f"{path}: {name} has {len(counts)} values in {dimensions:g} dimensions.")
    unit = str(origin.get("code") or origin.get("unit") or "").strip()
    values = counts * factor + zero if unit else (counts - zero) * factor
    rate = rate_of(path, data)
    if dimensions == 1:
        return [Sampled(name, values, rate, unit)]
    rows = values.reshape(-1, int(dimensions)).T
    return [Sampled(f"{name} {i}", row, rate, unit) for i, row in enumerate(rows, start=1)]


def as_counts(path: Path, data: Any, lower: float, upper: float) -> np.ndarray:
    """Parses the values of a SampledData -> float64 (samples,): E (error) is NaN, L and U (beyond the limits of
    detection) are these limits, or NaN where the file does not say them.
    """
    words = data.split() if isinstance(data, str) else []
    marks = {"E": np.nan, "L": lower, "U": upper}
    try:
        return np.array([marks[word] if word in marks else float(word) for word in words], np.float64)
    except ValueError as error:
        raise ValueError(f"{path}: the data of a SampledData must be numbers, E, L or U ({error}).") from error


def rate_of(path: Path, data: dict) -> float:
    """Returns the sampling rate of a SampledData in Hz, by `period` in ms, or by `interval` in `intervalUnit`."""
    units = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9, "min": 1 / 60}  # steps in a second
    if "period" in data:
        step, unit = number_of(path, data, "period", 0.0), "ms"
    elif data.get("intervalUnit") == "Hz" or data.get("intervalUnit") == "/s":
        return number_of(path, data, "interval", 0.0)
    else:
        step, unit = number_of(path, data, "interval", 0.0), str(data.get("intervalUnit", ""))
    if unit not in units or not step > 0 or not MIN_RATE <= units[unit] / step <= MAX_RATE:
        raise ValueError(
            f"{path}: a time of {step:g} {unit[:20]} between two samples cannot be; expected {MIN_RATE} to {MAX_RATE} "
            "Hz."
        )
    return round(units[unit] / step, 6)


# Codes of ISO/IEEE 11073-10101 for the leads: MDC_ECG_ELEC_POTL_I is 131329.
MDC_LEADS = {
    str(131328 + code): lead
    for code, lead in {
        1: "I",
        2: "II",
        **{i + 2: f"V{i}" for i in range(1, 7)},
        61: "III",
        62: "aVR",
        63: "aVL",
        64: "aVF",
    }.items()
}


MDC_NAME = re.compile(r"MDC_ECG_(?:ELEC_POTL|LEAD)_", re.IGNORECASE)


def lead_of(concept: Any) -> str:
    """Returns the name of the lead in a FHIR CodeableConcept: the first of its codes and texts that is a lead."""
    concept = concept if isinstance(concept, dict) else {}
    codings = dicts(concept.get("coding"))
    texts = [str(coding.get(key, "")) for coding in codings for key in ("display", "code")]
    texts = [text[:80] for text in [*texts, str(concept.get("text", ""))] if text]
    names = [MDC_LEADS.get(text, MDC_NAME.sub("", text)) for text in texts]
    return next(filter(canonical_lead, names), names[0] if names else "ecg")


AGE_CODE = "30525-0"  # LOINC


def read_person(content: dict, recording: Recording) -> dict:
    """Reads the age at the recording, the sex and the pseudonym of a recording's patient from FHIR resources.

    If there are several patients, the one that the recording refers to counts.
    """
    patients = [resource for resource in resources(content) if resource.get("resourceType") == "Patient"]
    if len(patients) > 1:
        number = re.split(r"[/#:]", recording.subject)[-1]
        patients = [patient for patient in patients if number and patient.get("id") == number]
    person: dict = {}
    for patient in patients[:1]:
        person["sex"] = parse_sex(patient.get("gender"))
        person["age"] = parse_age(age_between(str(patient.get("birthDate", "")), recording.time))
    if person.get("age") is None:
        person["age"] = next(filter(None, map(stated_age, resources(content))), None)
    if not recording.subject.startswith("#"):  # "#patient" is the same in all files
        person["patient_id"] = pseudonym(recording.subject)
    return person


def stated_age(resource: dict) -> float | None:
    """Returns the years that an Observation of the age states, None for any other resource."""
    code, value = resource.get("code"), resource.get("valueQuantity")
    codes = [coding.get("code") for coding in dicts(code.get("coding"))] if isinstance(code, dict) else []
    return parse_age(value.get("value")) if AGE_CODE in codes and isinstance(value, dict) else None


def resources(content: dict) -> Iterator[dict]:
    """Yields a FHIR resource and those in it: the entries of a Bundle, and what is contained."""
    waiting, count = [content], 0
    while waiting and count < MAX_RESOURCES:
        resource = waiting.pop(0)
        count += 1
        yield resource
        waiting += [
            entry["resource"] for entry in dicts(resource.get("entry")) if isinstance(entry.get("resource"), dict)
        ]
        waiting += dicts(resource.get("contained"))


KARDIA_LEADS = {"leadI": "I", "leadII": "II", "leadIII": "III", "AVR": "aVR", "AVL": "aVL", "AVF": "aVF"}


KARDIA_TEXTS = {
    "normal": "Sinus rhythm", "afib": "Atrial fibrillation", "bradycardia": "Bradycardia", "tachycardia": "Tachycardia"
}  # fmt: skip


def read_kardia(path: Path, content: dict) -> dict:
    """Reads a recording as Kardia's interface gives it: the unfiltered leads of `data.raw`, and what the device
    found.
    """
    raw = content["data"]["raw"]
    samples = raw.get("samples")
    rows = {name: samples[name] for name in KARDIA_LEADS if samples.get(name)} if isinstance(samples, dict) else {}
    if not rows or not all(isinstance(row, list) for row in rows.values()):
        raise ValueError(f"{path}: data.raw.samples of a Kardia recording must hold some of {list(KARDIA_LEADS)}.")
    if "amplitudeResolution" not in raw or "frequency" not in raw:
        raise ValueError(f"{path}: a Kardia recording needs data.raw.frequency and data.raw.amplitudeResolution.")
    leads = [as_row(path, row) for row in rows.values()]
    measured = {"heart_rate": content.get("heartRate")}
    statement = str(content.get("algorithmDetermination", ""))[:40]
    return {
        "signal": joined(leads) * to_millivolts(number_of(path, raw, "amplitudeResolution", 0.0), "nV"),
        "sampling_rate": number_of(path, raw, "frequency", 0.0),
        "lead_names": [KARDIA_LEADS[name] for name in rows],
        "units": "mV",
        "patient_id": pseudonym(content.get("patientID")),
        "report": KARDIA_TEXTS.get(statement, ""),
        "measurements": {name: float(value) for name, value in measured.items() if isinstance(value, (int, float))},
        "notes": padding_note([len(lead) for lead in leads]),
    }


def number_of(path: Path, data: dict, key: str, default: float) -> float:
    """Returns a number of a JSON object, and `default` where it is missing."""
    value = data.get(key, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or abs(value) > 1e300:
        raise ValueError(f"{path}: {key} must be a number, got {str(value)[:40]!r}.")
    return float(value)


def dicts(items: Any) -> list[dict]:
    """Returns the objects of a JSON list, nothing for all else."""
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []


def as_row(path: Path, row: Any) -> np.ndarray:
    """Returns a list of numbers, null where one is missing, as float64 (samples,).

    Raises: `ValueError`.
    """
    try:
        values = np.array(row, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        values = np.empty((0, 0))
    if values.ndim != 1 or any(isinstance(value, str) for value in row):
        raise ValueError(f"{path}: each lead of the signal must be a list of numbers, null where one is missing.")
    return values


def joined(rows: list[np.ndarray]) -> np.ndarray:
    """Returns leads as one array, NaN behind the end of the shorter ones."""
    signal = np.full((len(rows), max(map(len, rows))), np.nan)
    for out, row in zip(signal, rows):
        out[: len(row)] = row
    return signal


def not_read(path: Path, kind: str) -> ValueError:
    """Returns the error for a JSON file of another kind."""
    return ValueError(
        f'{path} is a JSON file ({kind}), which is not read; expected {{"signal": [[...]], "sampling_rate": ...}}, an '
        "HL7 FHIR Observation with SampledData, or a recording of Kardia's interface."
    )


KINDS = (
    Kind("HL7 FHIR", lambda content: "resourceType" in content, read_fhir),
    Kind(
        "Kardia",
        lambda content: isinstance(content.get("data"), dict) and isinstance(content["data"].get("raw"), dict),
        read_kardia,
    ),
    Kind("ECG dict", lambda content: "signal" in content or "ecg" in content, read_signal),
)


__all__ = ["read_json"]
