import pytest
import torch
from torch.testing import assert_close

from heartcare import BeatConfig, BeatModel
from heartcare.quantization_beat import BeatQuantizer, rotate_to


@pytest.mark.parametrize("num_samples", [1, 37, 400, 401, 1000])
@torch.no_grad()
def test_codes_invert_exactly(beat, signals, num_samples):
    x = signals[..., -num_samples:]
    tokens, output = beat.encode(x), beat(x)
    decoded = beat.decode(tokens.codes, tokens.gain)
    n = -(-num_samples // 20)
    assert tokens.codes.shape == (3, 3, n) and tokens.codes.dtype == torch.int64
    assert tokens.latents.shape == (3, n, 128) and tokens.latent_mask.shape == (3, n) and tokens.gain.shape == (3,)
    assert decoded.shape == (3, 12, n * 20)
    assert torch.equal(decoded[..., -num_samples:], output.reconstruction)
    assert torch.equal(tokens.codes, output.codes) and torch.equal(tokens.latents, output.latents)


@torch.no_grad()
def test_latents_are_the_sum_of_all_levels(beat, signals):
    tokens, levels = beat.encode(signals), beat.quantizer.levels
    assert_close(tokens.latents, sum(level.decode(tokens.codes[:, i]) for i, level in enumerate(levels)))
    assert torch.equal(tokens.latents, beat.quantizer.decode(tokens.codes))
    assert not any(torch.equal(one.codebook, other.codebook) for one, other in zip(levels, levels[1:]))
    for level in range(3):
        other = tokens.codes.clone()
        other[:, level] = (other[:, level] + 1) % 512
        assert not torch.allclose(beat.decode(other, tokens.gain), beat.decode(tokens.codes, tokens.gain), atol=0.01)


@torch.no_grad()
def test_batch_equals_single(beat, signals):
    batch = beat.encode(signals)
    for i in range(3):
        single = beat.encode(signals[i : i + 1])
        assert torch.equal(single.codes[0], batch.codes[i]) and torch.equal(single.gain[0], batch.gain[i])


@pytest.mark.parametrize("padding", [13, 20, 400, 777])
@torch.no_grad()
def test_padded_equals_unpadded(beat, signals, padding):
    tokens = beat.encode(signals)
    garbage = torch.full((3, 12, padding), 7.0)
    mask = torch.cat([torch.zeros(3, padding), torch.ones(3, 1000)], dim=1)
    padded = beat.encode(torch.cat([garbage, signals], dim=-1), ecg_attention_mask=mask)
    assert torch.equal(padded.codes[..., -50:], tokens.codes) and torch.equal(padded.gain, tokens.gain)
    assert (
        (padded.codes[..., :-50] == -1).all()
        and not padded.latent_mask[:, :-50].any()
        and (padded.latents[:, :-50] == 0).all()
    )
    decoded = beat.decode(padded.codes, padded.gain)
    assert_close(decoded[..., -1000:], beat.decode(tokens.codes, tokens.gain), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("mode", [torch.enable_grad, torch.no_grad, torch.inference_mode])
def test_refined_codes_decode_to_what_is_nearer(beat, signals, mode):
    def distance(tokens):
        decoded = beat.decode(tokens.codes, tokens.gain)[..., -signals.shape[-1] :]
        return (decoded - signals).unflatten(-1, (2, -1)).square().sum((1, 3))  # of each window

    books = [level.codebook.clone() for level in beat.quantizer.levels]
    with mode():
        plain, refined = beat.encode(signals), beat.encode(signals, refine=10)
        assert (distance(refined) <= distance(plain)).all() and distance(refined).sum() < 0.9 * distance(plain).sum()
        assert_close(distance(beat.encode(signals[[1, 1, 1]], refine=10))[1], distance(refined)[1], rtol=0.05, atol=0)
    assert refined.codes.shape == plain.codes.shape and not torch.equal(refined.codes, plain.codes)
    assert torch.equal(
        refined.latents,
        beat.quantizer.decode(refined.codes.unflatten(-1, (2, -1)).transpose(1, 2).flatten(0, 1)).view(3, 50, -1),
    )
    assert all(torch.equal(level.codebook, book) for level, book in zip(beat.quantizer.levels, books))
    assert all(each.grad is None for each in beat.parameters())
    with pytest.raises(ValueError, match="at least 0, got -1"):
        beat.encode(signals, refine=-1)


@torch.no_grad()
def test_refinement_leaves_out_what_is_absent(beat, signals):
    leads, mask = torch.ones(3, 12), torch.ones(3, 900)
    leads[:, 4:], mask[:, :130] = 0, 0
    garbage = torch.where((leads[..., None] > 0) & (mask[:, None] > 0), signals[..., -900:], torch.tensor(5.0))
    masks = {"lead_mask": leads, "ecg_attention_mask": mask}
    one, other = beat.encode(signals[..., -900:], **masks, refine=4), beat.encode(garbage, **masks, refine=4)
    assert torch.equal(one.codes, other.codes) and (one.codes[..., :6] == -1).all()
    assert not torch.equal(one.codes, beat.encode(garbage, **masks).codes)


@torch.no_grad()
def test_absent_leads_are_not_read(beat, signals):
    leads = torch.ones(3, 12)
    leads[:, 4:] = 0
    zeros, garbage = signals * leads[..., None], torch.where(leads[..., None] > 0, signals, torch.tensor(5.0))
    one, other = beat.encode(zeros, lead_mask=leads), beat.encode(garbage, lead_mask=leads)
    assert torch.equal(one.codes, other.codes) and torch.equal(one.gain, other.gain)
    flat = beat.encode(zeros)  # without the mask the zeros are signal: eight flat leads
    assert not torch.equal(flat.codes, one.codes)


def test_a_mask_of_whole_leads_is_a_mask_of_all_their_samples(beat, signals):
    """Codes, gains, losses and forecasts are bit for bit those of the mask (ecgs, 12), with and without padding."""
    leads, mask = torch.ones(3, 12), torch.ones(3, 1000)
    leads[0, 3:], leads[1, 6], mask[0, :333], mask[2, :20] = 0, 0, 0, 0
    future = signals[..., : beat.config.prediction_length]
    for sample_mask in (None, mask):
        padding = torch.ones(3, 1, 1000) if sample_mask is None else sample_mask[:, None]
        samples = leads[..., None].expand(3, 12, 1000)
        for whole, kind in ((leads, samples), (leads.bool(), samples.bool()), (leads.long(), samples * padding)):
            with torch.no_grad():
                one, other = (beat(signals, sample_mask, x, future_values=future) for x in (whole, kind))
                assert all(torch.equal(a, b) for a, b in zip(one.to_tuple(), other.to_tuple(), strict=True))
                one, other = (beat.encode(signals, sample_mask, x, refine=2) for x in (whole, kind))
                assert torch.equal(one.codes, other.codes) and torch.equal(one.gain, other.gain)
                one, other = (beat.forecast(signals, sample_mask, x, num_samples=400) for x in (whole, kind))
                assert torch.equal(one, other)
    beat.train()
    try:
        books = {name: buffer.clone() for name, buffer in beat.named_buffers()}
        losses = []
        for kind in (leads, leads[..., None].expand(3, 12, 1000)):
            torch.manual_seed(0)
            losses.append(beat(signals, mask, kind).loss.item())
            for name, buffer in beat.named_buffers():
                buffer.copy_(books[name])
    finally:
        beat.eval()
    assert losses[0] == losses[1]


@torch.no_grad()
def test_a_lead_may_be_there_for_part_of_the_time(beat, signals):
    """The pages of paper ECGs show each lead for a part of the ten seconds."""
    leads = torch.ones(3, 12, 1000, dtype=torch.bool)
    leads[:, 3:6, :250] = leads[:, 6:9, 250:] = False  # 3:6 miss half of the first segment; 6:9 are in the first alone
    garbage = torch.where(leads, signals, torch.tensor(5.0))
    nan = torch.where(leads, signals, torch.tensor(torch.nan))
    tokens = beat.encode(garbage, lead_mask=leads)
    for values, mask in ((signals * leads, leads), (nan, None), (nan, leads), (nan, torch.ones(3, 12))):
        other = beat.encode(values, lead_mask=mask)
        assert torch.equal(other.codes, tokens.codes) and torch.equal(other.gain, tokens.gain)
    segments = beat.segment(garbage, lead_mask=leads)
    assert segments.lead_mask.view(3, 2, 12).sum(1).tolist() == [[2] * 6 + [1] * 3 + [2] * 3] * 3
    assert (segments.values[~segments.present] == 0).all()
    kept = signals[leads.expand_as(signals)].view(3, -1)
    rms = kept.square().mean(1).sqrt()
    assert ((segments.gain / rms).log().abs() <= 1.0001 * torch.log(torch.tensor(1000.0)) / 63 / 2).all()
    # The loss counts what is there, and nothing else.
    output = beat(garbage, lead_mask=leads)
    error = (output.reconstruction - signals) / tokens.gain[:, None, None]
    assert_close(output.recon_loss, error[leads].square().mean())
    # A batch of different lengths is each alone.
    padding = torch.zeros(1, 12, 130)
    alone = beat.encode(garbage[:1, :, 130:], lead_mask=leads[:1, :, 130:])
    padded = beat.encode(
        torch.cat([padding + 3, garbage[:1, :, 130:]], -1),
        torch.cat([padding[:, 0], torch.ones(1, 870)], -1),
        torch.cat([padding.bool(), leads[:1, :, 130:]], -1),
    )
    assert torch.equal(padded.codes[..., -44:], alone.codes) and torch.equal(padded.gain, alone.gain)
    # A forecast does not bring back a lead that is off at the end.
    long = beat.forecast(garbage, lead_mask=leads, num_samples=600)
    whole = leads.all(-1)[..., None].expand_as(leads) | leads
    assert torch.equal(long, beat.forecast(garbage, lead_mask=whole, num_samples=600)) and long.isfinite().all()


@torch.no_grad()
def test_layers_can_be_looked_at_and_outputs_are_tuples(root, signals):
    beat = BeatModel.from_pretrained(root, attn_implementation="eager").eval()
    config, plain = beat.config, beat(signals)
    t, m, both = config.num_patches, config.num_queries, {"output_hidden_states": True, "output_attentions": True}
    output, tokens = beat(signals, **both), beat.encode(signals, **both)
    assert plain.hidden_states is None and plain.attentions is None
    assert torch.equal(output.codes, plain.codes) and torch.equal(output.loss, plain.loss)
    # The first layer reads the patches alone, the next one the queries as well.
    assert config.num_patch_layers == 1 and [x.shape[1] for x in output.hidden_states] == [t, t, m, t + m, t]
    assert len(output.attentions) == config.num_hidden_layers
    heads = config.num_attention_heads
    assert [x.shape for x in output.attentions] == [(6, heads, n, n) for n in (t, t + m, t + m, t + m)]
    assert_close(output.attentions[0].sum(-1), torch.ones(6, heads, t))
    for one, other in zip(tokens.attentions, output.attentions[: config.num_encoder_layers], strict=True):
        assert torch.equal(one, other)
    assert torch.equal(tokens.hidden_states[1], output.hidden_states[1])
    for call in (beat, beat.encode):
        result = call(signals, return_dict=False)
        assert isinstance(result, tuple)
        assert all(torch.equal(a, b) for a, b in zip(result, call(signals).to_tuple(), strict=True))
    assert torch.equal(beat(signals, return_dict=False)[0], plain.loss)
    for call in (beat, beat.encode):
        with pytest.raises(TypeError, match="'lead_maks' .did you mean 'lead_mask'"):
            call(signals, lead_maks=None)


def test_a_fresh_beat_is_the_same_on_every_device():
    """Buffers have the values of the constructor after a start on the meta device, and codes differ before training."""
    config = BeatConfig(codebook_size=64, num_levels=3)
    with torch.device("meta"):
        model = BeatModel(config)
    model.to_empty(device="cpu")
    model.init_weights()
    for name, buffer in BeatModel(config).named_buffers():
        assert torch.equal(buffer, model.get_buffer(name)), name
    books = torch.cat([level.codebook for level in model.quantizer.levels])
    assert torch.cdist(books, books).fill_diagonal_(1).min() > 1e-3
    assert abs(books.std() - config.initializer_range) < 0.1 * config.initializer_range


def test_patches_are_embedded_by_the_input_embeddings():
    model = BeatModel(small_config())
    assert model.get_input_embeddings() is model.encoder.patch_embedding
    model.enable_input_require_grads()
    assert model.encoder.patch_embedding(torch.zeros(1, 240)).requires_grad
    new = torch.nn.Linear(240, 64)
    model.set_input_embeddings(new)
    assert model.encoder.patch_embedding is new


@torch.no_grad()
def test_one_nan_does_not_spoil_the_record(beat, signals):
    spoilt = signals.clone()
    spoilt[0, 3, 500] = float("nan")
    one, other = beat.encode(signals), beat.encode(spoilt)
    assert torch.equal(one.codes[1:], other.codes[1:])
    assert (one.codes[0] == other.codes[0]).float().mean() > 0.9 and beat.decode(
        other.codes, other.gain
    ).isfinite().all()


@torch.no_grad()
def test_segments_are_cut_from_the_right_along_time(beat, signals):
    n, m = beat.config.segment_length, beat.config.num_queries
    whole = beat.encode(signals[..., -2 * n :])
    last = beat.encode(signals[..., -n:])
    gain = beat.segment(signals[..., -2 * n :]).gain
    segments = beat.segment(signals[..., -n:], gain=gain)
    codes = beat.quantizer.encode(beat.encoder(*segments.encoder_inputs), segments.latent_mask)
    assert torch.equal(whole.codes[..., -m:], codes)
    assert last.codes.shape[-1] == m


@torch.no_grad()
def test_voltages_survive(beat, signals):
    small, large = beat.encode(signals), beat.encode(2 * signals)
    step = (10 / 0.01) ** (1 / 63)  # of the scale that the gain is quantized on
    assert ((2 / step < large.gain / small.gain) & (large.gain / small.gain < 2 * step)).all()
    ratio = (
        beat.decode(large.codes, large.gain).square().mean((1, 2)).sqrt()
        / beat.decode(small.codes, small.gain).square().mean((1, 2)).sqrt()
    )
    assert_close(ratio, torch.full((3,), 2.0), atol=0.15, rtol=0)
    decoded = beat.decode(small.codes, small.gain)
    # Leads keep their own voltages too: one gain for the record, none for the lead.
    before, after = signals.square().mean(-1).sqrt(), decoded.square().mean(-1).sqrt()
    assert torch.corrcoef(torch.stack([before.flatten(), after.flatten()]))[0, 1] > 0.8


@torch.no_grad()
def test_tokenising_never_changes_the_codebook(beat, signals):
    before = {name: tensor.clone() for name, tensor in beat.state_dict().items()}
    codes = beat.encode(signals).codes
    beat.train()
    try:
        assert torch.equal(beat.encode(signals).codes, codes)
    finally:
        beat.eval()
    assert all(torch.equal(before[name], tensor) for name, tensor in beat.state_dict().items())


@torch.no_grad()
def test_decoder_knows_where_a_latent_stands(beat, signals):
    tokens = beat.encode(signals[..., -400:])
    swapped = beat.decode(tokens.codes.flip(-1), tokens.gain)
    in_order = beat.decode(tokens.codes, tokens.gain)
    assert not torch.allclose(swapped, in_order, atol=0.05)
    pieces = in_order.unflatten(-1, (20, 20)).flip(2).flatten(2)  # what a decoder without positions would give
    assert not torch.allclose(swapped, pieces, atol=0.01)


@torch.no_grad()
def test_forecast_is_autoregressive_and_reads_only_codes(beat, signals):
    once = beat.config.prediction_length
    long, short = beat.forecast(signals, num_samples=once + 250), beat.forecast(signals, num_samples=once)
    assert long.shape == (3, 12, once + 250) and torch.equal(long[..., :once], short)
    tokens = beat.encode(signals)
    m = beat.config.num_queries
    latents, mask = beat.quantizer.decode(tokens.codes[..., -m:]), torch.ones(3, m, dtype=torch.bool)
    assert_close(beat.decoder(latents, mask, future=True) * tokens.gain[:, None, None], short)
    output = beat(signals)
    assert_close(output.prediction, short)


@torch.no_grad()
def test_errors_say_what_came(beat, signals):
    with pytest.raises(ValueError, match=r"\(ecgs, 12, samples\), got \(3, 11, 1000\)"):
        beat.encode(signals[:, :11])
    with pytest.raises(ValueError, match=r"lead_mask must have shape \(3, 12, 1000\) or \(3, 12\), got \(3, 12, 999\)"):
        beat.encode(signals, lead_mask=torch.ones(3, 12, 999))
    with pytest.raises(ValueError, match=r"ecg_attention_mask must have shape \(3, 1000\), got \(3, 999\)"):
        beat.encode(signals, torch.ones(3, 999))
    with pytest.raises(ValueError, match=r"-1\.\.511, got 0\.\.512"):
        beat.decode(torch.tensor([[[0, 512], [1, 2], [3, 4]]]), torch.ones(1))
    codes = beat.encode(signals).codes
    for gain, message in (
        (torch.ones(1), r"gain must have shape \(3,\), .* got \(1,\)"),
        (torch.ones(3, 1), r"gain must have shape \(3,\), .* got \(3, 1\)"),
        (torch.tensor(1.0), r"gain must have shape \(3,\), .* got \(\)"),
        (torch.tensor([1.0, 0.0, 1.0]), "gain must be above 0 mV and finite"),
        (torch.tensor([1.0, -1.0, 1.0]), "gain must be above 0 mV and finite"),
        (torch.tensor([1.0, 1.0, float("nan")]), "gain must be above 0 mV and finite"),
        (torch.tensor([float("inf"), 1.0, 1.0]), "gain must be above 0 mV and finite"),
    ):
        with pytest.raises(ValueError, match=message):
            beat.decode(codes, gain)
        with pytest.raises(ValueError, match=message):
            beat.encode(signals, gain=gain)
    with pytest.raises(ValueError, match="at least 1"):
        beat.forecast(signals, num_samples=0)


def small_config(**kwargs) -> BeatConfig:
    return BeatConfig(
        **{
            "segment_length": 400,
            "hidden_size": 64,
            "num_attention_heads": 2,
            "intermediate_size": 128,
            "codebook_size": 64,
        }
        | kwargs
    )


def test_joint_loss_and_its_gradients(signals):
    torch.manual_seed(0)
    model = BeatModel(small_config()).train()
    output = model(signals[..., :400], future_values=signals[..., 400:600])
    config = model.config
    parts = (
        config.recon_weight * output.recon_loss
        + config.pred_weight * output.pred_loss
        + config.vq_weight * output.vq_loss
    )
    assert_close(output.loss, parts)
    assert output.codebook_usage.shape == (2,) and (output.codebook_perplexity >= 1).all()
    for loss, weight in (
        (output.vq_loss, "encoder.patch_embedding.weight"),
        (output.pred_loss, "encoder.query_embedding"),
    ):
        (gradient,) = torch.autograd.grad(loss, model.get_parameter(weight), retain_graph=True)
        assert gradient.abs().sum() > 0, (
            weight
        )  # the VQ loss is used, and the forecast teaches what comes before the codes
    assert not [
        name
        for name, p in model.named_parameters()
        if torch.autograd.grad(output.loss, p, retain_graph=True, allow_unused=True)[0] is None
    ]


def test_a_beat_without_a_forecast(signals):
    """A Beat that learns the shape alone runs its decoder once, and a forecast that was never learnt is given to
    nobody.
    """
    torch.manual_seed(0)
    model = BeatModel(small_config(pred_weight=0.0, patch_size=5, latent_ratio=1.0)).train()
    output = model(signals[..., :400], future_values=signals[..., 400:600])
    assert output.prediction is None and output.pred_loss == 0 and output.codes.shape == (3, 2, 80)
    assert_close(output.loss, output.recon_loss + model.config.vq_weight * output.vq_loss)
    with pytest.raises(ValueError, match="trained without a forecast"):
        model.eval().forecast(signals)


def test_beat_learns_in_minutes_not_hours(signals):
    """Free queries stay at 100 % PRD for thousands of steps; bound ones must be far below after a few."""
    torch.manual_seed(0)
    model = BeatModel(small_config()).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    windows = torch.cat([signals[..., start : start + 400] for start in range(0, 600, 25)])
    for _ in range(60):
        output = model(windows)
        output.loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert output.recon_loss.sqrt() < 0.75
    assert (output.codebook_usage > 0.6).all()


def test_codebook_starts_by_kmeans_and_revives_dead_codes():
    torch.manual_seed(0)
    quantizer = BeatQuantizer(small_config(codebook_size=8, hidden_size=4, num_levels=1)).train()
    (level,) = quantizer.levels
    level.codebook_uses.zero_()
    centres = 5 * torch.randn(8, 4)
    states = (centres[torch.arange(256) % 8] + 0.01 * torch.randn(256, 4))[None]
    mask = torch.ones(1, 256, dtype=torch.bool)
    output = quantizer(states, mask)
    assert output.loss < states.var() / 4  # k-means may merge centres, but finds most
    level.codebook[0] = 1000.0
    level.codebook_uses[0] = 0.0
    for _ in range(10):
        output = quantizer(states, mask)
    assert level.codebook.abs().max() < 100 and output.usage == 1.0
    assert (quantizer(states, torch.zeros_like(mask)).codes == -1).all()


@pytest.mark.parametrize("num_levels", [1, 2, 3])
@torch.no_grad()
def test_levels_are_searched_together(num_levels):
    """The search finds the nearest of all combinations of codes where all choices are kept open, nearly always where
    few are, and often not where it goes level by level.
    """
    torch.manual_seed(0)
    quantizer = BeatQuantizer(small_config(codebook_size=12, hidden_size=6, num_levels=num_levels))
    for level in quantizer.levels:
        level.codebook.normal_()
    states, mask = torch.randn(1, 300, 6), torch.ones(1, 300, dtype=torch.bool)
    every = torch.cartesian_prod(*[torch.arange(12)] * num_levels).view(-1, num_levels)
    sums = quantizer.decode(every.T[None])[0]
    nearest = torch.cdist(states[0], sums).amin(1)

    def error(beam: int) -> torch.Tensor:
        quantizer.beam = beam
        return (states - quantizer.decode(quantizer.encode(states, mask)))[0].norm(dim=-1)

    assert_close(error(12**num_levels), nearest)
    few, one = error(BeatQuantizer.beam), error(1)
    assert (
        (few >= nearest - 1e-5).all()
        and (one.mean() >= few.mean())
        and (num_levels == 1 or one.mean() > few.mean() * 1.02)
    )


@torch.no_grad()
def test_autocast_does_not_round_the_search(beat, signals):
    segments = beat.segment(signals)
    states, latent_mask = beat.encoder(*segments.encoder_inputs), segments.latent_mask
    codes = beat.quantizer.encode(states, latent_mask)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(beat.quantizer.encode(states, latent_mask), codes)


def test_the_core_level_stands_alone_and_can_be_taught(signals):
    torch.manual_seed(0)
    model = BeatModel(small_config()).train()
    output = model(signals)
    (gradient,) = torch.autograd.grad(output.core_latents.square().sum(), model.encoder.patch_embedding.weight)
    assert gradient.abs().sum() > 0
    model.eval()
    output = model(signals)
    assert torch.equal(output.core_latents, model.quantizer.levels[0].decode(output.codes[:, 0]))


def test_rotation_trick():
    source, target = torch.randn(5, 8, requires_grad=True), torch.randn(5, 8)
    rotated = rotate_to(source, target)
    assert_close(rotated, target, atol=1e-5, rtol=1e-5)
    upstream = torch.randn(5, 8)
    (gradient,) = torch.autograd.grad(rotated, source, upstream)
    assert_close(gradient.norm(dim=-1), upstream.norm(dim=-1) * target.norm(dim=-1) / source.norm(dim=-1).detach())


@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
@torch.no_grad()
def test_the_last_layer_skips_what_nobody_reads(beat, implementation):
    beat.set_attn_implementation(implementation)
    states, mask = torch.randn(2, 30, 128), torch.ones(2, 30, dtype=torch.bool)
    mask[0, :7] = False
    transformer, seen = beat.encoder.transformer, []
    hook = transformer.layers[-1].mlp.register_forward_hook(lambda _, __, output: seen.append(output.shape[1]))
    for keep in (slice(20, None), slice(11), slice(None)):
        assert_close(transformer(states, mask, keep), transformer(states, mask)[:, keep], atol=1e-5, rtol=1e-5)
    hook.remove()
    beat.set_attn_implementation("sdpa")
    assert seen == [10, 30, 11, 30, 30, 30]


@torch.no_grad()
def test_attention_implementations_agree(beat, signals, root):
    eager = BeatModel.from_pretrained(root, attn_implementation="eager").eval()
    mask = torch.ones(3, 1000)
    mask[0, :333] = 0
    one, other = beat(signals, mask), eager(signals, mask)
    assert (one.codes == other.codes).float().mean() > 0.99
    assert_close(one.gain, other.gain)


@torch.no_grad()
def test_compiled_encoder_gives_the_same_codes(beat, signals):
    compiled = torch.compile(beat.encoder, backend="aot_eager", fullgraph=True)
    segments = beat.segment(signals)
    codes = beat.quantizer.encode(compiled(*segments.encoder_inputs), segments.latent_mask)
    expected = beat.encoder(*segments.encoder_inputs)
    assert torch.equal(codes, beat.quantizer.encode(expected, segments.latent_mask))


@torch.no_grad()
def test_bfloat16_keeps_codebooks_in_float32(root, signals, beat):
    half = BeatModel.from_pretrained(root, dtype=torch.bfloat16).eval()
    assert half.quantizer.levels[0].codebook.dtype == torch.float32
    assert torch.equal(half.quantizer.levels[0].codebook, beat.quantizer.levels[0].codebook)
    for cast in (lambda m: m.half(), lambda m: m.to(torch.bfloat16)):
        other = cast(BeatModel.from_pretrained(root))
        assert torch.equal(other.quantizer.levels[1].codebook, beat.quantizer.levels[1].codebook)
    decoded = half.decode(*half.encode(signals).to_tuple()[:2])
    assert decoded.dtype == torch.float32
    assert (decoded - beat(signals).reconstruction).square().mean().sqrt() < 0.1


def test_save_and_load_bit_exact(beat, signals, tmp_path):
    beat.save_pretrained(tmp_path)
    loaded = BeatModel.from_pretrained(tmp_path)
    assert all(torch.equal(a, b) for a, b in zip(beat.state_dict().values(), loaded.state_dict().values(), strict=True))


def test_beat_out_of_the_whole_model(beat, model):
    whole = model.beat.state_dict()
    assert all(torch.equal(tensor, whole[name]) for name, tensor in beat.state_dict().items())


def test_missing_weights_are_an_error(beat, tmp_path):
    from safetensors.torch import load_file, save_file

    beat.save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    weights.pop("quantizer.levels.1.codebook")
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match="1 missing keys.*quantizer.levels.1.codebook"):
        BeatModel.from_pretrained(tmp_path)


def test_config_refuses_what_it_does_not_know():
    with pytest.raises(ValueError, match="unknown keys.*codebok_size"):
        BeatConfig(codebok_size=64)
    with pytest.raises(ValueError, match="no multiple"):
        BeatConfig(segment_length=405)
    with pytest.raises(ValueError, match="whole number of patches"):
        BeatConfig(latent_ratio=0.3)


@pytest.mark.parametrize("num_levels", [1, 4])
def test_any_number_of_levels(signals, num_levels):
    torch.manual_seed(0)
    model = BeatModel(BeatConfig(num_levels=num_levels, codebook_size=64)).train()
    output = model(signals, future_values=signals[..., : model.config.prediction_length])
    assert output.codes.shape == (3, num_levels, 50) and output.codebook_usage.shape == (num_levels,)
    output.loss.backward()
    tokens = model.eval().encode(signals)
    assert torch.equal(model.decode(tokens.codes, tokens.gain), model(signals).reconstruction)
    with pytest.raises(ValueError, match=f"{num_levels}, latents"):
        model.decode(tokens.codes[:, :0], tokens.gain)
    with pytest.raises(ValueError, match="num_levels must be at least 1"):
        BeatConfig(num_levels=0)


def test_paper_scale_has_the_paper_bit_rate():
    config = BeatConfig(sampling_rate=250, patch_size=25, segment_length=1000)
    assert config.num_patches == 40 and config.num_queries == 20 and config.prediction_length == 500
    assert config.num_queries * 2 * 9 / 4 == 90  # bits per second
