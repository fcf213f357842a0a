"""Merges the sharded checkpoint of an FSDP2 run into one folder that `from_pretrained` reads.

    python -m heartcare.training.merge_shards --shards OUTPUT/joint/checkpoint-1000/pytorch_model_fsdp_0 \\
        --model OUTPUT/warmup --output OUTPUT/merged

`--model` is the model from which the run started: the result has its configuration and its processor.
"""

import argparse

import torch
import torch.distributed.checkpoint as checkpoint

from heartcare import HeartcareForConditionalGeneration, HeartcareProcessor


def merge(shards: str, model: str, output: str) -> None:
    """Writes the weights in the folder `shards`, with configuration and processor of `model`, to `output`."""
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
    """Runs the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", required=True, help="folder of the sharded checkpoint")
    parser.add_argument("--model", required=True, help="folder of the model from which the run started")
    parser.add_argument("--output", required=True)
    args = parser.parse_args(argv)
    merge(args.shards, args.model, args.output)
    print(f"{args.shards} -> {args.output}")


if __name__ == "__main__":
    main()
