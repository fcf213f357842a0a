"""Mutated files of every format, read and cleaned: a record or a named error, never a crash, a hang or a file written;
and the same whether a file is given as a path or as bytes. Likewise mutated files of pictures, pages that are
digitised, and bodies of requests.

HEARTCARE_FUZZ sets the number of files of recordings, and with it those of `NUMBERS_OF_INPUTS`: `make fuzz` runs 50,000
of them and 200,000 inputs in all.
"""

import copy
import io
import json
import os
import shutil
import struct
import time
import warnings
import zlib
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from PIL import Image, ImageDraw, ImageOps

hypothesis = pytest.importorskip("hypothesis")
from hypothesis import HealthCheck, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from support.vendor_files import atc_file  # noqa: E402
from test_readers import WRITERS  # noqa: E402

from heartcare.agent.device_pages import PageStyle, draw_page  # noqa: E402
from heartcare.agent.readers import ECG, read_ecg  # noqa: E402
from heartcare.agent.report_pdf import write_pdf_report  # noqa: E402
from heartcare.agent.signal import Optimizer  # noqa: E402
from heartcare.agent.simulate import simulate_ecg  # noqa: E402
from heartcare.digitizing_heartcare import digitize  # noqa: E402
from heartcare.image_processing_heartcare import open_picture  # noqa: E402
from heartcare.layouts_heartcare import PageLayout  # noqa: E402
from heartcare.limits_heartcare import most_pixels, most_values  # noqa: E402
from heartcare.serving_heartcare import BadRequest, Limits, Request, read_request  # noqa: E402

INPUTS = int(os.environ.get("HEARTCARE_FUZZ", "2000"))
# A page takes half a second, and a body 50 microseconds. In `make test`, files are the slow test.
NUMBERS_OF_INPUTS = (
    {"picture files": INPUTS, "pages": INPUTS // 20, "bodies": 2 * INPUTS - INPUTS // 20}
    if "HEARTCARE_FUZZ" in os.environ
    else {"picture files": 500, "pages": 8, "bodies": 2000}
)
NUMBERS = (b"0", b"-1", b"99999999999", b"nan", b"1e308", b"inf", b"", b"\0", b"%s", b"../../etc/passwd")


def plain_files(ecg: ECG) -> list[dict[str, bytes]]:
    """Returns tables, JSON and arrays of the kinds that `WRITERS` lacks, and a MATLAB file beside its header."""
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
    """Returns small valid files, as {name: content}; WFDB is two of them, and three segments are more. A file that
    stands alone is named "record", without an ending, as a file that is given as bytes.
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


def fuzzed(inputs: int) -> settings:
    """Returns the settings of a test of this number of inputs, which are the same ones each time but for the night."""
    return settings(
        max_examples=inputs,
        deadline=None,
        database=None,
        derandomize="HEARTCARE_FUZZ" not in os.environ,
        suppress_health_check=list(HealthCheck),
    )


@pytest.mark.slow
def test_mutated_files(corpus, tmp_path_factory):
    folder = tmp_path_factory.mktemp("fuzz")
    outcomes = [Counter() for _ in corpus]
    slowest, optimizer = 0.0, Optimizer()

    @fuzzed(INPUTS)
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


@pytest.fixture(scope="module")
def pages() -> list[Image.Image]:
    """Draws two pages that are as small as a page may be."""
    ecg = simulate_ecg("SR", "NORM", seed=3)
    style = PageStyle(PageLayout.named("3x4", "standard"), speed=10, left=3, top=4, right=3, bottom=3, row=24)
    dotted = replace(style, dots=True, pulse="none", labels="line", ink=(40, 60, 160))
    return [draw_page(ecg.signal, ecg.sampling_rate, each, 102)[0] for each in (style, dotted)]


def content_of(picture: Image.Image, **options) -> bytes:
    file = io.BytesIO()
    picture.save(file, **options)
    return file.getvalue()


def test_mutated_files_of_pictures(pages):
    """The fuzzed file gives a picture in RGB, or an error that says that it cannot be read."""
    page = pages[0].resize((120, 80))
    modes = ("1", "L", "P", "RGB", "RGBA")
    files = [content_of(page.convert(mode), format=kind) for kind in ("PNG", "TIFF", "GIF", "BMP") for mode in modes
             if (kind, mode) not in (("BMP", "RGBA"), ("GIF", "RGBA"))]  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = 6  # turned
    files += [content_of(page, format="JPEG", exif=exif), content_of(page.convert("CMYK"), format="JPEG")]
    files += [content_of(page, format="JPEG", progressive=True), content_of(page, format="WEBP")]
    files += [content_of(page, format="TIFF", compression=each) for each in ("tiff_lzw", "jpeg", "tiff_adobe_deflate")]
    outcomes: Counter = Counter()

    @fuzzed(NUMBERS_OF_INPUTS["picture files"])
    @given(st.sampled_from(files), st.lists(CHANGE, min_size=0, max_size=4))
    def run(content, changes):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                picture = open_picture(mutate(content, changes))
            except ValueError as error:
                assert "cannot be read" in str(error) or "pixels" in str(error)
                outcomes["refused"] += 1
            else:
                assert picture.mode == "RGB" and picture.width * picture.height <= most_pixels()
                outcomes["read"] += 1

    run()
    print(dict(outcomes))
    assert outcomes["read"] and outcomes["refused"]


def change_page(page: Image.Image, kind: str, x: int, y: int, z: int) -> Image.Image:
    """Changes a picture as people, devices and attackers do; x, y and z are from 0 to 255."""
    width, height = page.size
    box = sorted((x * width // 256, y * width // 256)), sorted((y * height // 256, z * height // 256))
    box = box[0][0], box[1][0], box[0][1] + 1, box[1][1] + 1
    if kind == "crop":
        return page.crop(box)
    if kind == "turn":
        return page.rotate((90 * z, x - 128, x / 50)[y % 3], expand=True, fillcolor="white").reduce(1 + (x % 16 == 0))
    if kind == "stretch":
        return page.resize((max(1, min(700, width * (x + 40) // 150)), max(1, min(500, height * (y + 40) // 150))))
    if kind == "mirror":
        return (ImageOps.mirror, ImageOps.flip, ImageOps.invert, ImageOps.equalize)[x % 4](page)
    if kind == "mode":
        return page.convert(("1", "L", "P", "LA", "RGBA", "CMYK", "I", "F", "HSV")[x % 9])
    if kind == "jpeg":
        return open_picture(content_of(page, format="JPEG", quality=1 + x % 30))
    page = page.copy()
    if kind == "fill":
        page.paste((z, x, y), box)
    elif kind == "repeat":
        page.paste(page.crop(box), (z * width // 256, x * height // 256))
    elif kind == "noise":
        random = np.random.default_rng([x, y, z])
        page = Image.fromarray(np.uint8(np.clip(np.asarray(page) + random.normal(0, z, np.shape(page)), 0, 255)))
    elif kind == "lines":
        pen = ImageDraw.Draw(page)
        for at in range(0, width + height, 2 + x % 60):
            ends = [(at, 0, at, height), (0, at, width, at), (at, 0, 0, at)][y % 3]
            pen.line(ends, fill=(z, z, z), width=1 + y % 4)
    return page


PAGE_CHANGE = st.tuples(
    st.sampled_from(["crop", "turn", "stretch", "mirror", "jpeg", "fill", "repeat", "noise", "lines"]),
    *[st.integers(0, 255)] * 3,
)
SCALES = st.sampled_from([None, None, None, 10, 25.0, 0, -25, 1e-9, 1e9, float("nan"), float("inf")])


def test_mutated_pages(pages):
    """The fuzzed picture gives a page of finite size, or an error that says why there is none."""
    outcomes, slowest = Counter(), 0.0

    @fuzzed(NUMBERS_OF_INPUTS["pages"])
    @given(
        st.sampled_from(pages),
        st.lists(PAGE_CHANGE, min_size=0, max_size=3),
        st.integers(0, 40),
        st.sampled_from([None, "3x4", "12x1", "5x5"]),
        SCALES,
        SCALES,
    )
    def run(page, changes, mode, layout, speed, gain):
        nonlocal slowest
        for change in changes:
            page = change_page(page, *change)
        page = change_page(page, "mode", mode, 0, 0) if mode < 9 else page
        started = time.process_time()
        try:
            found = digitize(page, layout, speed, gain)
        except ValueError as error:
            assert str(error)
            outcomes[type(error).__name__] += 1
        else:
            assert found.ecg.signal.shape[0] == 12 and found.ecg.signal.size <= most_values()
            assert json.loads(json.dumps(found.as_plain(), allow_nan=False))["layout"] == found.layout.name
            assert found.draw_over().size == found.picture.size
            outcomes["digitised"] += 1
        slowest = max(slowest, time.process_time() - started)

    run()
    print(f"{dict(outcomes)}, slowest {slowest:.1f} s of the processor")
    assert sum(outcomes.values()) >= NUMBERS_OF_INPUTS["pages"] and slowest < 60


ECG_PART = {"signal": [[0.1, None, 2], [1, 2, 3]], "sampling_rate": 500, "lead_names": ["I", "II"], "units": "mV"}
URI = "data:image/png;base64,iVBORw0KGgo="
CONTENT = [{"type": "text", "text": "What is it?"}, {"type": "ecg", **ECG_PART}, {"type": "image", "base64": "aGk="}]
BODIES = [
    {"inputs": "aGk="},
    {"inputs": [ECG_PART, {"image": "aGk="}], "parameters": {"question": "Which rhythm?", "options": ["AF", "SR"]}},
    {"inputs": {"ecg": [[0.5] * 4], "source": "a", "warnings": ["gap:I"]}, "parameters": {"max_new_tokens": 9}},
    {"inputs": {"messages": [{"role": "user", "content": CONTENT}, {"role": "assistant", "content": "Sinus."}]}},
    {"inputs": {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": URI}}]}]},
     "parameters": {"layout": "3x4", "speed": 25.0, "gain": 10, "digitize": True, "coverage": 0.9, "explain": False}},
]  # fmt: skip
VALUES = [None, True, 0, -1, 10**400, 1e308, float("nan"), float("inf"), "", "\ud800", "\0", "x" * 300, "a\nb", [], {},
          [[]], ["\ud800"], {"\ud800": 1}, [1, "\ud800"], "/etc/passwd", "http://127.0.0.1:9/"]  # fmt: skip


def places_in(value, path=()):
    """Yields the paths of all parts of a JSON value."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in items:
        yield from places_in(part, (*path, key))


def change_body(body, kind: str, at: int, value: int):
    """Replaces, repeats, removes, renames or wraps one part of a JSON value."""
    places = list(places_in(body))
    if len(places) > 1000:
        return body
    *outer, key = places[at % len(places)] or ("inputs",)
    whole, parent = body, body
    for step in outer:
        parent = parent[step]
    if not isinstance(parent, dict | list) or isinstance(parent, dict) and key not in parent:
        return whole
    if kind == "remove":
        del parent[key]
    elif kind == "rename" and isinstance(parent, dict):
        parent[("path", "url", "bytes", "image", "type", "messages", "\ud800", "x")[value % 8]] = parent.pop(key)
    elif kind == "repeat":
        parent[key] = [parent[key]] * (value % 12)
    elif kind == "wrap":
        for _ in range(value % 100):
            parent[key] = [parent[key]] if value % 2 else {"inputs": parent[key]}
    elif kind == "move":
        parent[key] = copy.deepcopy(whole)
    else:
        parent[key] = copy.deepcopy(VALUES[value % len(VALUES)])
    return whole


BODY_CHANGE = st.tuples(
    st.sampled_from(["replace", "replace", "remove", "rename", "repeat", "wrap", "move"]),
    st.integers(0, 999),
    st.integers(0, 255),
)


def test_mutated_bodies_of_requests():
    """The fuzzed body gives a request whose keywords are known, or `BadRequest`."""
    outcomes: Counter = Counter()

    @fuzzed(NUMBERS_OF_INPUTS["bodies"])
    @given(st.sampled_from(BODIES), st.lists(BODY_CHANGE, min_size=0, max_size=4))
    def run(body, changes):
        body = copy.deepcopy(body)
        for change in changes:
            body = change_body(body, *change)
        try:
            request = read_request(body, Limits())
        except BadRequest as error:
            assert str(error).encode()
            outcomes["refused"] += 1
        else:
            assert isinstance(request, Request) and 1 <= request.generate_kwargs["max_new_tokens"] <= 512
            assert isinstance(request.inputs, list) or set(request.inputs) == {"ecgs"}
            outcomes["read"] += 1

    run()
    print(dict(outcomes))
    assert min(outcomes["read"], outcomes["refused"]) > NUMBERS_OF_INPUTS["bodies"] / 20
