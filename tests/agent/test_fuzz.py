"""Mutated files of every format, read and cleaned: a record or a named error, never a crash, a hang or a file written;
and the same whether a file is given as a path or as bytes.

2,000 inputs in `make test`; `make fuzz` runs 50,000 (HEARTCARE_FUZZ sets the number).
"""

import io
import json
import os
import shutil
import struct
import time
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import scipy.io

hypothesis = pytest.importorskip("hypothesis")
from hypothesis import HealthCheck, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from support.vendor_files import atc_file  # noqa: E402
from test_readers import WRITERS  # noqa: E402

from heartcare.agent.readers import ECG, read_ecg  # noqa: E402
from heartcare.agent.report_pdf import write_pdf_report  # noqa: E402
from heartcare.agent.signal import Optimizer  # noqa: E402
from heartcare.agent.simulate import simulate_ecg  # noqa: E402

INPUTS = int(os.environ.get("HEARTCARE_FUZZ", "2000"))
NUMBERS = (b"0", b"-1", b"99999999999", b"nan", b"1e308", b"inf", b"", b"\0", b"%s", b"../../etc/passwd")


def plain_files(ecg: ECG) -> list[dict[str, bytes]]:
    """Tables, JSON and arrays of the kinds that `WRITERS` lacks, and a MATLAB file beside its header."""
    counts = np.round(ecg.signal[:2] * 1000).astype(np.int16)
    times = [i / ecg.sampling_rate for i in range(counts.shape[1])]
    physionet = ["'Elapsed time','I','II'", "'mm:ss.mmm','uV','uV'"]
    physionet += [f"'0:{time:06.3f}',{one},{two}" for time, one, two in zip(times, *counts)]
    keys = [
        "Name,Jane Roe",
        "Date of Birth,1990-01-15",
        "Recorded Date,2024-03-14",
        "Sample Rate,100 hertz",
        "Lead,Lead I",
    ]
    polar = ["timestamp [ms];ecg [uV]", *(f"{1000 * time:g};{value}" for time, value in zip(times, counts[0]))]
    origin = {"value": 0, "unit": "uV"}
    sampled = [
        {
            "code": {"text": f"MDC_ECG_LEAD_{name}"},
            "valueSampledData": {"origin": origin, "period": 10, "factor": 1, "data": " ".join(map(str, row))},
        }
        for name, row in zip(("I", "II"), counts)
    ]
    raw = {"frequency": 100, "amplitudeResolution": 1000, "samples": {"leadI": counts[0].tolist()}}
    array, matrix = io.BytesIO(), io.BytesIO()
    np.savez(array, signal=ecg.signal, sampling_rate=100)
    scipy.io.savemat(matrix, {"val": counts}, format="4")
    header = f"A 2 100 {len(times)}\n" + "".join(f"A.mat 16+24 1000/mV 16 0 0 0 0 {name}\n" for name in ("I", "II"))
    single = [
        "\n".join(physionet),
        "\n".join([*keys, "Unit,µV", "", *map(str, counts[0])]),
        "\n".join(polar),
        json.dumps({"signal": counts.tolist(), "sampling_rate": 100, "lead_names": ["I", "II"], "units": "uV"}),
        json.dumps({"resourceType": "Observation", "component": sampled}),
        json.dumps({"data": {"raw": raw}, "heartRate": 70}),
    ]
    files = [{"record": text.encode()} for text in single]
    atc = atc_file({"I": counts[0], "II": counts[1]}, rate=100, step=1000, checksum=zlib.crc32)
    return [
        *files,
        {"record": atc},
        {"record": array.getvalue()},
        {"A.hea": header.encode(), "A.mat": matrix.getvalue()},
    ]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> list[dict[str, bytes]]:
    """Small valid files, as {name: content}; WFDB is two of them, and three segments are more. A file that stands alone
    is named "record", without an ending, as a file that is given as bytes.
    """
    folder = tmp_path_factory.mktemp("corpus")
    ecg = simulate_ecg("SR", "NORM", seconds=10, sampling_rate=100, seed=1)
    files = []
    for name, write in WRITERS.items():
        here = folder / name.replace(".", "_")
        here.mkdir()
        write(here / name, ecg)
        found = {path.name: path.read_bytes() for path in here.iterdir()}
        if len(found) == 1:
            found = {"record": found[name]}
        files.append(dict(sorted(found.items(), key=lambda item: not item[0].endswith(".hea"))))
    write_pdf_report(folder / "a.pdf", ecg.signal[:, :400], 100, "3x4", text=["Age: 63", "Sinusrhythmus"], grid=False)
    files.append({"record": (folder / "a.pdf").read_bytes()})
    data = {"p.dat": (folder / "wfdb" / "wfdb.dat").read_bytes()}
    files.append(
        {
            "m.hea": b"m/3 12 500 2500\np 1000\n~ 500\np 1000\n",
            "p.hea": (folder / "wfdb" / "wfdb.hea").read_bytes().replace(b"wfdb", b"p"),
            **data,
        }
    )
    return files + plain_files(ecg)


def read_either(file: Path | bytes) -> ECG | str:
    """Reads a file -> the ECG, or the text of the error that a damaged file may raise."""
    try:
        return read_ecg(file)
    except (ValueError, FileNotFoundError) as error:
        assert str(error), "an error must say something"
        return str(error)


def assert_same(by_path: ECG | str, by_bytes: ECG | str) -> None:
    """A file gives the same ECG whether it comes as a path or as bytes, or is refused both ways."""
    assert isinstance(by_path, str) == isinstance(by_bytes, str), (by_path, by_bytes)
    if isinstance(by_path, ECG):
        np.testing.assert_array_equal(by_path.signal, by_bytes.signal)
        for name in ("sampling_rate", "lead_names", "format", "age", "sex", "patient_id", "statements", "warnings"):
            assert getattr(by_path, name) == getattr(by_bytes, name), name


def mutate(content: bytes, changes) -> bytes:
    out = bytearray(content)
    for kind, where, value, size in changes:
        if not out:
            break
        at = where % len(out)
        if kind == "flip":
            out[at] ^= 1 + value % 255
        elif kind == "cut":
            del out[at:]
        elif kind == "drop":
            del out[at : at + size]
        elif kind == "repeat":
            out[at:at] = out[at : at + size] * (1 + value % 8)
        elif kind == "fill":
            out[at : at + size] = bytes([value]) * size
        elif kind == "number":  # a number of a header becomes another one
            start = at
            while start < len(out) and not 48 <= out[start] <= 57:
                start += 1
            stop = start
            while stop < len(out) and 48 <= out[stop] <= 57:
                stop += 1
            out[start:stop] = NUMBERS[value % len(NUMBERS)]
        elif kind == "integer":
            out[at : at + 4] = struct.pack("<i", (-1, 0, 2**31 - 1, -(2**31))[value % 4])
    return bytes(out)


# Half of the changes are near the beginning, where the headers are.
PLACE = st.one_of(st.integers(0, 1500), st.integers(0, 200_000))
CHANGE = st.tuples(
    st.sampled_from(["flip", "cut", "drop", "repeat", "fill", "number", "integer"]),
    PLACE,
    st.integers(0, 255),
    st.integers(1, 64),
)


@pytest.mark.slow
def test_mutated_files(corpus, tmp_path_factory):
    folder = tmp_path_factory.mktemp("fuzz")
    outcomes = [Counter() for _ in corpus]
    slowest, optimizer = 0.0, Optimizer()

    @settings(
        max_examples=INPUTS,
        deadline=None,
        database=None,
        derandomize=INPUTS <= 2000,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.integers(0, len(corpus) - 1), st.integers(0, 3), st.lists(CHANGE, min_size=0, max_size=5))
    def run(which, target, changes):
        nonlocal slowest
        here = folder / "case"
        shutil.rmtree(here, ignore_errors=True)
        here.mkdir()
        files = corpus[which]
        names = list(files)
        changed = names[target % len(names)]
        for name, content in files.items():
            (here / name).write_bytes(mutate(content, changes) if name == changed else content)
        before = {path: path.read_bytes() for path in here.iterdir()}
        started = time.process_time()
        record = read_either(here / names[0])
        if len(names) == 1:
            assert_same(record, read_either(before[here / names[0]]))
        if isinstance(record, str):
            outcomes[which]["refused"] += 1
        else:
            assert record.signal.ndim == 2 and record.signal.dtype == np.float32
            assert (
                len(record.lead_names) == len(record.signal)
                and 10 <= record.sampling_rate <= 20000
                and record.recorded.any()
            )
            assert not np.isinf(record.signal).any() and (record.age is None or 0 <= record.age <= 130)
            outcomes[which]["read"] += 1
            try:
                optimized = optimizer(record)
            except ValueError as error:
                assert str(error)
            else:
                assert np.isfinite(optimized.signal).all() and optimized.lead_mask.any()
        slowest = max(slowest, time.process_time() - started)
        assert {path: path.read_bytes() for path in here.iterdir()} == before and {
            path.name for path in folder.iterdir()
        } == {"case"}

    run()
    total = sum(outcomes, Counter())
    print(f"{dict(total)}, slowest {slowest:.2f} s of the processor")
    assert total.total() >= INPUTS and min(total.values()) > INPUTS / 20 and slowest < 30
    for files, outcome in zip(corpus, outcomes):  # of each format some are still read and some are refused
        assert outcome["read"] and outcome["refused"], (list(files), next(iter(files.values()))[:40], outcome)


def test_unchanged_files_are_read(corpus, tmp_path):
    for i, files in enumerate(corpus):
        here = tmp_path / str(i)
        here.mkdir()
        for name, content in files.items():
            (here / name).write_bytes(content)
        record = read_ecg(here / next(iter(files)))
        assert record.signal.shape[1] > 100
        if len(files) == 1:
            assert_same(record, read_ecg(next(iter(files.values()))))
