"""The optimizer of this repository's training: Muon for the matrices inside of transformers and AdamW for all other
parameters, as one optimizer that the Trainer can save and resume.
"""

from collections.abc import Callable

import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler
from transformers import get_cosine_schedule_with_warmup


def muon_with_cosine_schedule(
    model: nn.Module, warmup_steps: int, max_steps: int, **options: float
) -> tuple[torch.optim.Optimizer, LRScheduler]:
    """Returns the optimizer, made with `options`, and a cosine schedule with a linear warm-up: the `optimizers` of a
    Trainer.
    """
    optimizer = MuonWithAdamW(model, **options)
    return optimizer, get_cosine_schedule_with_warmup(optimizer, warmup_steps, max_steps)


class MuonWithAdamW(torch.optim.Optimizer):
    """[`torch.optim.Muon`] on `inner_matrices`, [`torch.optim.AdamW`] on the other parameters of a model.

    `heartcare.studies.beat_study` compares it with AdamW alone.

    Args:
        model: Any module; parameters that need no gradient are left out.
        learning_rate: Learning rate of AdamW.
        muon_learning_rate: Learning rate of Muon, whose steps are orthogonal matrices, whatever the size of the
            gradient.
        weight_decay: Weight decay of both.
    """

    def __init__(
        self,
        model: nn.Module,
        learning_rate: float = 2e-3,
        muon_learning_rate: float = 0.03,
        weight_decay: float = 0.01,
    ):
        matrices = inner_matrices(model)
        matrix_ids = {id(parameter) for parameter in matrices}
        others = [p for p in model.parameters() if p.requires_grad and id(p) not in matrix_ids]
        self.parts = [
            kind(parameters, lr=rate, weight_decay=weight_decay)
            for kind, parameters, rate in (
                (torch.optim.Muon, matrices, muon_learning_rate),
                (torch.optim.AdamW, others, learning_rate),
            )
            if parameters
        ]
        super().__init__([group for part in self.parts for group in part.param_groups], {})
        self._share_groups()

    def _share_groups(self) -> None:
        # The very groups of the parts, so that a schedule that sets a learning rate here sets it there.
        self.param_groups = [group for part in self.parts for group in part.param_groups]

    @torch.no_grad()
    def step(self, closure: Callable | None = None) -> None:
        """Takes one step of both optimizers; a closure is not supported and is left out."""
        for part in self.parts:
            part.step()

    def state_dict(self) -> dict:
        """Returns the states of both optimizers."""
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state_dict: dict) -> None:
        """Restores the states of both optimizers."""
        for part, state in zip(self.parts, state_dict["parts"]):
            part.load_state_dict(state)
        self._share_groups()


def inner_matrices(model: nn.Module) -> list[nn.Parameter]:
    """Returns the weights of the linear maps in the layers of Beat, of the language model and of the ViT, as far as
    they need a gradient; not embeddings, heads and projectors.
    """
    return [
        part.weight
        for name, part in model.named_modules()
        if isinstance(part, nn.Linear) and "layers." in name and part.weight.requires_grad
    ]
