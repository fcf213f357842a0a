"""Reads EDF, DICOM and the vendors' formats through the ecgdatakit package (extra: heartcare[formats]).

path --check_limits--> parse --> channels (label, samples in mV, Hz) --> signal at one rate
                         \\-----> measurements, statements (see device_findings.py)
"""

import re
import tempfile
import warnings
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ...cleaning_heartcare import resample
from ...ecg_heartcare import MAX_RATE, MIN_RATE, canonical_lead, parse_age, parse_sex, pseudonym
from ...limits_heartcare import most_values
from ...reading_heartcare import detect_format
from .device_findings import device_measurements, device_statements, people_of, without_people
from .limits import check_limits

# Names of the formats in `heartcare.reading_heartcare.FORMATS` -> those in ecgdatakit.
FORMATS = {
    "edf": "EDF/EDF+",
    "dicom": "DICOM Waveform",
    "muse-xml": "GE MUSE XML",
    "sierra-xml": "Philips Sierra XML",
    "hl7-aecg": "HL7 aECG",
    "scp-ecg": "SCP-ECG",
    "ishne": "ISHNE Holter",
    "mfer": "MFER",
}
ISHNE_FAULT = -32768  # the sample value that ISHNE proposes for a lead that is off
ROUNDING = 5e-4  # how far off a whole rate 1 / increment may be, for an increment of few digits


class Channel(NamedTuple):
    """One signal of a file: its label, samples (samples,) in mV with NaN where there is none, and rate in Hz."""

    label: str
    samples: np.ndarray
    rate: float


def read_vendor(path: Path) -> dict:
    """Reads one file of any of `FORMATS`.

    Returns: attributes of an `ECG` and "units". Voltages whose labels name none of the twelve leads are kept where they
        fit beside the leads, so that the caller's lead_names can name them.

    Raises: `ImportError` without the extra; `ValueError` for damaged, too large and hostile files.
    """
    format = detect_format(path).name
    parts, remarks = parse(path, format)
    parsed = parts[0][0]
    try:
        channels = [channel for part, start in parts for channel in place(part, format, start)]
    except ValueError as error:
        raise ValueError(f"{path}: {error}.") from None
    channels, notes = choose_channels(path, channels)
    signal, rate, resampled = at_one_rate(channels)
    measurements, calculated = device_measurements(parsed)
    report, own_report, left_out = device_statements(parsed)
    people = people_of(parsed)
    remarks = [without_people(f"reader: {remark}", people) for remark in remarks]
    return {
        "signal": signal,
        "units": "mV",
        "sampling_rate": rate,
        "lead_names": tuple(channel.label for channel in channels),
        "age": parse_age(parsed.patient.age),
        "sex": parse_sex(parsed.patient.sex),
        "patient_id": pseudonym(known_number(parsed.patient.patient_id)),
        "report": report,
        "measurements": measurements,
        "columns": {"device_report": own_report} if own_report else {},
        "notes": (*remarks, *notes, *resampled, *calculated, *left_out),
    }


def known_number(patient_id: str) -> str:
    """Returns a patient's number, or "" for what stands for an unknown one, as "X X X X" does in EDF."""
    return "" if re.fullmatch(r"[\sx?*0._-]*|unknown|anonym\w*|none|n/?a", patient_id, re.IGNORECASE) else patient_id


def parse(path: Path, format: str) -> tuple[list[tuple[Any, float]], list[str]]:
    """Parses a file into ECGRecords of ecgdatakit, each with its start in seconds; there are several for DICOM alone.

    Returns: these, and the parser's warnings.
    """
    try:
        from ecgdatakit import FileParser
    except ImportError as error:
        raise ImportError(f"Reading {path.name} needs ecgdatakit: pip install heartcare[formats]") from error
    check_limits(path, format)
    if (detected := FileParser.detect_format(path)) is None or detected["name"] != FORMATS[format]:
        raise ValueError(f"{path} begins like {format}, but is none that can be read; it may be damaged.")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            parts = PARSERS.get(format, parse_whole)(path, FileParser.parse)
    except ImportError as error:
        raise ImportError(
            f"Reading {path.name} needs more packages ({error}): pip install heartcare[formats]"
        ) from error
    except Exception as error:  # the parsers raise many kinds of errors on damaged files
        raise ValueError(
            f"{path} cannot be read, it may be damaged, truncated or not what it claims to be ({error})."
        ) from error
    remarks = [" ".join(str(warning.message).split()) for warning in caught]
    # pydicom's warnings quote the value, which may be a name or a date of birth.
    remarks = [re.sub(r"(Invalid value for VR \w+).*", r"\1", remark)[:200] for remark in remarks]
    return parts, list(dict.fromkeys(remarks))


def parse_whole(path: Path, parse_file: Callable) -> list[tuple[Any, float]]:
    """Parses a file that holds one recording."""
    return [(parse_file(path, units="mV"), 0.0)]


def parse_dicom(path: Path, parse_file: Callable) -> list[tuple[Any, float]]:
    """Parses a DICOM file whose leads may be in several multiplex groups, as 3x4 recordings are.

    ecgdatakit reads the first of them, so each goes into a file of its own.
    """
    import pydicom

    dataset = pydicom.dcmread(path)
    groups = [group for group in dataset.get("WaveformSequence") or () if not is_average(group)]
    if len(groups) < 2:
        return parse_whole(path, parse_file)
    starts = [float(group.get("MultiplexGroupTimeOffset") or 0.0) / 1000 for group in groups]
    parts, seen = [], set()
    with tempfile.TemporaryDirectory() as folder:
        for group, start in zip(groups, starts):
            dataset.WaveformSequence = pydicom.Sequence([group])
            dataset.save_as(Path(folder) / "group.dcm")
            parsed = parse_file(Path(folder) / "group.dcm", units="mV")
            if repeated := [lead.label for lead in parsed.leads if canonical_lead(lead.label) in seen]:
                warnings.warn(f"left out {' '.join(repeated)} of a further multiplex group", stacklevel=2)
            parsed.leads = [lead for lead in parsed.leads if lead.label not in repeated]
            seen |= {canonical_lead(lead.label) for lead in parsed.leads} - {None}
            parts.append((parsed, start - min(starts)))
    return parts


def is_average(group: Any) -> bool:
    """Tells whether a multiplex group of a DICOM file is an average beat, by its label."""
    return any(word in str(group.get("MultiplexGroupLabel") or "").upper() for word in ("MEDIAN", "REPRES", "AVERAGE"))


PARSERS = {"dicom": parse_dicom}


def place(parsed: Any, format: str, start: float) -> Iterator[Channel]:
    """Yields the channels of a parsed file, each sample at its time.

    Args:
        parsed: ECGRecord of ecgdatakit.
        start: Seconds before the first sample.

    Raises: `ValueError` for one of the twelve leads that has no scale to mV.
    """
    rates = RATES[format](parsed) if format in RATES else {}
    for number, lead in enumerate(parsed.leads, 1):
        if lead.is_raw or lead.units != "mV":
            if canonical_lead(lead.label):
                raise ValueError(f"lead {lead.label} has no scale to mV in the file")
            continue
        rate = round(rates.get(lead.label, lead.sampling_rate), 9)
        channel = Channel(lead.label, np.asarray(lead.samples), rate)
        if placement := PLACEMENTS.get(format):
            channel = placement(channel, lead, number, parsed.raw_metadata)
        yield channel._replace(samples=after_silence(channel.samples, round(start * rate)))


def after_silence(samples: np.ndarray, count: int) -> np.ndarray:
    """Puts `count` NaN before the samples.

    Raises: `ValueError` where that is more than can be read.
    """
    if count + len(samples) > most_values():
        raise ValueError(f"a lead begins after {count} samples; at most {most_values()} are read at a time")
    return np.concatenate([np.full(count, np.nan), samples]) if count else samples


def place_records(channel: Channel, lead: Any, number: int, metadata: dict) -> Channel:
    """Puts the data records of an EDF+ file where their start times are, with NaN between them."""
    onsets, records = metadata.get("record_onsets") or [], metadata["num_records"]
    starts = np.round((np.array(onsets) - onsets[0]) * channel.rate) if len(onsets) == records else np.zeros(0)
    size = len(channel.samples) // records
    if len(starts) < 2 or np.all(np.diff(starts) == size):
        return channel
    if np.any(np.diff(starts) < size):
        raise ValueError("the start times of the data records overlap or fall")
    if starts[-1] + size > most_values():
        raise ValueError(
            f"the data records end after {starts[-1] + size:.0f} samples; at most {most_values()} are read"
        )
    samples = np.full(int(starts[-1]) + size, np.nan)
    samples[(starts.astype(int)[:, None] + np.arange(size)).ravel()] = channel.samples
    return channel._replace(samples=samples)


def place_from_start(channel: Channel, lead: Any, number: int, metadata: dict) -> Channel:
    """Puts a lead of an SCP-ECG file where its first sample is: those of a 3x4 recording begin one after the other."""
    return channel._replace(samples=after_silence(channel.samples, int(lead.annotations.get("start_sample", 1)) - 1))


def without_faults(channel: Channel, lead: Any, number: int, metadata: dict) -> Channel:
    """Marks the samples of an ISHNE file at which a lead was off, and renames leads for which the file has no name."""
    fault = np.isclose(channel.samples, ISHNE_FAULT * lead.adc_resolution * 1e-6)
    label = f"channel {number}" if channel.label == f"Lead {number}" else channel.label
    return channel._replace(label=label, samples=np.where(fault, np.nan, channel.samples))


PLACEMENTS = {"edf": place_records, "scp-ecg": place_from_start, "ishne": without_faults}


def rates_of_edf(parsed: Any) -> dict[str, float]:
    """Returns the rates of an EDF file that are no whole numbers."""
    return parsed.raw_metadata.get("exact_sampling_rates", {})


def rates_of_group(parsed: Any) -> dict[str, float]:
    """Returns the rate of the multiplex group of a DICOM file that was read."""
    groups = [group for group in parsed.raw_metadata["multiplex_groups"] if group["channels"] == len(parsed.leads)]
    rates = {round(group["sampling_frequency"]): group["sampling_frequency"] for group in reversed(groups)}
    return {lead.label: rates.get(lead.sampling_rate, lead.sampling_rate) for lead in parsed.leads}


def rates_of_increment(parsed: Any) -> dict[str, float]:
    """Returns the rate of an HL7 aECG file, which states the time from sample to sample."""
    rate = parsed.raw_metadata["rhythm_time"]["sampling_rate_exact"]
    rate = round(rate) if abs(rate / round(rate) - 1) < ROUNDING else rate
    return {lead.label: rate for lead in parsed.leads}


def rates_of_frames(parsed: Any) -> dict[str, float]:
    """Returns the rates of an MFER file."""
    return dict(zip((lead.label for lead in parsed.leads), parsed.raw_metadata.get("sampling_rates", ())))


# ecgdatakit rounds the sampling rates of its leads to whole numbers; these find the exact ones, by label.
RATES = {"edf": rates_of_edf, "dicom": rates_of_group, "hl7-aecg": rates_of_increment, "mfer": rates_of_frames}


def choose_channels(path: Path, channels: list[Channel]) -> tuple[list[Channel], list[str]]:
    """Chooses the twelve leads, and the other voltages that fit beside them.

    Returns: these, and notes on what was left out.

    Raises: `ValueError` where there is no voltage at a possible rate, or too much.
    """
    possible = [channel for channel in channels if MIN_RATE <= channel.rate <= MAX_RATE]
    leads = [channel for channel in possible if canonical_lead(channel.label)]
    rates = {channel.rate for channel in leads or possible}
    chosen = [channel for channel in possible if channel.rate in rates]
    if values_at_one_rate(chosen) > most_values():
        chosen = leads
    if not chosen:
        rates = sorted({channel.rate for channel in channels})
        raise ValueError(
            f"{path} holds no voltage at sampling rates of {MIN_RATE} to {MAX_RATE} Hz, but {len(channels)} at {rates}."
        )
    if (values := values_at_one_rate(chosen)) > most_values():
        raise ValueError(f"{path} holds {values} values; at most {most_values()} are read at a time.")
    kept = {id(channel) for channel in chosen}
    notes = [
        f"left out {channel.label!r} at {channel.rate:g} Hz, which does not fit beside the leads"
        for channel in channels
        if id(channel) not in kept
    ]
    return chosen, notes


def values_at_one_rate(channels: list[Channel]) -> float:
    """Returns the number of values of the channels at the rate of the fastest."""
    fastest = max((channel.rate for channel in channels), default=0)
    return len(channels) * max((len(channel.samples) * fastest / channel.rate for channel in channels), default=0)


def at_one_rate(channels: list[Channel]) -> tuple[np.ndarray, float, list[str]]:
    """Brings the channels to the rate of the fastest.

    Returns: float32 (channels, samples), NaN where a channel has ended; the rate; and notes.
    """
    fastest, notes, rows = max(channel.rate for channel in channels), [], []
    for label, samples, rate in channels:
        if rate != fastest:
            length = int(len(samples) * Fraction(fastest) / Fraction(rate))
            samples = resample(samples[None], rate, fastest, length)[0]
            notes.append(f"resampled {label} from {rate:g} to {fastest:g} Hz")
        rows.append(samples)
    signal = np.full((len(rows), max(map(len, rows))), np.nan, np.float32)
    for row, samples in zip(signal, rows):
        row[: len(samples)] = samples
    return signal, fastest, notes
