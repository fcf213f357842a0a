"""The check of texts against measurements: which claims a text makes, and how each is judged."""

import random
import time

import numpy as np
import pytest

import heartcare
from heartcare.agent.simulate import simulate_ecg
from heartcare.claims_heartcare import STATEMENTS, numbered, verify, verify_claims, with_numbers
from heartcare.configuration_heartcare import LEADS
from heartcare.extraction_heartcare import BeatFeatureExtractor
from heartcare.measuring_heartcare import EctopicBeat, Measurements, as_plain

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
        *(("heart_rate", RIGHT, 80), ("pr", RIGHT, 230), ("qrs", RIGHT, 95), ("qrs_axis", RIGHT, None)),
    ],
    "The patient is 63 years old, rate 78.": [("heart_rate", RIGHT, 78)],
    "Sinus rhythm with first degree AV block.": [("pr", RIGHT, None)],
    "No first degree AV block.": [("pr", WRONG, None)],
    "PR interval is not prolonged.": [("pr", WRONG, None)],
    "The PR interval is normal.": [("pr", WRONG, None)],
    "The PR interval is prolonged (230 ms).": [("pr", RIGHT, 230)],
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
    "no extrasystoles": [("early", WRONG, None)],
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
    assert all(each.low < each.high for each in STATEMENTS)


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


@pytest.mark.parametrize(
    "text",
    [
        *("st elevation in v1,\n" * 5000, "rate\n" * 20000, "a" * 100_000, "p-p-p-\n" * 15000, "1 2 3 " * 15000),
        *("qt . " * 30000, "(((((\n" * 20000, "normal axis. " * 8000, "no " * 30000 + "tachycardia", "İ" * 50000),
    ],
    ids=range(10),
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
