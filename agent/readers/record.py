"""What every reader gives."""

import hashlib
from dataclasses import dataclass, field

import numpy as np

from ...processing_heartcare import LEADS, MAX_RATE, MIN_RATE, canonical_lead
from ..lexicon import find_statements


@dataclass
class ECGRecord:
    """One ECG as it was read, before any cleaning.

    Attributes:
        record_id: Name of the record; unique in its data set.
        signal: float32 (leads, samples) in mV; NaN where nothing was recorded.
        sampling_rate: Hz, of all leads.
        lead_names: Standard names of the twelve leads, in the file's order.
        age: Years, or None. 90 stands for "over 89".
        sex: "male", "female" or None.
        patient_id: A pseudonym that is the same for all records of a patient, or None.
        statements: SCP-ECG code -> likelihood in percent, 0 where it is not stated (PTB-XL's convention).
        report: The diagnostic text, without anything about the patient.
        measurements: What the file says, for example {"QRS (ms)": 94.0}.
        notes: Further columns of the source, by PTB-XL's names (heart_axis, extra_beats, static_noise, ...).
        fold: 1 to 10, where the source has folds.
        format: Of the file.
        provenance: Every change that was made to what the file holds, in order.
    """

    record_id: str
    signal: np.ndarray
    sampling_rate: float
    lead_names: tuple[str, ...]
    age: float | None = None
    sex: str | None = None
    patient_id: str | None = None
    statements: dict[str, float] = field(default_factory=dict)
    report: str = ""
    measurements: dict[str, float] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    fold: int | None = None
    format: str = ""
    provenance: list[str] = field(default_factory=list)

    @property
    def mask(self) -> np.ndarray:
        """bool (leads, samples), True where something was recorded."""
        return np.isfinite(self.signal)

    @property
    def seconds(self) -> float:
        return self.signal.shape[1] / self.sampling_rate

    def as_input(self) -> dict:
        """The form that `BeatFeatureExtractor` and `HeartcareProcessor` take as `ecg=`."""
        lead_names, units = list(self.lead_names), "mV"
        return {
            "ecg": self.signal,
            "sampling_rate": self.sampling_rate,
            "lead_names": lead_names,
            "units": units,
            "source": self.record_id,
        }

    def checked(self) -> "ECGRecord":
        """The same record with standard lead names and float32, all else than the twelve leads left out.

        Raises: `ValueError` when there is no lead, no sample or no possible sampling rate.
        """
        signal = np.asarray(self.signal)
        if signal.ndim != 2 or signal.dtype.kind not in "iuf" or len(self.lead_names) != len(signal):
            raise ValueError(
                f"{self.record_id}: {len(self.lead_names)} lead names for an array {signal.dtype} {signal.shape}."
            )
        rate = float(self.sampling_rate)
        if not MIN_RATE <= rate <= MAX_RATE:
            raise ValueError(
                f"{self.record_id}: a sampling rate of {rate:g} Hz cannot be; expected {MIN_RATE} to {MAX_RATE} Hz."
            )
        keep, names = [], []
        for i, name in enumerate(self.lead_names):
            standard = canonical_lead(name)
            if standard is None:
                self.provenance.append(f"left out {str(name)[:40]!r}, which is none of the twelve leads")
            elif standard in names:
                raise ValueError(f"{self.record_id}: lead {standard} is there twice in {list(self.lead_names)}.")
            else:
                if standard != name:
                    self.provenance.append(f"took {str(name)[:40]!r} for lead {standard}")
                keep.append(i)
                names.append(standard)
        if not keep:
            raise ValueError(
                f"{self.record_id}: none of the signals {list(self.lead_names)[:12]} is one of {' '.join(LEADS)}."
            )
        with np.errstate(over="ignore"):
            self.signal = np.ascontiguousarray(signal[keep], dtype=np.float32)
        self.signal[~np.isfinite(self.signal)] = np.nan
        if not np.isfinite(self.signal).any():
            raise ValueError(f"{self.record_id}: there is no sample in any lead.")
        self.lead_names, self.sampling_rate = tuple(names), rate
        if self.report and not self.statements:
            self.statements = find_statements(self.report)
            if self.statements:
                self.provenance.append(f"{len(self.statements)} statements from the report's text")
        return self


def pseudonym(patient_id) -> str | None:
    """A name that is the same for the same patient. It hides the number from readers, not from who knows the list of
    numbers.
    """
    text = str(patient_id or "").strip()
    return hashlib.sha256(text.encode()).hexdigest()[:16] if text else None


def parse_sex(text) -> str | None:
    """ "F", "Female", "w", "weiblich" -> "female"; "M", "male", "männlich" -> "male"; anything else None."""
    word = str(text or "").strip().lower()
    if word in ("f", "female", "w", "weiblich", "frau", "woman"):
        return "female"
    return "male" if word in ("m", "male", "männlich", "maennlich", "mann", "man") else None


def parse_age(value) -> float | None:
    """Years from 0 to 130, and 90 for "over 89" (PTB-XL writes 300); anything else None."""
    try:
        age = float(value)
    except (TypeError, ValueError):
        return None
    if age == 300:
        return 90.0
    return age if 0 <= age <= 130 else None
