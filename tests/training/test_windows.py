"""Windows that Beat is trained on, and the patterns of leads in them."""

import numpy as np
import pytest
import torch

from heartcare import BeatConfig, BeatModel
from heartcare.configuration_heartcare import LEADS
from heartcare.training.beat import BeatWithStatementHead, evaluate
from heartcare.training.lead_patterns import PATTERNS
from heartcare.training.ptbxl import PTBXL
from heartcare.training.windows import BeatWindows

SHARE_OF_SAMPLES = {
    "12 leads": 1.0,
    "3x4": 1 / 4,
    "3x4+II": (11 / 4 + 1) / 12,
    "3x4+II,V1,V5": (9 / 4 + 3) / 12,
    "6x2": 1 / 2,
    "limb leads": 1 / 2,
    "I": 1 / 12,
    "II": 1 / 12,
}


@pytest.mark.parametrize("name", PATTERNS)
def test_patterns_show_what_their_names_say(name):
    rng = np.random.default_rng(0)
    for _ in range(30):
        shown = PATTERNS[name](rng, 1000)
        assert shown.shape == (12, 1000) and shown.dtype == bool and shown.any()
        if name in SHARE_OF_SAMPLES:
            assert shown.mean() == pytest.approx(SHARE_OF_SAMPLES[name])
    if name.startswith("3x4"):
        assert shown[LEADS.index("V4"), 750:].all() and not shown[LEADS.index("V4"), :750].any()
    if name == "chest leads lost":
        assert shown[:6].all()


@pytest.mark.parametrize("prediction_length", [None, 50])
def test_items_are_windows_of_their_records(ptbxl_folder, tmp_path, prediction_length):
    data = PTBXL(ptbxl_folder, range(1, 9), tmp_path)
    config = BeatConfig(prediction_length=prediction_length)
    labels = np.random.default_rng(0).random((len(data), 76)).astype(np.float32)
    windows, again = (BeatWindows(data, config, seed=3, statements=labels) for _ in range(2))
    assert len(windows) == 8 * len(data)
    lacking, parts = 0, 0
    for i in range(len(windows)):
        item = windows[i]
        assert all(np.array_equal(item[name], again[i][name]) for name in item)
        signal = data.signal(i % len(data))
        assert item["future_values"].shape == (12, config.prediction_length)
        whole = np.concatenate([item["target_values"], item["future_values"]], axis=1)
        kept = item["ecg_attention_mask"]
        starts = [
            s
            for s in range(1001 - whole.shape[1])
            if np.array_equal(signal[:, s + 500 : s + 500 + 10], whole[:, 500:510])
        ]
        assert any(np.array_equal(signal[:, s : s + 500][:, kept], item["target_values"][:, kept]) for s in starts)
        assert np.array_equal(item["input_values"], item["target_values"] * item["lead_mask"])
        assert np.array_equal(item["statements"], labels[i % len(data)])
        part = item["statement_mask"]
        assert part.any() and not (part & ~kept).any() and (part.sum() <= 250 or np.array_equal(part, kept))
        lacking, parts = lacking + (not item["lead_mask"].all()), parts + (not np.array_equal(part, kept))
    assert 0.25 < lacking / len(windows) < 0.55 and 0.35 < parts / len(windows) < 0.65
    plain = BeatWindows(data, config, augment=False)[0]
    assert plain["lead_mask"].all() and plain["ecg_attention_mask"].all() and "statements" not in plain


def test_statements_are_read_from_the_given_part_alone(ptbxl_folder, tmp_path):
    """The loss of the statements depends on the samples in `statement_mask` and on no others."""
    torch.manual_seed(0)
    data = PTBXL(ptbxl_folder, range(1, 9), tmp_path)
    model = BeatWithStatementHead(BeatModel(BeatConfig()), 76, 1.0).eval()
    torch.nn.init.normal_(model.statement_head.pooling.value)
    windows = BeatWindows(data, model.beat.config, augment=False, statements=np.zeros((len(data), 76), np.float32))
    batch = torch.utils.data.default_collate([windows[i] for i in range(2)])
    part = torch.zeros(2, 500, dtype=torch.bool)
    part[:, 200:] = True

    def loss(mask: torch.Tensor, **changed: torch.Tensor) -> torch.Tensor:
        return model(**(batch | changed | {"statement_mask": mask})).statement_loss

    assert len({round(loss(mask).item(), 5) for mask in (part, ~part, part | True)}) == 3
    assert loss(part) == loss(part, target_values=torch.where(part[:, None], batch["target_values"], 9.0))


def test_statements_are_learnt_from_varied_windows_and_codes_from_plain_ones(ptbxl_folder, tmp_path):
    """The statements' pass draws its own variations in training, and leaves the codebooks alone; without training, both
    passes read the same.
    """
    torch.manual_seed(0)
    data = PTBXL(ptbxl_folder, range(1, 9), tmp_path)
    model = BeatWithStatementHead(BeatModel(BeatConfig()), 76, 1.0).train()
    torch.nn.init.normal_(model.statement_head.pooling.value)
    windows = BeatWindows(data, model.beat.config, statements=np.zeros((len(data), 76), np.float32))
    batch = torch.utils.data.default_collate([windows[i] for i in range(4)])
    first, second = (model(**batch) for _ in range(2))  # the first one starts the codebooks
    assert first.statement_loss != second.statement_loss
    codebooks = [level.codebook.clone() for level in model.beat.quantizer.levels]
    logits = model.read(batch["target_values"], batch["lead_mask"], batch["statement_mask"])
    assert all(map(torch.equal, codebooks, (level.codebook for level in model.beat.quantizer.levels)))
    logits.sum().backward()
    assert model.beat.encoder.patch_embedding.weight.grad.abs().sum() > 0
    model.eval()
    again = [model(**batch).statement_loss for _ in range(2)]
    assert again[0] == again[1]


def test_evaluation_scores_each_pattern(ptbxl_folder, tmp_path):
    torch.manual_seed(0)
    data = PTBXL(ptbxl_folder, [9], tmp_path)
    table = evaluate(BeatWithStatementHead(BeatModel(BeatConfig()), 76, 1.0), data)
    assert set(table) == {"12 leads", "3x4+II", "6x2", "limb leads", "I"}
    assert all(row["PRD, %"] > 0 and {"super", "all"} <= set(row) for row in table.values())
