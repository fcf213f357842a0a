"""A stream against the recording as a whole."""

import numpy as np
import pytest
import torch

from heartcare import BeatStream
from heartcare.agent.simulate import simulate_ecg
from heartcare.configuration_heartcare import ABSENT


def recording(seconds=40, sampling_rate=500):
    return simulate_ecg("SR", "PVC", seconds=seconds, sampling_rate=sampling_rate, seed=7).signal


def streamed(beat, processor, signal, sizes, sampling_rate=500, **options):
    stream, found, start = beat.stream(processor.feature_extractor, sampling_rate, **options), [], 0
    for size in sizes:
        found += stream.push(signal[:, start : start + size])
        start += size
    found += stream.push(signal[:, start:])
    return stream, found + stream.close()


def codes(segments):
    return torch.cat([segment.codes for segment in segments], dim=-1)


@pytest.mark.parametrize("sampling_rate", [100, 250, 360, 500])
def test_chunks_of_any_size_give_the_same_codes(beat, processor, sampling_rate, rng):
    signal = recording(42.5, sampling_rate)
    _, whole = streamed(beat, processor, signal, [], sampling_rate)
    assert [segment.seconds for segment in whole] == [5.0 * k for k in range(9)] and whole[-1].values.shape == (12, 250)
    for sizes in ([1] * 700, rng.integers(1, 9 * sampling_rate, 20), [0, 5, 0, signal.shape[1]]):
        _, parts = streamed(beat, processor, signal, sizes, sampling_rate)
        assert len(parts) == len(whole)
        for one, other in zip(parts, whole):
            assert (
                torch.equal(one.codes, other.codes)
                and torch.equal(one.values, other.values)
                and torch.equal(one.gain, other.gain)
            )


@pytest.mark.parametrize("sampling_rate", [257.3, 360, 500])
def test_recordings_of_any_length_come_back_whole(beat, processor, sampling_rate):
    signal = recording(6, 500)
    for length in (1100, 1430, 2001, 2003, 2517, 2999):
        _, segments = streamed(beat, processor, signal[:, :length], [700], sampling_rate)
        assert sum(segment.values.shape[1] for segment in segments) == round(length * 100 / sampling_rate)
        assert all(segment.codes.shape[1] == beat.num_latents(segment.values.shape[1]) for segment in segments)


def test_codes_are_those_of_the_whole_recording(beat, processor):
    _, segments = streamed(beat, processor, recording(40), [777] * 10)
    values, gain = torch.cat([segment.values for segment in segments], dim=-1)[None], segments[0].gain[None]
    tokens = beat.encode(values, gain=gain)
    assert torch.equal(tokens.codes[0], codes(segments)) and values.shape == (1, 12, 4000)
    # And they decode as such.
    whole = beat.decode(tokens.codes, gain)
    parts = torch.cat([beat.decode(segment.codes[None], segment.gain[None]) for segment in segments], dim=-1)
    torch.testing.assert_close(parts, whole, atol=1e-5, rtol=0)


def test_cleaned_as_the_processor_cleans_the_file(beat, processor):
    signal = recording(40)
    _, segments = streamed(beat, processor, signal, [])
    values = torch.cat([segment.values for segment in segments], dim=-1).numpy()
    whole = processor.feature_extractor.prepare({"ecg": signal, "sampling_rate": 500, "units": "mV"})[0]
    assert np.abs(values - whole).max() < 0.02 and np.sqrt(np.mean((values - whole) ** 2)) < 0.002


def test_segments_come_as_soon_as_their_context_is_there(beat, processor):
    signal, stream = recording(20, 250), BeatStream(beat, processor.feature_extractor, 250)
    came = []
    for second in range(20):
        came += [(segment.seconds, second + 1) for segment in stream.push(signal[:, 250 * second : 250 * (second + 1)])]
    assert came == [(0.0, 9), (5.0, 14), (10.0, 19)] and [segment.seconds for segment in stream.close()] == [15.0]
    with pytest.raises(ValueError, match="closed"):
        stream.push(signal)


@pytest.mark.parametrize("off", [np.nan, 0.0, 1.7])
def test_leads_that_fall_off_are_masked_and_come_back(beat, processor, off):
    signal = recording(60)
    signal[6:, 20 * 500 : 26 * 500] = off
    signal[:, 40 * 500 : 54 * 500] = off
    _, segments = streamed(beat, processor, signal, [333] * 20)
    present = {segment.seconds: segment.lead_mask.numpy() for segment in segments}
    assert present[10].all() and present[30].all() and present[45].sum() == 0 and present[55].all()
    assert not present[50][:, :390].any() and present[50][:, 410:].all()  # they come back at 54 s
    assert present[20][:6].all() and not present[20][6:].any()
    file = processor.feature_extractor.prepare({"signal": signal, "sampling_rate": 500, "units": "mV"})
    assert np.array_equal(np.concatenate([*present.values()], axis=1), file.lead_mask)  # a file is masked alike
    silent = next(segment for segment in segments if segment.seconds == 45)
    assert (silent.codes == ABSENT).all() and not silent.lead_mask.any() and silent.warnings == ["off"]
    assert beat.decode(codes(segments)[None], segments[0].gain[None]).isfinite().all()


def test_a_stream_that_starts_without_leads_waits_for_its_gain(beat, processor):
    signal = recording(40)
    signal[:, : 10 * 500] = np.nan
    stream, segments = streamed(beat, processor, signal, [1000] * 12)
    assert segments[0].gain.isnan() and (segments[0].codes == ABSENT).all()
    assert stream.gain is not None and segments[-1].gain == stream.gain and (segments[-1].codes >= 0).all()
    given, held = streamed(beat, processor, signal, [], gain=0.25)
    assert all(segment.gain == 0.25 for segment in held)


@pytest.mark.parametrize("off", [np.nan, 0.3])
def test_rows_that_are_no_leads_are_left_out(beat, processor, off):
    """While all leads are off the stream is off, even if a channel of something else is not."""
    signal = recording(40)[:3].copy()
    signal[1, 10 * 500 : 25 * 500] = off
    names = ["CH 7", "II", "Resp"]
    _, segments = streamed(beat, processor, signal, [999] * 10, lead_names=names)
    _, alone = streamed(beat, processor, signal[1:2], [], lead_names="II")
    assert len(segments) == len(alone) == 8
    for one, other in zip(segments, alone):
        assert torch.equal(one.codes, other.codes) and torch.equal(one.lead_mask, other.lead_mask)
        is_off = 10 <= one.seconds < 25
        assert (one.warnings == ["off"]) == is_off == (not one.lead_mask.any())
        assert is_off or one.warnings == ["lead_unknown:CH 7", "lead_unknown:Resp", *other.warnings]
    for names, message in (
        (["CH 7", "Resp"], "none of the leads .'CH 7', 'Resp'. is one of I II III"),
        (["II", "MLII"], "lead II is there twice"),
        ([], "none of the leads"),
    ):
        with pytest.raises(ValueError, match=message):
            BeatStream(beat, processor.feature_extractor, 500, lead_names=names)


def test_memory_is_constant(beat, processor):
    """A stream holds after ten minutes the same number of samples as after one."""
    minute, held = recording(60, 250), []
    stream = BeatStream(beat, processor.feature_extractor, 250)
    for _ in range(10):
        for start in range(0, minute.shape[1], 100):
            stream.push(minute[:, start : start + 100])
        held.append(sum(chunk.nbytes for chunk in stream.chunks))
    assert max(held[1:]) <= 30 * 250 * 12 * 8 and stream.pushed == 10 * minute.shape[1]


def test_what_cannot_be_streamed_is_refused(beat, processor):
    extractor = processor.feature_extractor
    stream = BeatStream(beat, extractor, 250, lead_names=["I", "II"], units="uV")
    with pytest.raises(ValueError, match=r"\(2, samples\)"):
        stream.push(np.zeros((12, 100)))
    signal = 1000 * recording(20, 250)
    two = [*stream.push(signal[:2]), *stream.close()]
    assert two[0].lead_mask.shape == two[0].values.shape
    assert two[0].lead_mask.all(1).tolist() == [True] * 6 + [False] * 6 == two[0].lead_mask.any(1).tolist()
    assert 0.05 < two[0].gain < 1
    assert BeatStream(beat, extractor, 250).close() == []
    other = type(extractor)(sampling_rate=250)
    with pytest.raises(ValueError, match="250 Hz, the model expects 100 Hz"):
        BeatStream(beat, other, 250)
    for options, message in (
        ({"sampling_rate": 0}, "10 to 20000 Hz, got 0"),
        ({"sampling_rate": -250}, "10 to 20000 Hz, got -250"),
        ({"sampling_rate": np.nan}, "10 to 20000 Hz, got nan"),
        ({"units": "mmHg"}, "Units 'mmHg' are unknown"),
        ({"gain": 0.0}, "gain must be above 0 mV"),
        ({"gain": -1.0}, "gain must be above 0 mV"),
        ({"gain": np.nan}, "gain must be above 0 mV"),
        ({"context_seconds": -1.0}, "context_seconds must be at least 0"),
    ):
        with pytest.raises(ValueError, match=message):
            BeatStream(beat, extractor, **{"sampling_rate": 250, **options})


@pytest.mark.parametrize("sampling_rate", [257.3, 500])
@pytest.mark.parametrize("context_seconds", [0.0, 0.3, 4.0])
def test_a_short_rest_is_cleaned_with_what_comes_before(beat, processor, sampling_rate, context_seconds):
    for seconds in (5.01, 5.4, 10.2):
        signal = recording(11, 500)[:, : round(seconds * sampling_rate)]
        _, whole = streamed(beat, processor, signal, [], sampling_rate, context_seconds=context_seconds)
        _, parts = streamed(beat, processor, signal, [97] * 60, sampling_rate, context_seconds=context_seconds)
        assert sum(segment.values.shape[1] for segment in whole) == round(signal.shape[1] * 100 / sampling_rate)
        assert whole[-1].lead_mask.all() and (whole[-1].codes >= 0).all() and "off" not in whole[-1].warnings
        assert len(parts) == len(whole) and all(torch.equal(a.values, b.values) for a, b in zip(parts, whole))


def test_a_stream_too_short_to_be_cleaned_is_given_as_off(beat, processor):
    stream, (segment,) = streamed(beat, processor, recording(2)[:, :499], [100])
    assert segment.warnings == ["off", "too_short"] and segment.values.shape == (12, 100)
    assert not segment.lead_mask.any() and (segment.codes == ABSENT).all() and stream.close() == []
    _, (segment,) = streamed(beat, processor, recording(2)[:, :500], [100])
    assert "off" not in segment.warnings and segment.lead_mask.all()
