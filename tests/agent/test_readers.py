"""The converter: every format gives the same ECG, and nothing bad gets through."""

import tracemalloc
import zipfile

import numpy as np
import pytest
import wfdb
from make_examples import write_wfdb
from support.vendor_files import (
    write_aecg,
    write_dicom,
    write_edf,
    write_ishne,
    write_mfer,
    write_muse,
    write_scp,
    write_sierra,
)

from heartcare.agent.readers import read_ecg
from heartcare.agent.simulate import simulate_ecg
from heartcare.ecg_heartcare import ECG, LEADS, parse_age, parse_sex, pseudonym
from heartcare.reading_heartcare import detect_format
from heartcare.wfdb_heartcare import read_header, read_plain_wfdb, read_wfdb


def write_csv(path, ecg, separator=",", units="", scale=1.0):
    rows = [separator.join(["time", *(f"{name}{units}" for name in LEADS)])]
    for i, values in enumerate(ecg.signal.T):
        numbers = [f"{i / ecg.sampling_rate:.4f}", *(f"{value * scale:.6f}" for value in values)]
        rows.append(separator.join(number.replace(".", ",") if separator == ";" else number for number in numbers))
    path.write_text("\n".join(rows), encoding="utf-8")


WRITERS = {
    "a.csv": write_csv,
    "german.csv": lambda path, ecg: write_csv(path, ecg, separator=";", units=" (uV)", scale=1000),
    "a.edf": write_edf,
    "a.dcm": write_dicom,
    "aecg.xml": write_aecg,
    "muse.xml": write_muse,
    "sierra.xml": write_sierra,
    "a.scp": write_scp,
    "a.ecg": write_ishne,
    "a.mwf": write_mfer,
    "a.npz": lambda path, ecg: np.savez(
        path, signal=ecg.signal * 1000, sampling_rate=500, lead_names=LEADS, units="uV"
    ),
    "wfdb": lambda path, ecg: write_wfdb(path.parent, path.name, ecg.signal, 500),
}


@pytest.mark.parametrize("name", WRITERS)
def test_every_format_gives_the_same_ecg(name, ecg, tmp_path):
    WRITERS[name](tmp_path / name, ecg)
    # Formats are told by content: the extension is a lie here, but for WFDB, which is two files.
    path = tmp_path / name
    if name != "wfdb":
        path = path.rename(tmp_path / "record.bin")
    record = read_ecg(path)
    assert (
        record.sampling_rate == 500
        and record.signal.dtype == np.float32
        and record.recorded.all()
        and set(record.lead_names) <= set(LEADS)
    )
    for lead, signal in zip(record.lead_names, record.signal):
        np.testing.assert_allclose(signal, ecg.signal[LEADS.index(lead)], atol=6e-4)
    if name in ("a.dcm", "muse.xml", "sierra.xml", "a.scp"):
        assert record.age == 63 and record.sex == "female" and record.patient_id == pseudonym("4711") != "4711"
    if name == "muse.xml":
        assert record.statements == {"SR": 100.0, "IMI": 50.0} and record.notes


def test_plain_wfdb_is_read_as_wfdb_reads_it(tmp_path, ecg, shared):
    for path in sorted((shared / "wfdb").glob("*.hea")):
        lines, comments = read_header(path)
        found, wanted = read_plain_wfdb(path, lines), wfdb.rdrecord(str(path.with_suffix("")))
        p_signal = wanted.p_signal.astype(found["signal"].dtype)
        assert np.array_equal(found["signal"].T, p_signal, equal_nan=True) and found["sampling_rate"] == wanted.fs
        assert found["lead_names"] == wanted.sig_name and comments == wanted.comments


@pytest.mark.parametrize("unit", ["mV", "uV"])
def test_pieces_of_a_file_are_the_whole(tmp_path, ecg, monkeypatch, unit):
    """Files that are read in pieces of any size give the same float32 as wfdb and numpy at once."""
    counts = np.round(1000 * ecg.signal[:3]).astype("<i2")
    counts[1, 100:200] = -32768
    counts.T.tofile(tmp_path / "a.dat")
    lines = ["a 3 500 5000", *(f"a.dat 16 3.7(5)/{unit} 16 0 0 0 0 {lead}" for lead in LEADS[:3])]
    (tmp_path / "a.hea").write_text("\n".join(lines) + "\n")
    np.savez_compressed(tmp_path / "a.npz", signal=ecg.signal, sampling_rate=500, units="mV")
    wanted = wfdb.rdrecord(str(tmp_path / "a")).p_signal.T * (1e-3 if unit == "uV" else 1)
    for pieces in (1, 999, 5000, 2**18):
        monkeypatch.setattr("heartcare.wfdb_heartcare.SAMPLES_AT_ONCE", pieces)
        monkeypatch.setattr("heartcare.numpy_heartcare.READ_AT_ONCE", pieces)
        found = read_ecg(tmp_path / "a").signal
        assert found.dtype == np.float32 and np.array_equal(found, wanted.astype(np.float32), equal_nan=True)
        assert np.array_equal(read_ecg(tmp_path / "a.npz").signal, ecg.signal)


@pytest.mark.parametrize("name", ["long.hea", "long.npz"])
def test_a_long_recording_takes_little_more_memory_than_its_samples(tmp_path, monkeypatch, name):
    """A recording that is read and handed to the pipeline takes the memory of its float32 samples, and of pieces."""
    samples = 2**19
    signal = np.random.default_rng(0).normal(0, 0.3, (3, samples)).astype(np.float32)
    np.round(1000 * signal).astype("<i2").T.tofile(tmp_path / "long.dat")
    lines = [f"long 3 250 {samples}", *(f"long.dat 16 1000(0)/mV 16 0 0 0 0 {lead}" for lead in LEADS[:3])]
    (tmp_path / "long.hea").write_text("\n".join(lines) + "\n")
    np.savez(tmp_path / "long.npz", signal=signal, sampling_rate=250, lead_names=LEADS[:3], units="mV")
    monkeypatch.setattr("heartcare.wfdb_heartcare.SAMPLES_AT_ONCE", 2**14)
    read_ecg(tmp_path / name)  # what is imported and kept does not count
    tracemalloc.start()
    try:
        record = read_ecg(tmp_path / name)
        same = ECG.of(record.as_input())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert same.signal is record.signal and peak < 1.6 * signal.nbytes


def test_wfdb_gaps_units_and_rates(tmp_path):
    """A record of two rates, with a gap and a blood pressure, is read."""
    time = np.arange(5000) / 500
    fast, slow = np.sin(2 * np.pi * 1.3 * time), np.sin(2 * np.pi * 1.3 * time[::2])
    fast[1000:1400] = np.nan
    pressure = 80 + 20 * np.cos(time[::2])
    wfdb.wrsamp("mixed", fs=250, units=["mV", "mV", "mmHg"], sig_name=["II", "V5", "ABP"], fmt=["16"] * 3,
                samps_per_frame=[2, 1, 1], e_p_signal=[fast, slow, pressure], write_dir=str(tmp_path),
                comments=["Age: 70", "Sex: Male", "Dx: 164889003,59118001"])  # fmt: skip
    record = read_ecg(tmp_path / "mixed")
    assert record.lead_names == ("II", "V5") and record.sampling_rate == 500
    assert not record.recorded[0, 1000:1400].any() and record.recorded[0, :1000].all() and record.recorded[1].all()
    np.testing.assert_allclose(record.signal[1], np.sin(2 * np.pi * 1.3 * time), atol=0.02)
    assert any("resampled" in change and "250 Hz" in change for change in record.notes) and any(
        "ABP" in change for change in record.notes
    )
    assert (record.age, record.sex, record.statements) == (70, "male", {"AFIB": 100.0, "CRBBB": 100.0})


def test_wfdb_of_many_segments(tmp_path):
    ecg = simulate_ecg("SR", "NORM", seed=2)
    for i in range(2):
        half = ecg.signal[:2, 2500 * i : 2500 * (i + 1)].T.astype(float)
        wfdb.wrsamp(f"part{i}", fs=500, units=["mV"] * 2, sig_name=["I", "II"], p_signal=half, fmt=["16", "16"],
                    write_dir=str(tmp_path))  # fmt: skip
    (tmp_path / "whole.hea").write_text("whole/3 2 500 6000\npart0 2500\n~ 1000\npart1 2500\n")
    record = read_ecg(tmp_path / "whole")
    assert record.signal.shape == (2, 6000) and not record.recorded[:, 2500:3500].any()
    np.testing.assert_allclose(record.signal[:, :2500], ecg.signal[:2, :2500], atol=1e-3)
    np.testing.assert_allclose(record.signal[:, 3500:], ecg.signal[:2, 2500:], atol=1e-3)
    (tmp_path / "loop.hea").write_text("loop/1 2 500 6000\nloop 6000\n")
    with pytest.raises(ValueError, match="segments itself"):
        read_ecg(tmp_path / "loop")


@pytest.mark.parametrize("name", ["../secret.dat", "/etc/passwd", "..", "sub/x.dat"])
def test_wfdb_header_reads_nothing_but_its_own_folder(name, tmp_path):
    (tmp_path / "secret.dat").write_bytes(b"\1" * 24000)
    folder = tmp_path / "records"
    folder.mkdir()
    (folder / "a.hea").write_text(f"a 1 500 1000\n{name} 16 1000/mV 16 0 0 0 0 I\n")
    with pytest.raises(ValueError, match="only files beside the header|no WFDB header"):
        read_wfdb(folder / "a")
    (folder / "b.hea").write_text("b/1 1 500 1000\n../secret 1000\n")
    with pytest.raises(ValueError, match="only files beside the header|no WFDB header"):
        read_wfdb(folder / "b")


def test_headers_that_claim_too_much(tmp_path):
    (tmp_path / "a.dat").write_bytes(b"\0" * 24000)
    (tmp_path / "a.hea").write_text(f"a 12 500 {5 * 10**9 // 12}\n" + "a.dat 16 1000/mV 16 0 0 0 0 I\n" * 12)
    with pytest.raises(ValueError, match=f"at most {2**28}"):
        read_ecg(tmp_path / "a")
    (tmp_path / "b.hea").write_text("b 1 500 10000000\na.dat 16 1000/mV 16 0 0 0 0 I\n")
    with pytest.raises(ValueError, match="truncated or damaged"):
        read_ecg(tmp_path / "b")
    np.save(tmp_path / "c.npy", np.zeros((12, 5000)))
    content = (tmp_path / "c.npy").read_bytes()
    (tmp_path / "d.npy").write_bytes(content.replace(b"(12, 5000)", b"(12, 9999999)"))
    with pytest.raises(ValueError, match="no numpy file"):
        read_ecg(tmp_path / "d.npy")
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        head = content[:128].replace(b"(12, 5000), }      ", b"(12, 999999999), } ")
        assert len(head) == 128 and b"999999999" in head
        archive.writestr("signal.npy", head + b"\0" * 10**7)
    with pytest.raises(ValueError, match="claims"):
        read_ecg(tmp_path / "bomb.npz")


def test_xml_that_declares_entities_is_refused(tmp_path):
    bomb = (
        '<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>'
        '<AnnotatedECG xmlns="urn:hl7-org:v3">&b;</AnnotatedECG>'
    )
    for encoding in ("utf-8", "utf-16"):
        (tmp_path / "bomb.xml").write_bytes(bomb.encode(encoding))
        with pytest.raises(ValueError, match="entities"):
            read_ecg(tmp_path / "bomb.xml")


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "is empty"),
        (b"\0" * 5000, "is empty"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 50, "is a picture"),
        (b"PK\3\4" + b"\0" * 50, "zip archive"),
        (b"%PDF-1.7\n garbage", "PDF"),
        (b"hello world", "no known ECG format"),
        (b"a,b,c\n1,2,3\n", "must name the leads"),
        (b"I,II\n1,2\n", "does not say its sampling rate"),
        (b"time,I\n0,1\n0,2\n", "times do not rise"),
        (b"time,I\n0,1\n0.1,abc\n", "something that is no number"),
        (b"time,I (mV),II (uV)\n0,1,1\n0.1,2,3\n", "several units"),
        (b"<AnnotatedECG/>", "cannot be read"),
        (b"\x93NUMPY garbage", "no numpy file"),
        (b"ISHNE1.0" + b"\0" * 600, "cannot be read"),
    ],
)
def test_bad_files_are_named_errors(content, message, tmp_path):
    (tmp_path / "ünïcode ♥.xyz").write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        read_ecg(tmp_path / "ünïcode ♥.xyz")
    assert caught.value.__cause__ is None or "Traceback" not in str(caught.value)


def test_missing_values_of_a_table_are_gaps(tmp_path):
    (tmp_path / "a.csv").write_text(
        "time,I,II\n0,1,2\n0.01,,3\n0.02,nan,\n" + "".join(f"{i / 100},0.5,0.25\n" for i in range(3, 200))
    )
    record = read_ecg(tmp_path / "a.csv")
    assert (~record.recorded).sum(axis=1).tolist() == [2, 1] and record.sampling_rate == 100


def test_records_go_into_the_processor(ecg, processor, tmp_path):
    write_dicom(tmp_path / "a.dcm", ecg)
    part = {"type": "ecg", **read_ecg(tmp_path / "a.dcm").as_input()}
    message = {"role": "user", "content": [part, {"type": "text", "text": "What is the rhythm?"}]}
    inputs = processor.apply_chat_template([message], tokenize=True, return_dict=True, return_tensors="np")
    expected = processor.feature_extractor(ecg.signal, sampling_rate=500, units="mV")["input_values"]
    np.testing.assert_allclose(inputs["input_values"], expected, atol=2e-3)


def test_unicode_names_and_missing_files(tmp_path, ecg):
    write_csv(tmp_path / "心電図 é.csv", ecg)
    assert read_ecg(tmp_path / "心電図 é.csv").name == "心電図 é"
    assert detect_format(tmp_path / "心電図 é.csv").name == "csv"
    with pytest.raises(FileNotFoundError):
        read_ecg(tmp_path / "none.edf")


def test_patients_are_parsed():
    assert [parse_age(v) for v in ("63", 300, "300.0", 131, -1, "x", None, "nan")] == [
        63,
        90,
        90,
        None,
        None,
        None,
        None,
        None,
    ]
    assert [parse_sex(v) for v in ("F", "weiblich", "Male", "m", "", None, "U")] == [
        "female",
        "female",
        "male",
        "male",
        None,
        None,
        None,
    ]
    assert pseudonym("1") == pseudonym(" 1 ") != pseudonym("2") and pseudonym("") is None
