"""Speed of Beat beside the paper's settings in plain torch, in one run: encode, decode, training step, and a stream of
many hours.

    python -m heartcare.studies.benchmark_beat --model .
    python -m heartcare.studies.benchmark_beat --model . --onnx --compile --bf16 --hours 24

Prints Markdown tables of ECG-seconds per second (medians) and of the ratio to the reference, which is the paper's
design at the paper's scale (250 Hz, 6 + 6 layers of 8 heads x 64, each level searched alone, random weights) in plain
torch: eager attention, every position computed in every layer. Each model is given windows of its own length: 4 s, and
Beat's. "Codes from a signal, as published" is the reference's whole forward pass, decoder included, since the published
code has no other way to codes. With a GPU, --device cuda --peak-tflops also prints the achieved share of the chip's
peak.
"""

import argparse
import copy
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch

from heartcare import BeatConfig, BeatFeatureExtractor, BeatModel
from heartcare.agent.simulate import simulate_ecg
from heartcare.training.memory import peak_memory_gib

from .beat_variants import published

PAPER = dict(
    sampling_rate=250,
    patch_size=25,
    segment_length=1000,
    num_encoder_layers=6,
    num_decoder_layers=6,
    num_attention_heads=8,
    head_dim=64,
)


def print_stream(model: BeatModel, hours: float) -> None:
    """Streams a recording of many hours, minute by minute, and prints time and memory."""
    sampling_rate = PAPER["sampling_rate"]
    minute = simulate_ecg("SR", "NORM", seconds=60, sampling_rate=sampling_rate, seed=1).signal
    stream = model.stream(
        BeatFeatureExtractor(
            sampling_rate=model.config.sampling_rate, samples_per_latent=model.config.samples_per_latent
        ),
        sampling_rate,
    )
    started, segments = time.perf_counter(), 0
    for _ in range(round(60 * hours)):
        segments += len(stream.push(minute))
    segments += len(stream.close())
    seconds = time.perf_counter() - started
    memory = peak_memory_gib()
    print(
        f"\n{hours:g} h of 12 leads at {sampling_rate} Hz as a stream: {segments} segments in {seconds:.0f} s"
        + (f", peak memory {memory:.2f} GiB" if memory else "")
    )


TURNS, SECONDS_OF_A_TURN = 5, 0.3  # of each call that is timed


def paper(device: str) -> BeatModel:
    """Returns the published design with random weights, without Beat's optimisations for speed."""
    model = BeatModel(BeatConfig(**PAPER))
    published(model)
    for transformer in (model.encoder.transformer, model.decoder.transformer):
        whole = transformer.forward
        transformer.forward = lambda states, mask, keep=slice(None), whole=whole: whole(states, mask)[:, keep]
    return model.to(device)


def measure(
    reference: BeatModel, model: BeatModel, batch: int, args: argparse.Namespace
) -> dict[str, dict[str, float]]:
    """Returns task -> name of a model -> ECG-seconds per second."""
    # Seconds of ECG in a call.
    window = {each: batch * each.config.segment_length / each.config.sampling_rate for each in (reference, model)}
    with torch.no_grad():
        encode, decode = codes_and_decodes(reference, model, batch, args)
        times = {
            "codes from a signal": median_seconds(encode, args.device),
            "decode": median_seconds(decode, args.device),
        }
    if batch > 1:
        times["training step"] = median_seconds(training_steps(model, batch, args), args.device)
    return {
        task: {name: window[model if name.startswith("Beat") else reference] / s for name, s in rows.items()}
        for task, rows in times.items()
    }


def codes_and_decodes(
    reference: BeatModel, model: BeatModel, batch: int, args: argparse.Namespace
) -> tuple[dict[str, Callable], dict[str, Callable]]:
    """Returns name of a model -> call that encodes, and name of a model -> call that decodes."""
    x = {each: random_segments(each, batch) for each in (reference, model)}
    tokens = {each: each.encode(values) for each, values in x.items()}
    encode = {
        "paper, as published": lambda: reference(x[reference]),
        "paper, encoder alone": lambda: reference.encode(x[reference]),
        "Beat": lambda: model.encode(x[model]),
    }
    decode = {
        name: lambda each=each: each.decode(tokens[each].codes, tokens[each].gain)
        for name, each in (("paper", reference), ("Beat", model))
    }
    if args.compile:
        compiled = torch.compile(model.encode)
        encode["Beat, torch.compile"] = lambda: compiled(x[model])
    if args.onnx:
        from onnxruntime import InferenceSession, SessionOptions

        from heartcare.examples.export_onnx import compare, example, export

        with tempfile.TemporaryDirectory() as folder:
            paths = export(model.cpu(), Path(folder))
            same = compare(model, paths)["codes"]
            encoder, decoder = (InferenceSession(path) for path in paths)
            one_thread = SessionOptions()
            one_thread.intra_op_num_threads = 1
            of_a_core = InferenceSession(paths[0], one_thread)
        inputs = {name: value.numpy() for name, value in example(model, batch, model.config.segment_length).items()}
        codes, gain = encoder.run(None, inputs)
        encode[f"Beat, ONNX Runtime ({same:.0%} of the codes the same)"] = lambda: encoder.run(None, inputs)
        if batch > 1:  # many small steps do not scale with threads; parts of a batch do
            cores = min(batch, torch.get_num_threads())
            rows = np.array_split(np.arange(batch), cores)
            parts = [{name: value[each] for name, value in inputs.items()} for each in rows]
            pool = ThreadPoolExecutor(cores)
            encode["Beat, ONNX Runtime, a part of the batch on each core"] = lambda: list(
                pool.map(lambda part: of_a_core.run(None, part), parts)
            )
        decode["Beat, ONNX Runtime"] = lambda: decoder.run(None, {"codes": codes, "gain": gain})
        model.to(args.device)
    return encode, decode


def random_segments(model: BeatModel, batch: int) -> torch.Tensor:
    """Returns noise of the length of a segment, (batch, 12, samples) in mV."""
    return 0.2 * torch.randn(batch, model.config.num_leads, model.config.segment_length, device=model.device)


def median_seconds(calls: dict[str, Callable], device: str) -> dict[str, float]:
    """Returns the median seconds of each call. The calls take turns, each after one call that does not count, so that
    other work of the machine slows all of them.
    """
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(TURNS):
        for name, call in calls.items():
            call()
            turn: list[float] = []
            while sum(turn) < SECONDS_OF_A_TURN:
                started = time.perf_counter()
                call()
                if device == "cuda":
                    torch.cuda.synchronize()
                turn.append(time.perf_counter() - started)
            times[name] += turn
    return {name: statistics.median(each) for name, each in times.items()}


def training_steps(model: BeatModel, batch: int, args: argparse.Namespace) -> dict[str, Callable]:
    """Returns name of a model -> call that takes a training step of a new one."""
    steps = {}
    for name, another in (("paper", lambda: paper(args.device)), ("Beat", lambda: copy.deepcopy(model))):
        learner = another().train()
        steps[name] = training_step(learner, random_segments(learner, batch))
        if args.bf16:
            learner = another().train()
            if args.device == "cpu":
                learner.set_attn_implementation("eager")  # see training/encoder.py
            steps[f"{name}, bf16"] = training_step(learner, random_segments(learner, batch), torch.bfloat16)
    return steps


def training_step(model: BeatModel, x: torch.Tensor, dtype: torch.dtype | None = None) -> Callable[[], None]:
    """Returns a call that takes one training step on `x`."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    future = 0.2 * torch.randn(len(x), model.config.num_leads, model.config.prediction_length, device=x.device)

    def step() -> None:
        with torch.autocast(x.device.type, dtype, enabled=dtype is not None):
            loss = model(input_values=x, future_values=future).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def print_table(rates: dict[str, dict[str, float]], batch: int) -> None:
    """Prints the rates of `measure`."""
    print(f"\n| batch {batch} | ECG-seconds per second | of the paper's |\n|---|---|---|")
    for task, rows in rates.items():
        first = next(iter(rows.values()), None)
        for name, rate in rows.items():
            print(f"| {task}: {name} | {rate:,.0f} | {rate / first:.1f} |")


def flops(model: BeatModel, tokens: int, layers: int) -> float:
    """Returns the number of multiplications and additions of one pass of a transformer over one segment."""
    config = model.config
    inner = config.num_attention_heads * config.head_dim
    per_token = 4 * config.hidden_size * inner + 2 * config.hidden_size * config.intermediate_size + 2 * tokens * inner
    return 2 * layers * tokens * per_token


def main(argv: list[str] | None = None) -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=".", help="a HeartcareGPT or Beat repository")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 32])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--bf16", action="store_true", help="training steps with matrix products in bfloat16, too")
    parser.add_argument("--compile", action="store_true", help="torch.compile of the encoder, too")
    parser.add_argument("--onnx", action="store_true", help="ONNX Runtime, too")
    parser.add_argument("--hours", type=float, help="hours of a stream, which is measured before all else")
    parser.add_argument("--peak-tflops", type=float, help="peak of the device, for the achieved share of it")
    args = parser.parse_args(argv)
    torch.manual_seed(0)
    model = BeatModel.from_pretrained(args.model, dtype=torch.float32).to(args.device).eval()
    if args.hours:  # first, while nothing else has used memory
        print_stream(model, args.hours)
    reference = paper(args.device).eval()
    sizes = [f"{sum(each.numel() for each in net.parameters()) / 1e6:.2f} M parameters" for net in (reference, model)]
    machine = f"{torch.get_num_threads()} threads, torch {torch.__version__}, {args.device}"
    print(f"\nThe paper's settings: {sizes[0]}. Beat: {sizes[1]}. {machine}.")
    for batch in args.batches:
        rates = measure(reference, model, batch, args)
        print_table(rates, batch)
        if args.peak_tflops:
            config = model.config
            tokens = config.num_patches + config.num_queries
            per_second = flops(model, tokens, config.num_encoder_layers) * config.sampling_rate / config.segment_length
            best = max(rate for name, rate in rates["codes from a signal"].items() if name.startswith("Beat"))
            achieved = best * per_second / 1e12
            print(f"\nEncoding at batch {batch}: {achieved:.3f} TFLOP/s, {achieved / args.peak_tflops:.1%} of the peak")


if __name__ == "__main__":
    main()
