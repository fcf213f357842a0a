"""Mutated files of every format, read and cleaned: a record or a named error, never a crash, a hang or a file written.

2,000 inputs in `make test`; `make fuzz` runs 50,000 (HEARTCARE_FUZZ sets the number).
"""

import os
import shutil
import struct
import time
from collections import Counter

import numpy as np
import pytest

hypothesis = pytest.importorskip("hypothesis")
from hypothesis import HealthCheck, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from test_readers import WRITERS  # noqa: E402

from heartcare.agent.readers import ECG, read_ecg  # noqa: E402
from heartcare.agent.report_pdf import write_pdf_report  # noqa: E402
from heartcare.agent.signal import Optimizer  # noqa: E402
from heartcare.agent.simulate import simulate_ecg  # noqa: E402

INPUTS = int(os.environ.get("HEARTCARE_FUZZ", "2000"))
NUMBERS = (b"0", b"-1", b"99999999999", b"nan", b"1e308", b"inf", b"", b"\0", b"%s", b"../../etc/passwd")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> list[dict[str, bytes]]:
    """Small valid files, as {name: content}; WFDB is two of them, and three segments are more."""
    folder = tmp_path_factory.mktemp("corpus")
    ecg = simulate_ecg("SR", "NORM", seconds=10, sampling_rate=100, seed=1)
    files = []
    for name, write in WRITERS.items():
        here = folder / name.replace(".", "_")
        here.mkdir()
        write(here / name, ecg)
        found = {path.name: path.read_bytes() for path in here.iterdir()}
        files.append(dict(sorted(found.items(), key=lambda item: not item[0].endswith(".hea"))))
    write_pdf_report(folder / "a.pdf", ecg.signal[:, :400], 100, "3x4", text=["Age: 63", "Sinusrhythmus"], grid=False)
    files.append({"a.pdf": (folder / "a.pdf").read_bytes()})
    data = {"p.dat": (folder / "wfdb" / "wfdb.dat").read_bytes()}
    files.append(
        {
            "m.hea": b"m/3 12 500 2500\np 1000\n~ 500\np 1000\n",
            "p.hea": (folder / "wfdb" / "wfdb.hea").read_bytes().replace(b"wfdb", b"p"),
            **data,
        }
    )
    return files


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
        try:
            record = read_ecg(here / names[0])
        except (ValueError, FileNotFoundError) as error:
            assert str(error), "an error must say something"
            outcomes[which]["refused"] += 1
        else:
            assert isinstance(record, ECG) and record.signal.ndim == 2 and record.signal.dtype == np.float32
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
        assert outcome["read"] and outcome["refused"], (next(iter(files)), outcome)


def test_unchanged_files_are_read(corpus, tmp_path):
    for i, files in enumerate(corpus):
        here = tmp_path / str(i)
        here.mkdir()
        for name, content in files.items():
            (here / name).write_bytes(content)
        assert read_ecg(here / next(iter(files))).signal.shape[1] > 100
