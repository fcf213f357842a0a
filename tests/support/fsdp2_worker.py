"""Run by test_runs.py in two processes: a model in shards (FSDP2, gloo) takes a few steps, and is saved in shards."""

import os
import sys

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as checkpoint
from torch.distributed.checkpoint.state_dict import get_model_state_dict
from torch.distributed.fsdp import fully_shard

from heartcare import HeartcareForConditionalGeneration


def learn(model, batches: list[dict], steps: int) -> list[float]:
    model.train()
    optimizer = torch.optim.SGD([each for each in model.parameters() if each.requires_grad], lr=1e-2)
    losses = []
    for k in range(steps):
        loss = model(**batches[k % len(batches)]).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses


def main(folder: str, batches: str, output: str):
    dist.init_process_group("gloo")
    torch.manual_seed(0)
    model = HeartcareForConditionalGeneration.from_pretrained(folder)
    model.freeze_towers()
    mesh = dist.device_mesh.init_device_mesh("cpu", (dist.get_world_size(),))
    for layer in model.get_decoder().layers:
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)
    weight = model.get_decoder().layers[0].mlp.up_proj.weight
    assert weight.to_local().shape[0] * dist.get_world_size() == weight.shape[0], "not in shards"
    losses = learn(model, torch.load(batches, weights_only=True), 3)
    state = get_model_state_dict(model)
    state.pop("language_model.lm_head.weight", None)  # tied
    checkpoint.save({"model": state}, checkpoint_id=output)
    if dist.get_rank() == 0:
        print("losses", *losses)
    dist.barrier()
    sys.stdout.flush()
    # Taking gloo down right after a step may never end: its thread wants the interpreter, which waits for the thread.
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
