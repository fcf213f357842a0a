"""Run by test_model.py in two processes: DDP by hand (gloo), each process with its own half of each batch."""

import os
import sys

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from heartcare import HeartcareForConditionalGeneration


def main(folder: str, batches: str, output: str):
    """Takes a step on each batch, each process on its half, and saves the weights of the first process."""
    dist.init_process_group("gloo")
    model = HeartcareForConditionalGeneration.from_pretrained(folder).train()
    parallel = DistributedDataParallel(model)
    optimizer = torch.optim.SGD([weight for weight in model.parameters() if weight.requires_grad], lr=1e-2)
    for halves in torch.load(batches, weights_only=True):
        parallel(**halves[dist.get_rank()]).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    if dist.get_rank() == 0:
        torch.save(model.state_dict(), output)
    dist.barrier()
    sys.stdout.flush()
    # Taking gloo down right after a step may never end: its thread wants the interpreter, which waits for the thread.
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
