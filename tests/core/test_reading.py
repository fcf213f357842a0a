"""From a file to an `ECG`: WFDB and MATLAB against wfdb and scipy, values given beside a file, hostile files."""

import io
import os
import stat
import struct
import subprocess
import sys
import tracemalloc
import zipfile

import numpy as np
import pytest
import scipy.io
import wfdb
from support.paths import ROOT

from heartcare.agent.readers import read_ecg as agent_read_ecg
from heartcare.ecg_heartcare import ECG, LEADS
from heartcare.privacy_heartcare import LEFT_OUT
from heartcare.reading_heartcare import as_ecg, detect_format, read_ecg


@pytest.fixture
def counts() -> np.ndarray:
    """Returns digital values of two leads that every WFDB format can hold, int (2, 1000) from -120 to 120."""
    return np.random.default_rng(5).integers(-120, 120, (2, 1000))


def write_header(
    folder, name: str, fmt: str, samples: int, leads=("I", "V2"), gain="1000(5)/mV", suffix="dat", more=""
) -> None:
    lines = [f"{name} {len(leads)} 500 {samples}"]
    lines += [f"{name}.{suffix} {fmt} {gain} 12 0 0 0 0 {lead}" for lead in leads]
    (folder / f"{name}.hea").write_text("\n".join(lines) + "\n" + more)


def pack_12(values) -> bytes:
    """Packs format 212: two values of 12 bits in three bytes."""
    out = b""
    for a, b in np.asarray(values).reshape(-1, 2) & 0xFFF:
        out += bytes([a & 255, (a >> 8) | ((b >> 8) << 4), b & 255])
    return out


def pack_10(values) -> bytes:
    """Packs format 310: three values of 10 bits in two words, the bits of the third divided between them."""
    flat = np.asarray(values)
    flat = np.concatenate([flat, np.zeros(-len(flat) % 3, int)]).reshape(-1, 3) & 0x3FF
    return b"".join(
        struct.pack("<HH", (a << 1) | ((c & 0x1F) << 11), (b << 1) | ((c >> 5) << 11)) for a, b, c in flat.tolist()
    )


PACKERS = {
    "16": lambda flat: flat.astype("<i2").tobytes(),
    "61": lambda flat: flat.astype(">i2").tobytes(),
    "80": lambda flat: (flat + 128).astype("u1").tobytes(),
    "24": lambda flat: b"".join(int(value).to_bytes(3, "little", signed=True) for value in flat),
    "32": lambda flat: flat.astype("<i4").tobytes(),
    "212": pack_12,
    "310": pack_10,
}


@pytest.mark.parametrize("fmt", PACKERS)
@pytest.mark.parametrize("suffix", ["", ".hea", ".dat"])
def test_wfdb_formats_sample_by_sample(fmt, suffix, counts, tmp_path):
    (tmp_path / "a.dat").write_bytes(PACKERS[fmt](counts.T.ravel()))
    write_header(tmp_path, "a", fmt, 1000)
    record, wanted = read_ecg(tmp_path / f"a{suffix}"), wfdb.rdrecord(str(tmp_path / "a"))
    np.testing.assert_array_equal(record.signal, ((counts - 5) / 1000).astype(np.float32))
    np.testing.assert_array_equal(record.signal, wanted.p_signal.T.astype(np.float32))
    assert (record.format, record.sampling_rate, record.lead_names) == ("wfdb", 500, ("I", "V2"))


@pytest.mark.parametrize("name", ["patient.12", "J.Doe.2", "A.dat.b"])
def test_a_full_stop_in_a_name_begins_no_ending(name, counts, tmp_path):
    """Two patients of one study, "patient.12" and "patient.13", are not both "patient"."""
    (tmp_path / f"{name}.dat").write_bytes(counts.T.astype("<i2").tobytes())
    lines = [f"{name} 2 500 1000", *(f"{name}.dat 16 1000/mV 16 0 0 0 0 {lead}" for lead in ("I", "V2"))]
    (tmp_path / f"{name}.hea").write_text("\n".join(lines))
    for file in (name, f"{name}.hea", f"{name}.dat"):
        record = read_ecg(tmp_path / file)
        np.testing.assert_array_equal(record.signal, (counts / 1000).astype(np.float32))
        assert record.name == name and record.as_input()["source"] == str(tmp_path / file)
    with open(tmp_path / f"{name}.NPY", "wb") as file:
        np.save(file, counts / 1000)
    assert read_ecg(tmp_path / f"{name}.NPY", 500, ["I", "V2"], "mV").name == name
    for source, expected in ((name, name), (f"a/{name}.csv", name), ("upload", "upload"), ("", "array")):
        assert ECG.of(counts / 1000, 500, ["I", "V2"], "mV", source).name == expected
    with pytest.raises(FileNotFoundError, match=f"and {name}.x.hea does not exist beside it"):
        read_ecg(tmp_path / f"{name}.x")
    with pytest.raises(FileNotFoundError, match="no file: it does not exist, or is a folder or a device.$"):
        read_ecg(tmp_path / f"{name}.x.csv")


def test_matlab_beside_its_header(tmp_path):
    """Records of the PhysioNet challenges are read: a matrix `val` of int16 in a MATLAB 4 file, a header beside it."""
    values = np.random.default_rng(1).integers(-3000, 3000, (12, 800)).astype(np.int16)
    scipy.io.savemat(tmp_path / "A0001.mat", {"val": values}, format="4")
    write_header(
        tmp_path, "A0001", "16+24", 800, LEADS, "1000/mV", "mat", "#Age: 74\n#Sex: Male\n#Dx: 426783006,164889003\n"
    )
    by_matrix, by_header = read_ecg(tmp_path / "A0001.mat"), read_ecg(tmp_path / "A0001.hea")
    loaded = scipy.io.loadmat(tmp_path / "A0001.mat")["val"]
    for record in (by_matrix, by_header, read_ecg(tmp_path / "A0001")):
        np.testing.assert_array_equal(record.signal, (loaded / 1000).astype(np.float32))
        np.testing.assert_array_equal(
            record.signal, wfdb.rdrecord(str(tmp_path / "A0001")).p_signal.T.astype(np.float32)
        )
        assert (record.age, record.sex, record.columns) == (74, "male", {"dx": "426783006,164889003"})


@pytest.mark.parametrize("version", ["4", "5"])
def test_matlab_without_header_is_refused(version, tmp_path):
    path = tmp_path / "A0001.mat"
    scipy.io.savemat(path, {"val": np.ones((12, 800), np.int16)}, format=version)
    for file in (path, path.read_bytes()):
        assert detect_format(file).name == "matlab"
        with pytest.raises(ValueError, match="MATLAB file without the header of a WFDB record"):
            read_ecg(file)


def test_wfdb_of_several_rates_and_segments_as_wfdb_reads_it(counts, tmp_path):
    signals = [counts[0] / 100, counts[1][:500] / 100]
    wfdb.wrsamp("rates", fs=250, units=["mV", "mV"], sig_name=["II", "V5"], fmt=["212", "212"], samps_per_frame=[2, 1],
                e_p_signal=signals, write_dir=str(tmp_path))  # fmt: skip
    record, wanted = read_ecg(tmp_path / "rates"), wfdb.rdrecord(str(tmp_path / "rates"), smooth_frames=False)
    assert record.sampling_rate == 500 and record.signal.shape == (2, 1000)
    np.testing.assert_array_equal(record.signal[0], wanted.e_p_signal[0].astype(np.float32))
    for number, (names, length) in enumerate(((["I", "V2"], 600), (["I"], 400))):
        (tmp_path / f"p{number}.dat").write_bytes(counts[: len(names), :length].T.astype("<i2").tobytes())
        write_header(tmp_path, f"p{number}", "16", length, names)
    layout = "".join(f"~ 0 1000(5)/mV 16 0 0 0 0 {name}\n" for name in ("I", "V2"))
    (tmp_path / "layout.hea").write_text(f"layout 2 500 0\n{layout}")
    (tmp_path / "whole.hea").write_text("whole/4 2 500 1300\nlayout 0\np0 600\n~ 300\np1 400\n")
    record, wanted = read_ecg(tmp_path / "whole"), wfdb.rdrecord(str(tmp_path / "whole"), m2s=True)
    np.testing.assert_array_equal(record.signal, wanted.p_signal.T.astype(np.float32))
    assert record.recorded.sum(axis=1).tolist() == [1000, 600]


def test_wfdb_in_microvolts_says_so(counts, tmp_path):
    for fmt in ("16", "32"):  # read here, and read by wfdb
        (tmp_path / "a.dat").write_bytes(PACKERS[fmt](counts.T.ravel()))
        write_header(tmp_path, "a", fmt, 1000, gain="2/uV")
        for given in (None, "uV", "microvolts"):
            record = read_ecg(tmp_path / "a", units=given)
            np.testing.assert_allclose(record.signal, counts / 2000, rtol=1e-6)
        with pytest.raises(ValueError, match="the file says units='uV' but 'mV' was given"):
            read_ecg(tmp_path / "a", units="mV")


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "utf-8-sig"])
def test_comments_of_a_header_in_other_encodings(encoding, counts, tmp_path):
    (tmp_path / "a.dat").write_bytes(PACKERS["16"](counts.T.ravel()))
    write_header(tmp_path, "a", "16", 1000)
    text = (tmp_path / "a.hea").read_text() + "# Sex: männlich\n# Diagnose: Überleitungsstörung\n"
    (tmp_path / "a.hea").write_bytes(text.encode(encoding))
    record = read_ecg(tmp_path / "a")
    assert record.sex == "male" and record.report == "Überleitungsstörung."


@pytest.mark.parametrize(
    "comments, age, sex, report",
    [
        ("# <age>: 65  <sex>: F  <diagnoses> CAD", 65, "female", "CAD."),
        ("# <age>: 65\n#<sex> M", 65, "male", ""),
        ("# Age: 61 Sex: M", 61, "male", ""),
        ("# Age: 61, Sex: M", 61, "male", ""),
        ("# Gender : female  Age : 40", 40, "female", ""),
        ("#<age: 50>\n# Diagnosis: Sex: M", 50, None, "Sex: M."),
        ("# Age: 6 months Sex: F", None, "female", ""),
        ("# Age: 61\n" + "# " + "<" * 200_000 + "age " * 100_000, 61, None, ""),
    ],
)
def test_comments_with_several_keys(comments, age, sex, report, counts, tmp_path):
    (tmp_path / "a.dat").write_bytes(PACKERS["16"](counts.T.ravel()))
    write_header(tmp_path, "a", "16", 1000, more=comments + "\n")
    record = read_ecg(tmp_path / "a")
    assert (record.age, record.sex, record.report) == (age, sex, report)


UNCALIBRATED = ["a.dat 16", *(f"a.dat 16 {gain} 16 0 0 0 0 I" for gain in ("0", "0/mV", "0.0(0)/mV", "0e3/mV"))]


@pytest.mark.parametrize("line", UNCALIBRATED)
@pytest.mark.parametrize("name", ["a", "b"])
def test_signals_that_were_not_calibrated_are_told(line, name, counts, tmp_path):
    """A header without a gain, or with 0 for it, leaves the amplitude open; WFDB takes 200 units per mV. "b" is the
    same recording twice, in segments.
    """
    (tmp_path / "a.dat").write_bytes(PACKERS["16"](counts.T.ravel()))
    (tmp_path / "a.hea").write_text(f"a 2 500 1000\n{line}\na.dat 16 0.5(5)/mV 16 0 0 0 0 II\n")
    (tmp_path / "b.hea").write_text("b/2 2 500 2000\na 1000\na 1000\n")
    named = line.endswith(" I")
    record = read_ecg(tmp_path / name, lead_names=None if named else ["I", "II"])
    wanted = np.stack([counts[0] / 200, (counts[1] - 5) / 0.5])
    np.testing.assert_allclose(record.signal, np.tile(wanted, 2 if name == "b" else 1), rtol=1e-6)
    signal = "I" if named else "signal 0"
    assert record.warnings == (f"gain_assumed_200:{signal}",) and record.lead_names == ("I", "II")
    assert record.notes == (f"took WFDB's default gain of 200 for {signal}, since the header says none",)
    if not named:
        assert read_ecg(tmp_path / name).warnings == ("gain_assumed_200:signal 0", "lead_unknown:signal 0")
    write_header(tmp_path, "a", "16", 1000, gain="0.5(5)/mV")
    assert read_ecg(tmp_path / name).warnings == ()


def test_why_somebody_was_admitted_is_no_report_of_the_ecg(counts, tmp_path):
    """The reason for admission in PTB's headers is no report: the ECG of a patient with a heart attack may show
    anything.
    """
    (tmp_path / "a.dat").write_bytes(PACKERS["16"](counts.T.ravel()))
    more = "# Reason for admission: Myocardial infarction\n# Reason for admission: Dr. Hoot wishes it\n# Report: LBBB\n"
    write_header(tmp_path, "a", "16", 1000, more=more)
    record = read_ecg(tmp_path / "a")
    assert record.report == "LBBB." and record.columns == {"reason_for_admission": "Myocardial infarction."}
    assert agent_read_ecg(tmp_path / "a").statements == {"CLBBB": 100.0} and record.notes[-1] == LEFT_OUT
    write_header(tmp_path, "a", "16", 1000, more="# Reason for admission: Atrial fibrillation\n")
    assert agent_read_ecg(tmp_path / "a").statements == {} and read_ecg(tmp_path / "a").report == ""


def test_names_that_are_no_leads_are_given_by_the_caller(counts, tmp_path):
    (tmp_path / "a.dat").write_bytes(PACKERS["16"](counts.T.ravel()))
    write_header(tmp_path, "a", "16", 1000, ("ECG1", "ECG2"))
    with pytest.raises(
        ValueError, match=r"\['ECG1', 'ECG2'\].*give lead_names=\[\.\.\.\], one for each of the 2 signals"
    ):
        read_ecg(tmp_path / "a")
    record = read_ecg(tmp_path / "a", lead_names=["V2", "V5"])
    assert record.lead_names == ("V2", "V5") and record.warnings == ()
    write_header(tmp_path, "a", "16", 1000, ("MLII", "ECG2"))
    record = read_ecg(tmp_path / "a")
    assert record.lead_names == ("II",) and record.warnings == ("lead_unknown:ECG2",)
    assert read_ecg(tmp_path / "a", lead_names=["II", "V5"]).lead_names == ("II", "V5")


@pytest.mark.parametrize(
    "given, message",
    [
        ({"sampling_rate": 250}, "the file says sampling_rate=500.* but 250 was given"),
        ({"units": "uV"}, "the file says units='mV' but 'uV' was given"),
        ({"units": "pint"}, "Units 'pint' are unknown"),
        ({"lead_names": ["II", "V2"]}, "the file says lead_names"),
        ({"lead_names": ["I", "V2", "V3"]}, "the file says lead_names"),
    ],
)
def test_what_is_given_must_not_contradict_the_file(given, message, counts, tmp_path):
    table = "time,I (mV),V2 (mV)\n" + "".join(f"{i / 500},{a / 100},{b / 100}\n" for i, (a, b) in enumerate(counts.T))
    expected = (counts / 100).astype(np.float32)
    agreeing = {"sampling_rate": 500.0, "units": "millivolt", "lead_names": ["i", "Lead V2"]}
    np.testing.assert_array_equal(read_ecg(table.encode(), **agreeing).signal, expected)
    for call in (read_ecg, as_ecg):
        with pytest.raises(ValueError, match=message):
            call(table.encode(), **given)


def test_values_that_float32_cannot_hold_are_gaps_with_a_named_warning():
    signal = np.zeros((2, 100))
    signal[0, 3:5], signal[1, 7] = (1e200, -np.inf), np.nan
    ecg = ECG.of(signal, 500, ["I", "II"], "mV")
    assert ecg.warnings == ("amplitude_overflow:I",) and "2 samples of lead I" in ecg.notes[-1]
    assert np.isnan(ecg.signal).sum(axis=1).tolist() == [2, 1]
    scaled = ECG.of(np.where(signal == 1e200, 1e308, 0.0), 500, ["I", "II"], "V")  # infinite in mV
    assert scaled.warnings == ("amplitude_overflow:I",)
    with pytest.raises(ValueError, match="no sample in any lead"):
        ECG.of(np.full((2, 100), 1e200), 500, ["I", "II"], "mV")
    table = b"I,II\n" + b"1,2\n" * 50 + b"1e200,2\n"
    assert "amplitude_overflow:I" in read_ecg(table, sampling_rate=100, units="mV").warnings


def test_file_objects_and_bytes(counts, tmp_path, monkeypatch):
    content = ("I,V2\n" + "".join(f"{a},{b}\n" for a, b in counts.T)).encode()
    (tmp_path / "a.csv").write_bytes(content)
    given = {"sampling_rate": 500, "units": "uV"}

    class Slow(io.RawIOBase):
        """A stream that gives seven bytes at a time, as sockets do."""

        def __init__(self):
            self.rest = io.BytesIO(content)

        def read(self, size=-1):
            return self.rest.read(7)

    with open(tmp_path / "a.csv", "rb") as file:
        for source in (content, bytearray(content), memoryview(content), io.BytesIO(content), file, Slow()):
            np.testing.assert_allclose(read_ecg(source, **given).signal, counts / 1000, rtol=1e-6)
    for text in (io.StringIO(content.decode()), open(tmp_path / "a.csv")):
        with pytest.raises(TypeError, match="open as text"), text:
            read_ecg(text, **given)
    with pytest.raises(TypeError, match="path, bytes"):
        read_ecg(12)
    monkeypatch.setattr("heartcare.reading_heartcare.MAX_FILE_BYTES", len(content) - 1)
    for source in (content, io.BytesIO(content)):
        with pytest.raises(ValueError, match=f"more than {len(content) - 1} bytes"):
            read_ecg(source, **given)


def test_names_that_are_no_utf8(counts, tmp_path):
    name = os.fsdecode(b"\xff\xfe-\xe4")
    (tmp_path / f"{name}.csv").write_text("I,V2\n" + "".join(f"{a},{b}\n" for a, b in counts.T))
    record = read_ecg(tmp_path / f"{name}.csv", 500, units="uV")
    assert record.source.encode("utf-8").decode().endswith("\\udcff\\udcfe-\\udce4.csv")
    with pytest.raises(ValueError, match="sampling rate") as caught:
        read_ecg(tmp_path / f"{name}.csv")
    str(caught.value).encode("utf-8")
    (tmp_path / f"{name}.dat").write_bytes(PACKERS["16"](counts.T.ravel()))
    (tmp_path / f"{name}.hea").write_text("x 1 500 2000\nnone.dat 16 1000(0)/mV 16 0 0 0 0 I\n")
    with pytest.raises(FileNotFoundError, match="none.dat, which is not beside it") as caught:
        read_ecg(tmp_path / f"{name}.hea")
    str(caught.value).encode("utf-8")


def read_bounded(path) -> str:
    """Reads a path in a process of its own, of 2 GiB of memory at most -> its error, or "read"; a hang is a failure."""
    code = (
        "import resource, sys, numpy\n"
        "from heartcare.reading_heartcare import read_ecg\n"
        "resource.setrlimit(resource.RLIMIT_DATA, (2**31, 2**31))\n"
        "for path in sys.argv[1:]:\n"
        "    try:\n        read_ecg(path, 500)\n        print('read')\n"
        "    except (ValueError, OSError) as error:\n        print(f'{type(error).__name__}: {error}')\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT.parent), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "ignore", "-c", code, *map(str, path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="FIFOs and device files are Unix's")
def test_only_regular_files_are_opened(tmp_path):
    header = "a 1 500 1000\n{} 16 1000/mV 16 0 0 0 0 I\n"
    os.mkfifo(tmp_path / "fifo")
    names = []
    for suffix in (".csv", ".npy", ".npz", ".hea", ".json", ".dcm"):
        os.mkfifo(tmp_path / f"f{suffix}")
        (tmp_path / f"z{suffix}").symlink_to("/dev/zero")
        names += [f"f{suffix}", f"z{suffix}"]
    (tmp_path / "zero.dat").symlink_to("/dev/zero")
    for name in ("fifo", "zero.dat"):
        (tmp_path / f"to_{name[:4]}.hea").write_text(header.format(name))
        (tmp_path / f"to_{name[:4]}16.hea").write_text(header.format(name).replace(" 16 1000", " 80 1000"))
        names += [f"to_{name[:4]}.hea", f"to_{name[:4]}16.hea"]
    (tmp_path / "segments.hea").write_text("segments/1 1 500 1000\nf 1000\n")  # f.hea is a FIFO
    names.append("segments.hea")
    lines = read_bounded([tmp_path / name for name in names]).splitlines()
    assert len(lines) == len(names)
    for name, line in zip(names, lines):
        assert "is no file: " in line or "a folder, a FIFO or a device" in line or "a link to another folder" in line, (
            name,
            line,
        )


@pytest.mark.parametrize("fmt", ["16", "80", "212"])
def test_links_out_of_the_folder_are_refused_and_those_inside_are_followed(fmt, counts, tmp_path):
    folder, outside = tmp_path / "record", tmp_path / "outside"
    folder.mkdir()
    outside.mkdir()
    content = PACKERS[fmt](counts.T.ravel())
    (outside / "secret.dat").write_bytes(content)
    write_header(folder, "a", fmt, 1000)
    (folder / "a.dat").symlink_to(outside / "secret.dat")
    with pytest.raises(ValueError, match="a.dat, a link to another folder"):
        read_ecg(folder / "a.hea")
    (folder / "real.bin").write_bytes(content)
    (folder / "a.dat").unlink()
    (folder / "a.dat").symlink_to("real.bin")
    assert read_ecg(folder / "a.hea").signal.shape == (2, 1000)
    write_header(outside, "p", fmt, 1000)
    (outside / "p.dat").write_bytes(content)
    (folder / "p.hea").symlink_to(outside / "p.hea")
    (folder / "s.hea").write_text("s/1 2 500 1000\np 1000\n")
    with pytest.raises(ValueError, match="p.hea, a link to another folder"):
        read_ecg(folder / "s.hea")


def test_records_in_the_cache_of_the_hub_are_read(counts, tmp_path):
    """Files in the Hub's cache are read, where all are links into one folder of blobs."""
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / "abc" / "records"
    blobs.mkdir()
    snapshot.mkdir(parents=True)
    write_header(blobs, "a", "16", 1000)
    (blobs / "a.hea").rename(blobs / "1f")
    (blobs / "2f").write_bytes(PACKERS["16"](counts.T.ravel()))
    (snapshot / "a.hea").symlink_to("../../../blobs/1f")
    (snapshot / "a.dat").symlink_to("../../../blobs/2f")
    np.testing.assert_array_equal(read_ecg(snapshot / "a.hea").signal, ((counts - 5) / 1000).astype(np.float32))


@pytest.mark.parametrize(
    "line, message",
    [
        ("a.dat 16:1000000000 1000/mV 16 0 0 0 0 I", "has skew=1e.09; expected at most 5000"),
        ("a.dat 16+999999999999 1000/mV 16 0 0 0 0 I", "has byte_offset="),
        ("a.dat 16 1e999/mV 12 0 0 0 0 I", "adc_gain=inf"),
        ("a.dat 16 1000(99999999999999)/mV 12 0 0 0 0 I", "has baseline="),
        ("a.dat 16 1000(0)/mV 12 99999999999999 0 0 0 I", "has adc_zero="),
        ("a.dat 16 1000/mV 999999 0 0 0 0 I", "has adc_res="),
        ("a.dat 16x900000000 1000/mV 12 0 0 0 0 I", "claims"),
        ("a.dat 16 " + "1" * 2000 + "/mV 12 0 0 0 0 I", "has a line of"),
        ("a.dat 16 " + "1" * 900 + "(" * 100 + " I", "."),
    ],
)
def test_numbers_of_a_header_are_bounded_before_arrays_are_made(line, message, tmp_path):
    (tmp_path / "a.dat").write_bytes(b"\1\0" * 1000)
    (tmp_path / "a.hea").write_text(f"a 1 500 1000\n{line}\n")
    wfdb.rdheader  # noqa: B018  imported before memory is traced
    tracemalloc.start()
    with pytest.raises(ValueError, match=message):
        read_ecg(tmp_path / "a")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**24


def test_only_known_members_of_an_archive_are_unpacked(counts, tmp_path):
    path = tmp_path / "a.npz"
    np.savez_compressed(
        path, signal=counts / 100, sampling_rate=500, lead_names=["I", "V2"], units="mV", junk=np.zeros(2**23)
    )
    with zipfile.ZipFile(path) as archive:
        assert max(info.file_size for info in archive.infolist()) > 2**25
    tracemalloc.start()
    record = read_ecg(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_array_equal(record.signal, (counts / 100).astype(np.float32))
    assert peak < 2**22


def test_archives_that_lie_about_sizes_are_refused(counts, tmp_path):
    whole = tmp_path / "a.npz"
    np.savez(whole, signal=counts / 100, sampling_rate=500, lead_names=["I", "V2"], units="mV")
    content, size = whole.read_bytes(), 128 + 8 * counts.size
    for claim, message in ((size - 200, "more than it holds"), (size + 100, "longer than the array|Bad CRC-32")):
        lying = content.replace(struct.pack("<II", size, size), struct.pack("<II", claim, claim))
        assert lying != content
        with pytest.raises(ValueError, match=message):
            read_ecg(lying)
    damaged = bytearray(content)
    damaged[400] ^= 1  # one bit of a sample
    with pytest.raises(ValueError, match="Bad CRC-32"):
        read_ecg(bytes(damaged))
    np.savez(whole, signal=counts / 100, sampling_rate=500, lead_names=np.full(2, "I" * 30000), units="mV")
    with pytest.raises(ValueError, match="'lead_names' has .* bytes, at most"):
        read_ecg(whole)
    with zipfile.ZipFile(whole, "w") as archive:
        for number in range(12000):
            archive.writestr(f"{number:0100}", b"")
    with pytest.raises(ValueError, match="list of contents"):
        read_ecg(whole)
    np.save(tmp_path / "objects.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(ValueError, match="Python objects"):
        read_ecg(tmp_path / "objects.npy")


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["<f8", ">f4", "<i2", "f2", "u1"])
def test_numpy_arrays_of_all_orders_and_types(order, dtype, tmp_path):
    values = np.random.default_rng(2).integers(0, 200, (12, 50)).astype(dtype)
    np.save(tmp_path / "a.npy", np.asarray(values, order=order))
    record = read_ecg(tmp_path / "a.npy", 500, units="uV")
    np.testing.assert_allclose(record.signal, values.astype(np.float64) / 1000, rtol=1e-6)
    assert stat.S_ISREG((tmp_path / "a.npy").stat().st_mode) and record.lead_names == LEADS
