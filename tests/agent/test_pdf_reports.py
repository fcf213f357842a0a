"""PDF reports: whatever a page looks like, its leads, labels, measurements and statements are read right."""

import base64
import json
import tracemalloc
import zlib

import numpy as np
import pytest

from heartcare.agent.readers import read_ecg
from heartcare.agent.readers.pdf_content import count_page
from heartcare.agent.readers.pdf_labels import Word
from heartcare.agent.readers.pdf_text import find_cells, find_measurements
from heartcare.agent.report_pdf import LABELS, LAYOUTS, ROTATIONS, Sheet, draw_grid, write_pdf_report
from heartcare.agent.simulate import FORMS, RHYTHMS, simulate_ecg
from heartcare.ecg_heartcare import LEADS, pseudonym
from heartcare.image_processing_heartcare import LAYOUTS as PICTURE_LAYOUTS
from heartcare.pipeline_heartcare import ECGInterpretationPipeline

pymupdf = pytest.importorskip("pymupdf")

ROW_MM = 25  # height of a row of `write_rows`
COLUMNS = [
    ["DOE, JANE", "01-JAN-1950 (69 yr)", "Female", "ID: 4711"],
    ["Vent. rate", "PR interval", "QRS duration", "QT/QTc", "P-R-T axes"],
    ["72 BPM", "160 ms", "94 ms", "400/421 ms", "43 -13 36"],
    ["SINUS RHYTHM", "INFERIOR INFARCT, AGE UNDETERMINED", "ABNORMAL ECG"],
]


def shown(layout: str, samples: int) -> dict[str, tuple[int, int]]:
    """Returns lead -> first and last sample (excluded) that a page of this layout shows."""
    form = LAYOUTS[layout]
    cuts = np.round(np.linspace(0, samples, form.columns + 1)).astype(int)
    parts = {lead: (cuts[i // form.rows], cuts[i // form.rows + 1]) for i, lead in enumerate(LEADS)}
    return parts | {lead: (0, samples) for lead in form.strips}


def compare(record, signal: np.ndarray, layout: str) -> tuple[float, float, float]:
    """Returns the largest RMSE in uV (without the level), error of the level in uV, and shift in ms over all leads."""
    assert record.lead_names == LEADS and record.sampling_rate == 500 and record.signal.shape == signal.shape
    rmse, level, shift = [], [], []
    for lead, got, wanted in zip(LEADS, record.signal, signal):
        start, stop = shown(layout, signal.shape[1])[lead]
        # Each lead is where the page shows it, and nowhere else.
        assert np.array_equal(np.flatnonzero(np.isfinite(got)), np.arange(start, stop)), lead
        error = got[start:stop] - wanted[start:stop]
        level.append(abs(np.mean(error)))
        rmse.append(np.std(error))
        middle = got[start + 20 : stop - 20]
        fits = [np.std(middle - wanted[start + 20 + k : stop - 20 + k]) for k in range(-5, 6)]
        shift.append(2.0 * abs(int(np.argmin(fits)) - 5))
    return 1000 * max(rmse), 1000 * max(level), max(shift)


@pytest.mark.parametrize("labels", LABELS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_page_is_read_within_the_tolerances(layout, labels, tmp_path, capsys):
    """Pages are read in all rotations, with and without pulses (of five strokes and of many), text, and names of the
    strips.
    """
    ecg = simulate_ecg("SR", "IMI", seed=4)
    errors = []
    for number, rotation in enumerate(ROTATIONS):
        pulse, text = (67, 0, 5, 59)[number], number % 2 == 0
        write_pdf_report(
            tmp_path / "a.pdf",
            ecg.signal,
            500,
            layout,
            pulse=pulse,
            labels=labels,
            rotation=rotation,
            strip_labels=number < 2,
            text_columns=COLUMNS if text else (),
        )
        record = read_ecg(tmp_path / "a.pdf")
        rmse, level, shift = compare(record, ecg.signal, layout)
        # A page without a pulse does not show where 0 mV is.
        errors.append((rmse, level if pulse else 0.0, shift))
        if text:
            check_columns(record)
    rmse, level, shift = np.max(errors, axis=0)
    with capsys.disabled():
        print(f"\n{layout}, labels {labels}: RMSE {rmse:.3f} uV, level {level:.3f} uV, shift {shift:g} ms", end="")
    assert rmse < 15 and level < 20 and shift <= 2


def check_columns(record) -> None:
    """The findings in `COLUMNS` are kept, without the person."""
    assert record.age == 69 and record.sex == "female" and record.patient_id == pseudonym("4711")
    assert record.measurements == {
        "heart_rate": 72,
        "pr_interval": 160,
        "qrs_duration": 94,
        "qt_interval": 400,
        "qtc": 421,
        "p_axis": 43,
        "qrs_axis": -13,
        "t_axis": 36,
    }
    assert record.report == "SINUS RHYTHM. INFERIOR INFARCT, AGE UNDETERMINED. ABNORMAL ECG."


def test_strips_without_a_label_are_named_by_the_leads_they_equal(ecg, tmp_path):
    write_pdf_report(tmp_path / "a.pdf", ecg.signal, 500, "3x4+3", strip_labels=False)
    record = read_ecg(tmp_path / "a.pdf")
    for lead in ("V1", "II", "V5"):
        assert np.isfinite(record.signal[record.lead_names.index(lead)]).all()
        assert f"took a trace without a label for lead {lead}, which it equals" in record.notes


@pytest.mark.slow
def test_reports_that_show_a_quarter_of_each_lead_are_answered(model, processor, tmp_path):
    """Forty reports of one page in 3x4, as files, get the answers that the same stretches get as arrays."""
    pipe = ECGInterpretationPipeline(model=model, processor=processor, device="cpu")
    paths, arrays = [], []
    for number in range(40):
        ecg = simulate_ecg(sorted(RHYTHMS)[number % 4], FORMS[number // 4 % len(FORMS)], seed=number)
        options = {"labels": LABELS[number % 3], "rotation": ROTATIONS[number // 3 % 4], "pulse": (5, 67)[number % 2]}
        paths.append(str(tmp_path / f"{number}.pdf"))
        write_pdf_report(paths[-1], ecg.signal, 500, "3x4", **options)
        parts = np.full_like(ecg.signal, np.nan)
        for lead, (start, stop) in shown("3x4", 5000).items():
            parts[LEADS.index(lead), start:stop] = ecg.signal[LEADS.index(lead), start:stop]
        arrays.append({"signal": parts, "sampling_rate": 500, "lead_names": list(LEADS), "units": "mV"})
    answers, wanted = (
        [reply["text"] for reply in pipe(given, question="What is the rhythm?", batch_size=10)]
        for given in (paths, arrays)
    )
    assert answers == wanted and all(answer.strip() for answer in answers) and len(set(answers)) > 1


def test_a_page_that_is_written_sideways_without_a_rotate_entry(ecg, tmp_path):
    write_pdf_report(tmp_path / "a.pdf", ecg.signal, 500, "3x4", rotation=90, labels="below")
    with pymupdf.open(tmp_path / "a.pdf") as document:
        document[0].set_rotation(0)
        document.save(tmp_path / "b.pdf")
    upright, sideways = read_ecg(tmp_path / "a.pdf"), read_ecg(tmp_path / "b.pdf")
    assert np.array_equal(upright.signal, sideways.signal, equal_nan=True)


def write_rows(path, signals, labels, text=(), gains=None):
    """Draws a page of rows of one trace each, 5 s at 500 Hz; `labels` are (name, y in rows: 0 on the first row)."""
    with pymupdf.open() as document:
        sheet = Sheet.new(document, 150, 60 + ROW_MM * len(signals), 0)
        draw_grid(sheet)
        for row, signal in enumerate(signals):
            zero, gain = 50 + ROW_MM * row, gains[row] if gains else 10
            sheet.lines([(np.array([10, 11, 11, 14, 14, 15]), zero - 10 * np.array([0, 0, 1, 1, 0, 0]))], 0.5)
            sheet.lines([(16 + np.arange(len(signal)) / 20, zero - gain * signal)], 0.5)
        sheet.finish_paths()
        for name, place in labels:
            sheet.text(17, 51 + ROW_MM * place, name)
        for number, line in enumerate([*text, "25 mm/s"]):
            sheet.text(8, 5 + 4 * number, line)
        document.save(path)


@pytest.mark.parametrize("place", ["above", "below"])
def test_limb_leads_tell_what_the_labels_leave_open(place, ecg, tmp_path):
    """Three labels midway between four rows, where one row has no label, are told by III = II - I."""

    def write(*leads):
        rows = [ecg.signal[LEADS.index(lead), :2500] for lead in leads]
        rows.insert(0 if place == "above" else 3, ecg.signal[10, :2500])
        write_rows(tmp_path / "a.pdf", rows, [(lead, number + 0.5) for number, lead in enumerate(leads)])

    write("I", "II", "III")
    record = read_ecg(tmp_path / "a.pdf")
    assert record.lead_names == ("I", "II", "III") and f"labels stand {place} their traces" in record.notes
    for lead, got in zip(record.lead_names, record.signal):
        np.testing.assert_allclose(got, ecg.signal[LEADS.index(lead), :2500], atol=1e-3)
    write("V1", "V2", "V3")
    with pytest.raises(ValueError, match="cannot be told whether the lead labels stand above, below or beside"):
        read_ecg(tmp_path / "a.pdf")


def test_labels_between_rows_of_leads_that_are_none_are_refused(tmp_path):
    """Rows are refused where neither rule makes III equal II - I."""
    rows = np.random.default_rng(0).normal(0, 0.3, (4, 2500)).astype(np.float32)
    write_rows(tmp_path / "a.pdf", rows, [("I", 0.3), ("II", 1.3), ("III", 2.3)])
    with pytest.raises(ValueError, match="by none of these does III equal II - I"):
        read_ecg(tmp_path / "a.pdf")
    # Where the page leaves no doubt, the leads are taken as they are labelled, with a warning.
    write_rows(tmp_path / "a.pdf", rows[:3], [("I", -0.3), ("II", 0.7), ("III", 1.7)])
    assert read_ecg(tmp_path / "a.pdf").warnings == ("limb_leads_disagree",)


def test_cabrera_and_chest_leads_of_another_gain(ecg, tmp_path):
    leads = ("aVL", "I", "aVR", "II", "aVF", "III", "V1")
    signals = [ecg.signal[LEADS.index(lead), :2500] * (-1 if lead == "aVR" else 1) for lead in leads]
    names = ["-aVR" if lead == "aVR" else lead for lead in leads]
    text = ["Limb: 10 mm/mV   Chest: 5 mm/mV"]
    labels = [(name, row - 0.3) for row, name in enumerate(names)]
    write_rows(tmp_path / "a.pdf", signals, labels, text=text, gains=[10] * 6 + [5])
    record = read_ecg(tmp_path / "a.pdf")
    for lead, got in zip(record.lead_names, record.signal):
        np.testing.assert_allclose(got, ecg.signal[LEADS.index(lead), :2500], atol=1e-3)


def test_a_gain_that_pulse_and_grid_tell_is_measured(ecg, tmp_path):
    """The gain follows from the pulse of 10 mm that `write_rows` draws; without text, the speed is assumed, with a
    warning.
    """
    labels = [("I", -0.3), ("II", 0.7), ("III", 1.7)]
    write_rows(tmp_path / "a.pdf", ecg.signal[:3, :2500], labels)
    record = read_ecg(tmp_path / "a.pdf")
    assert "gain 10 mm/mV by the height of the calibration pulse" in record.notes and not record.warnings
    with pymupdf.open(tmp_path / "a.pdf") as document:
        page = document[0]
        for place in page.search_for("25 mm/s"):
            page.add_redact_annot(place)
        page.apply_redactions(graphics=0)
        document.save(tmp_path / "b.pdf")
    assert read_ecg(tmp_path / "b.pdf").warnings == ("speed_assumed_25_mm/s",)
    write_pdf_report(tmp_path / "c.pdf", ecg.signal, 500, "12x1", speed=50, gain=5, pulse=0)
    assert read_ecg(tmp_path / "c.pdf").warnings == ()


def test_rows_that_go_on_in_time_are_refused(ecg, tmp_path):
    write_rows(tmp_path / "a.pdf", ecg.signal[1].reshape(2, 2500), [("II", -0.3), ("II", 0.7)])
    with pytest.raises(ValueError, match="lead II is shown by several traces of one length that differ"):
        read_ecg(tmp_path / "a.pdf")


def test_leads_on_two_pages_are_one_recording(ecg, tmp_path):
    """Limb leads on one page and chest leads on the next are one recording, but not those of two patients."""
    for name, leads, patient in (("a", LEADS[:6], "4711"), ("b", LEADS[6:], "4711"), ("c", LEADS[6:], "4712")):
        labels = [(lead, row - 0.3) for row, lead in enumerate(leads)]
        signals = [ecg.signal[LEADS.index(lead), :2500] for lead in leads]
        write_rows(tmp_path / f"{name}.pdf", signals, labels, text=[f"Patient ID: {patient}", "Sinus rhythm"])
    for second, wanted in (("b", LEADS), ("c", LEADS[:6])):
        with pymupdf.open(tmp_path / "a.pdf") as document, pymupdf.open(tmp_path / f"{second}.pdf") as other:
            document.insert_pdf(other)
            document.save(tmp_path / "two.pdf")
        record = read_ecg(tmp_path / "two.pdf")
        assert record.lead_names == wanted and record.report == "Sinus rhythm."
        np.testing.assert_allclose(record.signal, ecg.signal[: len(wanted), :2500], atol=1e-3)


def test_leads_that_a_sentence_names_are_no_labels(ecg, tmp_path):
    text = ["ST elevation in leads V1 V2 V3", "Q waves in II, III, aVF", "T inversion in   V6"]
    write_pdf_report(tmp_path / "a.pdf", ecg.signal, 500, "3x4", text=text)
    compare(read_ecg(tmp_path / "a.pdf"), ecg.signal, "3x4")


PERSONS = (
    "Jane",
    "Doe",
    "Smith",
    "Brown",
    "Miller",
    "4711",
    "99887",
    "555",
    "Elm",
    "1950",
    "Springfield",
    "JAN",
    "31.12",
)
PERSONAL = [
    "Name: Jane Doe   DOB: 01.01.1950   Patient ID: 4711   Age: 69   Sex: F",
    "Sinus rhythm, confirmed electronically by John Smith on 31.12.2019 10:45",
    "Inferior infarct   Referring physician: Brown, Alice",
    "Atrial fibrillation of Jane Doe, order # 99887",
    "Address: 12 Elm Street, Springfield   Phone: (555) 123-4567",
    "Accession: A99887   MRN: 4711   Technician: Miller",
    "When compared with ECG of 01-JAN-1950, left axis deviation",
    "First degree AV block, John Smith, M.D.",
]


@pytest.mark.parametrize("columns", [False, True], ids=["lines", "columns"])
def test_nothing_of_a_person_is_kept(columns, ecg, tmp_path):
    side = [["DOE, JANE", "01-JAN-1950", "4711"], ["Name:", "Physician:", "Order:"], ["Doe, Jane", "Smith", "99887"],
            ["Sinus bradycardia", "Left bundle branch block", "Normal variant"]]  # fmt: skip
    options = {"text_columns": side} if columns else {"text": PERSONAL}
    write_pdf_report(tmp_path / "a.pdf", ecg.signal, 500, "12x1", **options)
    record = read_ecg(tmp_path / "a.pdf")
    kept = json.dumps([record.report, record.measurements, record.patient_id, record.notes, record.columns])
    assert not [word for word in PERSONS if word.lower() in kept.lower()], kept
    wanted = {"SBRAD", "CLBBB"} if columns else {"SR", "IMI", "AFIB", "1AVB"}
    assert wanted <= set(record.statements)


@pytest.mark.parametrize("layout", PICTURE_LAYOUTS)
@pytest.mark.parametrize("speed, gain", [(25, 10), (50, 5), (25, 20)])
@pytest.mark.parametrize("options", [{}, {"grid": False}, {"pulse": False}, {"continuous": True}], ids=str)
def test_pdf_round_trip(layout, speed, gain, options, tmp_path):
    ecg = simulate_ecg("SR", "IMI", seed=4)
    text = ["Age: 63 years   Sex: female   Patient ID: 4711   Name: Jane Doe",
            "Vent. rate 72 bpm   PR 160 ms   QRS 94 ms   QT/QTc 400/421 ms",
            "Sinusrhythmus", "Inferiorer Infarkt, wahrscheinlich alt"]  # fmt: skip
    write_pdf_report(tmp_path / "a.pdf", ecg.signal, 500, layout, speed, gain, text, **options)
    record = read_ecg(tmp_path / "a.pdf")
    assert record.lead_names == LEADS and record.sampling_rate == 500
    assert record.signal.shape[1] == 5000
    for lead, got, wanted in zip(LEADS, record.signal, ecg.signal):
        seen = np.isfinite(got)
        # Each lead is where the page shows it, and nowhere else.
        assert seen.mean() == pytest.approx(
            1.0 if layout.endswith("+R") and lead == "II" else 1 / LAYOUTS[layout].columns, abs=0.002
        )
        offset = np.median(got[seen] - wanted[seen]) if options.get("pulse") is False else 0.0
        errors = got[seen] - wanted[seen] - offset
        assert np.sqrt(np.mean(errors**2)) < 0.015, lead
        # 2 ms is one sample: shifted by one, it must fit worse.
        place = np.flatnonzero(seen)[5:-5]
        fits = [np.mean((got[place] - offset - wanted[place + shift]) ** 2) for shift in (-1, 0, 1)]
        assert np.argmin(fits) == 1, lead
    assert record.age == 63 and record.sex == "female" and record.statements == {"IMI": 100.0, "SR": 100.0}
    assert record.measurements["qrs_duration"] == 94 and record.measurements["qtc"] == 421
    assert "Doe" not in record.report and "4711" not in json.dumps([record.report, record.patient_id, record.notes])


def test_pdf_that_is_no_ecg(tmp_path, ecg):
    write_pdf_report(tmp_path / "a.pdf", ecg.signal, 500)
    with pymupdf.open(tmp_path / "a.pdf") as document:
        picture = document[0].get_pixmap(dpi=100).tobytes("png")
        document.save(
            tmp_path / "locked.pdf", encryption=pymupdf.PDF_ENCRYPT_AES_256, user_pw="secret", owner_pw="secret"
        )
    with pymupdf.open() as scan:
        scan.new_page().insert_image((0, 0, 500, 300), stream=picture)
        scan.save(tmp_path / "scan.pdf")
    with pymupdf.open() as letter:
        letter.new_page().insert_text((50, 50), "Dear colleague, I V1 II")
        letter.save(tmp_path / "letter.pdf")
    write_pdf_report(tmp_path / "bare.pdf", ecg.signal, 500, grid=False, pulse=False)
    for name, message in (
        ("scan", "is a scan"),
        ("locked", "password"),
        ("letter", "no vector traces"),
        ("bare", "neither a grid nor a calibration"),
    ):
        with pytest.raises(ValueError, match=message):
            read_ecg(tmp_path / f"{name}.pdf")


def write_content(path, content: bytes, forms: tuple[bytes, ...] = (), size: int | None = None):
    """Writes a page with this content stream; `forms` are its form XObjects /F0, /F1, ... With a `size` the content is
    already deflated.
    """
    with pymupdf.open() as document:
        page = document.new_page()
        xrefs = [document.get_new_xref() for _ in forms]
        names = " ".join(f"/F{i} {xref} 0 R" for i, xref in enumerate(xrefs))
        for xref, form in zip(xrefs, forms):
            header = f"<</Type/XObject/Subtype/Form/BBox[0 0 600 800]/Resources<</XObject<<{names}>>>>>>"
            document.update_object(xref, header)
            document.update_stream(xref, form)
        document.xref_set_key(page.xref, "Resources", f"<</XObject<<{names}>>>>")
        xref = document.get_new_xref()
        document.update_object(xref, "<<>>" if size is None else "<</Filter/FlateDecode>>")
        document.update_stream(xref, content, compress=size is None)
        if size is not None:
            document.xref_set_key(xref, "Filter", "/FlateDecode")
        page.set_contents(xref)
        document.save(path, deflate=size is None)


def deflated_blanks(size: int) -> bytes:
    packer = zlib.compressobj(9)
    return b"".join(packer.compress(b" " * 2**20) for _ in range(size // 2**20)) + packer.flush()


POLYLINE = b"0 0 m " + b"1 1 l 2 2 l " * 500 + b"S "
HOSTILE = {
    "strokes": ((b"0 0 m 9 9 l S " * 100_000,), "painted paths"),
    "polyline": ((b"0 0 m " + b"1 1 l " * 300_000 + b"S",), "line segments"),
    "numbers that touch the operator": ((b"0 0 m " + b"1 1l " * 300_000 + b"S",), "line segments"),
    "curves": ((b"0 0 m " + b"1 1 2 2 3 3 c " * 300_000 + b"S",), "line segments"),
    "boxes": ((b"0 0 1 1 re f[]0 d " * 100_000,), "painted paths"),
    "form": ((b"/F0 Do " * 1000, (POLYLINE,)), "line segments"),
    "form in form": ((b"/F1 Do " * 50, (POLYLINE, b"/F0 Do " * 50)), "line segments"),
    "form by a hidden name": ((b"/F0%\nDo " * 1000, (POLYLINE,)), "line segments"),
    "form by an escaped name": ((b"/#460 Do " * 1000, (POLYLINE,)), "line segments"),
    "form of blanks": ((b"/F0 Do " * 1000, (b" " * 2**20,)), "bytes of content"),
    "form that draws itself": ((b"/F0 Do", (b"/F1 Do", b"/F0 Do")), "draws itself"),
    "nested forms": ((b"/F0 Do", tuple(b"/F%d Do" % (i + 1) for i in range(30))), "nested more than"),
    "bomb": ((deflated_blanks(2**26), (), 2**26), "inflates to more than"),
    "text": ((b"BT " + b"(aaaaaaaa) Tj " * 10_000 + b"ET",), "written characters"),
    "nested text": ((b"BT (a()" + b"a" * 100_000 + b") Tj ET",), "written characters"),
    "hexadecimal text": ((b"BT <" + b"41" * 100_000 + b"> Tj ET",), "written characters"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_page_that_draws_too_much_is_refused_before_it_is_drawn(name, tmp_path, monkeypatch):
    given, message = HOSTILE[name]
    write_content(tmp_path / "a.pdf", *given)
    assert (tmp_path / "a.pdf").stat().st_size < 200_000

    def draw(*_, **__):
        raise AssertionError("the page was drawn before it was counted")

    for method in ("get_cdrawings", "get_drawings", "get_textpage", "get_text"):
        monkeypatch.setattr(pymupdf.Page, method, draw)
    tracemalloc.start()
    with pytest.raises(ValueError, match=message):
        read_ecg(tmp_path / "a.pdf")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**26


def test_annotations_and_inherited_resources_are_counted(tmp_path):
    content = b"/F0 Do " * 1000
    write_content(tmp_path / "a.pdf", content, (POLYLINE,))
    with pymupdf.open(tmp_path / "a.pdf") as document:
        page = document[0]
        pages = int(document.xref_get_key(page.xref, "Parent")[1].split()[0])
        document.xref_set_key(pages, "Resources", document.xref_get_key(page.xref, "Resources")[1])
        document.xref_set_key(page.xref, "Resources", "null")
        document.save(tmp_path / "inherited.pdf")
    with pymupdf.open() as document:
        page = document.new_page()
        appearance = page.add_rect_annot((10, 10, 50, 50)).xref
        stream = int(document.xref_get_key(appearance, "AP/N")[1].split()[0])
        document.update_stream(stream, POLYLINE * 300)
        document.save(tmp_path / "annotation.pdf", deflate=True)
    with pymupdf.open(tmp_path / "annotation.pdf") as document:
        document.update_stream(stream, b"0 0 m 9 9 l S")
        document.xref_set_key(document[0].xref, "Annots", f"[{f'{appearance} 0 R ' * 5000}]")
        document.save(tmp_path / "annotations.pdf")
    for name, message in (
        ("inherited", "line segments, which no ECG report has"),
        ("annotation", "line segments, which no ECG report has"),
        ("annotations", "refers to 5000 others"),
    ):
        with pytest.raises(ValueError, match=message):
            read_ecg(tmp_path / f"{name}.pdf")


def test_many_words_are_refused(ecg, tmp_path):
    write_pdf_report(tmp_path / "a.pdf", ecg.signal, 500, "3x4", text=["a b c d e f g h " * 14] * 30)
    with pytest.raises(ValueError, match="words, which no ECG report has"):
        read_ecg(tmp_path / "a.pdf")


def test_what_is_counted_is_what_is_drawn(ecg, tmp_path):
    """The same is counted in a page that is plain, wrapped into a form, or in base 85 as other writers pack it."""
    write_pdf_report(tmp_path / "a.pdf", ecg.signal, 500, "3x4+3", pulse=67)
    with pymupdf.open(tmp_path / "a.pdf") as document, pymupdf.open() as wrapped, pymupdf.open() as packed:
        page = document[0]
        wrapped.new_page(width=page.rect.width, height=page.rect.height).show_pdf_page(page.rect, document, 0)
        packed.insert_pdf(document)
        for xref in packed[0].get_contents():
            content = base64.a85encode(zlib.compress(packed.xref_stream(xref))) + b"~>"
            packed.update_stream(xref, content, compress=False)
            packed.xref_set_key(xref, "Filter", "[/ASCII85Decode/FlateDecode]")
        wrapped.save(tmp_path / "wrapped.pdf")
        # Printing is locked, reading is not.
        document.save(tmp_path / "owned.pdf", encryption=pymupdf.PDF_ENCRYPT_AES_256, owner_pw="secret")
        packed.save(tmp_path / "packed.pdf")
    plain = read_ecg(tmp_path / "a.pdf")
    for name in ("a", "wrapped", "packed", "owned"):
        with pymupdf.open(tmp_path / f"{name}.pdf") as document:
            amount, drawings = count_page(document[0]), document[0].get_cdrawings()
        segments = sum(len(drawing["items"]) for drawing in drawings)
        assert segments <= amount.segments < segments + 10 and len(drawings) <= amount.paths < len(drawings) + 10
        np.testing.assert_allclose(read_ecg(tmp_path / f"{name}.pdf").signal, plain.signal, atol=1e-3)


@pytest.mark.parametrize(
    "line, expected",
    [
        ("QT/QTc 420/425 ms", {"qt_interval": 420, "qtc": 425}),
        ("QTc 425 ms", {"qtc": 425}),
        ("QTc interval: 425", {"qtc": 425}),
        ("QT/QTcB 420/431 ms", {"qt_interval": 420, "qtc_bazett": 431}),
        ("QTc (Bazett) 431 ms", {"qtc_bazett": 431}),
        ("QTc-B 431", {"qtc_bazett": 431}),
        ("QTcF 418 ms", {"qtc_fridericia": 418}),
        ("QTc Fridericia 418", {"qtc_fridericia": 418}),
        ("QT/QTc Fridericia 420/418", {"qt_interval": 420, "qtc_fridericia": 418}),
        ("QTcH 410 ms", {}),
        ("QTc Hodges 410 ms", {}),
    ],
)
def test_qtc_has_the_formula_that_the_page_names(line, expected):
    words, left = [], 10.0
    for text in line.split():
        words.append(Word(text, left, 0.0, left + 5 * len(text), 10.0))
        left += 5 * len(text) + 3
    assert find_measurements(find_cells(words)) == expected
