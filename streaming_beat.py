# Copyright 2026 The HeartcareGPT authors. Licensed under the Apache License, Version 2.0.
"""Beat's codes of a recording that still goes on, segment by segment, in constant memory.

chunks (leads, any number of samples) -> window around a segment -> cleaned -> cut to the segment -> codes
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from transformers import PreTrainedModel

from .configuration_heartcare import ABSENT
from .ecg_heartcare import ECG, MAX_RATE, MIN_RATE, to_millivolts


class BeatStreamSegment(NamedTuple):
    """A segment of a stream.

    seconds: Start of the segment after the start of the stream.
    codes (num_levels, N): -1 where every lead is off.
    gain (): mV; the same for the whole stream.
    values (12, n): mV; the cleaned signal that was encoded.
    lead_mask (12, n) bool: True where a lead was recorded.
    warnings: Names as in the processor's quality record; "off" where every lead is off, "too_short" where the whole
        stream is too short to be cleaned.
    """

    seconds: float
    codes: torch.LongTensor
    gain: torch.FloatTensor
    values: torch.FloatTensor
    lead_mask: torch.BoolTensor
    warnings: list[str]


class CleanedSegment(NamedTuple):
    """A segment before it is encoded: as in `BeatStreamSegment`, with numpy arrays."""

    seconds: float
    values: np.ndarray
    lead_mask: np.ndarray
    warnings: list[str]


class BeatStream:
    """Codes of a recording that still goes on, segment by segment, in constant memory.

        stream = beat.stream(processor.feature_extractor, sampling_rate=500)
        for chunk in monitor:                  # (leads, any number of samples)
            for segment in stream.push(chunk): # each segment once, `context_seconds` after its end
                ...
        segments = stream.close()              # the rest

    A segment is cleaned by the processor's own code together with `context_seconds` of signal on either side. The cuts
    depend on the stream alone and not on its chunks, so that chunks of any size give the same codes as the whole
    recording at once, bit for bit. Segments count from the start of the stream; those of `BeatModel.encode` count from
    the end of the recording, so that the two agree where the recording is a whole number of segments.

    A lead that is NaN, or holds one value for a second, is off, as in a file: it is masked, and comes back by itself.
    Rows that are none of the twelve leads are left out.

    Args:
        model (`BeatModel`): Beat in evaluation mode.
        feature_extractor (`BeatFeatureExtractor`): The processor's feature extractor.
        sampling_rate (`float`): Samples per second of the chunks.
        lead_names, units: As for the feature extractor.
        gain (`float`, *optional*): mV; by default that of the first segment with a lead on. It is held for the whole
            stream.
        context_seconds (`float`): Signal that cleaning sees on either side of a segment; also how long a segment waits.
        batch_size (`int`): Largest number of segments that are encoded at once, when a long chunk comes in.

    Raises: `ValueError` when model and feature extractor work at different rates, and for an impossible sampling rate,
        unknown units, a gain that is not above 0, a negative context, lead names without any of the twelve, or a lead
        twice.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        feature_extractor: Any,
        sampling_rate: float,
        lead_names: Sequence[str] | None = None,
        units: str = "mV",
        gain: float | None = None,
        context_seconds: float = 4.0,
        batch_size: int = 32,
    ):
        self.model, self.extractor, self.rate = model, feature_extractor, float(sampling_rate)
        if feature_extractor.sampling_rate != model.config.sampling_rate:
            raise ValueError(
                f"The feature extractor gives {feature_extractor.sampling_rate} Hz, the model expects "
                f"{model.config.sampling_rate} Hz; take both from one repository."
            )
        if not MIN_RATE <= self.rate <= MAX_RATE:
            raise ValueError(f"sampling_rate must be {MIN_RATE} to {MAX_RATE} Hz, got {sampling_rate}.")
        if gain is not None and not 0 < gain < math.inf:
            raise ValueError(f"gain must be above 0 mV and finite, got {gain}; leave it out to take the stream's own.")
        if not 0 <= context_seconds < math.inf:
            raise ValueError(f"context_seconds must be at least 0 and finite, got {context_seconds}.")
        to_millivolts(1.0, units)  # refuses unknown ones
        lead_names = [lead_names] if isinstance(lead_names, str) else lead_names
        self.num_leads = model.config.num_leads if lead_names is None else len(lead_names)
        # An ECG each of whose rows holds its own number: its constructor judges the names, and tells the rows to keep.
        numbers = np.repeat(np.arange(self.num_leads)[:, None], 2, axis=1)
        leads = ECG.of(numbers, self.rate, lead_names, "mV", "stream")
        self.rows = leads.signal[:, 0].astype(int)
        self.form = {"sampling_rate": self.rate, "units": units, "source": "stream"}
        self.form |= {"lead_names": leads.lead_names, "warnings": leads.warnings}
        self.seconds = model.config.segment_length / model.config.sampling_rate
        self.context, self.batch_size = context_seconds, batch_size
        self.shortest = math.ceil(feature_extractor.min_seconds * self.rate)  # samples that can be cleaned
        self.gain = None if gain is None else torch.tensor([gain], dtype=torch.float32, device=model.device)
        self.chunks: list[np.ndarray] = []  # samples still needed; `first` is the stream index of the first
        self.first = self.pushed = self.segment = 0
        self.closed = False

    def push(self, chunk: np.ndarray | torch.Tensor) -> list[BeatStreamSegment]:
        """Takes the next samples (leads, samples) in `units`, and gives the segments that they complete.

        Raises: `ValueError` for another number of leads, or after `close`.
        """
        chunk = chunk.detach().cpu().numpy() if hasattr(chunk, "detach") else np.asarray(chunk)
        if self.closed:
            raise ValueError("The stream is closed; start another one.")
        if chunk.ndim != 2 or chunk.shape[0] != self.num_leads:
            raise ValueError(f"A chunk must have shape ({self.num_leads}, samples), got {chunk.shape}.")
        self.chunks.append(np.asarray(chunk[self.rows], np.float64))  # a copy; the caller's may change
        self.pushed += chunk.shape[1]
        ready = int((self.pushed / self.rate - self.context) // self.seconds)
        return self._encode([self._cut(k) for k in range(self.segment, ready)])

    def close(self) -> list[BeatStreamSegment]:
        """Ends the stream, and gives the segments that waited for their context, and the last, shorter one.

        A rest that is too short to be cleaned is cleaned together with more of the signal before it; a whole stream
        that is too short is returned as off, with the warning "too_short".
        """
        self.closed = True
        segments = -(-self._total() // self.model.config.segment_length)
        return self._encode([self._cut(k) for k in range(self.segment, segments)])

    def _cut(self, k: int) -> CleanedSegment:
        """Cuts segment k out of the stream, cleaned, and drops the samples that no later segment needs."""
        start, end = k * self.seconds, (k + 1) * self.seconds
        low, high = (max(0, min(self.pushed, round(t * self.rate))) for t in (start - self.context, end + self.context))
        low = max(0, min(low, high - self.shortest))
        if len(self.chunks) > 1:
            self.chunks = [np.concatenate(self.chunks, axis=1)]
        window = self.chunks[0][:, low - self.first : high - self.first]
        cleaned = self._clean(window, start, low, self._total() - k * self.model.config.segment_length)
        self.segment = k + 1
        # Samples before the next segment's context are dropped once they are half of those held.
        keep = min(round((end - self.context) * self.rate), math.floor(end * self.rate) - self.shortest)
        keep = max(0, keep) - self.first
        if 2 * keep >= self.chunks[0].shape[1]:
            self.chunks, self.first = [self.chunks[0][:, keep:].copy()], self.first + keep
        return cleaned

    def _clean(self, window: np.ndarray, start: float, low: int, remaining: int) -> CleanedSegment:
        """Cleans the window (leads, samples) that begins at stream index `low`, and cuts it to the segment that starts
        at `start` seconds; `remaining` is the number of the stream's samples from there on, at the model's rate.
        """
        config = self.model.config
        length = min(config.segment_length, remaining)
        off = np.zeros((config.num_leads, length), np.float32)
        if window.shape[1] < self.shortest:
            return CleanedSegment(start, off, off > 0, ["off", "too_short"])
        if all(self.extractor.is_off(lead, self.rate) for lead in window):
            return CleanedSegment(start, off, off > 0, ["off"])
        values, lead_mask, quality, _ = self.extractor.prepare({"signal": window, **self.form})
        place = round((start - low / self.rate) * config.sampling_rate)
        place = min(place, values.shape[1] - length)  # at the end, resampling may round the other way
        part = slice(place, place + length)
        names = quality["warnings"] if lead_mask[:, part].any() else ["off"]
        return CleanedSegment(start, values[:, part], lead_mask[:, part], names)

    def _total(self) -> int:
        """Returns the number of samples that were pushed, at the model's rate."""
        return round(self.pushed * self.model.config.sampling_rate / self.rate)

    @torch.no_grad()
    def _encode(self, segments: list[CleanedSegment]) -> list[BeatStreamSegment]:
        encoded = []
        for begin in range(0, len(segments), self.batch_size):
            part = segments[begin : begin + self.batch_size]
            # The last segment of a stream may be a shorter one, and goes alone.
            whole = part if part[0].values.shape == part[-1].values.shape else part[:-1]
            for batch in (whole, part[len(whole) :]):
                encoded += self._encode_batch(batch) if batch else []
        return encoded

    def _encode_batch(self, segments: list[CleanedSegment]) -> list[BeatStreamSegment]:
        """Encodes segments of one length."""
        device = self.model.device
        values = torch.from_numpy(np.stack([segment.values for segment in segments])).to(device)
        masks = torch.from_numpy(np.stack([segment.lead_mask for segment in segments])).to(device)
        on = masks.flatten(1).any(1)
        if self.gain is None and on.any():
            first = int(on.nonzero()[0])
            self.gain = self.model.encode(values[first : first + 1], lead_mask=masks[first : first + 1]).gain
        gain = values.new_full((1,), float("nan")) if self.gain is None else self.gain
        shape = (len(values), self.model.quantizer.num_levels, self.model.num_latents(values.shape[-1]))
        codes = values.new_full(shape, ABSENT).long()
        if on.any():
            codes[on] = self.model.encode(values[on], lead_mask=masks[on], gain=gain.expand(int(on.sum()))).codes
        return [
            BeatStreamSegment(segment.seconds, codes[i], gain[0], values[i], masks[i], segment.warnings)
            for i, segment in enumerate(segments)
        ]


__all__ = ["BeatStream", "BeatStreamSegment"]
