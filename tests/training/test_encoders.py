"""Parts that the trainings of both encoders share, and starting from a Beat of another shape."""

import sys

import pytest
import torch
from support.commands import run_main

from heartcare import BeatConfig, BeatModel
from heartcare.agent.sources import read_ptbxl_table
from heartcare.training.beat import start_from
from heartcare.training.memory import peak_memory_gib
from heartcare.training.optimizers import muon_with_cosine_schedule
from heartcare.training.pooling import AttentionPooling


def test_weights_of_another_shape_are_named(tiny, tiny_folder):
    """A Beat of finer latents begins with the weights that fit; each of the others is named."""
    torch.manual_seed(0)
    settings = {name: value for name, value in tiny.config.beat_config.to_diff_dict().items() if name != "model_type"}
    finer = BeatModel(BeatConfig(**settings | {"latent_ratio": 1.0}))
    before = {name: value.clone() for name, value in finer.state_dict().items()}
    left_out = start_from(finer, tiny_folder)
    trained = tiny.beat.state_dict()
    assert left_out == [name for name, value in trained.items() if value.shape != before[name].shape]
    assert "decoder.latent_position_embedding" in left_out and "decoder.patch_head.weight" not in left_out
    for name, value in finer.state_dict().items():
        assert torch.equal(value, before[name] if name in left_out else trained[name]), name


def test_layers_and_levels_find_their_places(tiny, tiny_folder):
    """A Beat with a layer of patches and a core level of its own begins with the trained layers in their order, and
    with the trained levels for its shape.
    """
    settings = {name: value for name, value in tiny.config.beat_config.to_diff_dict().items() if name != "model_type"}
    layers, levels = tiny.config.beat_config.num_encoder_layers, tiny.config.beat_config.num_levels
    changes = {"num_encoder_layers": layers + 1, "num_patch_layers": 1, "num_levels": levels + 1}
    beat = BeatModel(BeatConfig(**settings | changes | {"core_level": "parallel"}))
    last = beat.encoder.transformer.layers[-1].mlp[0].weight.clone()
    assert start_from(beat, tiny_folder) == []
    trained = tiny.beat
    first, *others = trained.encoder.transformer.layers
    assert torch.equal(beat.encoder.patch_layers[0].mlp[0].weight, first.mlp[0].weight)
    for own, given in zip(beat.encoder.transformer.layers, others):
        assert torch.equal(own.mlp[0].weight, given.mlp[0].weight)
    assert torch.equal(beat.encoder.transformer.layers[-1].mlp[0].weight, last)
    for own, given in zip(beat.quantizer.shape_levels, trained.quantizer.levels):
        assert torch.equal(own.codebook, given.codebook)
    assert not beat.quantizer.levels[0].codebook_uses.any()


def test_attention_pooling_starts_as_the_mean_and_leaves_out_what_is_masked():
    torch.manual_seed(0)
    latents, gain = torch.randn(2, 5, 4), torch.zeros(2, 1)
    head = AttentionPooling(4, 3)
    torch.nn.init.normal_(head.value)
    mean = latents.mean(1) @ head.value.T + head.gain(gain)
    torch.testing.assert_close(head(latents, gain), mean)
    mask = torch.tensor([[True] * 5, [True, True, False, False, False]])
    torch.nn.init.normal_(head.score.weight)
    torch.testing.assert_close(head(latents, gain, mask)[1:], head(latents[1:, :2], gain[1:]))


def test_the_schedule_sets_the_rates_of_both_optimizers(tiny):
    optimizer, schedule = muon_with_cosine_schedule(tiny, 2, 10, learning_rate=1e-3, muon_learning_rate=2e-2)
    rates = []
    for _ in range(10):
        rates.append([part.param_groups[0]["lr"] for part in optimizer.parts])
        optimizer.step()
        schedule.step()
    assert rates[0] == [0, 0] and rates[2] == pytest.approx([2e-2, 1e-3]) and rates[9][0] < 1e-3
    assert all(muon == pytest.approx(20 * adamw) for muon, adamw in rates)


def test_rows_of_ptbxl_are_those_of_the_folds(ptbxl_folder):
    rows = read_ptbxl_table(ptbxl_folder)
    assert len(rows) == 40 and [row["ecg_id"] for row in rows] == [str(k) for k in range(1, 41)]
    some = read_ptbxl_table(ptbxl_folder, [9, 10], limit=3)
    assert some == [row for row in rows if row["strat_fold"] in ("9", "10")][:3]
    with pytest.raises(FileNotFoundError):
        read_ptbxl_table(ptbxl_folder / "records100")


def test_memory_of_the_papers_models_is_as_documented(root):
    printed = run_main("heartcare.training.memory").stdout.splitlines()
    documented = (root / "docs/training.md").read_text().splitlines()
    assert len(printed) == 8 and all(line in documented for line in printed)


def test_peak_memory_is_not_counted_where_the_system_does_not(monkeypatch):
    assert peak_memory_gib() > 0.1
    monkeypatch.setitem(sys.modules, "resource", None)  # as on Windows
    assert peak_memory_gib() is None
