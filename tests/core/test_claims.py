"""The check of texts against measurements: which claims a text makes, and how each is judged."""

import random
import time

import numpy as np
import pytest

import heartcare
from heartcare.agent.simulate import simulate_ecg
from heartcare.claims_heartcare import numbered, verify, verify_claims, with_numbers
from heartcare.configuration_heartcare import LEADS
from heartcare.extraction_heartcare import BeatFeatureExtractor
from heartcare.measuring_heartcare import EctopicBeat, Measurements, as_plain
from heartcare.mentions_heartcare import CRITERIA, QUANTITIES, mentions

ST = dict.fromkeys(LEADS, 0.02) | {"V1": 0.15, "V2": 0.26, "V3": 0.12, "II": -0.08, "III": -0.1}
MEASURED = Measurements(
    heart_rate=78.0, slowest=70.0, fastest=85.0, pr=232.0, qrs=96.0, qt=400.0, qtc_bazett=456.0, qtc_fridericia=436.0,
    qtc_framingham=430.0, p_axis=60.0, qrs_axis=-52.0, t_axis=30.0, st=ST, sokolow_lyon=2.1, cornell=1.2,
    limb_voltage=1.1, chest_voltage=1.9, sdnn=20.0, rmssd=18.0, p_share=1.0, ectopic=(EctopicBeat(2.0, True, False),),
)  # fmt: skip
RIGHT, WRONG, NONE = "verified", "contradicted", "unmeasurable"
# Text -> what is claimed: quantity, verdict, and the number that is stated.
TEXTS: dict[str, list[tuple]] = {
    "Heart rate 78 bpm.": [("heart_rate", RIGHT, 78)],
    "Ventricular rate: 90 bpm, PR interval: 232 ms, QRS duration 96 ms": [
        *(("heart_rate", WRONG, 90), ("pr", RIGHT, 232), ("qrs", RIGHT, 96)),
    ],
    "78 beats per minute": [("heart_rate", RIGHT, 78)],
    "PR 0.16 s": [("pr", WRONG, 160)],
    "PR interval of 0.23 sec.": [("pr", RIGHT, 230)],
    "QT/QTc 400/430 ms": [("qt", RIGHT, 400), ("qtc_fridericia", RIGHT, 430)],
    "QTc (Bazett) 455 ms, QTc by Fridericia 520 ms": [("qtc_bazett", RIGHT, 455), ("qtc_fridericia", WRONG, 520)],
    "QTc 480 ms": [("qtc_bazett", RIGHT, 480)],
    "P-R-T axes 60 -42 30": [("p_axis", RIGHT, 60), ("qrs_axis", RIGHT, -42), ("t_axis", RIGHT, 30)],
    "Axis is -45°.": [("qrs_axis", RIGHT, -45)],
    "The axis is 45 degrees": [("qrs_axis", WRONG, 45)],
    "QRS axis: 308 degrees": [("qrs_axis", RIGHT, 308)],
    "RR interval 770 ms": [("rr", RIGHT, 770)],
    "Sokolow-Lyon index 3.8 mV": [("sokolow_lyon", WRONG, 3.8)],
    "ST elevation of 2 mm in V2.": [("st:V2", WRONG, 0.2)],
    "ST elevation of 2.5 mm in V2.": [("st:V2", RIGHT, 0.25)],
    "ST depression of 0.1 mV in III": [("st:III", RIGHT, -0.1)],
    "- **Heart Rate:** Approximately 75 beats per minute": [("heart_rate", RIGHT, 75)],
    "| **PR interval** | 160 ms |": [("pr", WRONG, 160)],
    "Herzfrequenz 80/min, PQ-Zeit 230 ms, QRS-Breite 95 ms, Linkslagetyp.": [
        *(("heart_rate", RIGHT, 80), ("pr", RIGHT, 230), ("qrs", RIGHT, 95), ("qrs_axis", WRONG, None)),
    ],
    "The patient is 63 years old, rate 78.": [("heart_rate", RIGHT, 78)],
    "Sinus rhythm with first degree AV block.": [("pr", RIGHT, None)],
    "No first degree AV block.": [("pr", WRONG, None)],
    "PR interval is not prolonged.": [("pr", WRONG, None)],
    "The PR interval is normal.": [("pr", WRONG, None)],
    "The PR interval is prolonged (230 ms).": [("pr", RIGHT, 230), ("pr", RIGHT, None)],
    "Left axis deviation.": [("qrs_axis", RIGHT, None)],
    "Right axis deviation.": [("qrs_axis", WRONG, None)],
    "Normal axis.": [("qrs_axis", WRONG, None)],
    "The axis is normal.": [("qrs_axis", WRONG, None)],
    "left anterior fascicular block": [("qrs_axis", RIGHT, None)],
    "ST elevation in V1-V3.": [("st:V2", RIGHT, None)],
    "ST elevation in V5 and V6": [("st:V5", WRONG, None)],
    "ST depression in the inferior leads.": [("st:III", RIGHT, None)],
    "No ST elevation.": [("st:V2", WRONG, None)],
    "Without ST elevation or ST depression in V6.": [("st:V2", WRONG, None), ("st:V6", RIGHT, None)],
    "Complete left bundle branch block.": [("qrs", WRONG, None)],
    "RBBB": [("qrs", WRONG, None)],
    "Incomplete right bundle branch block.": [("qrs", RIGHT, None)],
    "The QRS is narrow and the QT interval is normal.": [("qrs", RIGHT, None), ("qtc_fridericia", RIGHT, None)],
    "Wide QRS complexes": [("qrs", WRONG, None)],
    "Prolonged QT interval": [("qtc_fridericia", RIGHT, None)],  # within the error of 450 ms
    "QT prolongation and a short PR": [("qtc_fridericia", RIGHT, None), ("pr", WRONG, None)],
    "Sinus bradycardia, rate 52.": [("heart_rate", WRONG, None), ("heart_rate", WRONG, 52)],
    "Neither tachycardia nor bradycardia.": [("heart_rate", RIGHT, None), ("heart_rate", RIGHT, None)],
    "Tachycardia is absent.": [("heart_rate", RIGHT, None)],
    "Normal heart rate.": [("heart_rate", RIGHT, None)],
    "Atrial fibrillation.": [("p_share", WRONG, None)],
    "No atrial fibrillation": [("p_share", RIGHT, None)],
    "Low voltage.": [("limb_voltage", WRONG, None)],
    "Premature atrial complexes": [("early", RIGHT, None)],
    "no extrasystoles": [("ectopic", WRONG, None)],
    # A number is checked beside the words that it overlaps.
    "Prolonged PR interval of 400 ms.": [("pr", RIGHT, None), ("pr", WRONG, 400)],
    "Wide QRS complexes of 200 ms.": [("qrs", WRONG, None), ("qrs", WRONG, 200)],
    "Normal axis of 120 degrees.": [("qrs_axis", WRONG, None), ("qrs_axis", WRONG, 120)],
    "Normal heart rate of 95 bpm.": [("heart_rate", RIGHT, None), ("heart_rate", WRONG, 95)],
    "Prolonged QTc of 600 ms.": [("qtc_fridericia", RIGHT, None), ("qtc_bazett", WRONG, 600)],
    # An axis, a voltage and a rate are those that are meant.
    "The QRS axis is normal, normal QRS axis.": [("qrs_axis", WRONG, None)] * 2,
    "The T wave axis is 80 degrees": [("t_axis", WRONG, 80)],
    "Atrial rate of 300 bpm, ventricular rate of 80 bpm": [("heart_rate", RIGHT, 80)],
    "Vorhoffrequenz 300/min, Kammerfrequenz 80/min": [("heart_rate", RIGHT, 80)],
    "BP 120/80, RR 18/min, HR 80": [("heart_rate", RIGHT, 80)],
    "sinus rhythm at a rate of 90, a regular rate of 80 bpm": [("heart_rate", WRONG, 90), ("heart_rate", RIGHT, 80)],
    "PR 160 ms rate 80": [("pr", WRONG, 160), ("heart_rate", RIGHT, 80)],
    "Low voltage in the chest leads.": [("chest_voltage", WRONG, None)],
    "Low voltage in the limb leads, low precordial voltage": [
        *(("limb_voltage", WRONG, None), ("chest_voltage", WRONG, None)),
    ],
    # Thousands.
    "RR interval 1,000 ms": [("rr", WRONG, 1000)],
    "RR-Intervall 1.000 ms, RR 0,77 s": [("rr", WRONG, 1000), ("rr", RIGHT, 770)],
    # A denied list goes on over its commas up to an "or".
    "No tachycardia, bradycardia or first degree AV block.": [
        *(("heart_rate", RIGHT, None), ("heart_rate", RIGHT, None), ("pr", WRONG, None)),
    ],
    "without first-degree AV block, left bundle branch block or prolonged QT": [
        *(("pr", WRONG, None), ("qrs", RIGHT, None), ("qtc_fridericia", RIGHT, None)),
    ],
    "No ST elevation, tachycardia, or left axis deviation.": [
        *(("st:V2", WRONG, None), ("heart_rate", RIGHT, None), ("qrs_axis", WRONG, None)),
    ],
    "Keine Tachykardie, Bradykardie oder Linksschenkelblock.": [
        *(("heart_rate", RIGHT, None), ("heart_rate", RIGHT, None), ("qrs", RIGHT, None)),
    ],
    "Weder Tachykardie noch Linksschenkelblock": [("heart_rate", RIGHT, None), ("qrs", RIGHT, None)],
    "Tachycardia, bradycardia and left bundle branch block are absent.": [
        *(("heart_rate", RIGHT, None), ("heart_rate", RIGHT, None), ("qrs", RIGHT, None)),
    ],
    "No AV block, heart rate 75 bpm": [("heart_rate", RIGHT, 75)],
    "No tachycardia, but LBBB": [("heart_rate", RIGHT, None), ("qrs", WRONG, None)],
    "No tachycardia, left axis deviation.": [("heart_rate", RIGHT, None), ("qrs_axis", RIGHT, None)],
    "No tachycardia or LBBB, left axis deviation or LAFB": [
        *(("heart_rate", RIGHT, None), ("qrs", RIGHT, None), ("qrs_axis", RIGHT, None)),
    ],
    "No tachycardia, normal axis or LAFB": [("heart_rate", RIGHT, None), ("qrs_axis", WRONG, None)],
    "No ST elevation and the axis is normal": [("st:V2", WRONG, None), ("qrs_axis", WRONG, None)],
    "Atrial fibrillation and P waves are absent.": [("p_share", WRONG, None)],
    # Ectopic beats: atrial ones are early, ventricular ones wide.
    "Supraventricular extrasystoles, ventricular premature complexes": [
        *(("early", RIGHT, None), ("wide", WRONG, None)),
    ],
    # A patient's age is no earlier ECG.
    "65-year-old man with a heart rate of 150 bpm.": [("heart_rate", WRONG, 150)],
    "An old, previously healthy man; rate of 150 bpm in an older patient": [("heart_rate", WRONG, 150)],
    # Leads.
    "ST elevation in inferior leads": [("st:aVF", WRONG, None)],
    "ST elevation in the inferior and lateral leads": [("st:aVF", WRONG, None)],
    "Inferior ST elevation, V5-V6 ST elevation": [("st:aVF", WRONG, None), ("st:V5", WRONG, None)],
    "ST depression in V4 to V6 and III": [("st:III", RIGHT, None)],
    "ST elevation in V4-6": [("st:V4", WRONG, None)],
    "ST elevation of 1 to 3 mm in V2": [("st:V2", RIGHT, None)],
    "ST elevation of at least 1 mm in V5": [("st:V5", WRONG, None)],
    # Axes.
    "Northwest axis.": [("qrs_axis", WRONG, None)],
    "Überdrehter Linkstyp": [("qrs_axis", RIGHT, None)],
    # The rest of what is measured.
    "QTc (Framingham) 430 ms, Cornell 1.2 mV": [("qtc_framingham", RIGHT, 430), ("cornell", RIGHT, 1.2)],
    "Sinus arrhythmia": [("sdnn", RIGHT, None)],
    "Rhythm: sinus rhythm. Axis: left axis deviation. Waveform: a prolonged PR interval.": [
        *(("qrs_axis", RIGHT, None), ("pr", RIGHT, None)),
    ],
    # Nothing is claimed.
    **dict.fromkeys(
        (
            *("Sinus rhythm.", "Is there tachycardia?", "If the QTc were 500 ms, stop the drug.",
            "normal range 120-200 ms"),
            *("PR interval 120-200 ms is fine", "Possible left anterior fascicular block.", "QTc <450 ms", "",
            "...", "V1 to V3"),
            *("Compared with the previous rate of 120 bpm", "history of tachycardia", "Age 78, 120 kg",
            "at a sampling rate of 500"),
            *("The ECG was taken at 78 Marple Street.", "Consider bradycardia", "may have a prolonged QT interval",
            "25 mm/s 10 mm/mV"),
            # of other things
            *("QRS voltage is normal", "Normal QRS voltage", "Normal PR segment", "P axis is normal", "Normal P axis",
            "T wave axis normal", "Axis is abnormal", "Atrial rate is normal", "Normal atrial rate"),
            *("atrial rate of 300 bpm", "Respiratory rate 18/min", "Flutter rate of 300 bpm", "Atemfrequenz 18/min",
            "Flutter waves at 300/min", "maximum heart rate 150 bpm", "low voltage P waves", "low voltage in V1"),
            # ranges and limits
            *("60 to 100 bpm", "60–100 bpm", "between 60 and 100 bpm", "heart rate above 60 bpm", "rate 60 bpm or more",
            "Herzfrequenz 60 bis 100/min", "Herzfrequenz über 60/min", "zwischen 60 und 100/min", "rate up to 150 bpm"),
            # no ST elevation, and what was earlier
            *("The largest elevation in V2.", "Non-ST-elevation infarction", "Old ECG with a heart rate of 150 bpm",
            "An older tracing had a rate of 150 bpm"),
        ),
        [],
    ),
}  # fmt: skip


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: text[:40])
def test_claims(text):
    claims = verify_claims(text, as_plain(MEASURED))
    assert [(claim.quantity, claim.verdict, claim.stated) for claim in claims] == [
        (quantity, verdict, stated if stated is None else pytest.approx(stated))
        for quantity, verdict, stated in TEXTS[text]
    ]
    assert claims == verify(text, MEASURED) == heartcare.verify(text, MEASURED)
    for claim in claims:
        assert text[claim.start : claim.end] == claim.text and claim.reason
    upper = verify_claims(text.upper(), as_plain(MEASURED))
    assert [(each.quantity, each.verdict) for each in upper] == [(each.quantity, each.verdict) for each in claims]


def test_every_quantity_is_claimed_by_some_text():
    claims = [claim for text in TEXTS for claim in verify_claims(text, as_plain(MEASURED))]
    assert {claim.quantity.partition(":")[0] for claim in claims} == set(QUANTITIES)
    assert {each.quantity for each in CRITERIA} <= {*QUANTITIES, "qtc"}


@pytest.mark.parametrize(
    ("words", "leads"),
    {
        "V1 to V3 and V5": "V1 V2 V3 V5",
        "II, III bis aVF": "II III aVF",
        "I to III": "I II III",
        "leads V3-V1": "V1 V2 V3",
        "V1-3 and aVL": "V1 V2 V3 aVL",
        "V5/6": "V5 V6",
        "II, III, and aVF": "II III aVF",
        "I": "I",
        "the septal and lateral leads": "V1 V2 I aVL V5 V6",
        "infarction": "",
    }.items(),
)
def test_leads_of_a_change(words, leads):
    (mention,) = mentions(f"ST elevation in {words}")
    assert mention.leads == tuple(leads.split())


def test_an_axis_is_held_against_its_own_arc():
    arcs = {
        "northwest axis": (-180, -90), "extreme axis deviation": (-180, -90), "left axis deviation": (-90, -30),
        "right axis deviation": (90, 180), "normal axis": (-30, 90), "Linkstyp": (-30, 30),
        "Linkslagetyp": (-30, 30), "Rechtstyp": (90, 120), "left anterior hemiblock": (-90, -45),
    }  # fmt: skip
    for words, (low, high) in arcs.items():
        for axis in range(-175, 181, 5):
            if min(abs((axis - end + 180) % 360 - 180) for end in (low, high)) > 10:
                (claim,) = verify(words, Measurements(qrs_axis=float(axis)))
                assert claim.verdict == (RIGHT if low <= axis <= high else WRONG), (words, axis)


def test_limits_of_st_are_those_of_the_lead():
    for lead, up, down in (("V2", 0.2, -0.05), ("V3", 0.2, -0.05), ("V1", 0.1, -0.1), ("aVF", 0.1, -0.1)):
        for kind, limit in (("elevation", up), ("depression", down)):
            beyond, within = limit + np.sign(limit) * 0.03, limit - np.sign(limit) * 0.03
            for level, words, verdict in (
                (beyond, "ST {} in {}", RIGHT),
                (within, "ST {} in {}", WRONG),
                (beyond, "No ST {} in {}", WRONG),
                (within, "No ST {} in {}", RIGHT),
            ):
                (claim,) = verify(words.format(kind, lead), Measurements(st={lead: level}))
                assert (claim.verdict, claim.quantity) == (verdict, f"st:{lead}"), (words, kind, lead, level)


def test_ectopic_beats_are_counted_by_their_kind():
    words = {"atrial": "atrial premature complexes", "ventricular": "ventricular extrasystoles", "any": "extrasystoles"}
    for early, wide, true in ((True, False, {"atrial", "any"}), (False, True, {"ventricular", "any"})):
        measured = Measurements(heart_rate=70.0, ectopic=(EctopicBeat(2.0, early, wide),))
        for kind, said in words.items():
            assert verify(said, measured)[0].verdict == (RIGHT if kind in true else WRONG)
            assert verify(f"No {said}", measured)[0].verdict == (WRONG if kind in true else RIGHT)


def test_what_is_not_measured_cannot_be_judged():
    measured = Measurements(reasons={"pr": "no P wave recurs before the QRS", "heart_rate": "no beat is seen"})
    for claim in verify(
        "Rate 78 bpm, PR 160 ms, normal axis, ST elevation in V2, no extrasystoles, QTc 400 ms", measured
    ):
        assert claim.verdict == NONE and claim.measured is None and claim.reason
    (claim,) = verify("first degree AV block", measured)
    assert claim.reason == "no P wave recurs before the QRS"


def test_negation_turns_every_statement_round():
    plain = as_plain(MEASURED)
    examples = [
        "tachycardia",
        "first degree AV block",
        "left bundle branch block",
        "left axis deviation",
        "low voltage",
    ]
    for words in examples:
        for frame in (
            "No {}.",
            "There is no {}.",
            "Without {}",
            "no evidence of {}",
            "{} is absent.",
            "No signs of MI or {}.",
        ):
            (claim,), (other,) = verify_claims(words, plain), verify_claims(frame.format(words), plain)
            assert {claim.verdict, other.verdict} == {RIGHT, WRONG}, frame.format(words)


def test_limits_leave_room_for_the_measuring_error():
    for pr, normal, prolonged in (
        (180.0, RIGHT, WRONG),
        (195.0, RIGHT, RIGHT),
        (205.0, RIGHT, RIGHT),
        (240.0, WRONG, RIGHT),
    ):
        verdicts = [
            verify(text, Measurements(pr=pr))[0].verdict for text in ("Normal PR interval", "Prolonged PR interval")
        ]
        assert verdicts == [normal, prolonged]
    assert all(each.low < each.high for each in CRITERIA)


@pytest.mark.parametrize("seed", range(6))
def test_an_ecg_s_own_numbers_are_verified_and_others_contradicted(seed):
    ecg = simulate_ecg(["SR", "SBRAD", "STACH"][seed % 3], "NORM", seed=seed)
    options = {"sampling_rate": ecg.sampling_rate, "units": "mV"}
    (measured,) = BeatFeatureExtractor()(ecg.signal, **options, return_measurements=True)["ecg_measurements"]
    names = {
        "heart_rate": "Heart rate {} bpm",
        "pr": "PR interval {} ms",
        "qrs": "QRS duration {} ms",
        "qt": "QT {} ms",
    }
    names |= {"qtc_fridericia": "QTc {} ms", "qrs_axis": "axis {} degrees"}
    own = ", ".join(words.format(round(measured[name])) for name, words in names.items())
    claims = verify(own, ecg.signal, **options)
    assert [claim.verdict for claim in claims] == [RIGHT] * 6
    for k, claim in enumerate(claims):
        off = claim.stated + {"beats/min": 20, "ms": 110, "degrees": 70}[claim.unit]
        words = claim.text.replace(f"{claim.stated:.0f}", f"{off:.0f}")
        verdicts = [each.verdict for each in verify(own.replace(claim.text, words), ecg.signal, **options)]
        assert verdicts == [RIGHT] * k + [WRONG] + [RIGHT] * (5 - k)


def test_statements_say_their_number():
    plain = as_plain(MEASURED)
    texts = {
        "First degree AV block.": "First degree AV block (PR 232 ms).",
        "Left axis deviation, a prolonged PR interval, left anterior fascicular block.": "Left axis deviation (QRS "
        "axis -52 degrees), a prolonged PR interval (PR 232 ms), left anterior fascicular block.",
        "Left axis deviation (-50 degrees, axis -50).": "Left axis deviation (-50 degrees, axis -50).",
        "No tachycardia.": "No tachycardia.",
        "Tachycardia.": "Tachycardia.",
        "ST elevation in V2.": "ST elevation in V2 (ST V2 0.26 mV).",
        "Extrasystoles.": "Extrasystoles.",
        "Sinus rhythm.": "Sinus rhythm.",
    }
    assert {text: with_numbers(text, verify_claims(text, plain)) for text in texts} == texts


def test_an_answer_that_is_being_written_never_changes():
    plain, rng = as_plain(MEASURED), random.Random(0)
    text = (
        "Rhythm: sinus rhythm. Axis: left axis deviation. Waveform: a prolonged PR interval, ST elevation in V1-V3. "
        "Diagnosis: left anterior fascicular block; rate 78. No tachycardia. ... Sinus rhythm with first degree AV "
        "block and a normal QRS"
    )
    whole = numbered(text, plain)
    assert whole.count("(") == 6 and numbered("", plain) == ""
    for _ in range(100):
        cut = rng.randrange(len(text))
        part = numbered(text[:cut], plain, finished=False)
        assert whole.startswith(part) and len(part) >= cut - 60
    words = [numbered(text[:cut], plain, finished=False) for cut in range(len(text))]
    assert len(set(words)) > 20  # it comes word by word
    # Words are not asserted until the last of them is there.
    for text in ("Left axis deviation in an old man. ", "The PR is prolonged beyond all limits, so it is. "):
        whole = numbered(text, plain)
        assert whole.count("(") == 1
        assert all(whole.startswith(numbered(text[:cut], plain, finished=False)) for cut in range(len(text)))


@pytest.mark.parametrize(
    "text",
    [
        *("st elevation in v1,\n" * 5000, "rate\n" * 20000, "a" * 100_000, "p-p-p-\n" * 15000, "1 2 3 " * 15000),
        *("qt . " * 30000, "(((((\n" * 20000, "normal axis. " * 8000, "no " * 30000 + "tachycardia", "İ" * 50000),
        *(
            ("st elevation in" + ", " * 900 + "x\n") * 20,
            ("v1, " * 480 + "st\n") * 20,
            ("no" + " a," * 600 + "\n") * 20,
        ),
        *(("no tachycardia" + ", tachycardia" * 150 + "\n") * 5, ("60 to " * 300 + "\n") * 20),
    ],
    ids=range(15),
)
def test_hostile_texts_take_little_time(text):
    started = time.process_time()
    claims = verify_claims(text, as_plain(MEASURED))
    assert time.process_time() - started < 5
    assert all(text[claim.start : claim.end] == claim.text for claim in claims)


def test_files_and_arrays_are_read(root):
    record = root / "examples/ecgs/right_bundle_branch_block"
    (claim,) = verify("Right bundle branch block.", str(record))
    assert claim.verdict == RIGHT and claim.measured > 120 and claim.quantity == "qrs"
    assert [each.verdict for each in verify("QRS duration 90 ms", record)] == [WRONG]
    with pytest.raises(FileNotFoundError):
        verify("Normal axis", "there/is/no/such.hea")
    (claim,) = verify("Normal axis", np.zeros((1, 5000)) + np.sin(np.arange(5000) / 50), 500, ["I"], "mV")
    assert claim.verdict == NONE
