"""The teacher: its networks, its augmentation, and the soft labels that it leaves."""

import json

import numpy as np
import pytest
import torch
from safetensors import safe_open
from support.commands import run_main

from heartcare.agent.statements import NAMES
from heartcare.training.augmentation import draw_share, lose_leads, mix, vary
from heartcare.training.ptbxl import PTBXL
from heartcare.training.statement_labels import (
    FAMILIES,
    FAMILY_WEIGHTS,
    family_loss,
    given_statements,
    macro_auc_of_sets,
    soft_labels,
    write_soft_labels,
)
from heartcare.training.teacher import (
    TeacherRecipe,
    answers_of_networks,
    crops_of_epoch,
    record_logits,
)
from heartcare.training.teacher_networks import NETWORKS, StateSpace
from heartcare.version_heartcare import HEARTCARE_VERSION


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_take_any_length_and_learn_everywhere(name):
    torch.manual_seed(0)
    network = NETWORKS[name]()
    for samples in (250, 500, 333):
        assert network(torch.randn(3, 12, samples)).shape == (3, len(NAMES))
    family_loss(network(torch.randn(4, 12, 250)), torch.rand(4, len(NAMES))).backward()
    assert [n for n, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum()] == []


def test_state_space_is_the_recurrence_in_both_directions():
    """The matrix product is the linear recurrence x[k+1] = exp(A d) x[k] + B u[k], run forwards and backwards."""
    torch.manual_seed(0)
    space, n = StateSpace(3, states=4).double(), 40
    u = torch.randn(3, n, 2, dtype=torch.double)
    pole = torch.complex(-space.log_decay.exp(), space.frequency)
    step = (pole * space.log_step.exp()[..., None]).exp()
    output = 2 * torch.complex(*space.output) * (step - 1) / pole
    expected = space.skip[..., None] * u
    for direction in (0, 1):
        signal = u if direction == 0 else u.flip(1)
        state, outputs = torch.zeros(3, 2, 4, dtype=torch.cdouble), []
        for k in range(n):
            state = state * step[direction][:, None] + signal[:, k, :, None]
            outputs.append((state * output[direction][:, None]).sum(-1).real)
        response = torch.stack(outputs, 1)
        expected = expected + (response if direction == 0 else response.flip(1))
    torch.testing.assert_close(space(u), expected)


def test_families_cover_the_labels_in_order():
    assert sum(FAMILIES.values()) == len(NAMES) and list(FAMILIES) == list(FAMILY_WEIGHTS)
    # A wrong rhythm costs its weight, and nothing else changes.
    labels, logits = torch.zeros(2, len(NAMES)), torch.full((2, len(NAMES)), -9.0)
    wrong = logits.clone()
    wrong[:, FAMILIES["super"]] = 9.0  # the first rhythm
    cost = torch.nn.functional.softplus(torch.tensor(9.0)) - torch.nn.functional.softplus(torch.tensor(-9.0))
    assert family_loss(wrong, labels) - family_loss(logits, labels) == pytest.approx(
        FAMILY_WEIGHTS["rhythm"] * cost.item(), rel=1e-4
    )


def test_augmentation_keeps_the_heart():
    """A lead that is kept keeps its shape, whole leads are lost, and the seed decides all."""
    x = torch.sin(torch.arange(250) / 4).expand(256, 12, 250)
    one, again = (
        lose_leads(vary(x, source), source) for source in (torch.Generator().manual_seed(3) for _ in range(2))
    )
    assert torch.equal(one, again)
    lost = (one == 0).all(-1)
    assert 0 < lost.float().mean() < 0.2 and not lost.all(1).any()
    centred = one - one.mean(-1, keepdim=True)
    alike = (centred * x).sum(-1) / (centred.norm(dim=-1) * x.norm(dim=-1)).clamp(min=1e-9)
    assert alike[~lost].min() > 0.9


def test_mixing_keeps_the_sum_of_the_labels():
    """Half of the batches stay as they are; in the others each entry has a share of its neighbour."""
    shares = [draw_share(np.random.default_rng(seed)) for seed in range(200)]
    assert 0.4 < np.mean([share == 1 for share in shares]) < 0.6 and all(0 <= share <= 1 for share in shares)
    labels = torch.eye(8)
    assert mix(labels, 1.0) is labels
    mixed = mix(labels, 0.75)
    torch.testing.assert_close(mixed, 0.75 * labels + 0.25 * labels.roll(1, 0))
    torch.testing.assert_close(mixed.sum(1), torch.ones(8))


def test_answers_are_means_over_crops_of_whole_records(ptbxl_folder, tmp_path):
    data = PTBXL(ptbxl_folder, [9], tmp_path)
    network = NETWORKS["resnet"]().eval()
    logits = record_logits(network, data, batch_size=2)
    signal = torch.from_numpy(data.signal(0))
    crops = torch.stack([signal[:, start : start + 250] for start in range(0, 751, 125)])
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(logits[0], network(crops).float().mean(0), atol=2e-2, rtol=0)
    rows = [rows for rows, _ in crops_of_epoch(data, TeacherRecipe("resnet", batch_size=3), np.random.default_rng(0))]
    seen = np.concatenate(rows)
    assert len(set(seen)) == len(seen) >= len(data) - 2


def test_labels_of_the_teacher_find_their_records(ptbxl_folder, tmp_path):
    arguments = ["--ptbxl", ptbxl_folder, "--cache", tmp_path, "--output", tmp_path / "teacher"]
    with pytest.raises(FileNotFoundError, match="train"):
        run_main("heartcare.training.teacher", "label", *arguments)
    for name in ("a", "b"):
        options = ["--network", "resnet", "--epochs", 3, "--seed", ord(name), "--name", name]
        run_main("heartcare.training.teacher", "train", *arguments, *options)
    run_main("heartcare.training.teacher", "label", *arguments)
    table = run_main("heartcare.training.teacher", "score", *arguments, "--fold", 9).stdout
    assert all(f"| {name} |" in table for name in ("a", "b", "mean"))
    data = PTBXL(ptbxl_folder, [9], tmp_path)
    answers = answers_of_networks(tmp_path / "teacher", data)
    torch.testing.assert_close(answers["mean"], ((answers["a"].logit() + answers["b"].logit()) / 2).sigmoid())
    given, ids = given_statements(data), [row["ecg_id"] for row in data.rows]
    expected, path = (given + answers["mean"].numpy()) / 2, tmp_path / "teacher/soft_labels.safetensors"
    np.testing.assert_allclose(soft_labels(given[::-1], ids[::-1], path), expected[::-1], atol=1 / 500)
    labels = soft_labels(given, ["", *ids[1:]], path)  # a record without an id has its own statements
    np.testing.assert_allclose(labels, np.concatenate([given[:1], expected[1:]]), atol=1 / 500)
    with safe_open(path, "np") as file:
        assert file.metadata() == {"heartcare_version": HEARTCARE_VERSION}
    assert json.loads((tmp_path / "teacher/a/score.json").read_text())["heartcare_version"] == HEARTCARE_VERSION


def test_strange_labels_are_refused(ptbxl_folder, tmp_path):
    data = PTBXL(ptbxl_folder, [9], tmp_path)
    write_soft_labels(tmp_path / "a.safetensors", data, np.zeros((len(data), len(NAMES)), np.float32))
    with pytest.raises(ValueError, match="labels of none"):
        soft_labels(given_statements(data), ["other"] * len(data), tmp_path / "a.safetensors")


def test_macro_auc_leaves_rare_labels_out_on_request():
    labels = np.zeros((40, len(NAMES)), bool)
    labels[:20, 0], labels[:2, 1] = True, True
    scores = np.zeros((40, len(NAMES)))
    scores[:20, 0] = 1.0
    scores[:, 1] = np.arange(40)  # the two with the label have the least
    assert macro_auc_of_sets(labels, scores)["super"] == 0.5
    assert macro_auc_of_sets(labels, scores, positives=10)["super"] == 1.0
    assert macro_auc_of_sets(labels, scores)["rhythm"] is None
