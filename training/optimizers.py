"""The optimizer of this repository's training: Muon for the matrices inside of transformers, AdamW for all else, as one
that the Trainer can save and resume.
"""

import torch
from torch import nn


def inner_matrices(model: nn.Module) -> list[nn.Parameter]:
    """The weights of the linear maps in the layers of Beat, of the language model and of the ViT; not embeddings, heads
    and projectors.
    """
    return [
        part.weight
        for name, part in model.named_modules()
        if isinstance(part, nn.Linear) and ".layers." in name and part.weight.requires_grad
    ]


class MuonWithAdamW(torch.optim.Optimizer):
    """[`torch.optim.Muon`] on `inner_matrices`, [`torch.optim.AdamW`] on the other parameters of a model.

    `beat_study.py` compares it with AdamW alone.

    Args:
        model: Any module; parameters that need no gradient are left out.
        learning_rate: Of AdamW.
        muon_learning_rate: Of Muon, whose steps are orthogonal matrices, whatever the size of the gradient.
        weight_decay: Of both.
    """

    def __init__(
        self,
        model: nn.Module,
        learning_rate: float = 2e-3,
        muon_learning_rate: float = 0.03,
        weight_decay: float = 0.01,
    ):
        matrices = inner_matrices(model)
        of_muon = {id(each) for each in matrices}
        others = [each for each in model.parameters() if each.requires_grad and id(each) not in of_muon]
        self.parts = [
            kind(each, lr=rate, weight_decay=weight_decay)
            for kind, each, rate in (
                (torch.optim.Muon, matrices, muon_learning_rate),
                (torch.optim.AdamW, others, learning_rate),
            )
            if each
        ]
        super().__init__([group for part in self.parts for group in part.param_groups], {})
        self._share_groups()

    def _share_groups(self):
        # The very groups of the parts, so that a schedule that sets a learning rate here sets it there.
        self.param_groups = [group for part in self.parts for group in part.param_groups]

    @torch.no_grad()
    def step(self, closure=None):
        for part in self.parts:
            part.step()

    def state_dict(self) -> dict:
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state: dict):
        for part, each in zip(self.parts, state["parts"]):
            part.load_state_dict(each)
        self._share_groups()
