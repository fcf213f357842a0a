"""Sharded checkpoint of an FSDP2 run -> one folder that `from_pretrained` reads.

    python -m heartcare.training.merge_shards --shards OUTPUT/joint/checkpoint-1000/pytorch_model_fsdp_0 --model OUTPUT/warmup
    --output OUTPUT/merged

`--model` is where the run started: its configuration and processor are those of the result.
"""

import argparse

import torch
import torch.distributed.checkpoint as checkpoint

from heartcare import HeartcareForConditionalGeneration, HeartcareProcessor


def merge(shards: str, model: str, output: str):
    whole = HeartcareForConditionalGeneration.from_pretrained(model, dtype="auto")
    tied = set(whole.all_tied_weights_keys)
    state = {"model": {name: tensor for name, tensor in whole.state_dict().items() if name not in tied}}
    checkpoint.load(state, checkpoint_id=shards, no_dist=True)
    with torch.no_grad():
        for name, tensor in state["model"].items():
            whole.state_dict()[name].copy_(tensor)
    whole.save_pretrained(output)
    HeartcareProcessor.from_pretrained(model).save_pretrained(output)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--output", required=True)
    args = parser.parse_args(argv)
    merge(args.shards, args.model, args.output)
    print(f"{args.shards} -> {args.output}")


if __name__ == "__main__":
    main()
