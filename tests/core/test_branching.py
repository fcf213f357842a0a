"""Branches of one prompt against prompts of their own."""

import pytest
import torch
from torch.testing import assert_close

from heartcare.branching_heartcare import (
    Branches,
    answer_lengths,
    attention_bias,
    lay_out,
    option_shares,
    who_sees_whom,
)


def test_a_row_of_a_prompt_and_its_branches():
    ids, branch, positions = lay_out([7, 8], [[1, 2, 3], [4], []])
    assert ids == [7, 8, 1, 2, 3, 4] and branch == [0, 0, 1, 1, 1, 2] and positions == [0, 1, 2, 3, 4, 2]
    rows = Branches.of([[7, 8], []], [[[1], [2]], [[3]]])
    assert rows.ids.tolist() == [[7, 8, 1, 2], [3, 0, 0, 0]]
    assert rows.branch.tolist() == [[0, 0, 1, 2], [1, -1, -1, -1]]
    assert rows.positions.tolist() == [[0, 1, 2, 2], [0, 0, 0, 0]]
    with pytest.raises(ValueError):
        Branches.of([[7]], [[[1]], [[2]]])


def test_who_sees_whom():
    branch, group = torch.tensor([[0, 0, 1, 2, 2, 0, 1]]), torch.tensor([[0, 0, 0, 0, 0, 1, 1]])
    seen = [[j for j, sees in enumerate(row) if sees] for row in who_sees_whom(branch, group)[0].tolist()]
    assert seen == [[0], [0, 1], [0, 1, 2], [0, 1, 3], [0, 1, 3, 4], [5], [5, 6]]
    assert who_sees_whom(branch)[0, 6].tolist() == [True, True, True, False, False, True, True]
    bias = attention_bias(who_sees_whom(branch, group), torch.bfloat16)
    assert bias.shape == (1, 1, 7, 7) and bias.dtype == torch.bfloat16
    assert bias[0, 0, 6].tolist() == [torch.finfo(torch.bfloat16).min] * 5 + [0, 0]


@torch.no_grad()
def test_each_branch_is_read_as_if_it_were_alone(tiny):
    prompts, branches = [[11, 12, 13], [14]], [[[21, 22], [23], [24, 25, 26]], [[27, 28]]]
    rows = Branches.of(prompts, branches)
    logits = tiny(
        input_ids=rows.ids,
        attention_mask=attention_bias(who_sees_whom(rows.branch), tiny.dtype),
        position_ids=rows.positions,
    ).logits
    for r, prompt in enumerate(prompts):
        for k, branch in enumerate(branches[r], 1):
            alone = tiny(input_ids=torch.tensor([prompt + branch])).logits[0]
            assert_close(logits[r][rows.branch[r] == k], alone[len(prompt) :], atol=1e-5, rtol=1e-5)
            assert_close(logits[r][rows.branch[r] == 0], alone[: len(prompt)], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_scores_of_answers_are_those_of_prompts_of_their_own(tiny):
    ids = torch.tensor([[0, 0, 11, 12], [13, 14, 15, 16]])
    seen = torch.tensor([[0, 0, 1, 1], [1, 1, 1, 1]])
    answers = [[[21, 22, 23], [24]], [[25, 26], [27], [28, 29, 30, 31]]]
    scores = tiny.score_answers(answers, ids, seen)
    for r in range(2):
        prompt = ids[r][seen[r] == 1].tolist()
        for answer, score in zip(answers[r], scores[r], strict=True):
            logits = tiny(input_ids=torch.tensor([prompt + answer])).logits[0].log_softmax(-1)
            expected = sum(logits[len(prompt) - 1 + k, token] for k, token in enumerate(answer))
            assert_close(score, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("ends", [5, [5, 6], (5,), None])
def test_where_an_answer_ends(ends):
    ids = torch.tensor([[1, 5, 0, 5], [1, 2, 3, 4], [5, 0, 0, 0]])
    lengths, finished = answer_lengths(ids, ends)
    assert lengths.tolist() == ([2, 4, 1] if ends else [4, 4, 4])
    assert finished.tolist() == ([True, False, True] if ends else [False] * 3)


def test_shares_of_options():
    best, shares = option_shares(torch.tensor([-3.0, -1.0, -1.0, -800.0]))
    assert best == 1 and abs(sum(shares) - 1) < 1e-12 and shares[1] == shares[2] and shares[3] == 0
    assert abs(shares[1] / shares[0] - 2.718281828459045**2) < 1e-9
