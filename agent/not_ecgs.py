"""Draws signals and pictures at random that are no ECG, and that a model must refuse.

random numbers --OTHER_SIGNALS--> (12, samples) in mV; --OTHER_PICTURES--> picture
"""

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw
from scipy import signal as scipy_signal

from ..configuration_heartcare import LEADS
from .render import draw_ecg, load_font

Random = np.random.Generator
PAPER = (1650, 1275)  # pixels of a page in landscape


def coloured(rng: Random, leads: int, samples: int, slope: float) -> np.ndarray:
    """Returns noise (leads, samples) of deviation 1 whose power falls with the frequency to the power of `slope`."""
    frequencies = np.maximum(np.fft.rfftfreq(samples), 1 / samples)
    parts = rng.normal(size=(2, leads, len(frequencies)))
    noise = np.fft.irfft((parts[0] + 1j * parts[1]) * frequencies ** (-slope / 2), samples)
    return noise / noise.std(axis=1, keepdims=True)


def bursts(rng: Random, time: np.ndarray) -> np.ndarray:
    """Returns noise above 20 Hz that comes and goes like that of muscles, independent in each lead."""
    rate = (len(time) - 1) / time[-1]
    sections = scipy_signal.butter(2, 20, "highpass", fs=rate, output="sos")
    return scipy_signal.sosfilt(sections, _noise(rng, time)) * (np.sin(2 * np.pi * 0.4 * time) > 0.2)


def voice(rng: Random, time: np.ndarray) -> np.ndarray:
    """Returns a tone of wandering pitch with overtones that swells as syllables do, the same in all leads."""
    rate = (len(time) - 1) / time[-1]
    sections = scipy_signal.butter(2, 6, fs=rate, output="sos")
    swell = np.abs(scipy_signal.sosfilt(sections, rng.normal(size=len(time))))
    phase = 2 * np.pi * (170 * time + np.cumsum(rng.normal(size=len(time))) / np.sqrt(rate))
    tone = sum(np.sin(pitch * phase) / pitch for pitch in (1, 2, 3))
    swell /= swell.max()
    return in_all_leads(swell * (tone + 0.3 * rng.normal(size=len(time))))


def in_all_leads(wave: np.ndarray) -> np.ndarray:
    """Returns a wave (samples,) in all twelve leads, (12, samples)."""
    return np.repeat(wave[None], len(LEADS), axis=0)


def _noise(rng: Random, time: np.ndarray, deviation: float = 1.0) -> np.ndarray:
    return rng.normal(0, deviation, (len(LEADS), len(time)))


def _by_lead(rng: Random, low: float, high: float) -> np.ndarray:
    return rng.uniform(low, high, (len(LEADS), 1))


def _sine(time: np.ndarray, frequency: float, phase: float | np.ndarray = 0.0) -> np.ndarray:
    return np.sin(2 * np.pi * frequency * time + phase)


def _pulses(time: np.ndarray) -> np.ndarray:
    return ((time + 0.1) % 1.0 < 0.2).astype(float)


# Name -> a function of random numbers and (samples,) seconds that returns a signal (12, samples) in mV.
OTHER_SIGNALS: dict[str, Callable[[Random, np.ndarray], np.ndarray]] = {
    "white noise": _noise,
    "uniform noise": lambda rng, t: rng.uniform(-1, 1, (12, len(t))),
    "pink noise": lambda rng, t: coloured(rng, 12, len(t), 1),
    "brown noise": lambda rng, t: coloured(rng, 12, len(t), 2),
    "random walk": lambda rng, t: _noise(rng, t).cumsum(axis=1) / 30,
    "copies of white noise": lambda rng, t: in_all_leads(rng.normal(size=len(t))),
    "copies of pink noise": lambda rng, t: in_all_leads(coloured(rng, 1, len(t), 1)[0]),
    "zeros": lambda rng, t: np.zeros((12, len(t))),
    "an offset": lambda rng, t: np.full((12, len(t)), -2.5),
    "noise of the converter": lambda rng, t: 0.0025 * rng.integers(0, 3, (12, len(t))),
    "sine of 1.2 Hz": lambda rng, t: in_all_leads(_sine(t, 1.2)),
    "sine of 5 Hz": lambda rng, t: _sine(t, 5, _by_lead(rng, 0, 6)),
    "noisy sine of 4 Hz": lambda rng, t: _sine(t, 4, _by_lead(rng, 0, 6)) + _noise(rng, t, 0.05),
    "hum": lambda rng, t: _sine(t, 49.98) + _noise(rng, t, 0.01),
    "calibration": lambda rng, t: in_all_leads(_pulses(t)),
    "noisy calibration": lambda rng, t: _pulses(t) + _noise(rng, t, 0.01),
    "ramp": lambda rng, t: t * _by_lead(rng, -1, 1),
    "noisy ramp": lambda rng, t: t * _by_lead(rng, 0.2, 1) + _noise(rng, t, 0.01),
    "sawtooth": lambda rng, t: in_all_leads(scipy_signal.sawtooth(2 * np.pi * 1.1 * t)),
    "triangle": lambda rng, t: in_all_leads(scipy_signal.sawtooth(2 * np.pi * 1.3 * t, 0.5)),
    "muscles": bursts,
    "voice": voice,
    "breathing": lambda rng, t: _sine(t, 0.3) * _by_lead(rng, 0.3, 1) + _noise(rng, t, 0.005),
}


def letter(rng: Random) -> Image.Image:
    """Returns a page of words."""
    page, font = Image.new("RGB", PAPER[::-1], "white"), load_font(int(rng.integers(18, 36)))
    words = "dear colleague we saw this patient with chest pain on monday and thank you".split()
    draw = ImageDraw.Draw(page)
    for y in range(120, 1500, int(1.5 * font.size)):
        draw.text((110, y), " ".join(rng.choice(words, 9)), fill="black", font=font)
    return page


def table(rng: Random) -> Image.Image:
    """Returns a ruled table of numbers."""
    page, font = Image.new("RGB", PAPER[::-1], "white"), load_font(22)
    draw, rows, columns = ImageDraw.Draw(page), np.linspace(120, 1540, 24), np.linspace(80, 1200, 7)
    for y in rows:
        draw.line([(80, y), (1200, y)], fill="black", width=2)
        for x in columns:
            draw.text((x + 8, y + 12), f"{rng.normal():.2f}", fill="black", font=font)
    for x in columns:
        draw.line([(x, 120), (x, 1540)], fill="black", width=2)
    return page


def music(rng: Random) -> Image.Image:
    """Returns notes on staves."""
    page = Image.new("RGB", PAPER[::-1], "white")
    draw = ImageDraw.Draw(page)
    for top in range(120, 1500, 140):
        for line in range(5):
            draw.line([(80, top + 12 * line), (1200, top + 12 * line)], fill="black", width=2)
        for x in range(140, 1180, 45):
            y = top + 6 * int(rng.integers(-1, 9))
            draw.ellipse([x, y - 6, x + 15, y + 6], fill="black")
            draw.line([(x + 14, y), (x + 14, y - 42)], fill="black", width=2)
    return page


def chart(rng: Random) -> Image.Image:
    """Returns three curves between two axes."""
    page, x = Image.new("RGB", (1400, 1000), "white"), np.linspace(120, 1300, 200)
    draw = ImageDraw.Draw(page)
    draw.line([(120, 80), (120, 880), (1300, 880)], fill="black", width=3)
    for _ in range(3):
        y = 480 + 90 * np.cumsum(rng.normal(size=200)) / 10 + 150 * np.sin(x / rng.uniform(40, 200))
        draw.line(np.stack([x, y], axis=1).ravel().tolist(), fill="black", width=3)
    return page


def photograph(rng: Random) -> Image.Image:
    """Returns smooth patches of colour."""
    small = rng.integers(0, 256, (12, 16, 3)).astype(np.uint8)
    return Image.fromarray(small).resize((1600, 1200), Image.Resampling.BICUBIC)


def drawing(rng: Random) -> Image.Image:
    """Returns scribbled lines."""
    page = Image.new("RGB", (1400, 1000), "white")
    draw = ImageDraw.Draw(page)
    for _ in range(12):
        steps = rng.normal(0, 30, (60, 2)).cumsum(axis=0) + rng.uniform(200, 900, 2)
        draw.line(steps.ravel().tolist(), fill="black", width=3)
    return page


def noise(rng: Random) -> Image.Image:
    """Returns points of random colours."""
    return Image.fromarray(rng.integers(0, 256, (700, 900, 3)).astype(np.uint8))


def checks(rng: Random) -> Image.Image:
    """Returns black and white squares at random."""
    return Image.fromarray(np.kron(rng.integers(0, 2, (30, 40)), np.full((30, 30), 255)).astype(np.uint8))


# Name -> a function of random numbers that returns a picture.
OTHER_PICTURES: dict[str, Callable[[Random], Image.Image]] = {
    "letter": letter,
    "table": table,
    "music": music,
    "chart": chart,
    "photograph": photograph,
    "drawing": drawing,
    "noise": noise,
    "checks": checks,
    "empty paper": lambda rng: draw_ecg(np.full((12, 1000), np.nan), 100, "3x4+R", size=PAPER),
    "flat lines": lambda rng: draw_ecg(np.zeros((12, 1000)), 100, "3x4+R", size=PAPER),
}
