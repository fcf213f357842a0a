# Copyright 2026 The HeartcareGPT authors. Licensed under the Apache License, Version 2.0.
"""From files to model inputs: ECG signals, ECG pictures and text.

    path / array  --read_ecg-->  (leads, samples) mV  --BeatFeatureExtractor-->  input_values, masks, quality
    picture       --ECGImageProcessor-->  twelve lead tiles
    both, and text  --HeartcareProcessor-->  what the model takes

This is the only preprocessing there is: training, benchmark and serving call it, and it is saved with the processor.
"""

import io
import math
import re
import warnings
import zipfile
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

import numpy as np
from scipy import fft
from scipy import signal as scipy_signal
from transformers import AutoConfig, AutoTokenizer
from transformers.feature_extraction_utils import BatchFeature, FeatureExtractionMixin
from transformers.processing_utils import ProcessorMixin

from .configuration_heartcare import ECG_TOKENS, LEADS, BeatConfig
from .image_processing_heartcare import ECGImageProcessor, flat_list

# Other names of the twelve leads, compared in lower case without blanks, dots, dashes and the word "lead".
LEAD_ALIASES = {
    "d1": "I", "di": "I", "l1": "I", "1": "I", "mli": "I", "ml1": "I",
    "d2": "II", "dii": "II", "l2": "II", "2": "II", "mlii": "II", "ml2": "II",
    "d3": "III", "diii": "III", "l3": "III", "3": "III", "mliii": "III", "ml3": "III",
    "vr": "aVR", "vl": "aVL", "vf": "aVF",
    **{f"c{i}": f"V{i}" for i in range(1, 7)}, **{f"mv{i}": f"V{i}" for i in range(1, 7)},
}  # fmt: skip

MILLIVOLTS = {
    "mv": 1.0,
    "millivolt": 1.0,
    "uv": 1e-3,
    "µv": 1e-3,
    "μv": 1e-3,
    "microvolt": 1e-3,
    "v": 1e3,
    "volt": 1e3,
    "nv": 1e-6,
}

OFF = ("flat", "gap")  # faults of a lead that cannot be used

# Limits of what is read from one file, against damaged and hostile headers: values (24 h of 12 leads at 250 Hz), bytes.
MAX_VALUES = 2**28
MAX_HEADER_BYTES = 2**20
MIN_RATE, MAX_RATE = 10, 20_000  # Hz, of anything that is an ECG
MAX_CSV_BYTES = 2**28


def canonical_lead(name: str) -> str | None:
    """A lead's standard name ("MLII" -> "II", "avr" -> "aVR", "D1" -> "I"), or None if it is none of the twelve."""
    key = re.sub(r"lead|ecg|[\s._\-]", "", str(name).lower())
    by_lower = {lead.lower(): lead for lead in LEADS}
    return by_lower.get(key) or LEAD_ALIASES.get(key)


def to_millivolts(signal: np.ndarray, units: str) -> np.ndarray:
    """Scales `signal` in `units` (mV, uV, V or nV) to mV. Raises `ValueError` for other units."""
    factor = MILLIVOLTS.get(str(units).strip().lower().rstrip("s"))
    if factor is None:
        raise ValueError(f"Units {units!r} are unknown; expected one of 'mV', 'uV', 'V', 'nV'.")
    return signal * factor


def read_ecg(path: str | Path, sampling_rate=None, lead_names=None, units=None) -> dict:
    """Reads one ECG file.

    Args:
        path: A WFDB record (with or without its .hea), .npy, .npz (keys `signal` or `ecg`, and, where present,
            `sampling_rate`, `lead_names`, `units`) or .csv (a header of lead names; a `time` column in seconds gives
            the rate).
        sampling_rate, lead_names, units: For files that do not say it themselves. What the file says and what is given
            must agree.

    Returns: dict with `ecg` float (leads, samples) in the file's `units`, `sampling_rate` in Hz, `lead_names`, `units`.

    Raises: `FileNotFoundError` and `ValueError`, which name the file, what is wrong with it, and what to do.
    """
    path = Path(path)
    readers = {
        ".npy": read_npy,
        ".npz": read_npy,
        ".csv": read_csv,
        ".hea": read_wfdb,
        ".dat": read_wfdb,
        "": read_wfdb,
    }
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise ValueError(
            f"{path}: cannot read files of type {path.suffix!r}; expected WFDB (.hea), .npy, .npz or .csv "
            '(a picture is given as {"type": "image", ...}).'
        )
    given = {"sampling_rate": sampling_rate, "lead_names": lead_names, "units": units}
    found = {key: value for key, value in reader(path).items() if key in ("ecg", *given)}
    for key, value in given.items():
        if value is None:
            continue
        said = found.get(key)
        if key == "lead_names":
            value, said = list(value), None if said is None else list(said)
        if said is not None and said != value:
            raise ValueError(
                f"{path}: the file says {key}={said!r} but {value!r} was given; leave it out or correct it."
            )
        found[key] = value
    return found


def read_wfdb(path: Path) -> dict:
    """A WFDB record, of one or many segments, in mV; NaN where nothing was recorded. Leads of differing rates all get
    the fastest one.

    Files are only read from the header's own folder, and a header that claims more than its files can hold is refused.
    """
    try:
        import wfdb
    except ImportError as error:
        raise ImportError("Reading WFDB records needs the wfdb package: pip install wfdb") from error
    record = path.with_suffix("") if path.suffix.lower() in (".hea", ".dat") else path
    header = record.with_name(record.name + ".hea")
    if not header.exists():
        raise FileNotFoundError(f"{header} does not exist; a WFDB record is a .hea file with its .dat files beside it.")
    if (found := _read_plain_wfdb(header)) is not None:
        return found
    parsed = _check_wfdb(wfdb, header)
    comments = parsed.comments or []
    if getattr(parsed, "seg_name", None):
        return {**_read_segments(header, parsed), "comments": comments}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            record = wfdb.rdrecord(str(record), smooth_frames=False)
        signals, rates = record.e_p_signal, [record.fs * per_frame for per_frame in record.samps_per_frame]
    except Exception as error:
        raise ValueError(
            f"{header}: the signal cannot be read, the file may be truncated or damaged ({error})."
        ) from error
    if not signals or not max(map(len, signals)):
        raise ValueError(f"{header}: the record holds no samples.")
    is_lead = [canonical_lead(name) is not None for name in record.sig_name]
    fastest = max([rate for rate, lead in zip(rates, is_lead) if lead] or rates)
    length = max([len(signal) for signal, rate in zip(signals, rates) if rate == fastest])
    ecg = []
    for name, unit, lead, rate, standard in zip(record.sig_name, record.units, signals, rates, is_lead):
        if rate != fastest:
            lead = change_rate(lead, rate, fastest, length)
        try:
            ecg.append(to_millivolts(lead, unit))
        except ValueError as error:
            if standard:
                raise ValueError(
                    f"{header}: lead {name}: {error} Correct the header, or read the array and give units=."
                ) from error
            ecg.append(lead)  # a pressure or a breath, which is left out by its name
    found = {
        "ecg": np.stack(ecg),
        "sampling_rate": fastest,
        "lead_names": list(record.sig_name),
        "units": "mV",
        "comments": comments,
    }
    if len(set(rates)) > 1:
        found["rates"] = rates
    return found


WFDB_RECORD = re.compile(r"[\w-]+ (\d+) ([\d.]+) (\d+)(?: [\d:.]+(?: [\d/]+)?)?")
WFDB_SIGNAL = re.compile(r"([\w.-]+) 16 ([\d.e+]+)\((-?\d+)\)/(mV|uV) 16 -?\d+ -?\d+ -?\d+ 0 (\S+)")


def _read_plain_wfdb(header: Path) -> dict | None:
    """The common kind of WFDB record, one file of 16-bit samples in mV or uV, read some ten times faster than by wfdb;
    None for others.
    """
    if header.stat().st_size > MAX_HEADER_BYTES:
        return None
    lines = header.read_text(encoding="utf-8", errors="replace").splitlines()
    comments = [line.strip(" \t#") for line in lines if line.startswith("#")]
    first, *rest = [line.strip() for line in lines if line.strip() and not line.startswith("#")] or [""]
    record, signals = WFDB_RECORD.fullmatch(first), [WFDB_SIGNAL.fullmatch(line) for line in rest]
    if (
        not record
        or not signals
        or None in signals
        or int(record[1]) != len(signals)
        or len({match[1] for match in signals}) > 1
    ):
        return None
    data, gains = header.parent / signals[0][1], np.array([float(match[2]) for match in signals])
    shape = int(record[3]), len(signals)
    if (
        not gains.all()
        or not 0 < math.prod(shape) <= MAX_VALUES
        or not data.is_file()
        or data.stat().st_size != 2 * math.prod(shape)
    ):
        return None
    counts = np.fromfile(data, "<i2").reshape(shape).T
    gains *= [1000.0 if match[4] == "uV" else 1.0 for match in signals]
    ecg = (counts - np.array([[int(match[3])] for match in signals], np.float64)) / gains[:, None]
    ecg[counts == -32768] = np.nan  # WFDB's mark of a sample that was not recorded
    lead_names, rate = [match[5] for match in signals], float(record[2])
    return {
        "ecg": ecg,
        "sampling_rate": int(rate) if rate.is_integer() else rate,
        "lead_names": lead_names,
        "units": "mV",
        "comments": comments,
    }


def _read_segments(header: Path, parsed) -> dict:
    """The segments of a record one after the other; NaN in gaps, and where a segment lacks a lead that another one has."""
    parts = [
        (name, length, None if name == "~" else read_wfdb(header.parent / name))
        for name, length in zip(parsed.seg_name, parsed.seg_len)
        if length
    ]
    read = [part for _, _, part in parts if part]
    if not read:
        raise ValueError(f"{header}: the record holds no samples.")
    rate = max(part["sampling_rate"] for part in read)
    names = list(dict.fromkeys(name for part in read for name in part["lead_names"]))
    frames = np.concatenate([[0], np.cumsum([length for _, length, _ in parts])])
    edges = np.round(frames * rate / parsed.fs).astype(int)
    held = sum(part["ecg"].shape[1] * rate / part["sampling_rate"] for part in read)
    if edges[-1] * len(names) > MAX_VALUES or edges[-1] > 100 * held:
        raise ValueError(
            f"{header} claims {edges[-1]} samples of {len(names)} leads, of which {held:.0f} are there; it may be damaged."
        )
    ecg = np.full((len(names), edges[-1]), np.nan)
    for start, stop, (_, _, part) in zip(edges, edges[1:], parts):
        for name, lead in zip(part["lead_names"], part["ecg"]) if part else ():
            if part["sampling_rate"] != rate:
                lead = change_rate(lead, part["sampling_rate"], rate, stop - start)
            ecg[names.index(name), start : min(stop, start + len(lead))] = lead[: stop - start]
    return {"ecg": ecg, "sampling_rate": rate, "lead_names": names, "units": "mV"}


def _check_wfdb(wfdb, header: Path, is_segment: bool = False):
    """The parsed header, which names plain files beside it, which are there and large enough for its claims; else
    `ValueError`.
    """
    if header.stat().st_size > MAX_HEADER_BYTES:
        raise ValueError(f"{header} has {header.stat().st_size} bytes; no WFDB header is that large.")
    try:
        found = wfdb.rdheader(str(header.with_suffix("")))
    except Exception as error:
        raise ValueError(f"{header} is no WFDB header that can be read ({error}).") from error
    segments = getattr(found, "seg_name", None)
    names = [name for name in segments or found.file_name or [] if name and name != "~"]
    for name in dict.fromkeys(names):
        if Path(name).name != name or name in ("..", ".") or "\\" in name:
            raise ValueError(
                f"{header} names {name!r}; only files beside the header are read, so a name holds no path."
            )
    per_frame = max([each or 1 for each in getattr(found, "samps_per_frame", None) or [1]])
    claimed = int(found.sig_len or 0) * int(found.n_sig or 0) * per_frame
    if not 0 <= claimed <= MAX_VALUES:
        raise ValueError(
            f"{header} claims {claimed} values; at most {MAX_VALUES} are read at a time. Cut the recording into parts."
        )
    if not (found.fs is None or MIN_RATE <= found.fs * per_frame <= MAX_RATE):
        raise ValueError(
            f"{header}: a sampling rate of {found.fs * per_frame:g} Hz cannot be; expected {MIN_RATE} to {MAX_RATE} Hz."
        )
    if segments is not None:
        if not all(0 <= length <= MAX_VALUES for length in found.seg_len):
            raise ValueError(
                f"{header} claims segments of {max(found.seg_len)} samples; at most {MAX_VALUES} are read at a time."
            )
        if is_segment:
            raise ValueError(f"{header} is a segment that has segments itself, which WFDB does not allow.")
        for name in dict.fromkeys(names):
            if not (header.parent / f"{name}.hea").exists():
                raise FileNotFoundError(
                    f"{header} names the segment {name}, which is not beside it; copy its files there as well."
                )
            _check_wfdb(wfdb, header.parent / f"{name}.hea", is_segment=True)
        return found
    for name in dict.fromkeys(names):
        if not (header.parent / name).exists():
            raise FileNotFoundError(
                f"{header} names {name}, which is not beside it; copy the signal file there as well."
            )
    held = sum((header.parent / name).stat().st_size for name in dict.fromkeys(names))
    if names and claimed > 16 * held:
        raise ValueError(
            f"{header} claims {claimed} values but its files hold {held} bytes; they are truncated or damaged."
        )
    return found


@lru_cache(maxsize=64)
def rate_filter(rate: float, new_rate: float) -> tuple[int, int, np.ndarray]:
    """The factors up and down from `rate` to `new_rate`, and the taps of the low-pass between them (those of
    `resample_poly`).
    """
    ratio = Fraction(new_rate / rate).limit_denominator(1000)
    widest = max(ratio.numerator, ratio.denominator)
    return ratio.numerator, ratio.denominator, scipy_signal.firwin(20 * widest + 1, 1 / widest, window=("kaiser", 5.0))


def change_rate(lead: np.ndarray, rate: float, new_rate: float, length: int) -> np.ndarray:
    """One lead (samples,) at `rate` Hz -> (length,) at `new_rate` Hz, band-limited; gaps (NaN) stay gaps."""
    missing = ~np.isfinite(lead)
    if missing.all():
        return np.full(length, np.nan)
    at = np.arange(len(lead))
    up, down, taps = rate_filter(rate, new_rate)
    filled = np.interp(at, at[~missing], lead[~missing])
    out = scipy_signal.resample_poly(filled, up, down, padtype="line", window=taps)[:length]
    out = np.pad(out, (0, length - len(out)), mode="edge")
    out[missing[np.minimum((np.arange(length) * rate / new_rate).astype(int), len(lead) - 1)]] = np.nan
    return out


def read_npy(path: Path) -> dict:
    """A numpy file, .npy or .npz; nothing is unpickled and nothing larger than `MAX_VALUES` is unpacked."""
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist.")
    try:
        content = np.load(path, allow_pickle=False, mmap_mode=None if zipfile.is_zipfile(path) else "r")
        if not isinstance(content, np.lib.npyio.NpzFile):
            if content.size > MAX_VALUES:
                raise ValueError(f"it holds {content.size} values, at most {MAX_VALUES} are read at a time")
            return {"ecg": np.array(content)}
        with content:
            arrays = {key: _read_member(content, key) for key in content.files}
    except Exception as error:
        raise ValueError(f"{path} is no numpy file that can be read ({error}).") from error
    key = next((key for key in ("signal", "ecg") if key in arrays), None)
    if key is None:
        raise ValueError(f"{path} holds the arrays {sorted(arrays)}; expected one named 'signal' or 'ecg'.")
    found = {"ecg": arrays[key]}
    try:
        if "sampling_rate" in arrays:
            found["sampling_rate"] = float(arrays["sampling_rate"])
        if "lead_names" in arrays:
            found["lead_names"] = [str(name) for name in np.atleast_1d(arrays["lead_names"])]
        if "units" in arrays:
            found["units"] = str(arrays["units"])
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{path}: sampling_rate must be a number, lead_names a list of names, units a word ({error})."
        ) from error
    return found


def _read_member(archive, key: str) -> np.ndarray:
    """One array of an .npz whose header, size in the archive and content agree."""
    info = archive.zip.getinfo(key if key in archive.zip.namelist() else f"{key}.npy")
    with archive.zip.open(info) as file:
        version = np.lib.format.read_magic(file)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read_header(file)
    count = math.prod(shape)
    if count > MAX_VALUES or count * dtype.itemsize > info.file_size:
        raise ValueError(f"{key!r} claims {count} values, more than it holds or than {MAX_VALUES}")
    return archive[key]


def read_csv(path: Path) -> dict:
    """A table with a header of lead names, perhaps with units ("II (uV)"); separated by commas, semicolons or tabs."""
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist.")
    if path.stat().st_size > MAX_CSV_BYTES:
        raise ValueError(
            f"{path} has {path.stat().st_size} bytes; tables up to {MAX_CSV_BYTES} bytes are read, larger ones as .npy."
        )
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no text in UTF-8 ({error}).") from error
    first, _, body = text.partition("\n")
    separator = max(",;\t", key=first.count)
    if separator == ";":
        body = body.replace(",", ".")
    header = [name.strip().strip('"') for name in first.split(separator)]
    names, units = zip(*(re.fullmatch(r"(.*?)\s*(?:[(\[]\s*([^)\]]*)[)\]])?", name).groups() for name in header))
    is_time = [name.lower() in ("time", "t", "seconds", "time_s") for name in names]
    if not any(canonical_lead(name) and not re.fullmatch(r"[\d.]+", name) for name in names):
        raise ValueError(f"{path}: the first line must name the leads (I, II, V1, ...), got {header[:4]}.")
    try:
        table = (
            np.loadtxt(io.StringIO(body), delimiter=separator, ndmin=2, comments=None)
            if body.strip()
            else np.empty((0, 0))
        )
    except ValueError:
        try:  # some values are missing
            as_number = lambda text: float(text.strip() or "nan")  # noqa: E731
            table = np.loadtxt(io.StringIO(body), delimiter=separator, ndmin=2, comments=None, converters=as_number)
        except ValueError as error:
            raise ValueError(f"{path}: lines of differing length, or something that is no number ({error}).") from error
    if table.size == 0 or table.shape[1] != len(header):
        raise ValueError(
            f"{path}: expected {len(header)} numbers in each line, as the header has names, got {table.shape}."
        )
    found = {
        "ecg": table[:, [not t for t in is_time]].T,
        "lead_names": [name for name, t in zip(names, is_time) if not t],
    }
    said = {unit for unit, t in zip(units, is_time) if unit and not t}
    if len(said) > 1:
        raise ValueError(f"{path}: the header names several units {sorted(said)}; give all leads in one.")
    if said:
        found["units"] = said.pop()
    if any(is_time) and len(table) > 1:
        time = table[:, is_time.index(True)]
        step = float(np.median(np.diff(time)))
        if not step > 0:
            raise ValueError(f"{path}: the times do not rise; expected seconds.")
        if units[is_time.index(True)] == "ms":
            step /= 1000
        found["sampling_rate"] = round(1 / step, 3)
    return found


@lru_cache(maxsize=16)
def hum_waves(lines: tuple[float, ...], rate: float, samples: int) -> np.ndarray:
    """A cosine and a sine of each power line frequency, (2 * lines, samples)."""
    angles = 2 * np.pi / rate * np.outer(lines, np.arange(samples))
    return np.concatenate([np.cos(angles), np.sin(angles)])


@lru_cache(maxsize=16)
def cleaning_gain(highpass_hz: float, lines: tuple[float, ...], rate: float, samples: int) -> np.ndarray:
    """Gain of a zero-phase high-pass and of zero-phase notches at each coefficient of the cosine transform of `samples`
    samples.

    The high-pass is steep, so that its corner can be low enough for the ST level of slow rhythms. The notches are 0.4
    Hz wide: wider ones take their share of a narrow QRS.
    """
    frequencies = np.arange(samples) * rate / 2 / samples
    sections = [scipy_signal.butter(4, highpass_hz, "highpass", fs=rate, output="sos")] if highpass_hz else []
    sections += [scipy_signal.tf2sos(*scipy_signal.iirnotch(line, Q=line / 0.4, fs=rate)) for line in lines]
    return np.abs(scipy_signal.sosfreqz(np.concatenate(sections), frequencies, fs=rate)[1]) ** 2


class BeatFeatureExtractor(FeatureExtractionMixin):
    r"""
    Turns ECGs of any rate, lead order and unit into Beat's input: order by lead name, mV, mask what is missing, clean,
    resample.

    Cleaning is a zero-phase 0.35 Hz high-pass (drift) and zero-phase notches at the power line's frequencies, at the
    ECG's own rate and over all leads in one call, followed by band-limited resampling. It keeps the QRS amplitude
    within 2 % and the ST level within 20 uV.

    Args:
        sampling_rate (`int`): Hz of the output; Beat's rate.
        samples_per_latent (`int`): Samples that one latent of Beat stands for, which fixes the number of placeholders.
        highpass_hz (`float`): Corner of the high-pass, 0 for none.
        notch_hz (`list[float]`): Power line frequencies; those at or above 0.9 times the Nyquist frequency are left
            alone.
        min_seconds (`float`): Shorter ECGs are refused.
        max_gap_seconds (`float`): Shorter gaps (NaN) are bridged; a lead with a longer one is masked.
        plausible_mv (`list[float]`): Range of the median over leads of the peak-to-peak amplitude; outside of it there
            is a warning.
    """

    model_input_names = ["input_values", "ecg_attention_mask", "lead_mask"]

    def __init__(
        self,
        sampling_rate: int = 100,
        samples_per_latent: int = 20,
        highpass_hz: float = 0.35,
        notch_hz: tuple[float, ...] | list[float] = (50.0, 60.0),
        min_seconds: float = 1.0,
        max_gap_seconds: float = 0.2,
        plausible_mv: tuple[float, ...] | list[float] = (0.05, 15.0),
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.sampling_rate = sampling_rate
        self.samples_per_latent = samples_per_latent
        self.highpass_hz = highpass_hz
        self.notch_hz = list(notch_hz)
        self.min_seconds = min_seconds
        self.max_gap_seconds = max_gap_seconds
        self.plausible_mv = list(plausible_mv)

    # ECGs come as a path, a dict, or an array with its sampling rate, names and units given beside it.

    def fetch_ecg(self, ecg, sampling_rate=None, lead_names=None, units=None) -> list[dict]:
        """Any accepted form of one ECG or of a list of ECGs -> list of dicts as `read_ecg` gives them.

        Raises: `TypeError`, `ValueError`, `FileNotFoundError` that say what came and what was expected.
        """
        if isinstance(ecg, (list, tuple)):
            if any(isinstance(item, (list, tuple, int, float)) for item in ecg):
                raise TypeError(
                    "An ECG was given as a nested Python list; expected a numpy array or torch tensor of shape (leads, samples), "
                    "a path, or a dict. Use numpy.asarray(your_list)."
                )
            columns = [
                list(value) if isinstance(value, (list, tuple)) and not is_one else [value] * len(ecg)
                for value, is_one in (
                    (sampling_rate, False),
                    (lead_names, lead_names is not None and all(isinstance(name, str) for name in lead_names)),
                    (units, False),
                )
            ]
            if any(len(column) != len(ecg) for column in columns):
                numbers = "{} sampling rates, {} lists of lead_names, {} units".format(*map(len, columns))
                raise ValueError(f"{len(ecg)} ECGs but {numbers}; give one for all, or one for each.")
            return [record for each in zip(ecg, *columns) for record in self.fetch_ecg(*each)]
        given = {"sampling_rate": sampling_rate, "lead_names": lead_names, "units": units}
        if isinstance(ecg, (str, Path)):
            return [{"source": str(ecg), **read_ecg(ecg, **given)}]
        if isinstance(ecg, dict):
            known = {"ecg", "path", "sampling_rate", "lead_names", "units", "type", "source"}
            if unknown := sorted(set(ecg) - known):
                raise ValueError(
                    f"An ECG dict has unknown keys {unknown}; expected some of {sorted(known - {'source'})}."
                )
            given = {key: ecg.get(key, value) for key, value in given.items()}
            if isinstance(ecg.get("path"), (str, Path)):
                return [{"source": str(ecg["path"]), **read_ecg(ecg["path"], **given)}]
            if isinstance(ecg.get("ecg"), (str, Path)):
                return [{"source": str(ecg["ecg"]), **read_ecg(ecg["ecg"], **given)}]
            if ecg.get("ecg") is None:
                raise ValueError(f"An ECG dict needs 'ecg' (an array) or 'path', got the keys {sorted(ecg)}.")
            if isinstance(ecg["ecg"], (list, tuple)):
                return self.fetch_ecg([ecg["ecg"]])  # refused there
            return [{"source": ecg.get("source", "array"), "ecg": ecg["ecg"], **given}]
        if hasattr(ecg, "detach"):
            ecg = ecg.detach().cpu().numpy()
        if not isinstance(ecg, np.ndarray):
            raise TypeError(f"An ECG must be an array, a path or a dict, got {type(ecg).__name__}.")
        if ecg.ndim == 3:
            return [{"source": "array", "ecg": one, **given} for one in ecg]
        return [{"source": "array", "ecg": ecg, **given}]

    def arrange(
        self, ecg, sampling_rate, lead_names=None, units=None, source="array"
    ) -> tuple[np.ndarray, np.ndarray, list[str]]:
        """One ECG in any lead order and unit -> (float64 (12, samples) in mV, lead_mask bool (12,), names of warnings).

        Gaps are bridged or their lead masked, absent limb leads are derived from I and II, whatever else is absent is
        masked and 0.
        """
        signal, rate, lead_names = self._checked(ecg, sampling_rate, lead_names, source)
        warnings = [] if units else ["units_assumed_mV"]
        by_name = {}
        for name, lead in zip(lead_names, to_millivolts(signal.astype(np.float64), units or "mV")):
            standard = canonical_lead(name)
            if standard is None:
                warnings.append(f"lead_unknown:{name}")
            elif standard in by_name:
                raise ValueError(f"{source}: lead {standard} is there twice in {list(lead_names)}.")
            else:
                by_name[standard] = lead
        if not by_name:
            raise ValueError(
                f"{source}: none of the leads {list(lead_names)} is one of {' '.join(LEADS)}; give lead_names=[...]."
            )

        for name in list(by_name):
            by_name[name], fault = self._inspect(by_name[name], rate)
            if fault:
                warnings.append(f"{fault}:{name}")
            if fault in OFF:
                del by_name[name]
        if not by_name:
            raise ValueError(
                f"{source}: no lead can be used ({', '.join(warnings)}); check the electrodes or the file."
            )
        if "I" in by_name and "II" in by_name:
            one, two = by_name["I"], by_name["II"]
            derived = {"III": two - one, "aVR": -(one + two) / 2, "aVL": one - two / 2, "aVF": two - one / 2}
            by_name = {**derived, **by_name}
        amplitude = float(np.median([np.ptp(lead) for lead in by_name.values()]))
        low, high = self.plausible_mv
        if not low <= amplitude <= high:
            warnings.append("amplitude_implausible")
        warnings += [f"absent:{lead}" for lead in LEADS if lead not in by_name]
        lead_mask = np.array([lead in by_name for lead in LEADS])
        return np.stack([by_name.get(lead, np.zeros(signal.shape[1])) for lead in LEADS]), lead_mask, warnings

    def _checked(self, ecg, sampling_rate, lead_names, source) -> tuple[np.ndarray, float, list[str]]:
        """The array (leads, samples), its rate in Hz and the names of its leads, or an error that says what came
        instead.
        """
        signal = ecg.detach().cpu().numpy() if hasattr(ecg, "detach") else np.asarray(ecg)
        if signal.dtype.kind not in "iuf":
            raise ValueError(f"{source}: an ECG must hold numbers, got an array of {signal.dtype}.")
        signal = signal[None] if signal.ndim == 1 else signal
        if signal.ndim != 2:
            raise ValueError(f"{source}: an ECG must have shape (leads, samples), got {signal.shape}.")
        if sampling_rate is None:
            raise ValueError(
                f"{source}: the sampling rate is missing; give sampling_rate= in Hz (it is never guessed)."
            )
        rate = float(sampling_rate)
        if not MIN_RATE <= rate <= MAX_RATE:
            raise ValueError(
                f"{source}: a sampling rate of {sampling_rate} Hz cannot be; expected {MIN_RATE} to {MAX_RATE} Hz."
            )
        if lead_names is None and signal.shape[0] != len(LEADS):
            hint = " Transpose it: the leads come first." if signal.shape[1] == len(LEADS) else ""
            raise ValueError(
                f"{source}: {signal.shape[0]} leads of unknown names, shape {signal.shape}; give lead_names=[...], or all "
                f"twelve in the order {' '.join(LEADS)}.{hint}"
            )
        lead_names = list(LEADS if lead_names is None else lead_names)
        if len(lead_names) != signal.shape[0]:
            raise ValueError(
                f"{source}: {len(lead_names)} lead names for {signal.shape[0]} leads, shape {signal.shape}."
            )
        if signal.shape[1] < self.min_seconds * rate:
            raise ValueError(
                f"{source}: {signal.shape[1]} samples at {rate:g} Hz are {signal.shape[1] / rate:.2g} s; "
                f"at least {self.min_seconds:g} s are needed."
            )
        return signal, rate, lead_names

    def _inspect(self, lead: np.ndarray, rate: float) -> tuple[np.ndarray, str | None]:
        """One lead -> the same with short gaps bridged by straight lines, and the name of its fault: gap, gap_bridged,
        flat, saturated.
        """
        missing = ~np.isfinite(lead)
        if missing.any():
            edges = np.flatnonzero(np.diff(np.concatenate([[0], missing.view(np.int8), [0]])))
            if np.diff(edges)[::2].max() > self.max_gap_seconds * rate:
                return lead, "gap"
            at = np.arange(len(lead))
            lead = np.interp(at, at[~missing], lead[~missing])
        if np.ptp(lead) == 0:
            return lead, "flat"
        if np.mean((lead == lead.max()) | (lead == lead.min())) > 0.05:
            return lead, "saturated"
        return lead, "gap_bridged" if missing.any() else None

    def is_off(self, lead: np.ndarray, rate: float) -> bool:
        """Whether one lead (samples,) at `rate` Hz is flat, or has a gap too long to be bridged."""
        return self._inspect(lead, rate)[1] in OFF

    def clean(self, signal: np.ndarray, rate: float) -> np.ndarray:
        """(leads, samples) mV at `rate` Hz -> the same without drift and power line noise; zero phase, all leads at
        once.

        Steady hum is subtracted, then the filters work on the cosine transform, which continues an ECG beyond its ends
            by its mirror image: no
        step, no transient. Their gains are those of `scipy.signal.sosfiltfilt` with the same filters and endless even
        padding.
        """
        lines = tuple(line for line in self.notch_hz if line < 0.45 * rate)
        if not self.highpass_hz and not lines:
            return signal
        samples = signal.shape[-1]
        # What is needed for each length is kept, but for recordings of many hours.
        waves_of, gain_of = (each if samples < 2**20 else each.__wrapped__ for each in (hum_waves, cleaning_gain))
        if lines:
            # Steady hum is subtracted as a sine; its mirror image would break at the ends, and the notch ring there.
            waves = waves_of(lines, rate, samples)
            signal = signal - signal @ waves.T * (2 / samples) @ waves
        gain = gain_of(self.highpass_hz, lines, rate, samples)
        return fft.idct(fft.dct(signal, axis=-1) * gain, axis=-1)

    def resample(self, signal: np.ndarray, rate: float) -> np.ndarray:
        """(leads, samples) at `rate` Hz -> (leads, round(samples * sampling_rate / rate)), band-limited, zero phase."""
        if rate == self.sampling_rate:
            return signal
        length = round(signal.shape[-1] * self.sampling_rate / rate)
        up, down, taps = rate_filter(rate, self.sampling_rate)
        out = scipy_signal.resample_poly(signal, up, down, axis=-1, padtype="line", window=taps)[..., :length]
        return out if out.shape[-1] == length else np.pad(out, ((0, 0), (0, length - out.shape[-1])), mode="edge")

    def prepare(self, ecg: dict) -> tuple[np.ndarray, np.ndarray, dict]:
        """One ECG as `fetch_ecg` gives it -> (float32 (12, samples) mV at `sampling_rate`, lead_mask (12,), quality
        record).
        """
        signal, lead_mask, warnings = self.arrange(**ecg)
        rate = float(ecg["sampling_rate"])
        cleaned = self.resample(self.clean(signal, rate), rate) * lead_mask[:, None]
        quality = {
            "source": ecg.get("source", "array"),
            "sampling_rate": rate,
            "seconds": signal.shape[-1] / rate,
            "units": ecg.get("units") or "mV",
            "leads": [lead for lead, present in zip(LEADS, lead_mask) if present],
            "warnings": warnings,
        }
        return cleaned.astype(np.float32), lead_mask, quality

    def __call__(
        self,
        ecg,
        sampling_rate=None,
        lead_names=None,
        units=None,
        return_tensors=None,
        return_quality: bool = False,
        **kwargs,
    ) -> BatchFeature:
        """ECGs -> `input_values` float32 (ecgs, 12, samples) in mV, left-padded; `ecg_attention_mask` (ecgs, samples);
        `lead_mask` (ecgs, 12); with `return_quality` also `ecg_quality`, a list of quality records.

        Args:
            ecg: A path, an array or tensor (leads, samples), a dict `{"ecg": array, "sampling_rate": ..., "lead_names":
                ..., "units": ...}` or `{"path": ...}`, or a list of these.
            sampling_rate (Hz), lead_names, units ("mV", "uV", "V"): For arrays; one for all, or a list with one for
            each.

        Raises: `ValueError`, `TypeError`, `FileNotFoundError`: what came, what was expected, what to do.
        """
        prepared = [self.prepare(record) for record in self.fetch_ecg(ecg, sampling_rate, lead_names, units)]
        features = self.pad(prepared, return_tensors)
        if return_quality:
            features["ecg_quality"] = [quality for _, _, quality in prepared]
        return features

    def pad(self, prepared: list[tuple], return_tensors=None) -> BatchFeature:
        """A list of what `prepare` gives -> one batch, padded on the left."""
        if not prepared:
            raise ValueError("The list of ECGs is empty.")
        signals, lead_masks, _ = zip(*prepared)
        longest = max(signal.shape[-1] for signal in signals)
        data = {
            "input_values": np.stack([np.pad(s, ((0, 0), (longest - s.shape[-1], 0))) for s in signals]),
            "ecg_attention_mask": np.stack([np.arange(longest) >= longest - s.shape[-1] for s in signals]).astype(
                np.int64
            ),
            "lead_mask": np.stack(lead_masks).astype(np.int64),
        }
        return BatchFeature(data, tensor_type=return_tensors)

    def num_latents(self, num_samples: int) -> int:
        """Latents, and so placeholders, of an ECG of `num_samples` samples at `sampling_rate`."""
        return -(-num_samples // self.samples_per_latent)


# Rows and columns of the standard layouts. Leads run down the columns; "+R" has lead II as a rhythm strip below.


CHATML_TEMPLATE = """\
{%- for message in messages -%}
{{- '<|im_start|>' + message['role'] + '\n' -}}
{%- set content = [{'type': 'text', 'text': message['content']}] if message['content'] is string else message['content'] -%}
{%- if message['role'] == 'assistant' -%}
{% generation %}{%- for part in content -%}{{- part['text'] -}}{%- endfor -%}{{- '<|im_end|>' -}}{% endgeneration %}
{%- else -%}
{%- for part in content -%}
{%- if part['type'] == 'ecg' -%}{{- '<|ecg_start|><|ecg|><|ecg_end|>' -}}
{%- elif part['type'] == 'image' -%}{{- '<|image_start|><|image|><|image_end|>' -}}
{%- else -%}{{- part['text'] -}}{%- endif -%}
{%- endfor -%}
{{- '<|im_end|>' -}}
{%- endif -%}
{{- '\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\n' -}}{%- endif -%}
"""


class HeartcareProcessor(ProcessorMixin):
    r"""
    ECGs, ECG pictures and text in, the inputs of [`HeartcareForConditionalGeneration`] out.

    Inside, an ECG takes ProcessorMixin's audio slot, so that placeholders, truncation checks and assistant masks are
    the library's own.

    Args:
        image_processor (`ECGImageProcessor`), feature_extractor (`BeatFeatureExtractor`), tokenizer: The three parts.
        image_slots_per_tile (`int`): Tokens of each lead tile; the model's config has the same.
        chat_template (`str`): Jinja template that knows content of the types "ecg" and "image".
    """

    def __init__(
        self, image_processor=None, feature_extractor=None, tokenizer=None, image_slots_per_tile=4, chat_template=None
    ):
        self.image_slots_per_tile = image_slots_per_tile
        for name, token in ECG_TOKENS.items():
            setattr(self, name, getattr(tokenizer, name, token))
        self.audio_token, self.audio_token_id = self.ecg_token, tokenizer.convert_tokens_to_ids(self.ecg_token)
        self.image_token_id = tokenizer.convert_tokens_to_ids(self.image_token)
        super().__init__(image_processor, feature_extractor, tokenizer, chat_template=chat_template)

    @classmethod
    def from_backbones(
        cls, text, vision, beat, image_slots_per_tile: int = 4, chat_template: str | None = None, **kwargs
    ):
        """The processor of what `HeartcareForConditionalGeneration.from_backbones` builds of the same parts.

        Args: as there; `vision` and `beat` may also be configurations. `chat_template` defaults to ChatML with ECGs and
            images.
        """
        tokenizer = AutoTokenizer.from_pretrained(text, extra_special_tokens=ECG_TOKENS, padding_side="left", **kwargs)
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token
        vision, beat = (
            config_class.from_pretrained(part, **kwargs)
            if isinstance(part, (str, Path))
            else getattr(part, "config", part)
            for part, config_class in ((vision, AutoConfig), (beat, BeatConfig))
        )
        vision = getattr(vision, "vision_config", vision)
        return cls(
            image_processor=ECGImageProcessor(size={"height": vision.image_size, "width": vision.image_size}),
            feature_extractor=BeatFeatureExtractor(
                sampling_rate=beat.sampling_rate, samples_per_latent=beat.samples_per_latent
            ),
            tokenizer=tokenizer,
            image_slots_per_tile=image_slots_per_tile,
            chat_template=chat_template or CHATML_TEMPLATE,
        )

    def __call__(
        self,
        images=None,
        text=None,
        ecg=None,
        sampling_rate=None,
        lead_names=None,
        units=None,
        return_quality: bool = False,
        **kwargs,
    ) -> BatchFeature:
        """ECGs, images and text -> `input_ids`, `attention_mask`, and `input_values`, `ecg_attention_mask`, `lead_mask`
        (see [`BeatFeatureExtractor`]), and `pixel_values` (see [`ECGImageProcessor`]).

        Args:
            images, ecg: As those two take them, in the order of their placeholders in the texts.
            text (`str` or list): Prompts with one `<|ecg|>` for each ECG and one `<|image|>` for each image.
            sampling_rate (Hz), lead_names, units: For ECGs given as arrays.
            return_quality: Adds `ecg_quality`, a list of quality records with named warnings; the model does not take
                it.
            kwargs: For the tokenizer: padding, return_tensors, ...

        Raises: `ValueError`, `TypeError`, `FileNotFoundError`: what came, what was expected, what to do.
        """
        if kwargs.pop("audio", None) is not None:  # apply_chat_template always passes it
            raise TypeError("HeartcareProcessor takes no audio; give ECGs as ecg=.")
        prepared = None
        if ecg is not None:
            records = self.feature_extractor.fetch_ecg(ecg, sampling_rate, lead_names, units)
            prepared = [self.feature_extractor.prepare(record) for record in records]
        features = super().__call__(images=images, text=text, audio=prepared, **kwargs)
        if return_quality:
            features["ecg_quality"] = [quality for _, _, quality in prepared or []]
        return features

    def apply_chat_template(self, conversation, *args, **kwargs):
        """As `ProcessorMixin.apply_chat_template`; content may hold `{"type": "ecg", "path": ...}`, `{"type": "ecg",
        "ecg": array, "sampling_rate": 500, "lead_names": [...], "units": "mV"}` and `{"type": "image", ...}`.

        Raises: `ValueError` when a text contains a placeholder token itself.
        """
        placeholders = [token for name, token in ECG_TOKENS.items() if name != "prediction_token"]
        batch = conversation if conversation and isinstance(conversation[0], (list, tuple)) else [conversation]
        for message in (message for each in batch for message in each):
            content = message.get("content")
            texts = [content] if isinstance(content, str) else [part.get("text") or "" for part in content or []]
            if found := sorted({token for token in placeholders for text in texts if token in text}):
                raise ValueError(
                    f"A {message['role']} message contains {found} as text. These tokens stand for recordings: give an ECG or image "
                    'as content, {"type": "ecg", "path": ...}, or remove the token from the text.'
                )
        return super().apply_chat_template(conversation, *args, **kwargs)

    # The hooks of ProcessorMixin.

    @classmethod
    def _get_arguments_from_pretrained(cls, pretrained_model_name_or_path, processor_dict=None, **kwargs):
        # The parts are known, so that no remote code has to be trusted for them.
        parts = ECGImageProcessor, BeatFeatureExtractor, AutoTokenizer
        return [part.from_pretrained(pretrained_model_name_or_path, **kwargs) for part in parts]

    def answer_ids(self, options: list[str]) -> list[list[int]]:
        """Options of a closed question, none of them empty -> for each the token ids of the whole answer, which is a
        sentence, and of its end: what `HeartcareForConditionalGeneration.score_answers` takes for one prompt.
        """
        end = self.tokenizer.eos_token
        return self.tokenizer(
            [f"{each[0].upper()}{each[1:].rstrip('.')}.{end}" for each in options], add_special_tokens=False
        )["input_ids"]

    def prepare_inputs_layout(self, images=None, text=None, videos=None, audio=None, **kwargs):
        images, text, videos, _ = super().prepare_inputs_layout(images=images, text=text, videos=videos, **kwargs)
        return images, text, videos, audio

    def validate_inputs(self, images=None, text=None, videos=None, audio=None, **kwargs):
        if text is not None and all(isinstance(each, str) for each in text):
            for token, given, what in ((self.ecg_token, audio, "ECG"), (self.image_token, images, "image")):
                wanted, given = (
                    sum(each.count(token) for each in text),
                    len(flat_list(given)) if given is not None else 0,
                )
                if what == "ECG" and audio is not None:
                    given = len(audio)
                if wanted != given:
                    raise ValueError(
                        f"The text has {wanted} {token} placeholders but {given} {what}s were given; write one {token} for each {what}."
                    )
        super().validate_inputs(images=images, text=text, videos=videos, audio=audio, **kwargs)

    def _process_audio(self, audio: list[tuple], **kwargs):
        lengths = [signal.shape[-1] for signal, _, _ in audio]
        return self.feature_extractor.pad(audio), [
            self.ecg_token * self.feature_extractor.num_latents(n) for n in lengths
        ]

    def _check_special_mm_tokens(self, text, text_inputs, modalities):
        try:
            super()._check_special_mm_tokens(text, text_inputs, modalities)
        except ValueError as error:
            raise ValueError(str(error).replace("`audio`", "`ecg`")) from None

    def replace_image_token(self, image_inputs: dict, image_idx: int, **kwargs) -> str:
        return self.image_token * (len(LEADS) * self.image_slots_per_tile)

    def _multimodal_inputs_from_conversations(self, conversations, *args, **kwargs):
        images, videos, audio, others = super()._multimodal_inputs_from_conversations(conversations, *args, **kwargs)
        parts = [part for c in conversations for m in c if isinstance(m.get("content"), list) for part in m["content"]]
        if ecgs := [part for part in parts if part.get("type") == "ecg"]:
            others = {**others, "ecg": ecgs}
        return images, videos, audio, others


BeatFeatureExtractor.register_for_auto_class()
HeartcareProcessor.register_for_auto_class()

__all__ = ["BeatFeatureExtractor", "HeartcareProcessor", "canonical_lead", "read_ecg"]
