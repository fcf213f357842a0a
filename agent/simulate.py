"""Simulates 12-lead ECGs, by a seed, with known rhythm, morphology and fiducials.

Every wave is a Hann pulse with a support of its own, so that onsets and ends are exact, and has one amplitude for each
of the eight independent leads. Test data and examples come from here, since no third party's recording is in the
repository.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from ..ecg_heartcare import LEADS

INDEPENDENT = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")

#                  I     II    V1    V2    V3    V4    V5    V6      mV
P_WAVE = np.array([0.08, 0.14, 0.05, 0.07, 0.07, 0.07, 0.06, 0.06])
Q_WAVE = np.array([-0.06, -0.05, 0.00, 0.00, -0.02, -0.05, -0.08, -0.08])
R_WAVE = np.array([0.60, 1.00, 0.20, 0.40, 0.80, 1.40, 1.20, 0.90])
S_WAVE = np.array([-0.10, -0.15, -0.90, -1.2, -0.80, -0.40, -0.20, -0.10])
T_WAVE = np.array([0.20, 0.30, -0.05, 0.30, 0.35, 0.35, 0.30, 0.22])

RHYTHMS = {"SR": (60, 95), "SBRAD": (40, 55), "STACH": (105, 140), "AFIB": (65, 130)}  # beats per minute
FORMS = ("NORM", "LVH", "CLBBB", "CRBBB", "IMI", "AMI", "PVC", "LOWT")


@dataclass
class SimulatedECG:
    """`signal` float32 (12, samples) mV, `sampling_rate` Hz, SCP-ECG `statements`, and in seconds: `r_peaks`, and for
    each beat the `p`, `qrs` and `t` (onset, end), with None for an absent P wave and for a T wave that the end cuts
    off.
    """

    signal: np.ndarray
    sampling_rate: int
    statements: dict[str, float]
    heart_rate: float
    r_peaks: list[float] = field(default_factory=list)
    p: list[tuple[float, float] | None] = field(default_factory=list)
    qrs: list[tuple[float, float]] = field(default_factory=list)
    t: list[tuple[float, float] | None] = field(default_factory=list)


def simulate_ecg(
    rhythm: str = "SR",
    form: str = "NORM",
    seconds: float = 10.0,
    sampling_rate: int = 500,
    noise_mv: float = 0.01,
    seed: int = 0,
) -> SimulatedECG:
    """Simulates one ECG.

    Args:
        rhythm: One of `RHYTHMS`.
        form: One of `FORMS`; "PVC" has a ventricular ectopic beat among normal ones.
        seconds, sampling_rate: Length, and rate in Hz.
        noise_mv: RMS of the noise (white, and a slow drift of ten times that).
        seed: Same seed, same samples.

    Raises: `ValueError` for an unknown rhythm or form.
    """
    if rhythm not in RHYTHMS or form not in FORMS:
        raise ValueError(
            f"Unknown rhythm {rhythm!r} or form {form!r}; expected one of {list(RHYTHMS)} and one of {list(FORMS)}."
        )
    rng = np.random.default_rng((seed, sorted(RHYTHMS).index(rhythm), FORMS.index(form)))
    rate = rng.uniform(*RHYTHMS[rhythm])
    time = np.arange(round(seconds * sampling_rate)) / sampling_rate
    waves = np.zeros((len(INDEPENDENT), len(time)))
    statements = {rhythm: 100.0, form: 100.0} if form != "NORM" or rhythm == "SR" else {rhythm: 100.0}
    ecg = SimulatedECG(waves, sampling_rate, statements, rate)

    vary = rng.normal(1.0, 0.12, (5, len(INDEPENDENT)))
    p, q, r, s, t = (wave * v for wave, v in zip((P_WAVE, Q_WAVE, R_WAVE, S_WAVE, T_WAVE), vary))
    widths = {"p": rng.uniform(0.09, 0.11), "q": 0.025, "r": 0.05, "s": 0.035, "t": rng.uniform(0.18, 0.22)}
    shape = BeatShape(*_morphology(form, p, q, r, s, t, widths), rng.uniform(0.14, 0.18))
    _add_beats(ecg, time, shape, rhythm, form, rng)

    if rhythm == "AFIB":
        fibrillation = sum(np.sin(2 * np.pi * f * time + rng.uniform(0, 6)) for f in rng.uniform(4.5, 8.0, 3))
        waves += 0.03 * np.array([0.4, 0.8, 1.5, 1.0, 0.6, 0.4, 0.3, 0.3])[:, None] * fibrillation
    drift = np.sin(2 * np.pi * rng.uniform(0.08, 0.2) * time + rng.uniform(0, 6, (len(INDEPENDENT), 1)))
    waves += noise_mv * (rng.normal(size=waves.shape) + 10 * drift)

    by = dict(zip(INDEPENDENT, waves))
    one, two = by["I"], by["II"]
    by |= {"III": two - one, "aVR": -(one + two) / 2, "aVL": one - two / 2, "aVF": two - one / 2}
    ecg.signal = np.stack([by[lead] for lead in LEADS]).astype(np.float32)
    return ecg


class BeatShape(NamedTuple):
    """Waves of a beat, in mV for each independent lead, their `widths` and the time from P to QRS, `pq`, in seconds."""

    p: np.ndarray
    q: np.ndarray
    r: np.ndarray
    s: np.ndarray
    t: np.ndarray
    st: np.ndarray
    widths: dict[str, float]
    pq: float


def _add_beats(ecg: SimulatedECG, time: np.ndarray, shape: BeatShape, rhythm: str, form: str, rng: np.random.Generator):
    """Draws beats into the independent leads of `ecg` until its end, and notes their waves."""
    widths, seconds = shape.widths, ecg.signal.shape[1] / ecg.sampling_rate
    onset, beats = rng.uniform(0.2, 0.5), 0
    while True:
        cycle = 60 / ecg.heart_rate * (rng.uniform(0.6, 1.5) if rhythm == "AFIB" else rng.normal(1, 0.02))
        ectopic = form == "PVC" and beats % 5 == 3
        width = 0.16 if ectopic else 0.6 * widths["q"] + widths["r"] + 0.8 * widths["s"]
        t_start = onset + width + 0.07 * np.sqrt(cycle)
        t_end = t_start + widths["t"] * 1.2 * np.sqrt(cycle)
        if onset + width > seconds:
            break
        draw = _draw_ectopic if ectopic else _draw_normal
        peak = draw(ecg.signal, time, shape, onset, width, t_start, t_end)
        p_start = onset - shape.pq
        has_p = rhythm != "AFIB" and not ectopic and p_start >= 0
        if has_p:
            _add_wave(ecg.signal, time, p_start, widths["p"], shape.p)
        ecg.p.append((p_start, p_start + widths["p"]) if has_p else None)
        ecg.qrs.append((onset, onset + width))
        ecg.t.append((t_start, t_end) if t_end <= seconds else None)
        ecg.r_peaks.append(peak)
        premature = form == "PVC" and (beats + 1) % 5 == 3
        onset += cycle * (0.65 if premature else 1.35 if ectopic else 1.0)
        beats += 1


def _draw_normal(waves, time, shape: BeatShape, onset: float, width: float, t_start: float, t_end: float) -> float:
    """Draws QRS, ST segment and T of a normal beat, and returns the time of its R peak."""
    widths = shape.widths
    r_start = onset + 0.6 * widths["q"]
    s_start = r_start + 0.8 * widths["r"]
    _add_wave(waves, time, onset, widths["q"], shape.q)
    _add_wave(waves, time, r_start, widths["r"], shape.r)
    _add_wave(waves, time, s_start, width - (r_start - onset) - 0.8 * widths["r"], shape.s)
    _add_wave(waves, time, onset + width - 0.02, t_start - onset - width + 0.6 * (t_end - t_start), shape.st)
    _add_wave(waves, time, t_start, t_end - t_start, shape.t)
    return r_start + widths["r"] / 2


def _draw_ectopic(waves, time, shape: BeatShape, onset: float, width: float, t_start: float, t_end: float) -> float:
    """Draws QRS and T of a ventricular ectopic beat, and returns the time of its R peak."""
    direction, height = np.sign(shape.s + shape.r), np.abs(shape.r)
    _add_wave(waves, time, onset, width, 1.3 * direction * height)
    _add_wave(waves, time, t_start, t_end - t_start, -0.4 * direction * height)
    return onset + width / 2


def _add_wave(waves: np.ndarray, time: np.ndarray, start: float, width: float, amplitude: np.ndarray):
    """Adds a bump of a Hann window to each lead, `amplitude` mV high."""
    phase = (time - start) / width
    waves += amplitude[:, None] * np.where((phase > 0) & (phase < 1), np.sin(np.pi * phase) ** 2, 0)


def _morphology(form, p, q, r, s, t, widths):
    """Returns the waves of a form; `st` is the elevation of the ST segment, in mV for each independent lead."""
    st, lead = np.zeros(len(INDEPENDENT)), {name: i for i, name in enumerate(INDEPENDENT)}
    q, r, s, t = q.copy(), r.copy(), s.copy(), t.copy()
    if form == "LVH":
        r[[lead["I"], lead["V5"], lead["V6"]]] *= 2.0
        s[[lead["V1"], lead["V2"]]] *= 1.8
        t[[lead["I"], lead["V5"], lead["V6"]]] *= -0.6
    elif form == "CLBBB":
        widths = widths | {"r": 0.11, "s": 0.07}
        r[[lead["V1"], lead["V2"]]] *= 0.2
        s[[lead["I"], lead["V5"], lead["V6"]]] = 0
        t = -np.sign(r + s) * np.abs(t)
    elif form == "CRBBB":
        widths = widths | {"s": 0.11}
        s[[lead["V1"], lead["V2"]]] = 0.8
        s[[lead["I"], lead["V5"], lead["V6"]]] = -0.5
        t[[lead["V1"], lead["V2"]]] = -0.25
    elif form == "IMI":
        q[lead["II"]], st[lead["II"]], st[lead["I"]] = -0.35, 0.25, -0.12
    elif form == "AMI":
        r[2:6] *= 0.15
        q[2:6] = -0.5
        st[2:6] = 0.3
    elif form == "LOWT":
        t *= 0.1
    return p, q, r, s, t, st, widths
