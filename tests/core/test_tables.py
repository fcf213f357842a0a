"""Tables and JSON: each layout gives the array that the test wrote, and hostile ones are refused cheaply."""

import json
import tracemalloc

import numpy as np
import pytest

from heartcare.ecg_heartcare import ECG, age_between, pseudonym
from heartcare.json_heartcare import MAX_JSON_PARTS
from heartcare.reading_heartcare import detect_format, read_ecg
from heartcare.tables_heartcare import MAX_COLUMNS, MAX_LINE


@pytest.fixture
def millivolts() -> np.ndarray:
    """Returns two leads of 1,000 samples in whole uV, so that text holds them exactly; float64 (2, 1000) in mV."""
    return np.random.default_rng(3).integers(-2000, 2000, (2, 1000)) / 1000


def clock(seconds: float, hours: bool) -> str:
    minutes, rest = divmod(seconds, 60)
    text = f"{int(minutes % 60):02}:{rest:06.3f}" if hours else f"{int(minutes)}:{rest:06.3f}"
    return f"{int(minutes // 60)}:{text}" if hours else text


def lines_of(header: list[str], times, rows, separator=",") -> bytes:
    body = [separator.join([time, *(f"{value:.6g}" for value in row)]) for time, row in zip(times, rows)]
    return "\n".join([*header, *body, ""]).encode()


@pytest.mark.parametrize("rate", [100, 128, 250, 257, 360, 500, 1000])
@pytest.mark.parametrize("hours", [False, True])
def test_physionet_export(rate, hours, millivolts):
    """Times are rounded to ms, and 360 Hz must still come out as 360 and not as 333; the clock passes an hour."""
    start = 3595 if hours else 55
    times = [f"'{clock(start + i / rate, hours)}'" for i in range(1000)]
    unit = "'hh:mm:ss.mmm'" if hours else "'mm:ss.mmm'"
    content = lines_of(["'Elapsed time','MLII','V1'", f"{unit},'mV','mV'"], times, millivolts.T)
    record = read_ecg(content)
    assert (record.sampling_rate, record.lead_names, record.warnings) == (rate, ("II", "V1"), ())
    np.testing.assert_array_equal(record.signal, millivolts.astype(np.float32))


def test_physionet_export_at_midnight_and_with_missing_values(millivolts):
    times = [f"'[{clock((86399 + i / 500) % 86400, True)} 01/01/2020]'" for i in range(1000)]
    content = lines_of(["'Time and date','I','II'", "'hh:mm:ss.mmm','uV','uV'"], times, 1000 * millivolts.T)
    rows = content.split(b"\n")
    rows[12] = rows[12].rpartition(b",")[0] + b",-"
    record = read_ecg(b"\r\n".join(rows))
    expected = millivolts.copy()
    expected[1, 10] = np.nan
    assert record.sampling_rate == 500
    np.testing.assert_allclose(record.signal, expected, atol=1e-6)


@pytest.mark.parametrize("header", [["time,I,ABP,II", "s,uV,mmHg,uV"], ["Time (ms),I (uV),ABP (mmHg),II (µV)"]])
def test_units_below_or_beside_the_names(header, millivolts):
    rows = np.insert(1000 * millivolts, 1, 90, axis=0).T
    step = 2e-3 if len(header) == 2 else 2
    record = read_ecg(lines_of(header, [f"{i * step:g}" for i in range(1000)], rows))
    assert (record.sampling_rate, record.lead_names, record.warnings) == (500, ("I", "II"), ("lead_unknown:ABP",))
    np.testing.assert_allclose(record.signal, millivolts, atol=1e-6)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
def test_tables_in_other_encodings(encoding, millivolts):
    text = lines_of(
        ["Zeit;Ableitung I (µV);Ableitung II (µV)"], [f"{i / 500:g}" for i in range(1000)], 1000 * millivolts.T, ";"
    )
    record = read_ecg(text.decode().replace(".", ",").encode(encoding))
    assert record.sampling_rate == 500 and record.lead_names == ("I", "II")
    np.testing.assert_allclose(record.signal, millivolts, atol=1e-6)


def test_table_of_one_lead_without_a_separator(millivolts):
    content = "\n".join(["Lead II (mV)", *map(str, millivolts[0])]).encode()
    record = read_ecg(content, sampling_rate=300)
    assert record.lead_names == ("II",) and record.sampling_rate == 300
    np.testing.assert_array_equal(record.signal[0], millivolts[0].astype(np.float32))
    with pytest.raises(ValueError, match="does not say its sampling rate"):
        read_ecg(content)


def test_samples_missing_between_times_are_gaps(millivolts):
    times = [f"{(i + 200 * (i >= 400)) / 500:.3f}" for i in range(1000)]
    record = read_ecg(lines_of(["time,I (mV),II (mV)"], times, millivolts.T))
    assert record.signal.shape == (2, 1200) and record.sampling_rate == 500
    assert not record.recorded[:, 400:600].any() and any("200 samples are missing" in note for note in record.notes)
    np.testing.assert_array_equal(record.signal[:, 600:], millivolts[:, 400:].astype(np.float32))
    times[-1] = "1e9"
    with pytest.raises(ValueError, match="times claim"):
        read_ecg(lines_of(["time,I (mV),II (mV)"], times, millivolts.T))


APPLE = {
    "english": (
        'Name,Jane Roe\nDate of Birth,"Jan 15, 1990"\nRecorded Date,2024-01-14 09:15:00 +0100\n'
        'Classification,Atrial Fibrillation\nSymptoms,\nDevice,"Watch6,7"\nSample Rate,512 hertz\n\n'
        "\nLead,Lead I\nUnit,µV\n\n"
    ),
    "german": (
        "Name,Jane Roe\nGeburtsdatum,15.01.1990\nAufzeichnungsdatum,2024-01-14 09:15:00 +0100\n"
        'Klassifizierung,Vorhofflimmern\nMessrate,"512,000 Hertz"\n\nAbleitung,Ableitung I\nEinheit,µV\n\n'
    ),
    "unknown": "Nom,Jane Roe\nX,15 janv. 1990\nF,512 hertz\nDérivation,Dérivation I\nU,µV\n\n",
}


@pytest.mark.parametrize("language", APPLE)
def test_apple_health(language, millivolts):
    comma = language != "english"
    values = "\n".join(f"{1000 * value:.3f}".replace(".", "," if comma else ".") for value in millivolts[0])
    record = read_ecg((APPLE[language] + values + "\n").encode())
    assert (record.format, record.sampling_rate, record.lead_names) == ("apple-health", 512, ("I",))
    np.testing.assert_allclose(record.signal[0], millivolts[0], atol=1e-6)
    # The day before the 34th birthday.
    assert record.age == (None if language == "unknown" else 33)
    assert record.report == {"english": "Atrial Fibrillation", "german": "Vorhofflimmern"}.get(language, "")
    kept = repr({key: value for key, value in vars(record).items() if key != "signal"})
    assert not [word for word in ("Jane", "Roe", "1990", "Jan 15", "15.01") if word in kept]


def test_dates_give_an_age_only_where_they_can_mean_one():
    cases = {
        ("1990-04-03", "2024-04-02T10:00:00Z"): 33,
        ("1990-04-03", "2024-04-03"): 34,
        ("03/04/1990", "2024-06-01"): 34,  # 3 April or 4 March
        ("03/09/1990", "2024-06-01"): None,  # 3 September or 9 March
        ("29. Februar 1960", "28.02.2020"): 59,
        ("15 mai 1990", "2024-05-16"): 34,
        ("1990", "2024-05-16"): None,
        ("1990-13-45", "2024-05-16"): None,
        ("", ""): None,
    }
    assert {case: age_between(*case) for case in cases} == cases


@pytest.mark.parametrize(
    "header", ["Phone timestamp;sensor timestamp [ns];timestamp [ms];ecg [uV]", "timestamp [ms];ecg [uV]"]
)
def test_polar(header, millivolts):
    """The phone's times come in packets, the sensor's tell the rate; the strap's one signal is taken for lead I."""
    rows = [header]
    for i, value in enumerate(millivolts[0]):
        stamps = f"2024-03-14T10:36:{i // 73:02}.120;{599616000000000000 + i * 7692308};" if "Phone" in header else ""
        rows.append(f"{stamps}{i * 7.692308:.6f};{1000 * value:.0f}")
    content = "\n".join(rows).encode()
    record = read_ecg(content)
    assert (record.format, record.lead_names, record.sampling_rate) == ("polar", ("I",), pytest.approx(130, abs=0.01))
    assert record.warnings == ("lead_names_assumed_I",) and record.notes[-1]
    np.testing.assert_allclose(record.signal[0], millivolts[0], atol=1e-6)
    named = read_ecg(content, lead_names=["V5"])
    assert named.lead_names == ("V5",) and named.warnings == ()


def test_ecg_dict_in_json(millivolts):
    rows = [
        [None if (i, j) == (1, 7) else value for j, value in enumerate(row)]
        for i, row in enumerate(millivolts.tolist())
    ]
    content = {
        "signal": rows,
        "sampling_rate": 250,
        "lead_names": ["I", "V2"],
        "units": "mV",
        "age": 50,
        "sex": "female",
    }
    record = read_ecg(json.dumps(content).encode())
    expected = millivolts.astype(np.float32)
    expected[1, 7] = np.nan
    np.testing.assert_array_equal(record.signal, expected)
    assert (record.sampling_rate, record.lead_names, record.age, record.sex) == (250, ("I", "V2"), 50, "female")
    for change, message in (
        ({"unit": "uV"}, "unknown keys"),
        ({"signal": [[1, "2"]]}, "list of numbers"),
        ({"signal": []}, "list of leads"),
        ({"signal": [[[1]]]}, "list of numbers"),
        ({"lead_names": "I"}, "list of names"),
        ({"units": {}}, "must be a word"),
        ({"sampling_rate": None}, "does not say its sampling rate"),
        ({"ecg": rows}, "both 'signal' and 'ecg'"),
        ({"source": 5}, "name of the recording, got '5'"),
        ({"warnings": "off"}, "list of names, got 'off'"),
    ):
        with pytest.raises(ValueError, match=message):
            read_ecg(json.dumps(content | change).encode())


def test_input_of_an_ecg_comes_back_from_json(millivolts):
    signal = millivolts.copy()
    signal[1, 7] = np.nan
    ecg = ECG.of({"ecg": signal, "sampling_rate": 250, "lead_names": ["I", "V2"], "source": "monitor 4"})
    given = ecg.as_input()
    record = read_ecg(json.dumps(given | {"signal": given["signal"].tolist()}).encode())
    again = record.as_input()
    np.testing.assert_array_equal(again.pop("signal"), given.pop("signal"))
    assert again == given and given["warnings"] == ["units_assumed_mV"] and record.notes == ()


def test_shorter_leads_are_noted(millivolts):
    rows = millivolts.tolist()
    counts = np.round(2000 * millivolts).astype(int).tolist()
    samples = {"leadI": counts[0], "AVF": counts[1][:-9]}
    for content in (
        {"signal": [rows[0], rows[1][:-9]], "sampling_rate": 500, "lead_names": ["I", "aVF"], "units": "mV"},
        {"data": {"raw": {"frequency": 300, "amplitudeResolution": 500, "samples": samples}}},
        {"resourceType": "Observation", "component": [sampled("I", counts[0]), sampled("aVF", counts[1][:-9])]},
    ):
        record = read_ecg(json.dumps(content).encode())
        length = len(rows[0])
        assert record.recorded.sum(axis=1).tolist() == [length, length - 9]
        note = f"put NaN behind the end of shorter leads, which have {length - 9} to {length} samples"
        assert record.notes.count(note) == 1


def sampled(name: str, counts, **changes) -> dict:
    data = {"origin": {"value": 0, "unit": "uV", "code": "uV", "system": "http://unitsofmeasure.org"}, "period": 2,
            "factor": 0.5, "dimensions": 1, "data": " ".join(map(str, counts))}  # fmt: skip
    return {"code": {"coding": [{"code": name}]}, "valueSampledData": data | changes}


FHIR_NAMES = [
    ("MDC_ECG_LEAD_I", "MDC_ECG_LEAD_AVF"),
    ("131329", "131392"),
    ("MDC_ECG_ELEC_POTL_I", "aVF"),
    ("Lead I", "avf"),
]


@pytest.mark.parametrize("names", FHIR_NAMES)
@pytest.mark.parametrize("wrapped", ["alone", "bundle", "contained"])
def test_fhir(names, wrapped, millivolts):
    counts = [["E", "U", "L", *row[3:]] for row in np.round(2000 * millivolts).astype(int).tolist()]
    components = [
        sampled(names[0], counts[0], upperLimit=5000),
        sampled(names[1], counts[1], interval=2, intervalUnit="ms"),
    ]
    resource = {
        "resourceType": "Observation",
        "subject": {"reference": "Patient/4711"},
        "effectiveDateTime": "2024-05-01T10:00:00Z",
        "component": components,
    }
    del resource["component"][1]["valueSampledData"]["period"]
    patient = {"resourceType": "Patient", "gender": "female", "birthDate": "1960-05-02", "name": [{"family": "Roe"}]}
    if wrapped == "bundle":
        resource = {"resourceType": "Bundle", "entry": [{"resource": resource}, {"resource": patient}]}
    elif wrapped == "contained":
        resource = {"resourceType": "DiagnosticReport", "contained": [resource, patient]}
    record = read_ecg(json.dumps(resource).encode())
    expected = millivolts.copy()
    expected[:, :3] = np.nan
    expected[0, 1] = 2.5  # above the limit of detection: at the limit
    np.testing.assert_allclose(record.signal, expected, atol=1e-6)
    assert (record.lead_names, record.sampling_rate, record.warnings) == (("I", "aVF"), 500, ())
    assert record.patient_id == pseudonym("Patient/4711") and "Roe" not in repr(vars(record))
    if wrapped != "alone":
        assert (record.age, record.sex) == (63, "female")


def observation(lead: str, counts, patient: int = 1, day: int = 1) -> dict:
    return {
        "resourceType": "Observation",
        "subject": {"reference": f"Patient/{patient}"},
        "effectiveDateTime": f"2024-05-0{day}",
        **sampled(lead, counts),
    }


def bundle(*resources: dict) -> bytes:
    entries = [{"resource": resource} for resource in resources]
    return json.dumps({"resourceType": "Bundle", "entry": entries}).encode()


def test_fhir_recordings_of_several_patients_or_times_are_refused(millivolts):
    counts = np.round(2000 * millivolts).astype(int)
    record = read_ecg(bundle(observation("I", counts[0]), observation("II", counts[1])))
    np.testing.assert_allclose(record.signal, millivolts, atol=1e-6)
    anonymous = observation("II", counts[1])
    del anonymous["subject"]
    for other, message in (
        (observation("II", counts[1], patient=2), "Patient/1 at 2024-05-01; Patient/2 at 2024-05-01"),
        (observation("II", counts[1], day=2), "Patient/1 at 2024-05-01; Patient/1 at 2024-05-02"),
        (anonymous, "Patient/1 at 2024-05-01; no subject at 2024-05-01"),
    ):
        with pytest.raises(ValueError, match=rf"holds 2 recordings \({message}\).*a file of its own"):
            read_ecg(bundle(observation("I", counts[0]), other))


def test_fhir_person_is_the_one_of_the_recording(millivolts):
    counts = np.round(2000 * millivolts[0]).astype(int)
    people = [
        {"resourceType": "Patient", "id": "1", "gender": "female", "birthDate": "1960-05-02"},
        {"resourceType": "Patient", "id": "2", "gender": "male", "birthDate": "1990-01-01"},
    ]
    pulse = {"resourceType": "Observation", "subject": {"reference": "Patient/2"}, "effectiveDateTime": "2020-01-01"}
    for order in (people, people[::-1]):
        record = read_ecg(bundle(pulse, *order, observation("I", counts), pulse))
        assert (record.age, record.sex, record.patient_id) == (63, "female", pseudonym("Patient/1"))
    unknown = read_ecg(bundle(*people, observation("I", counts, patient=3)))
    assert (unknown.age, unknown.sex, unknown.patient_id) == (None, None, pseudonym("Patient/3"))


def test_fhir_without_unit_is_taken_for_microvolts_and_says_so(millivolts):
    counts = np.round(1000 * millivolts[0]).astype(int) + 2048
    content = {
        "resourceType": "Observation",
        "component": [sampled("MDC_ECG_LEAD_II", counts, origin={"value": 2048}, factor=1.5)],
    }
    record = read_ecg(json.dumps(content).encode())
    np.testing.assert_allclose(record.signal[0], 1.5 * millivolts[0], atol=1e-6)
    assert record.warnings == ("units_assumed_uV",)
    given = read_ecg(json.dumps(content).encode(), units="nV")
    np.testing.assert_allclose(given.signal[0], 1.5e-3 * millivolts[0], atol=1e-6)


def test_fhir_of_interleaved_and_of_differing_rates(millivolts):
    counts = np.round(2000 * millivolts).astype(int)
    both = sampled("ecg", counts.T.ravel(), dimensions=2)
    content = json.dumps({"resourceType": "Observation", **both}).encode()
    with pytest.raises(ValueError, match="lead_names="):
        read_ecg(content)
    np.testing.assert_allclose(read_ecg(content, lead_names=["II", "V1"]).signal, millivolts, atol=1e-6)
    time = np.arange(1000) / 500
    waves = np.round(2000 * np.sin(2 * np.pi * 1.3 * time)).astype(int)
    parts = [sampled("I", waves), sampled("II", waves[::2], period=4)]
    record = read_ecg(json.dumps({"resourceType": "Observation", "component": parts}).encode())
    assert record.sampling_rate == 500 and any("resampled" in note for note in record.notes)
    np.testing.assert_allclose(record.signal[1, :990], np.sin(2 * np.pi * 1.3 * time)[:990], atol=0.02)


def test_kardia(millivolts):
    counts = np.round(2000 * millivolts).astype(int).tolist()
    samples = {"leadI": counts[0], "AVF": counts[1]}
    content = {
        "patientID": "4711", "heartRate": 71, "algorithmDetermination": "afib",
        "data": {"raw": {"frequency": 300, "amplitudeResolution": 500, "samples": samples}},
    }  # fmt: skip
    record = read_ecg(json.dumps(content).encode())
    np.testing.assert_allclose(record.signal, millivolts, atol=1e-6)
    assert (record.sampling_rate, record.lead_names, record.measurements) == (300, ("I", "aVF"), {"heart_rate": 71})
    assert record.report == "Atrial fibrillation" and record.patient_id == pseudonym("4711")


@pytest.mark.parametrize(
    "content, message",
    [
        (b'{"a": 1, "b": 2}', r"is a JSON file \(an object with the keys \['a', 'b'\]\), which is not read"),
        (b"[1, 2, 3]", r"is a JSON file \(a list\), which is not read"),
        (
            b'{"resourceType": "Patient", "id": "a,b"}',
            r"is a JSON file \(FHIR Patient without SampledData\), which is not",
        ),
        (b'{"signal": [[1, 2', "begins as a JSON file but is none"),
        (b"{" * 100_000, "begins as a JSON file but is none"),
        (b"[" * (MAX_JSON_PARTS + 1), "lists and objects"),
        (b'{"resourceType": "Observation", "valueSampledData": {"data": "1 2 x", "period": 2}}', "must be numbers"),
        (b'{"resourceType": "Observation", "valueSampledData": {"data": "1 2", "period": 0}}', "between two samples"),
        (b'{"resourceType": "Observation", "valueSampledData": {"data": "1 2", "period": true}}', "must be a number"),
        (
            b'{"resourceType": "Observation", "valueSampledData": {"data": "1 2 3", "period": 2, "dimensions": 2}}',
            "dimen",
        ),
        (b'{"resourceType": "Observation", "valueSampledData": {"data": "1 2", "offsets": "1 2"}}', "unequal times"),
        (b'<?xml version="1.0"?><gpx a="1,2">', "is an XML or HTML file .*<gpx>"),
        (b"I,II\n1_0,2\n", "something that is no number"),
        (b"1,2\n3,4\n", "must name the leads"),
        (b"time,I\nnever,1\nlater,2\n", "no number"),
        (b"time (weeks),I\n0,1\n1,2\n", "have the unit 'weeks'"),
        (b"time,I\n", "got no lines"),
        (b"time,t\n0,1\n", "must name the leads"),
    ],
)
def test_bad_tables_and_json_are_named_errors(content, message):
    with pytest.raises(ValueError, match=message) as caught:
        read_ecg(content)
    assert "first line must name" not in str(caught.value) or content[:1] not in (b"{", b"[", b"<")


@pytest.mark.parametrize(
    "content, message",
    [
        (b"I" + b" " * 2_000_000 + b"x,II\n1,2\n", "no known ECG format"),
        (b"II,I" + b" " * 2_000_000 + b"x\n1,2\n", "has a line of"),
        (b"I (" + b"(" * 3000 + b",II\n1,2\n", "does not say its sampling rate"),
        (b"time,I\n0,1\n" + b"1" * 2_000_000, "has a line of"),
        (b"I" + b",II" * MAX_COLUMNS + b"\n", "columns"),
    ],
)
def test_lines_and_columns_are_bounded(content, message):
    """Nothing of a line beyond the limit is looked at, so memory stays near that of the file."""
    tracemalloc.start()
    with pytest.raises(ValueError, match=message):
        read_ecg(content)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * len(content) + 2**24
    assert MAX_LINE < 2**16


def test_memory_of_a_long_table_is_bounded(tmp_path):
    """Twelve bytes of memory for each value of two characters, and one block of text, whatever the length."""
    path = tmp_path / "long.csv"
    path.write_bytes(b"I,II,V1,V2\n" + b"1,0,1,0\n" * 500_000)
    tracemalloc.start()
    record = read_ecg(path, sampling_rate=500, units="mV")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert record.signal.shape == (4, 500_000) and (record.signal.mean(axis=1) == [1, 0, 1, 0]).all()
    assert peak < 16 * record.signal.size + 2**27


def test_blocks_are_joined_at_their_edges(tmp_path, monkeypatch):
    """The same table, whatever the size of the blocks."""
    rows = np.random.default_rng(0).integers(-999, 999, (300, 2))
    content = "# made up\n\ntime,I (uV),II (uV)\r\n" + "\r\n".join(
        f"{i / 500},{a},{b}" for i, (a, b) in enumerate(rows)
    )
    path = tmp_path / "a.csv"
    path.write_bytes(content.encode())
    for block in (1, 7, 64, 1000, 2**20):
        monkeypatch.setattr("heartcare.tables_heartcare.BLOCK", block)
        record = read_ecg(path)
        np.testing.assert_allclose(record.signal, rows.T / 1000, atol=1e-6)
        assert record.sampling_rate == 500


def test_formats_are_told_by_content(tmp_path):
    (tmp_path / "a.xyz").write_text("time,I\n0,1\n")
    assert detect_format(tmp_path / "a.xyz").name == "csv"
    assert detect_format(b"timestamp [ms];ecg [uV]\n0;1\n").name == "polar"
    assert detect_format(b"Sample Rate,512 hertz\nLead,Lead I\n\n1\n").name == "apple-health"
    assert detect_format(b'\n {"signal": []}').name == "json"
    assert detect_format(b"<html>").name == "xml"
