import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from make_examples import write_wfdb
from torch.testing import assert_close

from heartcare import ECG, BeatFeatureExtractor, HeartcareProcessor, read_ecg
from heartcare.agent.simulate import simulate_ecg
from heartcare.delineation_heartcare import find_r_peaks
from heartcare.ecg_heartcare import LEADS, canonical_lead
from heartcare.measuring_heartcare import measure_ecg


@pytest.fixture
def extractor():
    return BeatFeatureExtractor()


def values(features) -> np.ndarray:
    return features["input_values"][0]


@pytest.mark.parametrize(
    "name, lead",
    [
        ("MLII", "II"),
        ("avr", "aVR"),
        ("AVL", "aVL"),
        ("D1", "I"),
        ("Lead II", "II"),
        ("v6", "V6"),
        ("DIII", "III"),
        ("C4", "V4"),
        ("ECG V2", "V2"),
        ("aVF", "aVF"),
        ("resp", None),
        ("V7", None),
        ("-aVR", None),
        ("I-II", None),
        ("I II", None),
        ("V 1", "V1"),
        ("EKG I", "I"),
        ("I-Ref", "I"),
        ("ECG LA-RA", "I"),
        ("Lead 1", "I"),
        ("ECG1", None),
        ("1", None),
    ],
)
def test_lead_aliases(name, lead):
    assert canonical_lead(name) == lead


def test_leads_are_matched_by_name(extractor, ecg, rng):
    order = rng.permutation(12)
    shuffled = extractor(ecg.signal[order], sampling_rate=500, lead_names=[LEADS[i] for i in order], units="mV")
    assert np.array_equal(values(shuffled), values(extractor(ecg.signal, sampling_rate=500, units="mV")))


@pytest.mark.parametrize("units, factor", [("mV", 1), ("uV", 1000), ("µV", 1000), ("V", 0.001), ("microvolts", 1000)])
def test_units(extractor, ecg, units, factor):
    scaled = extractor(ecg.signal * factor, sampling_rate=500, units=units)
    np.testing.assert_allclose(values(scaled), values(extractor(ecg.signal, sampling_rate=500, units="mV")), atol=1e-5)


def test_limb_leads_are_derived_and_others_masked(extractor, ecg):
    some = [0, 1, 6]  # I, II, V1
    names = [LEADS[i] for i in some]
    features = extractor(ecg.signal[some], sampling_rate=500, lead_names=names, units="mV", return_quality=True)
    assert features["lead_mask"][0].tolist() == [[True] * 1000] * 7 + [[False] * 1000] * 5
    full = values(extractor(ecg.signal, sampling_rate=500, units="mV"))
    np.testing.assert_allclose(values(features)[:7], full[:7], atol=2e-3)
    assert (values(features)[7:] == 0).all()
    assert "absent:V2" in features["ecg_quality"][0]["warnings"]


@pytest.mark.parametrize("rate", [100, 128, 250, 257, 360, 500, 1000])
def test_sampling_rate_is_the_file_own(extractor, rate):
    """A 100 Hz record must not be played five times too fast: beats stay where they are in seconds."""
    ecg = simulate_ecg("SR", "NORM", sampling_rate=rate, noise_mv=0.002, seed=1)
    x = values(extractor(ecg.signal, sampling_rate=rate, units="mV"))
    assert x.shape == (12, 1000) and x.dtype == np.float32
    peaks = find_r_peaks(x, 100) / 100
    assert len(peaks) == len(ecg.r_peaks)
    np.testing.assert_allclose(peaks, ecg.r_peaks, atol=0.04)


def test_resampling_comes_before_any_cropping_and_has_no_aliases(extractor):
    time = np.arange(5000) / 500
    tone = np.tile(np.sin(2 * np.pi * 70 * time), (12, 1))  # above the new Nyquist frequency
    assert np.abs(extractor.resample(tone, 500)[:, 50:-50]).max() < 0.05
    assert extractor.resample(np.ones((12, 501)), 500).shape == (12, 100)


def qrs_amplitudes(signal, peaks, rate):
    half = round(0.06 * rate)
    return np.array(
        [np.ptp(signal[:, p - half : p + half], axis=1) for p in peaks if half <= p < signal.shape[1] - half]
    )


def check_cleaning(extractor, signal, rate):
    peaks = find_r_peaks(signal - np.median(signal, axis=1, keepdims=True), rate)
    cleaned = extractor.clean(signal.astype(np.float64), rate)
    before, after = (qrs_amplitudes(x, peaks, rate) for x in (signal, cleaned))
    large = before > 0.3
    change = after[large] / before[large] - 1
    assert abs(np.median(change)) < 0.02, np.median(change)
    return np.abs(change)


def test_cleaning_keeps_qrs_and_st(extractor, ecg):
    change = check_cleaning(extractor, ecg.signal, 500)
    assert np.quantile(change, 0.95) < 0.05
    ami = simulate_ecg("SR", "AMI", noise_mv=0.0, seed=2)  # 0.3 mV of ST elevation
    cleaned = extractor.clean(ami.signal.astype(float), 500)
    assert cleaned.shape == ami.signal.shape
    drift = np.sin(2 * np.pi * 0.15 * np.arange(5000) / 500)
    assert np.abs(extractor.clean(np.tile(drift, (12, 1)), 500)[:, 1000:-1000]).max() < 0.05
    for line in (50, 60):
        hum = np.tile(0.5 * np.sin(2 * np.pi * line * np.arange(5000) / 500), (12, 1))
        assert np.abs(extractor.clean(hum, 500)[:, 1000:-1000]).max() < 0.01


def test_cleaning_keeps_the_qrs_of_real_ecgs(extractor, shared):
    changes = []
    for header in sorted((shared / "wfdb").glob("*.hea")):
        record = read_ecg(header)
        changes.append(np.median(check_cleaning(extractor, record.signal, record.sampling_rate)))
    assert len(changes) == 12 and max(changes) < 0.02


def test_every_accepted_form_is_the_same_ecg(extractor, ecg, tmp_path):
    signal = np.round(ecg.signal * 1000) / 1000
    write_wfdb(tmp_path, "record", signal, 500)
    np.save(tmp_path / "a.npy", signal)
    np.savez(tmp_path / "a.npz", signal=signal, sampling_rate=500, lead_names=np.array(LEADS), units="mV")
    table = np.column_stack([np.arange(signal.shape[1]) / 500, signal.T])
    np.savetxt(tmp_path / "a.csv", table, delimiter=",", header="time," + ",".join(LEADS), comments="", fmt="%.6f")
    array = {"sampling_rate": 500, "units": "mV"}
    expected = values(extractor(signal, **array))
    forms = [
        (torch.from_numpy(signal), array),
        ([signal], array),
        ({"ecg": signal, **array}, {}),
        ({"ecg": signal, "lead_names": list(LEADS), **array}, {}),
        (tmp_path / "record", {}),
        (str(tmp_path / "record.hea"), {}),
        ({"path": str(tmp_path / "record.dat")}, {}),
        (tmp_path / "a.npy", array),
        (tmp_path / "a.npz", {}),
        (tmp_path / "a.csv", {"units": "mV"}),
    ]
    for form, options in forms:
        features = extractor(form, **options)
        np.testing.assert_allclose(values(features), expected, atol=1e-4, err_msg=str(form)[:80])
        assert features["lead_mask"].shape == (1, 12, 1000) and features["lead_mask"].all()


def test_batches_of_differing_length_are_padded_on_the_left(extractor, ecg):
    features = extractor([ecg.signal, ecg.signal[:, -2000:]], sampling_rate=500, units="mV", return_tensors="pt")
    assert features["input_values"].shape == (2, 12, 1000) and features["input_values"].dtype == torch.float32
    assert (
        features["ecg_attention_mask"].sum(1).tolist() == [1000, 400] and features["ecg_attention_mask"][1, -400:].all()
    )
    assert (features["input_values"][1, :, :600] == 0).all()


def test_saved_with_its_settings(tmp_path, ecg):
    extractor = BeatFeatureExtractor(sampling_rate=250, highpass_hz=0.05, notch_hz=[60])
    extractor.save_pretrained(tmp_path)
    loaded = BeatFeatureExtractor.from_pretrained(tmp_path)
    assert loaded.to_dict() == extractor.to_dict()
    assert np.array_equal(values(loaded(ecg.signal, 500)), values(extractor(ecg.signal, 500)))


# Bad input: what came, what was expected, what to do.


def test_measurements_come_along_where_they_are_asked_for(processor):
    """The measurements of a long recording are those of its first minute, at the recording's own rate, by extractor and
    processor alike.
    """
    extractor, ecg = processor.feature_extractor, simulate_ecg("SR", "CRBBB", seed=2)
    options = {"sampling_rate": 500, "units": "mV"}
    (found,) = extractor(ecg.signal, **options, return_measurements=True)["ecg_measurements"]
    assert found["qrs"] == measure_ecg(extractor.clean(ecg.signal.astype(float), 500), 500).qrs > 110
    features = processor(ecg=ecg.signal, text="<|ecg|>", **options, return_quality=True, return_measurements=True)
    assert features["ecg_measurements"] == [found] and "measurements" not in features["ecg_quality"][0]
    assert "ecg_measurements" not in processor(ecg=ecg.signal, text="<|ecg|>", **options)
    long = np.concatenate([np.tile(ecg.signal, 6), np.zeros((12, 15_000), np.float32)], axis=1)
    (minute,) = extractor(long, **options, return_measurements=True)["ecg_measurements"]
    assert minute["qrs"] == pytest.approx(found["qrs"], abs=4) and minute["slowest"] > 40


def quality(extractor, signal, **kwargs):
    return extractor(signal, **{"sampling_rate": 500, "units": "mV", **kwargs}, return_quality=True)["ecg_quality"][0]


@pytest.mark.parametrize(
    "change, options, message",
    [
        (lambda x: x[:, :0], {}, "0 samples"),
        (lambda x: x[:, :150], {}, r"150 samples at 500 Hz are 0.3 s; at least 1 s"),
        (lambda x: x[:5], {}, "5 leads of unknown names"),
        (lambda x: x.T, {}, "Transpose it"),
        (lambda x: x, {"sampling_rate": None}, "sampling rate is missing"),
        (lambda x: x, {"sampling_rate": 0}, "0 Hz cannot be"),
        (lambda x: x, {"units": "bananas"}, "'bananas' are unknown"),
        (lambda x: x, {"lead_names": ["I", "II"]}, "2 lead names for 12 leads"),
        (lambda x: x[:2], {"lead_names": ["resp", "pleth"]}, "none of the leads"),
        (lambda x: x[:2], {"lead_names": ["II", "MLII"]}, "lead II is there twice"),
        (lambda x: x[None, None], {}, r"shape \(leads, samples\)"),
        (lambda x: np.full_like(x, np.nan), {}, "no lead can be used"),
        (lambda x: np.zeros_like(x), {}, "no lead can be used"),
        (lambda x: x.astype(str), {}, "must hold numbers"),
    ],
)
def test_errors(extractor, ecg, change, options, message):
    with pytest.raises(ValueError, match=message):
        extractor(change(ecg.signal), **{"sampling_rate": 500, "units": "mV", **options})


def test_nested_lists_are_refused(extractor, ecg):
    for nested in (ecg.signal.tolist(), [ecg.signal.tolist()], {"ecg": ecg.signal.tolist(), "sampling_rate": 500}):
        with pytest.raises(TypeError, match="nested Python list"):
            extractor(nested, sampling_rate=500)
    with pytest.raises(ValueError, match="empty"):
        extractor([], sampling_rate=500)
    with pytest.raises(TypeError, match="got int"):
        extractor(7, sampling_rate=500)
    with pytest.raises(ValueError, match="unknown keys.*rate"):
        extractor({"ecg": ecg.signal, "rate": 500})


def test_gaps_and_flat_leads_are_named(extractor, ecg):
    signal = ecg.signal.copy()
    signal[7, 1000:1050] = np.nan  # 0.1 s
    signal[8, 1000:3000] = np.nan
    signal[9] = 0.4
    signal[10] = np.clip(signal[10], -0.1, 0.1)
    features = extractor(signal, sampling_rate=500, units="mV", return_quality=True)
    assert {"gap_bridged:V2", "gap:V3", "flat:V4", "saturated:V5"} <= set(features["ecg_quality"][0]["warnings"])
    mask = features["lead_mask"][0]
    assert mask.all(axis=1).tolist() == [True] * 8 + [False] * 2 + [True] * 2 and not mask[9].any()
    assert not mask[8, 200:600].any() and mask[8, :200].all() and mask[8, 600:].all()  # there but for the gap
    assert features["ecg_quality"][0]["recorded_seconds"] == {"V3": 6.0}
    assert np.isfinite(values(features)).all()
    one_nan = ecg.signal.copy()
    one_nan[0, 100] = np.nan
    np.testing.assert_allclose(values(extractor(one_nan, 500)), values(extractor(ecg.signal, 500)), atol=0.05)


def test_a_lead_that_is_flat_for_a_while_is_masked_there_and_named(extractor, ecg):
    """A second in which a lead holds one value is too much, less is a pause; what is left between must show a beat."""
    signal = ecg.signal.copy()
    signal[6, 1000:3000] = 0.4
    signal[7, 1000:1490] = 0.4
    signal[8, :2300], signal[8, 2500:4800] = 0.0, -1.0  # 0.4 s are left in between, and 0.4 s at the end
    signal[9, :2000], signal[9, 2000:] = 0.1, 0.2
    signal[10, 1000:2000], signal[10, 3000:4000] = 0.4, np.nan
    signal[11, 2000:3000], signal[11, 2500:2540] = 0.4, np.nan  # short gaps of a flat lead are bridged to a line
    features = extractor(signal, sampling_rate=500, units="mV", return_quality=True)
    quality, mask = features["ecg_quality"][0], features["lead_mask"][0]
    assert quality["warnings"] == [
        *("flat_partly:V1", "flat:V3", "flat:V4", "gap:V5", "flat_partly:V5", "gap_bridged:V6", "flat_partly:V6"),
        *("absent:V3", "absent:V4"),
    ]
    assert not mask[6, 200:600].any() and mask[6, :200].all() and mask[6, 600:].all() and mask[7].all()
    assert not mask[10, 200:400].any() and not mask[10, 600:800].any() and mask[10].sum() == 600
    assert not mask[11, 400:600].any() and mask[11].sum() == 800
    assert quality["recorded_seconds"] == {"V1": 6.0, "V5": 6.0, "V6": 8.0}
    limb = ecg.signal.copy()
    limb[2, 1000:3000] = 0.0  # III = II - I there
    features = extractor(limb, sampling_rate=500, units="mV", return_quality=True)
    assert features["lead_mask"].all() and features["ecg_quality"][0]["warnings"] == ["flat_partly:III"]
    np.testing.assert_allclose(values(features), values(extractor(ecg.signal, 500, units="mV")), atol=0.02)


def test_implausible_amplitudes_are_named(extractor, ecg):
    assert "amplitude_implausible" in quality(extractor, ecg.signal / 1000)["warnings"]  # volts given as mV
    assert "amplitude_implausible" in quality(extractor, ecg.signal * 1000)["warnings"]  # microvolts given as mV
    assert quality(extractor, ecg.signal)["warnings"] == []
    assert "units_assumed_mV" in quality(extractor, ecg.signal, units=None)["warnings"]


def test_bad_files(extractor, ecg, tmp_path, root):
    record = root / "examples/ecgs/sinus_rhythm"
    with pytest.raises(FileNotFoundError, match="nowhere.hea does not exist"):
        extractor(tmp_path / "nowhere")
    (tmp_path / "alone.hea").write_text(record.with_suffix(".hea").read_text())
    with pytest.raises(FileNotFoundError, match="names sinus_rhythm.dat, which is not beside it"):
        extractor(tmp_path / "alone")
    (tmp_path / "sinus_rhythm.dat").write_bytes(record.with_suffix(".dat").read_bytes()[:5000])
    with pytest.raises(ValueError, match="truncated or damaged"):
        extractor(tmp_path / "alone")
    (tmp_path / "noise.hea").write_bytes(bytes(range(256)))
    with pytest.raises(ValueError, match="no WFDB header"):
        extractor(tmp_path / "noise")
    (tmp_path / "a.xyz").write_text("?")
    with pytest.raises(ValueError, match="no known ECG format"):
        extractor(tmp_path / "a.xyz")
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPY nonsense")
    with pytest.raises(ValueError, match="no numpy file"):
        extractor(tmp_path / "a.npy", sampling_rate=500)
    (tmp_path / "a.csv").write_text("1,2,3\n4,5,6\n")
    with pytest.raises(ValueError, match="must name the leads"):
        extractor(tmp_path / "a.csv", sampling_rate=500)
    (tmp_path / "b.csv").write_text("I,II\n1,2\n3\n")
    with pytest.raises(ValueError, match="differing length"):
        extractor(tmp_path / "b.csv", sampling_rate=500)
    with pytest.raises(ValueError, match="sampling_rate=500 but 250"):
        extractor(record, sampling_rate=250)


def test_wfdb_units_are_the_header_own(extractor, ecg, tmp_path):
    write_wfdb(tmp_path, "micro", ecg.signal, 500, units="uV")  # the same numbers, said to be microvolts
    assert "amplitude_implausible" in quality(extractor, tmp_path / "micro", sampling_rate=None, units=None)["warnings"]
    write_wfdb(tmp_path, "strange", ecg.signal, 500, units="mmHg")
    with pytest.raises(ValueError, match="lead I: Units 'mmHg' are unknown"):
        extractor(tmp_path / "strange")


def test_lists_of_rates_and_names(extractor, ecg):
    both = [ecg.signal, ecg.signal[[1, 0], ::2]]
    features = extractor(both, sampling_rate=[500, 250], lead_names=[LEADS, ["II", "I"]], units="mV")
    assert features["lead_mask"].any(-1).sum(1).tolist() == [12, 6] and features["ecg_attention_mask"].sum(
        1
    ).tolist() == [
        1000,
        1000,
    ]
    stacks = extractor([np.stack([ecg.signal, 2 * ecg.signal]), ecg.signal], sampling_rate=500, units="mV")
    assert stacks["input_values"].shape[0] == 3  # no ECG is dropped
    with pytest.raises(ValueError, match="2 ECGs but 3 sampling rates"):
        extractor(both, sampling_rate=[500, 250, 100])


def test_no_pickle_is_loaded(extractor, tmp_path):
    np.save(tmp_path / "evil.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="no numpy file"):
        extractor(tmp_path / "evil.npy", sampling_rate=500)


def test_nothing_of_a_recording_is_taken_for_something_else(ecg):
    """Each of these has one meaning or is refused: masked arrays, objects in other units, channels of an EEG, two
    names of one thing, a name in place of names.
    """
    masked = np.ma.masked_array(np.where(np.arange(5000) < 2500, -32768.0, ecg.signal), mask=False)
    masked[:, :2500] = np.ma.masked
    assert np.isnan(ECG.of(masked, 500, units="mV").signal[:, :2500]).all()
    given = SimpleNamespace(signal=1000 * ecg.signal, sampling_rate=500, lead_names=LEADS, units="uV")
    np.testing.assert_allclose(ECG.of(given).signal, ecg.signal, rtol=1e-5)
    three = ECG.of(ecg.signal[:3], 500, ["I", "C3", "C4"], "mV")
    assert three.lead_names == ("I",) and "lead_unknown:C3" in three.warnings
    assert ECG.of(ecg.signal[6:], 500, [f"C{i}" for i in range(1, 7)], "mV").lead_names == LEADS[6:]
    assert ECG.of(ecg.signal[1], 500, "II", "mV").lead_names == ("II",)
    assert ECG.of({"signal": ecg.signal, "sampling_rate": 500, "age": "63", "sex": "F"}).sex == "female"
    with pytest.raises(ValueError, match="'signal' and 'ecg', which are two names of one thing; give one of them"):
        ECG.of({"signal": ecg.signal, "ecg": ecg.signal, "sampling_rate": 500})
    for name, wrong in (("source", 5), ("source", ["a"]), ("warnings", "a"), ("notes", [1]), ("warnings", 5)):
        with pytest.raises(TypeError, match=f"text.*got {re.escape(repr(wrong))}"):
            ECG.of({"signal": ecg.signal, "sampling_rate": 500, "units": "mV", name: wrong})


@pytest.mark.parametrize("rate", [249.9, 257.3, 999.5, 4096])
def test_unusual_rates_do_not_drift(extractor, rate):
    """A spike near the end of a minute stays where it is."""
    signal = np.zeros((1, round(60 * rate)))
    signal[0, round(55 * rate)] = 1.0
    peak = np.abs(extractor.resample(signal, rate)[0]).argmax() / 100
    assert abs(peak - round(55 * rate) / rate) < 0.006


def test_what_is_said_of_an_ecg_needs_one(processor):
    with pytest.raises(ValueError, match="sampling_rate, units say something of an ECG"):
        processor(text="Is it?", sampling_rate=500, units="mV")
    with pytest.raises(ValueError, match="layout must be"):
        processor(text="Is it?", layout="9x9")


def test_finished_chats_are_collated_for_training(tiny, tiny_folder):
    """Labels are the answers' tokens; rows of a data set are the same as their chats, and the loss is that of each chat
    alone, weighted by its tokens.
    """
    processor = HeartcareProcessor.from_pretrained(tiny_folder)
    signal = simulate_ecg("SR", seconds=5).signal
    content = [
        {"type": "ecg", "ecg": signal, "sampling_rate": 500, "units": "mV"},
        {"type": "text", "text": "Which rhythm is it?"},
    ]
    chats = [
        [{"role": "user", "content": content}, {"role": "assistant", "content": "Sinus rhythm."}],
        [{"role": "user", "content": "What are you?"}, {"role": "assistant", "content": "A model of ECGs."}],
    ]
    batch = processor.collate_chats(chats)
    assert "assistant_masks" not in batch
    for labels, answer in zip(batch["labels"], ("Sinus rhythm.<|end|>", "A model of ECGs.<|end|>")):
        assert processor.decode(labels[labels != -100]) == answer
    assert torch.equal(processor.collate_chats([{"messages": chat} for chat in chats])["labels"], batch["labels"])
    losses, weights = [], []
    for chat in chats:
        alone = processor.collate_chats([chat])
        losses.append(tiny(**alone).loss)
        weights.append((alone["labels"][:, 1:] != -100).sum())
    expected = sum(loss * weight for loss, weight in zip(losses, weights)) / sum(weights)
    assert_close(tiny(**batch).loss, expected)
    with pytest.raises(ValueError, match="Chat 1 has no message of the assistant"):
        processor.collate_chats([chats[0], chats[1][:1]])
