"""A reading as FHIR and as DICOM SR: it is written as it was read, comes back, and names nobody."""

import json

import numpy as np
import pytest

from heartcare.agent.fhir import MAX_VALUES, NUMBERS, STEP_MV, fhir_bundle
from heartcare.agent.structured_report import write_structured_report
from heartcare.ecg_heartcare import ECG, LEADS, pseudonym
from heartcare.measuring_heartcare import plain_measurements
from heartcare.reading_heartcare import read_ecg
from heartcare.version_heartcare import HEARTCARE_VERSION


@pytest.fixture
def recording(ecg) -> ECG:
    """Returns twelve leads with gaps, of a person about whom some things are known; the file has a telling name."""
    signal = ecg.signal.copy()
    signal[3, 1000:1200] = np.nan
    signal[0, -1] = np.nan
    known = {"age": 63.0, "sex": "female", "patient_id": pseudonym("4711")}
    return ECG(signal, 500, LEADS, "/wards/Jane Doe 1961.xml", **known)


@pytest.fixture
def reply(ecg) -> dict:
    """Returns the parts of a reply of the pipeline that are written."""
    return {
        "text": "Rhythm: sinus rhythm.",
        "measurements": [plain_measurements(ecg.signal.astype(float), 500)],
        "findings": [{"sinus rhythm": 0.98, "atrial fibrillation": 0.01}],
        "provenance": {
            "model": "me/model",
            "revision": "abc",
            "model_version": "0.1.0",
            "heartcare_version": HEARTCARE_VERSION,
            "dtype": "float32",
        },
    }


def resources(bundle: dict, kind: str) -> list[dict]:
    return [entry["resource"] for entry in bundle["entry"] if entry["resource"]["resourceType"] == kind]


@pytest.mark.parametrize("rate", [500, 360, 128.5])
def test_the_signal_comes_back_within_a_step(recording, reply, tmp_path, rate):
    ecg = ECG(recording.signal, rate, recording.lead_names, age=63, sex="female")
    (tmp_path / "a.json").write_text(json.dumps(fhir_bundle(ecg, reply)))
    found = read_ecg(tmp_path / "a.json")
    assert found.lead_names == LEADS and found.sampling_rate == pytest.approx(rate, rel=1e-6)
    assert np.array_equal(found.recorded, ecg.recorded) and not found.warnings
    assert np.nanmax(np.abs(found.signal - ecg.signal)) <= STEP_MV / 2 + 1e-6
    assert (found.age, found.sex) == (63, "female")


def test_single_leads_keep_their_names(reply, tmp_path):
    for lead in LEADS:
        ecg = ECG(np.linspace(-1, 1, 1000)[None], 250, (lead,))
        (tmp_path / "a.json").write_text(json.dumps(fhir_bundle(ecg, reply)))
        assert read_ecg(tmp_path / "a.json").lead_names == (lead,)


def test_the_report_is_preliminary_and_refers_to_all_observations(recording, reply):
    bundle = fhir_bundle(recording, reply)
    (report,), observations = resources(bundle, "DiagnosticReport"), resources(bundle, "Observation")
    assert report["status"] == "preliminary" and report["conclusion"] == f"{reply['text']} Not for clinical use."
    urls = {entry["fullUrl"] for entry in bundle["entry"]}
    referred = [each["reference"] for each in report["result"]]
    assert len(urls) == len(bundle["entry"]) and set(referred) <= urls and len(referred) == len(observations)
    assert all(each["status"] == "preliminary" and each["subject"]["reference"] in urls for each in observations)
    found = {each["code"]["coding"][0]["code"]: each for each in observations if "coding" in each["code"]}
    for name, kind in NUMBERS.items():
        value = reply["measurements"][0][name]
        assert (
            found[kind.code]["valueQuantity"]["value"] == value
            and found[kind.code]["valueQuantity"]["code"] == kind.unit
        )
    (statements,) = (each for each in observations if "coding" not in each["code"])
    shares = {each["code"]["text"]: each["valueQuantity"]["value"] for each in statements["component"]}
    assert shares == reply["findings"][0]
    assert fhir_bundle(recording, reply) == bundle


def test_a_number_that_was_not_measured_is_not_there(recording, reply):
    reply["measurements"][0]["pr"] = None
    codes = [str(each["code"]) for each in resources(fhir_bundle(recording, reply), "Observation")]
    assert not any(NUMBERS["pr"].code in code for code in codes) and any(NUMBERS["qrs"].code in code for code in codes)


def test_windows_of_a_long_recording_are_named(recording, reply):
    reply |= {name: reply[name] * 2 for name in ("measurements", "findings")}
    windows = [{"start": start, "seconds": 10.0, "reason": "slowest rate"} for start in (20.0, 70.0)]
    observations = resources(fhir_bundle(recording, reply | {"windows": windows}), "Observation")
    notes = [each["note"][0]["text"] for each in observations if "note" in each]
    assert len(notes) == 2 * (len(NUMBERS) + 1) and sum("from 70 s on" in note for note in notes) == len(notes) // 2


def test_software_and_model_are_named_with_their_versions(recording, reply, tmp_path):
    """In both exports; a model that names no version, and has no commit, says nothing of them."""
    pydicom = pytest.importorskip("pydicom")

    def versions():
        (device,) = resources(fhir_bundle(recording, reply), "Device")
        write_structured_report(tmp_path / "a.dcm", recording, reply)
        told = pydicom.dcmread(tmp_path / "a.dcm").SoftwareVersions
        told = [told] if isinstance(told, str) else [*told]
        assert told == [f"{each['type']['text']} {each['value']}" for each in device["version"]]
        return told

    software = f"heartcare {HEARTCARE_VERSION}"
    assert versions() == [software, "model made by heartcare 0.1.0", "model revision abc"]
    reply["provenance"] |= {"revision": None, "model_version": None}
    assert versions() == [software]


def test_nobody_is_named_and_nobody_is_invented(recording, reply, tmp_path):
    text = json.dumps(fhir_bundle(recording, reply))
    assert "Doe" not in text and "4711" not in text and recording.patient_id in text
    (unknown,) = resources(fhir_bundle(None, reply), "Patient")
    assert set(unknown) == {"resourceType", "id"}
    old = resources(fhir_bundle(ECG(recording.signal, 500, age=90), reply), "Observation")
    assert [each["valueQuantity"]["comparator"] for each in old if "30525-0" in str(each)] == [">="]


def test_what_is_too_long_is_refused_with_the_limit(reply):
    long = ECG(np.zeros((1, MAX_VALUES + 1), np.float32), 250, ("I",))
    with pytest.raises(ValueError, match=f"at most {MAX_VALUES}"):
        fhir_bundle(long, reply)


def items_of(item) -> list:
    """Returns all content items below a data set, in their order."""
    return [each for child in item.get("ContentSequence", ()) for each in (child, *items_of(child))]


def test_dicom_sr_holds_numbers_findings_and_report(recording, reply, tmp_path):
    pydicom = pytest.importorskip("pydicom")
    from pydicom.sr.codedict import codes

    write_structured_report(tmp_path / "a.dcm", recording, reply)
    report = pydicom.dcmread(tmp_path / "a.dcm")
    assert report.SOPClassUID == pydicom.uid.EnhancedSRStorage and report.Modality == "SR"
    assert (report.PreliminaryFlag, report.VerificationFlag) == ("PRELIMINARY", "UNVERIFIED")
    assert (report.PatientName, report.PatientBirthDate, report.PatientID) == ("", "", recording.patient_id)
    assert (report.PatientSex, report.PatientAge) == ("F", "063Y") and "Doe" not in str(report)
    items = items_of(report)
    numbers = {
        item.ConceptNameCodeSequence[0].CodeValue: item.MeasuredValueSequence[0]
        for item in items
        if item.ValueType == "NUM"
    }
    measured = reply["measurements"][0]
    assert float(numbers[codes.MDC.QRSDurationGlobal.value].NumericValue) == measured["qrs"]
    assert numbers[codes.MDC.QRSAxis.value].MeasurementUnitsCodeSequence[0].CodeValue == "deg"
    assert float(numbers["8867-4"].NumericValue) == measured["heart_rate"] and len(numbers) == len(NUMBERS) + 1
    texts = [item.TextValue for item in items if item.ValueType == "TEXT"]
    assert texts == ["sinus rhythm", "atrial fibrillation", reply["text"], "Not for clinical use."]
    (sinus,) = (item for item in items if item.get("TextValue") == "sinus rhythm")
    assert sinus.ContentSequence[0].MeasuredValueSequence[0].NumericValue == 98
    write_structured_report(tmp_path / "b.dcm", None, reply)
    assert pydicom.dcmread(tmp_path / "b.dcm").PatientID == ""


def test_without_pydicom_the_extra_is_named(reply, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pydicom", None)
    with pytest.raises(ImportError, match=r"heartcare\[formats\]"):
        write_structured_report(tmp_path / "a.dcm", None, reply)
    assert not list(tmp_path.iterdir())
