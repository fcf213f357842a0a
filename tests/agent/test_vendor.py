"""Vendors' formats: samples, findings and people, each format against the others or a second decoder; hostile files."""

import base64
import json
import re
import struct
import tracemalloc
import zlib
from dataclasses import replace

import numpy as np
import pytest
from support import vendor_files as files
from support.vendor_files import FINDINGS, PEOPLE, STATEMENTS

from heartcare.agent.readers import limits, read_ecg
from heartcare.agent.readers.device_findings import device_measurements
from heartcare.ecg_heartcare import LEADS, pseudonym
from heartcare.privacy_heartcare import identifies_person

pydicom = pytest.importorskip("pydicom")
pytest.importorskip("ecgdatakit")

WRITERS = {
    "edf": files.write_edf,
    "dicom": files.write_dicom,
    "hl7-aecg": files.write_aecg,
    "muse-xml": files.write_muse,
    "sierra-xml": files.write_sierra,
    "scp-ecg": files.write_scp,
    "ishne": files.write_ishne,
    "mfer": files.write_mfer,
}
# What the writers of `support.vendor_files` can say of `FINDINGS` in each format.
STATED = {
    "edf": set(),
    "dicom": set(FINDINGS),
    "hl7-aecg": set(FINDINGS),
    "muse-xml": set(FINDINGS) - {"p_duration", "qtc_bazett"},
    "sierra-xml": set(FINDINGS) - {"qtc"},
    "scp-ecg": set(FINDINGS) - {"qtc", "qtc_fridericia"},
    "ishne": set(),
    "mfer": set(),
}


@pytest.mark.parametrize("name", WRITERS)
def test_formats_are_twins(name, ecg, tmp_path):
    """Every format gives the same ECG, patient, measurements and statements."""
    WRITERS[name](tmp_path / "a", ecg)
    record = read_ecg(tmp_path / "a")
    assert record.format == name and record.sampling_rate == 500 and record.signal.shape[1] == ecg.signal.shape[1]
    assert set(record.lead_names) == set(LEADS) - ({"III", "aVR", "aVL", "aVF"} if name == "muse-xml" else set())
    counts = ecg.signal if name == "edf" else files.as_counts(ecg.signal) / 1000
    for lead, signal in zip(record.lead_names, record.signal):
        np.testing.assert_allclose(signal, counts[LEADS.index(lead)], atol=1.6e-4 if name == "edf" else 1e-6)
    assert (record.age, record.sex, record.patient_id) == (63, "female", pseudonym("4711"))
    assert record.measurements == {key: value for key, value in FINDINGS.items() if key in STATED[name]}
    assert record.report == (". ".join(STATEMENTS) if STATED[name] else "")
    assert record.statements == ({"SR": 100.0, "IMI": 50.0} if STATED[name] else {})


@pytest.mark.parametrize("name", WRITERS)
def test_nobody_is_named(name, ecg, tmp_path):
    WRITERS[name](tmp_path / "a", ecg)
    record = read_ecg(tmp_path / "a")
    kept = {key: value for key, value in vars(record).items() if key not in ("signal", "source")}
    words = set(re.findall(r"[^\W_]+", json.dumps(kept, default=str).upper()))
    assert not words & {part for word in PEOPLE for part in word.split("-")} - {"04", "03", "APR"}


def test_people_are_not_named_in_what_an_expert_wrote(ecg, tmp_path):
    """The device's own words are kept where an expert changed them; a patient called Block keeps the diagnosis."""
    confirmed = ("Right bundle branch block, DOE", "Reviewed and signed electronically by STRANGE", "Dr. Hoot agrees")
    files.write_muse(tmp_path / "a", ecg, confirmed=confirmed)
    text = (tmp_path / "a").read_text()
    (tmp_path / "a").write_text(text.replace("<PatientFirstName>JANE", "<PatientFirstName>BLOCK"))
    record = read_ecg(tmp_path / "a")
    assert record.report == "Right bundle branch block, [name]" and record.statements == {"CRBBB": 100.0}
    assert record.columns == {"device_report": ". ".join(STATEMENTS)}


@pytest.mark.parametrize(
    "line",
    [
        files.SIGN_OFF,
        "Referred by: HOOT",
        "Electronically signed by A B",
        "Technician: BOLT",
        "Befundet von Dr. Meier",
        "Edited by X on 2/3/2020",
        "Patient name: Doe",
        "DOB: 1962",
    ],
)
def test_sign_offs_are_known(line):
    assert identifies_person(line)


@pytest.mark.parametrize(
    "line",
    [
        "Sinus rhythm",
        "Unconfirmed report",
        "Interpretation made without knowing age or sex",
        "Compared with ECG of 2019, drift is absent",
    ],
)
def test_findings_are_no_sign_offs(line):
    assert not identifies_person(line)


def test_heart_rate_of_the_rr_interval(ecg, tmp_path):
    files.write_dicom(tmp_path / "a", ecg, findings={"rr_interval": 982, "qtc": 370})
    record = read_ecg(tmp_path / "a")
    assert record.measurements == {"heart_rate": 61.1, "rr_interval": 982, "qtc": 370}
    assert any("calculated the heart rate" in note for note in record.notes)


def test_sierra_1_03(ecg, tmp_path):
    files.write_sierra(tmp_path / "a", ecg, version="1.03")
    stated = ("heart_rate", "pr_interval", "qrs_duration", "qt_interval", "qtc")
    assert read_ecg(tmp_path / "a").measurements == {name: FINDINGS[name] for name in stated}


def test_intervals_of_boundaries(ecg, tmp_path):
    """HL7 aECG may state the waves of the representative beat alone."""
    waves = {"P": (100, 210), "QRS": (260, 354), "T": (400, 660)}
    files.write_aecg(tmp_path / "a", ecg, findings={}, boundaries=waves)
    stated = {"p_duration": 110, "pr_interval": 160, "qrs_duration": 94, "qt_interval": 400}
    assert read_ecg(tmp_path / "a").measurements == stated


def test_scp_states_qtc_of_another_formula(ecg, tmp_path):
    files.write_scp(tmp_path / "a", ecg, findings={"qtc": 443, "heart_rate": 80})
    assert read_ecg(tmp_path / "a").measurements == {"heart_rate": 80, "qtc": 443}


@pytest.mark.parametrize("name, value", [("heart_rate", 0), ("pr_interval", 0), ("qtc", 65535), ("t_axis", 999)])
def test_what_was_not_measured_is_left_out(name, value, ecg, tmp_path):
    files.write_muse(tmp_path / "a", ecg, findings={"qt_interval": 400, name: value})
    record = read_ecg(tmp_path / "a")
    assert record.measurements == {"qt_interval": 400} and any(name in note for note in record.notes)


@pytest.mark.parametrize(
    "text, value",
    [
        ("421", 421),
        ("421 ms", 421),
        ("0.421 s", 421),
        ("421,5 ms", 421.5),
        ("443 ms (formula code 2)", 443),
        ("421 furlongs", None),
        ("n/a", None),
    ],
)
def test_quantities_of_texts(text, value):
    from ecgdatakit.models import ECGRecord

    found, _ = device_measurements(ECGRecord(annotations={"QTc Interval": text}))
    assert found.get("qtc") == (None if value is None else pytest.approx(value))


# ---------------------------------------------------------------------------------------------- labels
LABELS = {
    "EKG I": "I",
    "ECG II": "II",
    "I-Ref": "I",
    "ECG LA-RA": "I",
    "ECG LL-RA": "II",
    "EKG V1": "V1",
    "EKG aVR": "aVR",
    "Ableitung III": "III",
    "Lead 1": "I",
}
UNKNOWN = ("EKG", "ECG1", "ECG 2", "1", "CH 3", "EKG2")


@pytest.mark.parametrize("label", LABELS)
def test_labels_of_edf(label, ecg, tmp_path):
    files.write_edf(tmp_path / "a", ecg, labels=[label, "EKG V6"])
    assert read_ecg(tmp_path / "a").lead_names == (LABELS[label], "V6")


@pytest.mark.parametrize("label", UNKNOWN)
def test_labels_that_say_nothing_of_electrodes(label, ecg, tmp_path):
    files.write_edf(tmp_path / "a", ecg, labels=[label])
    with pytest.raises(ValueError, match=rf"{label}.*lead_names="):
        read_ecg(tmp_path / "a")
    named = read_ecg(tmp_path / "a", lead_names=["V2"])
    assert named.lead_names == ("V2",)
    np.testing.assert_allclose(named.signal[0], ecg.signal[0], atol=1.6e-4)
    files.write_edf(tmp_path / "b", ecg, labels=["II", label])
    record = read_ecg(tmp_path / "b")
    assert record.lead_names == ("II",) and record.warnings == (f"lead_unknown:{label}",)
    assert read_ecg(tmp_path / "b", lead_names=["II", "V5"]).lead_names == ("II", "V5")


def test_unnamed_leads_of_holters(ecg, tmp_path):
    """Code 0 of ISHNE is an unknown lead, which ecgdatakit calls "Lead 1"; it is not lead I."""
    files.write_ishne(tmp_path / "a", ecg, codes=(0, 0))
    with pytest.raises(ValueError, match="channel 1.*lead_names="):
        read_ecg(tmp_path / "a")
    assert read_ecg(tmp_path / "a", lead_names=["V5", "V1"]).lead_names == ("V5", "V1")


def test_lead_off_of_ishne_is_a_gap(ecg, tmp_path):
    signal = ecg.signal.copy()
    signal[3, 100:200] = -32.768
    files.write_ishne(tmp_path / "a", replace(ecg, signal=signal))
    recorded = read_ecg(tmp_path / "a").recorded
    assert not recorded[3, 100:200].any() and recorded.sum() == recorded.size - 100


# ----------------------------------------------------------------------------- sample by sample: DICOM
@pytest.mark.parametrize("syntax", files.SYNTAXES)
@pytest.mark.parametrize("bits", files.SAMPLES)
def test_dicom_is_read_as_pydicom_reads_it(syntax, bits, ecg, tmp_path):
    step = {8: 50.0, 16: 2.5, 32: 0.01}[bits]
    files.write_dicom(tmp_path / "a", ecg, syntax=syntax, bits=bits, sensitivity=step, correction=0.8, baseline=-120.0)
    record = read_ecg(tmp_path / "a")
    data = pydicom.dcmread(tmp_path / "a")
    if syntax == "big":  # pydicom takes all samples for little-endian ones
        group = data.WaveformSequence[0]
        group.WaveformData = np.frombuffer(group.WaveformData, f">i{bits // 8}").astype(f"<i{bits // 8}").tobytes()
    wanted = pydicom.waveforms.multiplex_array(data, 0, as_raw=False).T / 1000
    np.testing.assert_allclose(record.signal, wanted, atol=1e-6)
    np.testing.assert_allclose(record.signal, ecg.signal, atol=0.4 * step / 1000 + 1e-6)


def test_multiplex_groups_of_dicom(ecg, tmp_path):
    """Four groups of three leads are a 3x4 recording: each lead is there for a quarter of the time."""
    groups = tuple(LEADS[i : i + 3] for i in range(0, 12, 3))
    files.write_dicom(tmp_path / "a", ecg, groups=groups)
    record = read_ecg(tmp_path / "a")
    assert record.lead_names == LEADS and record.signal.shape == (12, 5000) and record.measurements == FINDINGS
    data = pydicom.dcmread(tmp_path / "a")
    for i in range(12):
        part = slice(1250 * (i // 3), 1250 * (i // 3 + 1))
        assert np.flatnonzero(record.recorded[i]).tolist() == list(range(part.start, part.stop))
        np.testing.assert_allclose(record.signal[i, part], data.waveform_array(i // 3).T[i % 3] / 1000, atol=1e-6)


def test_leads_of_a_further_group_are_noted(ecg, tmp_path):
    files.write_dicom(tmp_path / "a", ecg, groups=(("I", "II"), ("II", "V1")))
    record = read_ecg(tmp_path / "a")
    assert record.lead_names == ("I", "II", "V1") and any("left out II of" in note for note in record.notes)


def test_average_beats_of_dicom_are_no_recording(ecg, tmp_path):
    files.write_dicom(tmp_path / "a", ecg, groups=(LEADS, LEADS))
    data = pydicom.dcmread(tmp_path / "a")
    data.WaveformSequence[1].MultiplexGroupLabel = "MEDIAN BEAT"
    data.save_as(tmp_path / "b")
    assert read_ecg(tmp_path / "b").signal.shape == (12, 2500)


# ------------------------------------------------------------------------------- sample by sample: EDF
@pytest.mark.parametrize("units", ["uV", "mV", "V"])
def test_edf_is_read_as_a_second_decoder_reads_it(units, ecg, tmp_path):
    slow = ("V6", units, ecg.signal[11, ::2] * {"mV": 1, "uV": 1e3, "V": 1e-3}[units])
    files.write_edf(tmp_path / "a", ecg, labels=LEADS[:11], units=units, other=slow)
    decoded, record = files.decode_edf(tmp_path / "a"), read_ecg(tmp_path / "a")
    assert record.lead_names == LEADS and record.sampling_rate == 500
    for lead, signal in zip(LEADS[:11], record.signal):
        np.testing.assert_allclose(signal, decoded[lead] * {"mV": 1, "uV": 1e-3, "V": 1e3}[units], atol=1e-6)
    assert any("resampled V6 from 250 to 500 Hz" in note for note in record.notes)
    np.testing.assert_allclose(record.signal[11], ecg.signal[11], atol=0.06)
    assert np.sqrt(np.mean((record.signal[11] - ecg.signal[11]) ** 2)) < 0.006


def test_gaps_of_edf(ecg, tmp_path):
    """Records of EDF+D stand where their start times are, and what the annotations say is no signal and not kept."""
    onsets = [0, 1, 2, 5, 6, 7, 8, 20, 21, 22]
    files.write_edf(tmp_path / "a", ecg, onsets=onsets)
    record, decoded = read_ecg(tmp_path / "a"), files.decode_edf(tmp_path / "a")
    assert record.signal.shape == (12, 23 * 500) and record.lead_names == LEADS
    for number, onset in enumerate(onsets):
        part = slice(500 * onset, 500 * (onset + 1))
        np.testing.assert_allclose(record.signal[0, part], decoded["I"][500 * number : 500 * (number + 1)], atol=1e-6)
    assert record.recorded.sum() == 12 * 5000


def test_other_signals_of_edf(ecg, tmp_path):
    """Another quantity is no lead; a voltage at another rate does not change the rate of the leads."""
    files.write_edf(tmp_path / "a", ecg, labels=["I", "II"], other=("Resp", "ohm", np.zeros(250)))
    record = read_ecg(tmp_path / "a")
    assert record.lead_names == ("I", "II") and any("Resp" in note for note in record.notes)
    files.write_edf(tmp_path / "b", ecg, labels=["I", "II"], other=("EMG chin", "mV", np.zeros(20000)))
    record = read_ecg(tmp_path / "b")
    assert record.sampling_rate == 500 and record.lead_names == ("I", "II")
    assert any("'EMG chin' at 2000 Hz" in note for note in record.notes)


def test_rates_that_are_no_whole_numbers(ecg, tmp_path):
    """ecgdatakit rounds sampling rates; an hour at 128.3 Hz would be 8 s too long."""
    files.write_edf(tmp_path / "a", replace(ecg, signal=ecg.signal[:, :5000]), labels=["I"])
    content = bytearray((tmp_path / "a").read_bytes())
    content[244:252] = b"1.024   "
    (tmp_path / "a").write_bytes(content)
    assert read_ecg(tmp_path / "a").sampling_rate == pytest.approx(500 / 1.024)
    files.write_dicom(tmp_path / "b", replace(ecg, sampling_rate=128.25))
    assert read_ecg(tmp_path / "b").sampling_rate == 128.25
    for increment, rate in (("0.0078", 1 / 0.0078), ("0.003333", 300), ("0.00390625", 256)):
        files.write_aecg(tmp_path / "c", ecg, increment=increment)
        assert read_ecg(tmp_path / "c").sampling_rate == pytest.approx(rate, rel=1e-9)


# ------------------------------------------------------------------------ sample by sample: compressed
@pytest.mark.parametrize("tables", ["", "default", "own"])
@pytest.mark.parametrize("difference", [0, 1, 2])
def test_compressed_scp(tables, difference, ecg, tmp_path):
    files.write_scp(tmp_path / "a", ecg, tables=tables, difference=difference)
    record = read_ecg(tmp_path / "a")
    np.testing.assert_allclose(record.signal, files.as_counts(ecg.signal) / 1000, atol=1e-6)
    assert record.lead_names == LEADS and len(record.notes) == 2


def test_leads_of_scp_that_begin_later(ecg, tmp_path):
    files.write_scp(tmp_path / "a", ecg, starts=[1 + 1250 * (i // 3) for i in range(12)])
    record = read_ecg(tmp_path / "a")
    assert record.signal.shape == (12, 5000)
    for i in range(12):
        part = slice(1250 * (i // 3), 1250 * (i // 3 + 1))
        assert np.flatnonzero(record.recorded[i]).tolist() == list(range(part.start, part.stop))
        np.testing.assert_allclose(record.signal[i, part], files.as_counts(ecg.signal)[i, part] / 1000, atol=1e-6)


def test_compressed_sierra(ecg, tmp_path):
    files.write_sierra(tmp_path / "a", ecg, compressed=True)
    files.write_sierra(tmp_path / "b", ecg)
    assert (tmp_path / "a").stat().st_size < 0.9 * (tmp_path / "b").stat().st_size
    np.testing.assert_array_equal(read_ecg(tmp_path / "a").signal, read_ecg(tmp_path / "b").signal)


# --------------------------------------------------------------------------------------------- hostile
@pytest.fixture
def refused(monkeypatch):
    """Checks that a file is refused before a parser sees it."""
    import ecgdatakit

    def parse(*_, **__):
        pytest.fail("The parser was called.")

    def check(path, message):
        with monkeypatch.context() as patched, pytest.raises(ValueError, match=message):
            patched.setattr(ecgdatakit.FileParser, "parse", parse)
            read_ecg(path)

    return check


def test_deflated_dicom_is_bounded(refused, ecg, tmp_path):
    files.write_dicom(tmp_path / "a", ecg, syntax="deflated")
    assert read_ecg(tmp_path / "a").signal.shape == (12, 5000)
    content = (tmp_path / "a").read_bytes()
    with open(tmp_path / "a", "rb") as file:
        assert limits.skip_file_meta(file) == files.SYNTAXES["deflated"]
        head = content[: file.tell()]
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    bomb = packer.compress(struct.pack("<HH2sHI", 0x5400, 0x1010, b"OW", 0, 2**27))
    bomb += b"".join(packer.compress(bytes(2**20)) for _ in range(128)) + packer.flush()
    assert len(bomb) < 2**18
    (tmp_path / "bomb").write_bytes(head + bomb)
    tracemalloc.start()
    refused(tmp_path / "bomb", f"unpacks to more than {limits.MAX_INFLATED_BYTES} bytes")
    assert tracemalloc.get_traced_memory()[1] < 3 * limits.MAX_INFLATED_BYTES
    tracemalloc.stop()
    (tmp_path / "cut").write_bytes(head + b"\xff" * 100)
    refused(tmp_path / "cut", "damaged")


ITEM, ITEM_END, SEQUENCE_END = (struct.pack("<HHI", 0xFFFE, element, 0) for element in (0xE000, 0xE00D, 0xE0DD))


def in_sequence(content, length=2**32 - 1, syntax="little"):
    head = struct.pack("<HH2sHI", 0x5501, 0x1000, b"SQ", 0, length)
    return (head if syntax != "implicit" else struct.pack("<HHI", 0x5400, 0x0100, length)) + content


@pytest.mark.parametrize("syntax", ["little", "implicit", "deflated"])
@pytest.mark.parametrize("flood", ["elements", "items", "items of known length", "elements of an item"])
def test_elements_of_dicom_are_bounded(refused, flood, syntax, ecg, tmp_path):
    """Eight bytes of a file become an object of 500 bytes, and an item takes far longer than that."""
    files.write_dicom(tmp_path / "a", ecg, syntax=syntax)
    number = limits.MAX_DICOM_ELEMENTS
    empty = [struct.pack("<HH", 0x5501 + 2 * (i >> 16), i & 0xFFFF) for i in range(number)]
    elements = b"".join(tag + (bytes(4) if syntax == "implicit" else b"LO\0\0") for tag in empty)
    whole = {
        "elements": elements,
        "items": in_sequence(ITEM * number + SEQUENCE_END, syntax=syntax),
        "items of known length": in_sequence(ITEM * number, 8 * number, syntax),
        "elements of an item": in_sequence(ITEM[:4] + b"\xff" * 4 + elements + ITEM_END + SEQUENCE_END, syntax=syntax),
    }[flood]
    content = (tmp_path / "a").read_bytes()
    if syntax == "deflated":
        with open(tmp_path / "a", "rb") as file:
            limits.skip_file_meta(file)
            head = content[: file.tell()]
        packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
        data = zlib.decompress(content[len(head) :], -zlib.MAX_WBITS) + whole
        (tmp_path / "a").write_bytes(head + packer.compress(data) + packer.flush())
    else:
        (tmp_path / "a").write_bytes(content + whole)
    refused(tmp_path / "a", "data elements")


@pytest.mark.parametrize("syntax", files.SYNTAXES)
def test_elements_of_dicom_are_counted(syntax, ecg, tmp_path):
    """Returns all elements of all levels, and the items, whose ends may be marked."""
    files.write_dicom(tmp_path / "a", ecg, syntax=syntax)
    data = pydicom.dcmread(tmp_path / "a")
    elements = list(data.iterall())
    items = sum(len(element.value) for element in elements if element.VR == "SQ")
    with open(tmp_path / "a", "rb") as file:
        assert limits.skip_file_meta(file) == files.SYNTAXES[syntax]
        rest = limits.inflate(tmp_path / "a", file) if syntax == "deflated" else file.read()
    assert limits.count_elements(rest, files.SYNTAXES[syntax]) == len(elements) + items


XML = {
    "hl7-aecg": ('<AnnotatedECG xmlns="urn:hl7-org:v3">', "</AnnotatedECG>"),
    "muse-xml": ("<RestingECG>", "</RestingECG>"),
    "sierra-xml": ("<restingecgdata>", "</restingecgdata>"),
}
FLOODS = {
    "elements": ("<a/>" * 300_000, "XML elements"),
    "attributes": ("<a " + " ".join(f'b{i}=""' for i in range(300_000)) + "/>", "XML elements and attributes"),
    "depth": ("<a>" * 1000 + "</a>" * 1000, "deep"),
    "numbers": ("<digits>" + "10 " * (limits.MAX_XML_VALUES + 70) + "</digits>", "words and numbers"),
    "late entity": ("", "entities"),
}


@pytest.mark.parametrize("flood", FLOODS)
@pytest.mark.parametrize("name", XML)
def test_xml_is_bounded(refused, name, flood, tmp_path):
    (start, end), (content, message) = XML[name], FLOODS[flood]
    # A comment of 70 kB hides the declaration from who looks at the beginning alone.
    late = f'<!--{"x" * 70_000}--><!DOCTYPE a [<!ENTITY b "ccc">]>' if flood == "late entity" else ""
    head = '<?xml version="1.0"?><!-- ' + start.replace(">", " ") + " -->"
    (tmp_path / "a").write_text(f"{head if late else ''}{late}{start}{content}{end}")
    refused(tmp_path / "a", message)


def test_xml_of_another_encoding_is_counted_too(refused, tmp_path):
    """The parsers decode, by the declared encoding, text that expat cannot: that text must be counted."""
    body = "<AnnotatedECG>" + "<a/>" * 300_000 + "</AnnotatedECG>"
    hidden = '<?xml version="1.0" encoding="utf-7"?><AnnotatedECG>' + "+ADw-a/+AD4-" * 300_000 + "</AnnotatedECG>"
    for content, message in (
        (body.encode("utf-16"), "XML elements"),
        (b"<?xml version='1.0'?>" + b"<!--\xe9-->" + body.encode(), "XML elements"),
        (hidden.encode(), "encoding"),
    ):
        (tmp_path / "a").write_bytes(content)
        refused(tmp_path / "a", message)


def test_large_xml_is_refused_unread(refused, tmp_path):
    with open(tmp_path / "a", "wb") as file:
        file.write(b"<RestingECG>" + b" " * limits.MAX_XML_BYTES)
    refused(tmp_path / "a", f"up to {limits.MAX_XML_BYTES} bytes")


def test_lzw_lengths_are_those_of_the_decoder():
    from ecgdatakit.parsing.codecs import LzwDecoder

    random = np.random.default_rng(0)
    for content in (random.bytes(5000), bytes(5000), b"abab" * 900, random.integers(0, 4, 9000).astype("u1").tobytes()):
        packed = files.lzw(content)
        assert LzwDecoder(packed, 10).read_all() == content and limits.lzw_length(packed, 2**20) == len(content)
    for packed in (random.bytes(400), random.bytes(3000)):  # codes before they are defined
        packed = b"\x10" + packed
        assert limits.lzw_length(packed, 2**20) == len(LzwDecoder(packed, 10).read_all())


def test_compressed_sierra_is_bounded(refused, ecg, tmp_path):
    """Zeros are packed 300 times and more, and are refused."""
    files.write_sierra(tmp_path / "a", ecg, compressed=True)
    text = (tmp_path / "a").read_text()
    packed = files.lzw(bytes(2**16))
    half = packed[: len(packed) // 2 // 5 * 5]  # whole codes, from before the end code, of the longest strings
    packed = half + half[-500:] * 80
    bomb = base64.b64encode((struct.pack("<iHh", len(packed), 0, 0) + packed) * 40).decode()
    text = re.sub(r"(<parsedwaveforms[^>]*>)[^<]*", rf"\g<1>{bomb}", text)
    (tmp_path / "b").write_text(text)
    assert len(text) < 4 * 2**20
    refused(tmp_path / "b", "compressed leads unpack to more")


def test_annotations_of_edf_are_bounded(refused, ecg, tmp_path):
    files.write_edf(tmp_path / "a", ecg, onsets=range(10))
    content = bytearray((tmp_path / "a").read_bytes())
    width = limits.MAX_ANNOTATION_BYTES // 10
    assert content[216 * 13 + 256 + 8 * 12 :][:8] == b"30      "
    content[216 * 13 + 256 + 8 * 12 : 216 * 13 + 264 + 8 * 12] = f"{width:<8}".encode()
    (tmp_path / "a").write_bytes(bytes(content[: 256 * 14]) + b"+0\x14a\x14\0" * (10 * (12000 + 2 * width) // 6))
    refused(tmp_path / "a", "bytes of annotations")


@pytest.mark.parametrize("onsets", [[0, 10**9, *range(10**9 + 1, 10**9 + 9)], [5, 4, 3, 2, 1, 0, 0, 0, 0, 0]])
def test_impossible_start_times_of_edf(onsets, ecg, tmp_path):
    files.write_edf(tmp_path / "a", ecg, onsets=onsets)
    with pytest.raises(ValueError, match="data records"):
        read_ecg(tmp_path / "a")


def test_scp_that_claims_too_much(ecg, tmp_path):
    """A lead of four thousand million samples in a file of 40 kB is refused."""
    files.write_scp(tmp_path / "a", ecg, tables="default", difference=1)
    content = (tmp_path / "a").read_bytes()
    span = struct.pack("<IIB", 1, ecg.signal.shape[1], 1)
    assert content.count(span) == 1
    (tmp_path / "b").write_bytes(content.replace(span, struct.pack("<IIB", 1, 2**32 - 2, 1)))
    with pytest.raises(ValueError, match="cannot be read"):
        read_ecg(tmp_path / "b")
    files.write_scp(tmp_path / "c", ecg)
    late = struct.pack("<IIB", 2**32 - 5001, 2**32 - 2, 1)
    (tmp_path / "d").write_bytes((tmp_path / "c").read_bytes().replace(span, late))
    with pytest.raises(ValueError, match="begins after"):
        read_ecg(tmp_path / "d")


def test_two_formats_in_one_file(refused, ecg, tmp_path):
    """A parser of another format than the one whose limits were checked is never called."""
    files.write_edf(tmp_path / "a", ecg)
    content = bytearray((tmp_path / "a").read_bytes())
    content[128:132] = b"DICM"
    (tmp_path / "a").write_bytes(content)
    refused(tmp_path / "a", "begins like edf")
