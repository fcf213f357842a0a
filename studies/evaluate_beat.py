"""What Beat's tokens keep and lose, on PTB-XL's validation fold: prints one table, in Markdown.

python -m heartcare.studies.evaluate_beat --ptbxl PTBXL_FOLDER --model .
"""

import argparse

import numpy as np
import torch
from tqdm import tqdm

from heartcare.agent.measure import find_r_peaks, match_peaks, repeat_last_beat
from heartcare.tokenization_beat import BeatModel
from heartcare.training.ptbxl import PTBXL


@torch.no_grad()
def evaluate(model: BeatModel, data: PTBXL, batch_size: int = 64) -> dict[str, float]:
    config, rate = model.config, model.config.sampling_rate
    count = len(data)
    horizon = config.prediction_length
    used = np.zeros((2, config.codebook_size), bool)
    prd, rmse, beats, found, extra, exact = [], [], 0, 0, 0, True
    errors = {"Beat": [], "repeat the last beat": [], "zero": []}
    for start in tqdm(range(0, count, batch_size), desc="records"):
        signal = np.stack([data.signal(i) for i in range(start, min(start + batch_size, count))])
        x = torch.from_numpy(signal)
        tokens, output = model.encode(x), model(x)
        decoded = model.decode(tokens.codes, tokens.gain)[..., -x.shape[-1] :]
        exact &= torch.equal(decoded, output.reconstruction)
        for level in range(2):
            used[level, tokens.codes[:, level].unique().numpy()] = True
        error = (decoded - x).numpy()
        prd += list(100 * np.sqrt((error**2).sum((1, 2)) / (signal**2).sum((1, 2))))
        rmse += list(1000 * np.sqrt((error**2).mean((1, 2))))
        forecast = model.forecast(x[..., :-horizon], num_samples=horizon).numpy()
        for one, back, ahead in zip(signal, decoded.numpy(), forecast):
            peaks, after = find_r_peaks(one, rate), find_r_peaks(back, rate)
            hits = match_peaks(peaks, after, 0.05 * rate)
            beats, found, extra = beats + len(peaks), found + hits, extra + len(after) - hits
            truth, variance = one[:, -horizon:], one.var()
            guesses = (ahead, repeat_last_beat(one[:, :-horizon], horizon, rate), np.zeros_like(truth))
            for name, guess in zip(errors, guesses):
                errors[name].append(((guess - truth) ** 2).mean() / variance)
    seconds = config.samples_per_latent / rate
    return {
        "records": count,
        "bits per second": 2 * np.log2(config.codebook_size) / seconds,
        "PRD mean (%)": float(np.mean(prd)),
        "PRD median (%)": float(np.median(prd)),
        "RMSE mean (uV)": float(np.mean(rmse)),
        "R-peak recall after decode (50 ms)": found / beats,
        "R-peak precision after decode (50 ms)": found / (found + extra),
        "codes used, level 1 (%)": 100 * float(used[0].mean()),
        "codes used, level 2 (%)": 100 * float(used[1].mean()),
        "decode(encode(x)) equals the model's own reconstruction, bit for bit": exact,
        **{
            f"MSE of the next {horizon / rate:g} s, in variances: {name}": float(np.mean(e))
            for name, e in errors.items()
        },
    }


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ptbxl", required=True)
    parser.add_argument("--model", default=".", help="a Beat or a HeartcareGPT repository")
    parser.add_argument("--fold", type=int, default=9)
    parser.add_argument("--cache", default="runs/cache")
    parser.add_argument("--limit", type=int)
    args = parser.parse_args(argv)
    model = BeatModel.from_pretrained(args.model).eval()
    print("| measure | value |\n|---|---|")
    for name, value in evaluate(model, PTBXL(args.ptbxl, [args.fold], args.cache, args.limit)).items():
        print(f"| {name} | {value:.3f} |" if isinstance(value, float) else f"| {name} | {value} |")


if __name__ == "__main__":
    main()
