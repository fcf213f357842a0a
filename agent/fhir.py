"""Writes an ECG and its reading as HL7 FHIR R4: a Bundle of the signal, the numbers, the statements and the report.

    ECG   --SampledData, one component for each lead--> Observation --+
    reply --LOINC codes--> an Observation for each number             +--> DiagnosticReport, preliminary
          --probabilities--> an Observation of the statements --------+

`read_ecg` reads the file back. Of the patient the Bundle has what the ECG has: a pseudonym, sex and age, and no name.
"""

import hashlib
import json
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..ecg_heartcare import ECG
from ..json_heartcare import AGE_CODE, MDC_LEADS

NOTICE = "Not for clinical use."
STEP_MV = 0.001  # a step of the whole numbers of the signal
MAX_VALUES = 2**22  # most samples of all leads: an hour of two leads at 500 Hz
LOINC, UCUM, MDC = "http://loinc.org", "http://unitsofmeasure.org", "urn:iso:std:iso:11073:10101"
CATEGORY = "http://terminology.hl7.org/CodeSystem/observation-category"
ELECTROCARDIAC = {
    "system": "http://terminology.hl7.org/CodeSystem/v2-0074",
    "code": "EC",
    "display": "Electrocardiac (e.g., EKG, EEC, Holter)",
}
EKG_STUDY = {"system": LOINC, "code": "11524-6", "display": "EKG study"}
POTENTIAL = {"system": MDC, "code": "131328", "display": "MDC_ECG_ELEC_POTL"}
LEAD_CODES = {lead: code for code, lead in MDC_LEADS.items()}


class Number(NamedTuple):
    """LOINC `code` and `name` of a measured number, and its UCUM `unit`."""

    code: str
    name: str
    unit: str


NUMBERS: dict[str, Number] = {
    "heart_rate": Number("8867-4", "Heart rate", "/min"),
    "pr": Number("8625-6", "P-R Interval", "ms"),
    "qrs": Number("8633-0", "QRS duration", "ms"),
    "qt": Number("8634-8", "Q-T interval", "ms"),
    "qtc_fridericia": Number("76634-5", "Q-T interval corrected based on Fridericia formula", "ms"),
    "qtc_bazett": Number("76635-2", "Q-T interval corrected based on Bazett formula", "ms"),
    "p_axis": Number("8626-4", "P wave axis", "deg"),
    "qrs_axis": Number("8632-2", "QRS axis", "deg"),
    "t_axis": Number("8638-9", "T wave axis", "deg"),
}
AGE = Number(AGE_CODE, "Age", "a")


def fhir_bundle(ecg: ECG | None, reply: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a Bundle of an ECG and of the pipeline's reply to the request for a report on it. The same input gives
    the same Bundle, with the same ids.

    Args:
        ecg: The recording; None for a picture that was not digitised, which has no signal.
        reply: Reply of the pipeline: "text", "measurements", "provenance", and, where they are, "findings" and
            "windows".

    Raises: `ValueError` for a recording of more than `MAX_VALUES` values.
    """
    return Bundle(ecg, reply).as_dict()


class Bundle:
    """Makes the resources of one ECG; arguments are those of `fhir_bundle`."""

    def __init__(self, ecg: ECG | None, reply: Mapping[str, Any]):
        if ecg is not None and ecg.signal.size > MAX_VALUES:
            raise ValueError(
                f"{ecg.source} has {ecg.signal.size} values, and a FHIR Bundle is written of at most {MAX_VALUES}; cut "
                "the recording into parts."
            )
        self.ecg, self.reply, self.entries = ecg, reply, []
        self.digest = digest_of(ecg, reply)

    def as_dict(self) -> dict[str, Any]:
        """Returns the Bundle."""
        self.subject = self.add("Patient", self.patient())
        self.device = self.add("Device", self.model())
        results = [] if self.ecg is None else [self.observe(**self.signal())]
        if self.ecg is not None and self.ecg.age is not None:
            results.append(self.observe(**age(self.ecg.age)))
        windows = self.reply.get("windows") or [None] * len(self.reply["measurements"])
        for measured, window in zip(self.reply["measurements"], windows):
            for name, kind in NUMBERS.items():
                if measured.get(name) is not None:
                    results.append(self.observe(**number(kind, measured[name]), **noted(window)))
        for shares, window in zip(self.reply.get("findings", ()), windows):
            results.append(self.observe(**statements(shares), **noted(window)))
        report = {
            "status": "preliminary",
            "category": [concept(ELECTROCARDIAC)],
            "code": concept(EKG_STUDY),
            "subject": self.subject,
            "result": results,
            "conclusion": f"{self.reply['text']} {NOTICE}",
        }
        self.add("DiagnosticReport", report)
        return {"resourceType": "Bundle", "type": "collection", "entry": self.entries}

    def add(self, kind: str, content: dict[str, Any]) -> dict[str, str]:
        """Adds a resource, and returns the reference to it."""
        identity = uuid.uuid5(uuid.NAMESPACE_OID, f"{self.digest} {len(self.entries)}")
        resource = {"resourceType": kind, "id": str(identity), **content}
        self.entries.append({"fullUrl": identity.urn, "resource": resource})
        return {"reference": identity.urn}

    def observe(self, **content: Any) -> dict[str, str]:
        """Adds a preliminary Observation of the ECG, and returns the reference to it."""
        return self.add(
            "Observation", {"status": "preliminary", "subject": self.subject, "device": self.device, **content}
        )

    def patient(self) -> dict[str, Any]:
        """Returns the Patient, as far as the ECG tells."""
        pseudonym, sex = (getattr(self.ecg, name, None) for name in ("patient_id", "sex"))
        return ({"identifier": [{"value": pseudonym}]} if pseudonym else {}) | ({"gender": sex} if sex else {})

    def model(self) -> dict[str, Any]:
        """Returns the Device: the model that read the ECG."""
        provenance = self.reply["provenance"]
        name = {"deviceName": [{"name": provenance["model"], "type": "model-name"}]}
        versions = versions_of(provenance).items()
        return name | {"version": [{"type": {"text": kind}, "value": version} for kind, version in versions]}

    def signal(self) -> dict[str, Any]:
        """Returns the content of the Observation of the signal."""
        components = [
            {
                "code": concept(
                    {"system": MDC, "code": LEAD_CODES[lead], "display": f"MDC_ECG_ELEC_POTL_{lead.upper()}"}
                ),
                "valueSampledData": sampled(values, self.ecg.sampling_rate),
            }
            for lead, values in zip(self.ecg.lead_names, self.ecg.signal)
        ]
        procedure = {"system": CATEGORY, "code": "procedure", "display": "Procedure"}
        return {"category": [concept(procedure)], "code": concept(POTENTIAL), "component": components}


def versions_of(provenance: Mapping[str, Any]) -> dict[str, str]:
    """Returns what a reply was made by, as far as it is known: the version of this software, the version that made the
    model, and the model's commit on the Hub.
    """
    known = {
        "heartcare": provenance["heartcare_version"],
        "model made by heartcare": provenance["model_version"],
        "model revision": provenance["revision"],
    }
    return {kind: version for kind, version in known.items() if version}


def digest_of(ecg: ECG | None, reply: Mapping[str, Any]) -> str:
    """Returns a hash of an ECG and of what was read of it, for ids that are the same for the same content."""
    content = hashlib.sha256(json.dumps([reply["text"], reply["measurements"]]).encode())
    if ecg is not None:
        content.update(ecg.signal.tobytes())
    return content.hexdigest()


def age(years: float) -> dict[str, Any]:
    """Returns the code and value of the Observation of an age; 90 stands for "over 89"."""
    content = number(AGE, years)
    if years >= 90:
        content["valueQuantity"]["comparator"] = ">="
    return content


def number(kind: Number, value: float) -> dict[str, Any]:
    """Returns the code and value of the Observation of a number."""
    code = {"system": LOINC, "code": kind.code, "display": kind.name}
    return {"code": concept(code), "valueQuantity": quantity(value, kind.unit)}


def statements(found: Mapping[str, float]) -> dict[str, Any]:
    """Returns the content of the Observation of the statements: a component with the probability of each."""
    components = [{"code": {"text": words}, "valueQuantity": quantity(share, "1")} for words, share in found.items()]
    return {"code": {"text": "Probabilities of statements about the ECG"}, "component": components}


def noted(window: Mapping[str, Any] | None) -> dict[str, Any]:
    """Returns the note of an Observation that says which window of a long recording it is about."""
    return {} if window is None else {"note": [{"text": window_words(window)}]}


def window_words(window: Mapping[str, Any]) -> str:
    """Returns a sentence that says which window of a long recording is meant."""
    return f"{window['seconds']:g} s from {window['start']:g} s on, chosen for: {window['reason']}."


def sampled(values: Sequence[float] | np.ndarray, rate: float) -> dict[str, Any]:
    """Returns the SampledData of one lead in mV, rounded to `STEP_MV`; "E" where nothing was recorded."""
    recorded = np.isfinite(values)
    counts = np.where(recorded, np.rint(np.where(recorded, values, 0).astype(np.float64) / STEP_MV), 0).astype(int)
    words = (str(count) if known else "E" for count, known in zip(counts.tolist(), recorded.tolist()))
    return {
        "origin": quantity(0, "mV"),
        "period": 1000 / rate,
        "factor": STEP_MV,
        "dimensions": 1,
        "data": " ".join(words),
    }


def concept(coding: dict[str, str]) -> dict[str, Any]:
    """Returns a CodeableConcept of one code."""
    return {"coding": [coding], "text": coding["display"]}


def quantity(value: float, unit: str) -> dict[str, Any]:
    """Returns a Quantity in a unit of UCUM."""
    return {"value": value, "unit": unit, "system": UCUM, "code": unit}
