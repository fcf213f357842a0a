"""Beat's leads over time, its core level, its layers of queries, its forecast's length, and codebooks of several
processes.
"""

import pytest
import torch
from support.processes import run_in_two_processes
from torch.testing import assert_close

from heartcare import BeatConfig, BeatModel


@torch.no_grad()
def test_absent_stretches_are_known_patch_by_patch(beat, signals):
    """The encoder is told of each patch which leads are there: a lead that is 0 because it is absent for 2.5 s is read
    in another way than one that is flat then, and in the same way elsewhere.
    """
    mask = torch.ones(3, 12, 500, dtype=torch.bool)
    mask[:, 7, :250] = False
    embedded = []
    handle = beat.encoder.lead_embedding.register_forward_hook(
        lambda module, inputs, output: embedded.append(inputs[0])
    )
    x = signals[..., -500:].clone()
    x[:, 7, :250] = 0
    beat.encode(x, lead_mask=mask), beat.encode(x)
    handle.remove()
    partly, whole = embedded
    assert partly.shape == (3, 50, 12)
    assert not partly[:, :25, 7].any() and partly[:, 25:].all() and partly[:, :25, :7].all() and whole.all()


def small_beat(**settings) -> BeatModel:
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2, "head_dim": 16, "codebook_size": 16}
    return BeatModel(BeatConfig(**(shape | settings)))


def test_a_core_level_of_its_own(signals):
    """The core level's codes come from a projection, the other levels refine each other without it, and refinement
    keeps it.
    """
    model = small_beat(core_level="parallel", num_levels=3).train()
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(60):
        model(signals).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert all(level.codebook_uses.any() for level in model.quantizer.levels)
    model.eval()
    with torch.no_grad():
        tokens, output = model.encode(signals), model(signals)
        quantizer = model.quantizer
        segments = model.segment(signals)
        states = model.encoder(*segments.encoder_inputs)
        core, *shape = quantizer.encode(states, segments.latent_mask).unbind(1)
        assert torch.equal(core, quantizer.levels[0].nearest(quantizer.core_proj(states))[1][..., 0])
        residual = small_beat(num_levels=2).quantizer
        for own, other in zip(residual.levels, quantizer.levels[1:]):
            own.load_state_dict(other.state_dict())
        assert torch.equal(residual.encode(states, segments.latent_mask), torch.stack(shape, 1))
    sums = sum(level.codebook[tokens.codes[:, k]] for k, level in enumerate(quantizer.levels))
    assert_close(tokens.latents, sums)
    assert torch.equal(model.decode(tokens.codes, tokens.gain)[..., -1000:], output.reconstruction)
    refined = model.encode(signals, refine=20)
    assert torch.equal(refined.codes[:, 0], tokens.codes[:, 0])
    error, finer = (
        (model.decode(codes.codes, codes.gain)[..., -1000:] - signals).square().sum() for codes in (tokens, refined)
    )
    assert finer < error
    # Both projections learn: the core's from what is read of it, and the states' from the shape.
    model.train()
    output = model(signals)
    (output.loss + output.core_latents.square().mean()).backward()
    assert quantizer.core_proj.weight.grad.abs().sum() > 0


@torch.no_grad()
def test_query_layers_compute_the_queries_alone(signals):
    """A layer of queries alone takes 25 positions, and the first one of them still reads all 75."""
    model = small_beat(num_encoder_layers=4, num_query_layers=3).eval()
    lengths = []
    for layer in model.encoder.transformer.layers:
        layer.register_forward_hook(
            lambda module, inputs, output: lengths.append((inputs[0].shape[1], output.shape[1]))
        )
    x = signals[..., -500:]
    tokens = model.encode(x)
    assert lengths == [(75, 75), (75, 25), (25, 25), (25, 25)]
    # All parts of the segment reach each query, also where a part is padding.
    changed = x.clone()
    changed[..., :10] += 1
    states = [model.encoder(*model.segment(each, gain=tokens.gain).encoder_inputs) for each in (x, changed)]
    assert ((states[0] - states[1]).abs().amax(-1) > 0).all()
    mask = torch.ones(3, 500)
    mask[:, :120] = 0
    short = [model.encode(each, ecg_attention_mask=mask) for each in (x, torch.where(mask[:, None] > 0, x, 9.0))]
    assert torch.equal(short[0].codes, short[1].codes)


@torch.no_grad()
def test_patch_layers_compute_the_patches_alone(signals):
    """The queries start after the patches, which have already read each other by then; padding still says nothing."""
    model = small_beat(num_encoder_layers=3, num_patch_layers=1, num_query_layers=2).eval()
    lengths = []
    for layer in (*model.encoder.patch_layers, *model.encoder.transformer.layers):
        layer.register_forward_hook(
            lambda module, inputs, output: lengths.append((inputs[0].shape[1], output.shape[1]))
        )
    x = signals[..., -500:]
    model.encode(x)
    assert lengths == [(50, 50), (75, 25), (25, 25)]
    mask = torch.ones(3, 500)
    mask[:, :120] = 0
    short = [model.encode(each, ecg_attention_mask=mask) for each in (x, torch.where(mask[:, None] > 0, x, 9.0))]
    assert torch.equal(short[0].codes, short[1].codes)


@pytest.mark.parametrize("stride", [2, 5])
@torch.no_grad()
def test_frames_of_the_stem_move_with_the_signal(signals, stride):
    """A signal that comes a frame later gives the same frames, a frame later."""
    model = small_beat(stem_channels=8, stem_stride=stride).eval()
    x = signals[..., -500:]
    frames, later = (model.encoder.stem(each) for each in (x, x.roll(stride, -1)))
    assert frames.shape == (3, 8, 500 // stride)
    inside = slice(8, -8)
    assert_close(frames[..., :-1][..., inside], later[..., 1:][..., inside])
    assert model.encoder.patch_embedding.in_features == 2 * 8 * (10 // stride)
    assert model.encode(signals).codes.shape == small_beat().eval().encode(signals).codes.shape


@torch.no_grad()
def test_what_the_input_lacks_weighs_as_much_as_the_configuration_says(signals):
    """The loss is the weighted mean of the errors where a lead was recorded and of those where it was not."""
    model = small_beat().eval()
    leads = torch.ones(3, 12, 1000, dtype=torch.bool)
    leads[:, 6:, 300:] = False
    losses = {}
    for weight in (0.0, 0.25, 1.0):
        model.config.absent_weight = weight
        output = model(signals * leads, lead_mask=leads, target_values=signals)
        losses[weight] = output.recon_loss
    error = ((output.reconstruction - signals) / output.gain[:, None, None]).square()
    seen, absent = error[leads].sum(), error[~leads].sum()
    for weight, loss in losses.items():
        assert_close(loss, (seen + weight * absent) / (leads.sum() + weight * (~leads).sum()))


def test_the_forecast_has_a_length_of_its_own(signals, tmp_path):
    model = small_beat(prediction_length=120).eval()
    assert model.forecast(signals).shape[-1] == 120 and model.forecast(signals, num_samples=300).shape[-1] == 300
    model.save_pretrained(tmp_path)
    assert BeatConfig.from_pretrained(tmp_path).prediction_length == 120
    assert BeatConfig(latent_ratio=1.0).prediction_length == 500
    for wrong in (0, 15, -10):
        with pytest.raises(ValueError, match="prediction_length must be a multiple"):
            BeatConfig(prediction_length=wrong)


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"num_query_layers": 3}, "are more than num_encoder_layers 2"),
        ({"num_query_layers": 0}, "num_query_layers at least 1"),
        ({"num_patch_layers": 2}, "are more than num_encoder_layers 2"),
        ({"num_patch_layers": -1}, "num_patch_layers must be at least 0"),
        ({"stem_channels": -1}, "stem_channels must be at least 0"),
        ({"stem_channels": 8, "stem_stride": 3}, "patch_size 10 is no multiple of stem_stride 3"),
    ],
)
def test_impossible_encoders_are_refused(settings, words):
    with pytest.raises(ValueError, match=words):
        BeatConfig(**settings)


@pytest.mark.slow
def test_codebooks_of_two_processes_follow_all_states(signals, tmp_path):
    """Two processes with a part of each batch have the codebooks of one with all of it, and both have the same: also
    where a process has nothing but padding, and where codes start by k-means or are replaced.
    """
    masks = torch.ones(3, 1000)
    parts = [(slice(0, 2), slice(2, 3)), (slice(0, 1), slice(1, 3)), (slice(0, 3), slice(0, 0))]
    silence = {"input_values": torch.zeros(1, 12, 1000), "ecg_attention_mask": torch.zeros(1, 1000)}
    batches = []
    for pair in parts:
        halves = [{"input_values": signals[part], "ecg_attention_mask": masks[part]} for part in pair]
        batches.append([half if len(half["input_values"]) else silence for half in halves])
    torch.save(batches, tmp_path / "batches.pt")
    small_beat().save_pretrained(tmp_path / "fresh")
    model = small_beat(dead_code_threshold=0.0).train()
    model(signals)
    model.save_pretrained(tmp_path / "started")
    run_in_two_processes("codebook_worker.py", tmp_path, tmp_path / "batches.pt", tmp_path / "buffers")
    first, second = (torch.load(tmp_path / f"buffers.{rank}", weights_only=True) for rank in (0, 1))
    for name in first:
        assert all(torch.equal(value, second[name][key]) for key, value in first[name].items()), name
    assert all(value.any() for key, value in first["fresh"].items() if key.endswith("codebook_uses"))
    with torch.no_grad():
        for pair in batches:
            model(**{key: torch.cat([half[key] for half in pair]) for key in pair[0]})
    for key, value in model.quantizer.named_buffers():
        assert_close(first["started"][key], value, atol=1e-5, rtol=1e-4, msg=key)
