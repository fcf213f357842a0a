"""Run by test_beat_levels.py in two processes (gloo): Beat's codebooks follow batches, each process with one part."""

import os
import sys

import torch
import torch.distributed as dist

from heartcare import BeatModel


def main(folder: str, batches: str, output: str):
    """Shows every process its part of each batch, and saves the buffers of each process."""
    dist.init_process_group("gloo")
    torch.manual_seed(dist.get_rank())  # what is drawn at random may not come apart
    rank, results = dist.get_rank(), {}
    for name in ("started", "fresh"):
        model = BeatModel.from_pretrained(f"{folder}/{name}").train()
        with torch.no_grad():
            for parts in torch.load(batches, weights_only=True):
                model(**parts[rank])
        results[name] = dict(model.quantizer.named_buffers())
    torch.save(results, f"{output}.{rank}")
    dist.barrier()
    sys.stdout.flush()
    # Taking gloo down right after a step may never end: its thread wants the interpreter, which waits for the thread.
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
