# Copyright 2026 The HeartcareGPT authors. Licensed under the Apache License, Version 2.0.
"""Branches of one prompt: several answers or questions that are read after the same prompt and do not see each other.

prompt + branches -> one row of tokens, with the branch and the position of each -> who sees whom -> scores
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch


class Branches(NamedTuple):
    """Rows of prompts with their branches, padded on the right to n tokens: three tensors of shape (rows, n).

    ids: Token ids; 0 for padding.
    branch: 0 for the prompt, 1, 2, ... for the branches, -1 for padding.
    positions: Position of each token.
    """

    ids: torch.LongTensor
    branch: torch.LongTensor
    positions: torch.LongTensor

    @classmethod
    def of(
        cls,
        prompts: Sequence[Sequence[int]],
        branches: Sequence[Sequence[Sequence[int]]],
        device: torch.device | None = None,
    ) -> "Branches":
        """Makes rows of prompts and, for each, the token ids of its branches."""
        rows = [lay_out(prompt, own) for prompt, own in zip(prompts, branches, strict=True)]
        longest = max(len(ids) for ids, _, _ in rows)
        columns = (
            [values + [fill] * (longest - len(values)) for values in column]
            for column, fill in zip(zip(*rows), (0, -1, 0))
        )
        return cls(*(torch.tensor(column, dtype=torch.long, device=device) for column in columns))


def lay_out(prompt: Sequence[int], branches: Sequence[Sequence[int]]) -> tuple[list[int], list[int], list[int]]:
    """Lays a prompt and its branches out in one row.

    Returns: token ids; the branch of each token (0 for the prompt, 1, 2, ... for the branches); and its position, which
        counts on from the prompt in every branch, so that each is read as if it were the only one.
    """
    parts = [prompt, *branches]
    ids = [token for part in parts for token in part]
    branch = [k for k, part in enumerate(parts) for _ in part]
    starts = [0] + [len(prompt)] * len(branches)
    positions = [start + step for start, part in zip(starts, parts) for step in range(len(part))]
    return ids, branch, positions


def who_sees_whom(branch: torch.Tensor, group: torch.Tensor | None = None) -> torch.BoolTensor:
    """Tells which tokens each token attends to: itself and those before it, if of the prompt or of its own branch.

    Args:
        branch (`(rows, n)`): Branch of each token, as `lay_out` gives it; -1 for padding.
        group (`(rows, n)`, *optional*): Number of the prompt that each token belongs to, where a row holds several.

    Returns: `torch.BoolTensor` of shape `(rows, n, n)`; entry (r, i, j) is True where token i sees token j.
    """
    sees = (branch[:, None, :] == 0) | (branch[:, None, :] == branch[:, :, None])
    if group is not None:
        sees = sees & (group[:, None, :] == group[:, :, None])
    return sees.tril()


def attention_bias(sees: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Turns a mask (rows, n, m) of who sees whom into the terms that attention adds to its scores, (rows, 1, n, m)."""
    return torch.zeros(sees.shape, dtype=dtype, device=sees.device).masked_fill(~sees, torch.finfo(dtype).min)[:, None]


def answer_lengths(ids: torch.Tensor, ends: int | Sequence[int] | None) -> tuple[torch.LongTensor, torch.BoolTensor]:
    """Finds where generated answers end.

    Args:
        ids (`(answers, tokens)`): Generated token ids, without those of the prompt.
        ends: Id or ids of the tokens that end an answer; None where there is none.

    Returns: number of tokens of each answer, the end token included, and whether it came to its end; both `(answers,)`.
    """
    is_end = torch.isin(ids, torch.as_tensor(-1 if ends is None else ends, device=ids.device))
    finished = is_end.any(1)
    return torch.where(finished, is_end.int().argmax(1) + 1, ids.shape[1]), finished


def option_shares(scores: torch.Tensor) -> tuple[int, list[float]]:
    """Turns log-probabilities of a question's options (options,) into the index of the likeliest, and the share of each
    in the probability of all; the shares add up to 1.
    """
    shares = scores.double().softmax(0).tolist()
    return max(range(len(shares)), key=shares.__getitem__), shares


__all__ = ["Branches", "answer_lengths", "attention_bias", "lay_out", "option_shares", "who_sees_whom"]
