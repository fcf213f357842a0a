"""Files that were made to exhaust or deceive a reader are refused with a named error, in bounded time and memory.

All of them are read in one process, whose memory is that of all its libraries and not of Python alone, and whose time
is that of the processor. Attacks on a build are in test_build.py and test_interrupted_builds.py.
"""

import json
import os
import re
import resource
import struct
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from support import vendor_files
from support.paths import ROOT

from heartcare.agent.readers import limits
from heartcare.agent.report_pdf import write_pdf_report
from heartcare.agent.simulate import simulate_ecg

pymupdf = pytest.importorskip("pymupdf")
pytest.importorskip("ecgdatakit")
if sys.platform != "linux":
    pytest.skip("memory is read from /proc", allow_module_level=True)

MOST_SECONDS = 5  # of the processor, for one file
MOST_MEGABYTES = 200  # by which a file may raise the most memory that the process has held
HEADER = "{0} 1 500 1000\n{1} {2} 1000/mV 16 0 0 0 0 I\n"


def blanks(path: Path, count: int, end: str) -> None:
    path.write_text("I" + " " * count + end + ",II\n1,2\n")


def strokes(path: Path) -> None:
    with pymupdf.open() as document:
        page = document.new_page()
        xref = document.get_new_xref()
        document.update_object(xref, "<<>>")
        document.update_stream(xref, b"0 0 m 9 9 l S " * 600_000, compress=True)
        page.set_contents(xref)
        document.save(path, deflate=True)


def deflated_dicom(path: Path) -> None:
    vendor_files.write_dicom(path, simulate_ecg(), syntax="deflated")
    with open(path, "rb") as file:
        limits.skip_file_meta(file)
        size = file.tell()
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    bomb = packer.compress(struct.pack("<HH2sHI", 0x5400, 0x1010, b"OW", 0, 2**29))
    bomb += b"".join(packer.compress(bytes(2**20)) for _ in range(256)) + packer.flush()
    path.write_bytes(path.read_bytes()[:size] + bomb)


def archive_of_much(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(3):
            archive.writestr(f"unused{number}.npy", bytes(120_000_000))


def empty_elements(path: Path, root: str) -> None:
    path.write_text(f"<{root}>" + "<a/>" * 4_000_000 + f"</{root}>")


def entities(path: Path, encoding: str) -> None:
    names = [f'<!ENTITY e{number} "{f"&e{number - 1};" * 10}">' for number in range(1, 10)]
    text = f'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY e0 "lol">{"".join(names)}]><RestingECG>&e9;</RestingECG>'
    path.write_bytes(text.encode(encoding))


def external_entity(path: Path) -> None:
    declared = '<!DOCTYPE RestingECG [<!ENTITY e SYSTEM "file:///etc/passwd">]>'
    path.write_text(f'<?xml version="1.0"?>{declared}<RestingECG>&e;</RestingECG>')


def header_of(path: Path, signal: str, fmt: str = "16") -> None:
    path.write_text(HEADER.format(path.stem, signal, fmt))


def link_out(path: Path, fmt: str) -> None:
    path.with_suffix(".dat").symlink_to("/etc/passwd")
    header_of(path, path.with_suffix(".dat").name, fmt)


def segment_that_waits(path: Path) -> None:
    os.mkfifo(path.with_name("waiting.hea"))
    path.write_text(f"{path.stem}/1 1 500 1000\nwaiting 1000\n")


def long_skew(path: Path) -> None:
    path.with_suffix(".dat").write_bytes(b"\1\0" * 1000)
    header_of(path, path.with_suffix(".dat").name, "16:1000000000")


def script_in_pdf(path: Path) -> None:
    with pymupdf.open() as document:
        document.new_page()
        action = document.get_new_xref()
        document.update_object(action, "<</S/JavaScript/JS(app.launchURL\\('http://127.0.0.1:9'\\))>>")
        document.xref_set_key(document.pdf_catalog(), "OpenAction", f"{action} 0 R")
        document.save(path)


# Number of the attack and its name -> the ending of its file, a function that writes it, and the error.
Attack = tuple[str, Callable[[Path], object], str]
ATTACKS: dict[str, Attack] = {
    "1 blanks in the first line": (".csv", lambda path: blanks(path, 60_000, "x"), "no known ECG format"),
    "1 blanks of 15 MB": (".csv", lambda path: blanks(path, 15_000_000, "x"), "no known ECG format"),
    "1 blanks and a bracket": (".csv", lambda path: blanks(path, 30_000, "("), "no known ECG format"),
    "4 strokes of a PDF": (".pdf", strokes, "line segments"),
    "11 deflated DICOM": (".dcm", deflated_dicom, "unpacks to more"),
    "12 unused members of an archive": (".npz", archive_of_much, "expected one named 'signal'"),
    "13 empty elements of aECG": (".xml", lambda path: empty_elements(path, "AnnotatedECG"), "XML elements"),
    "13 empty elements of MUSE": (".xml", lambda path: empty_elements(path, "RestingECG"), "XML elements"),
    "14 link to another file, format 16": (".hea", lambda path: link_out(path, "16"), "a link to another folder"),
    "14 link to another file, format 80": (".hea", lambda path: link_out(path, "80"), "a link to another folder"),
    "15 segment that is a FIFO": (".hea", segment_that_waits, "a folder, a FIFO or a device"),
    "16 FIFO as a table": (".csv", os.mkfifo, "is no file"),
    "16 FIFO as an array": (".npy", os.mkfifo, "is no file"),
    "16 FIFO as an archive": (".npz", os.mkfifo, "is no file"),
    "16 endless table": (".csv", lambda path: path.symlink_to("/dev/zero"), "is no file"),
    "16 endless array": (".npy", lambda path: path.symlink_to("/dev/zero"), "is no file"),
    "16 endless header": (".hea", lambda path: path.symlink_to("/dev/zero"), "is no file"),
    "17 skew of 10^9": (".hea", long_skew, "has skew="),
    "31 entities of entities": (".xml", lambda path: entities(path, "utf-8"), "XML entities"),
    "31 entities in UTF-16": (".xml", lambda path: entities(path, "utf-16"), "XML entities"),
    "31 external entity": (".xml", external_entity, "entities"),
    "31 script of a PDF": (".pdf", script_in_pdf, "no vector traces"),
}

# Reads files, and prints for each of them its error, the seconds of the processor, and by how many MB the most memory
# that the process has held grew.
READ = """
import json, re, sys, time, warnings
warnings.simplefilter("ignore")
from heartcare.agent.readers import read_ecg

def memory():
    return int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1000

good, paths = sys.argv[1:4], sys.argv[4:]
for path in good:  # which imports what the readers need
    read_ecg(path)
for path in paths:
    before, started = memory(), time.process_time()
    try:
        read_ecg(path, sampling_rate=500)
        error = ""
    except (ValueError, OSError) as raised:
        error = f"{type(raised).__name__}: {raised}"
    print(json.dumps([error, time.process_time() - started, memory() - before]), flush=True)
"""


def limited() -> None:
    """Limits a process, so that one that hangs or grows without end is ended."""
    resource.setrlimit(resource.RLIMIT_CPU, (120, 120))
    resource.setrlimit(resource.RLIMIT_DATA, (2**32, 2**32))


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory) -> dict[str, tuple[str, float, float]]:
    """Returns name of an attack -> its error, seconds of the processor and MB."""
    folder, ecg = tmp_path_factory.mktemp("attacks"), simulate_ecg()
    vendor_files.write_dicom(folder / "good.dcm", ecg)
    vendor_files.write_muse(folder / "good.xml", ecg)
    write_pdf_report(folder / "good.pdf", ecg.signal, 500, "3x4")
    paths = {}
    for name, (ending, write, _) in ATTACKS.items():
        (folder / name.replace(" ", "_")).mkdir()
        paths[name] = folder / name.replace(" ", "_") / f"a{ending}"
        write(paths[name])
    command = [sys.executable, "-c", READ, *sorted(folder.glob("good.*")), *paths.values()]
    environment = {**os.environ, "PYTHONPATH": str(ROOT.parent), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, env=environment, preexec_fn=limited)
    lines = [tuple(json.loads(line)) for line in done.stdout.splitlines()]
    ended = (f"the process ended with {done.returncode}: {done.stderr[-2000:]}", 0.0, 0.0)
    return dict(zip(paths, [*lines, *[ended] * (len(paths) - len(lines))]))


@pytest.mark.parametrize("name", ATTACKS)
def test_a_hostile_file_is_refused_at_little_cost(outcomes, name):
    error, seconds, megabytes = outcomes[name]
    assert re.search(ATTACKS[name][2], error), error
    assert seconds < MOST_SECONDS and megabytes < MOST_MEGABYTES, (seconds, megabytes)
