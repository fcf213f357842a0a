# Copyright 2026 The HeartcareGPT authors. Licensed under the Apache License, Version 2.0.
"""From ECGs of any rate, lead order and unit to Beat's input.

anything --as_ecg--> ECG --arrange, clean, resample--> PreparedECG --pad--> input_values, masks
                                 |
                                 +--> quality record, measurements
"""

import inspect
import math
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from transformers.feature_extraction_utils import BatchFeature, FeatureExtractionMixin

from .cleaning_heartcare import bridge, clean, held_values, long_stretches, resample
from .configuration_heartcare import LEADS, SAVED_BY_TRANSFORMERS, refuse_unknown, without_foreign
from .ecg_heartcare import ECG
from .measuring_heartcare import as_plain, plain_measurements, unmeasured
from .quality_heartcare import FLAT_SECONDS, plain_quality
from .reading_heartcare import as_ecg, one_for_each
from .recognition_heartcare import not_an_ecg

MIN_STRETCH_SECONDS = 0.5  # a lead that was recorded for less at a time shows no whole beat, and is left out there
SATURATED_SHARE = 0.05  # share of the samples at a lead's largest or smallest value, above which it is saturated


class ArrangedECG(NamedTuple):
    """The twelve leads before cleaning.

    Attributes:
        signal: float64 (12, samples) in mV, NaN where a lead was not recorded.
        warnings: Names of the faults.
    """

    signal: np.ndarray
    warnings: list[str]


class PreparedECG(NamedTuple):
    """An ECG as the model takes it.

    Attributes:
        signal: float32 (12, samples) in mV at the model's rate, 0 where a lead was not recorded.
        lead_mask: bool (12, samples), True where a lead was recorded.
        quality: The quality record: "source", "sampling_rate" and "seconds" of the recording; its "leads";
            "recorded_seconds" of the leads that were recorded for a part of the time; "by_lead", the quality of each
            lead before cleaning, as `quality_heartcare.plain_quality` returns it; and the names of "warnings".
        measurements: Plain values, as `measuring_heartcare.as_plain` returns them; None where they were not asked for.
    """

    signal: np.ndarray
    lead_mask: np.ndarray
    quality: dict[str, Any]
    measurements: dict[str, Any] | None = None


class BeatFeatureExtractor(FeatureExtractionMixin):
    r"""
    Turns ECGs of any rate, lead order and unit into Beat's input: leads in standard order, in mV, cleaned, resampled,
    and a mask of the samples that were recorded.

    Cleaning is a zero-phase 0.35 Hz high-pass (drift) and zero-phase notches at the power line's frequencies, at the
    ECG's own rate and over all leads in one call, followed by band-limited resampling. It keeps the QRS amplitude
    within 2 % and the ST level within 20 uV. A lead may be there for part of the time, as on a page of 3x4 leads.

    Args:
        sampling_rate (`int`): Hz of the output; Beat's rate.
        samples_per_latent (`int`): Samples that one latent of Beat stands for, which fixes the number of placeholders.
        highpass_hz (`float`): Corner of the high-pass, 0 for none.
        notch_hz (`list[float]`): Power line frequencies; those at or above 0.9 times the Nyquist frequency are left
            alone.
        min_seconds (`float`): Shorter ECGs are refused.
        max_gap_seconds (`float`): Shorter gaps (NaN) are bridged by straight lines; longer ones are masked.
        plausible_mv (`list[float]`): Range of the median over leads of the peak-to-peak amplitude; outside of it there
            is a warning.

    Raises: `TypeError` for keywords that it does not know.
    """

    model_input_names = ["input_values", "ecg_attention_mask", "lead_mask"]
    padding_value = 0.0  # pipelines of transformers ask for it

    def __init__(
        self,
        sampling_rate: int = 100,
        samples_per_latent: int = 20,
        highpass_hz: float = 0.35,
        notch_hz: tuple[float, ...] | list[float] = (50.0, 60.0),
        min_seconds: float = 1.0,
        max_gap_seconds: float = 0.2,
        plausible_mv: tuple[float, ...] | list[float] = (0.05, 15.0),
        **kwargs: Any,
    ):
        refuse_unknown(
            {name: value for name, value in kwargs.items() if name not in SAVED_BY_TRANSFORMERS},
            SETTINGS,
            type(self).__name__,
        )
        super().__init__(**kwargs)
        self.sampling_rate = sampling_rate
        self.samples_per_latent = samples_per_latent
        self.highpass_hz = highpass_hz
        self.notch_hz = list(notch_hz)
        self.min_seconds = min_seconds
        self.max_gap_seconds = max_gap_seconds
        self.plausible_mv = list(plausible_mv)

    @classmethod
    def from_dict(cls, feature_extractor_dict: dict[str, Any], **kwargs: Any) -> "BeatFeatureExtractor":
        """Makes an extractor of saved settings. Settings of a later version that this one does not know are left out
        with a warning.

        Raises: `TypeError` for a setting that looks like a misspelt one.
        """
        known = without_foreign(feature_extractor_dict, SETTINGS, cls.__name__)
        return super().from_dict(known, **kwargs)

    def __call__(
        self,
        ecg: Any,
        sampling_rate: float | Sequence[float] | None = None,
        lead_names: Sequence[str] | Sequence[Sequence[str]] | None = None,
        units: str | Sequence[str] | None = None,
        return_tensors: str | None = None,
        return_quality: bool = False,
        return_measurements: bool = False,
        **kwargs: Any,
    ) -> BatchFeature:
        """Turns ECGs into `input_values` float32 (ecgs, 12, samples) in mV, left-padded; `ecg_attention_mask` int64
        (ecgs, samples); `lead_mask` bool (ecgs, 12, samples); with `return_quality` also `ecg_quality`, a list of
        quality records; with `return_measurements` also `ecg_measurements`, a list of dicts of numbers.

        Args:
            ecg: One ECG or a list of them, each a path, bytes, an array or tensor (leads, samples), an `ECG`, or a dict
                `{"signal": array, "sampling_rate": ..., "lead_names": ..., "units": ...}` or `{"path": ...}`.
            sampling_rate (Hz), lead_names, units ("mV", "uV", "V"): Stated for ECGs that do not say it themselves; one
                value for all, or a list with one for each.
            return_tensors: "pt" or "np".
            return_quality: Adds the quality records.
            return_measurements: Adds rate, intervals, axes and the like; see `measuring_heartcare.Measurements`.

        Raises: `TypeError` for unknown keywords and types; `ValueError`, `FileNotFoundError` and `ImportError` that say
            what came, what was expected, and what to do.
        """
        refuse_unknown(kwargs, CALL_KEYWORDS, type(self).__name__)
        records = self.fetch_ecg(ecg, sampling_rate, lead_names, units)
        prepared = [self.prepare(record, return_measurements) for record in records]
        signals, masks = [record.signal for record in prepared], [record.lead_mask for record in prepared]
        return with_records(self.pad(signals, masks, return_tensors), prepared, return_quality, return_measurements)

    def fetch_ecg(
        self,
        ecg: Any,
        sampling_rate: float | Sequence[float] | None = None,
        lead_names: Sequence[str] | Sequence[Sequence[str]] | None = None,
        units: str | Sequence[str] | None = None,
    ) -> list[ECG]:
        """Reads one ECG in any accepted form, or a list of ECGs; the arguments are those of a call.

        Raises: as a call.
        """
        if isinstance(ecg, (list, tuple)):
            if any(isinstance(item, (list, tuple, int, float)) for item in ecg):
                raise TypeError(
                    "An ECG was given as a nested Python list; expected a numpy array or torch tensor of shape (leads, "
                    "samples), a path, or a dict. Use numpy.asarray(your_list)."
                )
            columns = one_for_each(len(ecg), sampling_rate, lead_names, units)
            return [record for item in zip(ecg, *columns) for record in self.fetch_ecg(*item)]
        if getattr(ecg, "ndim", 0) == 3:
            return self.fetch_ecg(list(ecg), sampling_rate, lead_names, units)
        return [as_ecg(ecg, sampling_rate, lead_names, units)]

    def prepare(self, ecg: ECG | dict[str, Any], measure: bool = False) -> PreparedECG:
        """Arranges, cleans and resamples one ECG.

        Args:
            ecg: An `ECG`, or a dict of its attributes.
            measure: True also measures its first minute at its own rate, and tells whether it is an ECG at all: its
                quality record then has "not_an_ecg", lead -> what the lead holds, which is empty for an ECG.

        Raises: `ValueError` for an ECG without a usable lead.
        """
        ecg = ECG.of(ecg)
        arranged = self.arrange(ecg)
        if "units_assumed_mV" in arranged.warnings:
            warnings.warn(
                f"{ecg.source}: no units are given, so its values are taken for mV; give units='mV', 'uV' or 'V'.",
                UserWarning,
                stacklevel=2,
            )
        cleaned = self.clean(arranged.signal, ecg.sampling_rate)
        signal = self.resample(cleaned, ecg.sampling_rate)
        recorded = np.isfinite(arranged.signal)
        partly = [(lead, row.mean()) for lead, row in zip(LEADS, recorded) if row.any() and not row.all()]
        quality = {
            "source": ecg.source,
            "sampling_rate": ecg.sampling_rate,
            "seconds": ecg.seconds,
            "leads": [lead for lead, row in zip(LEADS, recorded) if row.any()],
            "recorded_seconds": {lead: round(float(share * ecg.seconds), 3) for lead, share in partly},
            "by_lead": plain_quality(ecg.signal, ecg.sampling_rate, ecg.lead_names),
            "warnings": arranged.warnings,
        }
        measurements = None
        if measure:
            quality["not_an_ecg"] = not_an_ecg(arranged.signal, ecg.sampling_rate)
            if quality["not_an_ecg"]:
                measurements = as_plain(unmeasured("the recording is no ECG"))
            else:
                measurements = plain_measurements(cleaned, ecg.sampling_rate)
        lead_mask = np.isfinite(signal)
        return PreparedECG(np.where(lead_mask, signal, 0.0).astype(np.float32), lead_mask, quality, measurements)

    def arrange(self, ecg: ECG) -> ArrangedECG:
        """Brings the leads of an ECG into standard order and derives absent limb leads from I and II.

        Short gaps are bridged. Longer gaps, stretches in which a lead holds one value, and what is left between them
        that is too short to show a beat are left out.

        Raises: `ValueError` for an ECG that is too short, or has no usable lead.
        """
        samples, rate = ecg.signal.shape[1], ecg.sampling_rate
        if samples < self.min_seconds * rate:
            raise ValueError(
                f"{ecg.source}: {samples} samples at {rate:g} Hz are {samples / rate:.2g} s; at least "
                f"{self.min_seconds:g} s are needed."
            )
        rows, faults = np.full((len(LEADS), samples), np.nan), list(ecg.warnings)
        for name, lead in zip(ecg.lead_names, ecg.signal.astype(np.float64)):
            usable, own_faults = self.inspect(lead, rate)
            faults += [f"{fault}:{name}" for fault in own_faults]
            if usable is not None:
                rows[LEADS.index(name)] = usable
        if not np.isfinite(rows).any():
            raise ValueError(
                f"{ecg.source}: no lead can be used ({', '.join(faults)}); check the electrodes or the file."
            )
        one, two = rows[0], rows[1]
        derived = {"III": two - one, "aVR": -(one + two) / 2, "aVL": one - two / 2, "aVF": two - one / 2}
        for name, lead in derived.items():
            row = rows[LEADS.index(name)]
            np.copyto(row, lead, where=~np.isfinite(row))
        amplitude = float(np.median([np.nanmax(row) - np.nanmin(row) for row in rows if np.isfinite(row).any()]))
        low, high = self.plausible_mv
        if not low <= amplitude <= high:
            faults.append("amplitude_implausible")
        faults += [f"absent:{lead}" for lead, row in zip(LEADS, rows) if not np.isfinite(row).any()]
        return ArrangedECG(rows, faults)

    def inspect(self, lead: np.ndarray, rate: float) -> tuple[np.ndarray | None, list[str]]:
        """Judges one lead (samples,) in mV at `rate` Hz.

        Returns: the lead with short gaps bridged and NaN in all else that cannot be used, or None where nothing can;
            and the names of its faults: "gap", "gap_bridged", "flat", "flat_partly" (off for a part of the time),
            "saturated".
        """
        recorded = np.isfinite(lead)
        if not recorded.any():
            return None, ["gap"]
        missing = long_stretches(~recorded, math.floor(self.max_gap_seconds * rate) + 1)
        faults = ["gap"] if missing.any() else [] if recorded.all() else ["gap_bridged"]
        lead = np.where(missing, np.nan, bridge(lead[None])[0])
        flat = held_values(lead[None], round(FLAT_SECONDS * rate))[0]
        usable = ~missing & ~flat
        if not usable.all():
            usable = long_stretches(usable, MIN_STRETCH_SECONDS * rate)
        values = lead[usable]
        if not len(values):
            return None, ["flat"] if flat.any() else faults
        low, high = values.min(), values.max()
        if low == high:
            return None, ["flat"]
        if flat.any():
            faults.append("flat_partly")
        if np.mean((values == high) | (values == low)) > SATURATED_SHARE:
            faults.append("saturated")
        return np.where(usable, lead, np.nan), faults

    def is_off(self, lead: np.ndarray, rate: float) -> bool:
        """Tells whether nothing of one lead (samples,) at `rate` Hz can be used: it is flat or was not recorded."""
        return self.inspect(lead, rate)[0] is None

    def clean(self, signal: np.ndarray, rate: float) -> np.ndarray:
        """Removes drift and power line hum from (leads, samples) mV at `rate` Hz; see `cleaning_heartcare.clean`."""
        return clean(signal, rate, self.highpass_hz, self.notch_hz)

    def resample(self, signal: np.ndarray, rate: float) -> np.ndarray:
        """Changes (leads, samples) at `rate` Hz to the model's rate; see `cleaning_heartcare.resample`."""
        return resample(signal, rate, self.sampling_rate)

    def pad(
        self, signals: Sequence[np.ndarray], lead_masks: Sequence[np.ndarray], return_tensors: str | None = None
    ) -> BatchFeature:
        """Pads prepared signals (12, samples) and their lead masks (12, samples) on the left into one batch.

        Raises: `ValueError` for an empty list.
        """
        if not signals:
            raise ValueError("The list of ECGs is empty.")
        longest = max(signal.shape[-1] for signal in signals)
        missing = [longest - signal.shape[-1] for signal in signals]
        data = {
            "input_values": np.stack([np.pad(signal, ((0, 0), (n, 0))) for signal, n in zip(signals, missing)]),
            "ecg_attention_mask": np.stack([np.arange(longest) >= n for n in missing]).astype(np.int64),
            "lead_mask": np.stack([np.pad(mask, ((0, 0), (n, 0))) for mask, n in zip(lead_masks, missing)]),
        }
        return BatchFeature(data, tensor_type=return_tensors)

    def num_latents(self, num_samples: int) -> int:
        """Returns the number of latents, and so of placeholders, of an ECG of `num_samples` samples."""
        return -(-num_samples // self.samples_per_latent)


SETTINGS, CALL_KEYWORDS = (
    tuple(inspect.signature(method).parameters)[1:-1]  # without self and kwargs
    for method in (BeatFeatureExtractor.__init__, BeatFeatureExtractor.__call__)
)


def with_records(features: BatchFeature, prepared: list, quality: bool, measured: bool) -> BatchFeature:
    """Adds `ecg_quality` and `ecg_measurements` of prepared ECGs to features, as they are asked for."""
    if measured:
        features["ecg_measurements"] = [record.measurements for record in prepared]
    if quality:
        features["ecg_quality"] = [record.quality for record in prepared]
    return features


BeatFeatureExtractor.register_for_auto_class()

__all__ = ["ArrangedECG", "BeatFeatureExtractor", "PreparedECG", "with_records"]
