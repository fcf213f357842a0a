"""Writes the reading of an ECG as DICOM: an Enhanced SR of the numbers, the statements and the report (extra:
heartcare[formats]).

Of the patient the SR has what the ECG has, a pseudonym, sex and age; name and birth date are empty. Codes are those of
the DICOM dictionary of pydicom, and of LOINC for the rate and the document.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..ecg_heartcare import ECG
from .fhir import NOTICE, digest_of, versions_of, window_words

if TYPE_CHECKING:
    from pydicom import Dataset
    from pydicom.sr.coding import Code

# Measured number -> keyword of its code in the dictionary of pydicom (MDC), and its unit in UCUM.
NUMBERS: dict[str, tuple[str, str]] = {
    "pr": ("PRIntervalGlobal", "ms"),
    "qrs": ("QRSDurationGlobal", "ms"),
    "qt": ("QTIntervalGlobal", "ms"),
    "qtc_bazett": ("QtcGlobalUsingBazettFormula", "ms"),
    "qtc_fridericia": ("QtcGlobalUsingFredericiaFormula", "ms"),
    "p_axis": ("PAxis", "deg"),
    "qrs_axis": ("QRSAxis", "deg"),
    "t_axis": ("TAxis", "deg"),
}
HEART_RATE = ("8867-4", "LN", "Heart rate")
EKG_STUDY = ("11524-6", "LN", "EKG study")
LANGUAGE, ENGLISH = ("121049", "DCM", "Language of Content Item and Descendants"), ("en", "RFC5646", "English")
SEXES = {"female": "F", "male": "M"}


def write_structured_report(path: str | Path, ecg: ECG | None, reply: Mapping[str, Any]) -> None:
    """Writes a DICOM SR of the reading of an ECG.

    Args:
        path: File to write.
        ecg: The recording; None for a picture that was not digitised.
        reply: The pipeline's reply to the request for a report; see `fhir.fhir_bundle`.

    Raises: `ImportError` without the extra.
    """
    try:
        import pydicom
        from pydicom.uid import EnhancedSRStorage, ExplicitVRLittleEndian
    except ImportError as error:
        raise ImportError("Writing DICOM needs pydicom: pip install 'heartcare[formats]'") from error
    report = pydicom.Dataset()
    add_identity(report, ecg, reply)
    report.SOPClassUID, report.Modality = EnhancedSRStorage, "SR"
    add_document(report)
    container(report, EKG_STUDY, contents(reply))
    report.file_meta = pydicom.dataset.FileMetaDataset()
    report.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    report.save_as(path, enforce_file_format=True)


def add_identity(report: "Dataset", ecg: ECG | None, reply: Mapping[str, Any]) -> None:
    """Adds what is known of the patient, and the UIDs, which are the same for the same ECG and reply."""
    from pydicom.uid import generate_uid

    digest = digest_of(ecg, reply)
    for name in ("Study", "Series", "SOP"):
        uid = generate_uid(entropy_srcs=[digest, name])
        setattr(report, f"{name}InstanceUID", uid)
    report.PatientName = report.PatientBirthDate = ""
    report.PatientID = getattr(ecg, "patient_id", None) or ""
    report.PatientSex = SEXES.get(getattr(ecg, "sex", None), "")
    age = getattr(ecg, "age", None)
    if age is not None:
        report.PatientAge = f"{age:03.0f}Y"
    for name in ("StudyDate", "StudyTime", "StudyID", "AccessionNumber", "ReferringPhysicianName"):
        setattr(report, name, "")
    report.Manufacturer = "HeartcareGPT"
    report.ManufacturerModelName = reply["provenance"]["model"]
    report.SoftwareVersions = [f"{kind} {version}" for kind, version in versions_of(reply["provenance"]).items()]


def add_document(report: "Dataset") -> None:
    """Adds the state of the document: preliminary, and verified by nobody."""
    now = datetime.now(UTC)
    report.SpecificCharacterSet = "ISO_IR 192"
    report.SeriesNumber = report.InstanceNumber = 1
    report.ContentDate, report.ContentTime = now.strftime("%Y%m%d"), now.strftime("%H%M%S")
    report.TimezoneOffsetFromUTC = "+0000"
    report.CompletionFlag, report.VerificationFlag, report.PreliminaryFlag = "COMPLETE", "UNVERIFIED", "PRELIMINARY"
    report.ReferencedPerformedProcedureStepSequence = report.PerformedProcedureCodeSequence = []


def contents(reply: Mapping[str, Any]) -> list["Dataset"]:
    """Returns the items of the document: its language, the numbers, the statements and the report."""
    from pydicom.sr.codedict import codes

    windows = reply.get("windows") or [None] * len(reply["measurements"])
    items = [coded("HAS CONCEPT MOD", LANGUAGE, ENGLISH)]
    for measured, window in zip(reply["measurements"], windows):
        items.append(section(codes.DCM.ECGGlobalMeasurements, [*comments(window), *numbers(measured)]))
    for shares, window in zip(reply.get("findings", ()), windows):
        items.append(section(codes.DCM.Findings, [*comments(window), *map(statement, shares.items())]))
    items.append(text(codes.DCM.Impression, reply["text"]))
    items.append(text(codes.DCM.Comment, NOTICE))
    return items


def numbers(measured: Mapping[str, Any]) -> Iterable["Dataset"]:
    """Yields an item for each number that was measured."""
    from pydicom.sr.codedict import codes

    concepts = {"heart_rate": (HEART_RATE, "/min")}
    concepts |= {name: (getattr(codes.MDC, keyword), unit) for name, (keyword, unit) in NUMBERS.items()}
    for name, (concept, unit) in concepts.items():
        if measured.get(name) is not None:
            yield numeric("CONTAINS", concept, measured[name], unit)


def statement(found: tuple[str, float]) -> "Dataset":
    """Returns the item of a statement, with its probability below it."""
    from pydicom.sr.codedict import codes

    words, share = found
    item = text(codes.DCM.Finding, words)
    item.ContentSequence = [numeric("HAS PROPERTIES", codes.DCM.Probability, round(100 * share, 2), "%")]
    return item


def comments(window: Mapping[str, Any] | None) -> list["Dataset"]:
    """Returns the item that says which window of a long recording is meant; none for a whole one."""
    from pydicom.sr.codedict import codes

    return [] if window is None else [text(codes.DCM.Comment, window_words(window))]


def section(concept: "Code", items: list["Dataset"]) -> "Dataset":
    """Returns a container below the document."""
    return container(content_item("CONTAINS", "CONTAINER", concept), concept, items)


def container(item: "Dataset", concept: "tuple[str, str, str] | Code", items: list["Dataset"]) -> "Dataset":
    """Makes a data set a container of content items."""
    item.ValueType, item.ConceptNameCodeSequence = "CONTAINER", [code_item(concept)]
    item.ContinuityOfContent, item.ContentSequence = "SEPARATE", items
    return item


def coded(relation: str, concept: tuple[str, str, str], value: tuple[str, str, str]) -> "Dataset":
    """Returns an item whose value is a code."""
    item = content_item(relation, "CODE", concept)
    item.ConceptCodeSequence = [code_item(value)]
    return item


def text(concept: "Code", words: str) -> "Dataset":
    """Returns an item of text."""
    item = content_item("CONTAINS", "TEXT", concept)
    item.TextValue = words
    return item


def numeric(relation: str, concept: "tuple[str, str, str] | Code", value: float, unit: str) -> "Dataset":
    """Returns an item of a number in a unit of UCUM."""
    import pydicom

    measured = pydicom.Dataset()
    measured.NumericValue, measured.MeasurementUnitsCodeSequence = f"{value:g}", [code_item((unit, "UCUM", unit))]
    item = content_item(relation, "NUM", concept)
    item.MeasuredValueSequence = [measured]
    return item


def content_item(relation: str, kind: str, concept: "tuple[str, str, str] | Code") -> "Dataset":
    """Returns a content item of a value type, without its value."""
    import pydicom

    item = pydicom.Dataset()
    item.RelationshipType, item.ValueType, item.ConceptNameCodeSequence = relation, kind, [code_item(concept)]
    return item


def code_item(code: "tuple[str, str, str] | Code") -> "Dataset":
    """Returns a coded concept, of its value, its scheme and its meaning."""
    import pydicom

    item = pydicom.Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code[:3]
    return item
