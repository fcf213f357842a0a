"""Before stage 2: train the default checkpoint's small ViT, which starts from nothing, on the pictures of a data set
built by HeartAgent, so that it can be frozen afterwards.

    python -m heartcare.training.vision --data HEARTCARE_400K --teacher runs/resnet1d --output runs/vision    # goes on
    after an interruption with --resume

From the few slots of each lead tile, which are all that the language model sees of it, two things are read: the trace
    itself, in mV, and, from all tiles together,
PTB-XL's statements, half as the cardiologists gave them and half as a teacher sees them in the signal. What reads them
is thrown away afterwards. A pretrained SigLIP needs none of this.
"""

import argparse

import numpy as np
import torch
from torch import nn
from transformers import SiglipVisionModel, Trainer, TrainingArguments, get_cosine_schedule_with_warmup
from transformers.utils import ModelOutput

from heartcare.agent.records import IMAGE_DPI, IMAGE_SIZE
from heartcare.agent.render import CALIBRATION_MM, MARGIN_MM
from heartcare.agent.statements import NAMES, SETS, select_set, truth
from heartcare.bench.metrics.probability import macro_auc
from heartcare.configuration_heartcare import HeartcareConfig
from heartcare.image_processing_heartcare import LAYOUTS, ECGImageProcessor
from heartcare.modeling_heartcare import ImageProjector
from heartcare.processing_heartcare import BeatFeatureExtractor

from .assemble import VISION
from .data import HeartcareData, Records
from .optimizers import MuonWithAdamW
from .pooling import AttentionPooling
from .resnet1d import load, logits

POINTS = 62  # of the trace in each slot: 25 ms of a quarter of 6.2 s, 10 ms of a quarter of 2.5 s


class Parts:
    """What of a processor [`HeartcareData`] needs."""

    image_processor = ECGImageProcessor(size={"height": VISION.image_size, "width": VISION.image_size})
    feature_extractor = BeatFeatureExtractor()


class PictureReader(nn.Module):
    """The ViT, and what reads traces and statements from the slots of its tiles."""

    def __init__(self, vision: SiglipVisionModel, weight: float):
        super().__init__()
        config = HeartcareConfig(
            vision_config=vision.config.to_dict(), text_config={"model_type": "llama", "hidden_size": 256}
        )
        self.vision, self.projector, self.weight = vision, ImageProjector(config), weight
        slots, width = 12 * config.image_slots_per_tile, config.text_config.hidden_size
        self.trace = nn.Linear(vision.config.hidden_size, POINTS)
        self.place = nn.Parameter(torch.zeros(slots, width))
        self.statements = nn.Sequential(nn.GELU(), nn.Linear(width, width), nn.GELU())
        self.pooling = AttentionPooling(width, len(NAMES))

    def forward(self, pixel_values: torch.Tensor, trace=None, seen=None, statements=None) -> ModelOutput:
        """(B, 12, 1, h, w), (B, 12, slots * POINTS) in units of the record's gain, where it is seen, (B, 76)."""
        hidden = self.vision(pixel_values.flatten(0, 1).expand(-1, 3, -1, -1)).last_hidden_state
        slots = self.projector.pool(hidden).unflatten(0, (-1, 12)).flatten(1, 2)  # (B, 12 * slots, Dv)
        drawn = self.trace(slots).float().unflatten(1, (12, -1)).flatten(2)
        states = self.statements(self.projector(slots) + self.place).float()
        read = self.pooling(states, states.new_zeros(len(states), 1))
        loss = None
        if trace is not None:
            shape = ((drawn - trace).square() * seen).sum() / seen.sum()
            meaning = nn.functional.binary_cross_entropy_with_logits(read, statements)
            loss = shape + self.weight * meaning
        return ModelOutput(loss=loss, trace=drawn, statements=read)


def stretch(drawing: dict, lead: int) -> tuple[float, float, float, float]:
    """When a tile begins and ends, as the image processor cuts it, and when what it shows of its lead begins and ends;
    seconds of the recording.
    """
    rows, columns = LAYOUTS[drawing["layout"]]
    width, speed = IMAGE_SIZE[0] / IMAGE_DPI * 25.4, drawing["mm_per_s"]
    shown = min(10.0, (width - 2 * MARGIN_MM - CALIBRATION_MM) / speed)
    strip = drawing["layout"].endswith("+R")
    column, columns = (0, 1) if strip and lead == 1 else (lead // (rows - strip), columns)
    edges = [((column + k) * (CALIBRATION_MM + shown * speed) / columns - CALIBRATION_MM) / speed for k in (0, 1)]
    return *edges, column * shown / columns, (column + 1) * shown / columns


class Pictures(torch.utils.data.Dataset):
    """Pictures as lead tiles, with the traces that they show.

    Args:
        data: A split, with tiles.
        said: float32 (records, 76), how likely each statement is.
        slots: Of a tile.
        augment: Tiles are shifted up or down a little, and their ink made weaker.
        length: Number of items.
        seed: Of the order; item i is the same in every run.
    """

    def __init__(self, data: HeartcareData, said: np.ndarray, slots: int, augment: bool, length: int, seed: int = 0):
        self.data, self.said, self.points, self.augment, self.length, self.seed = (
            data,
            said,
            slots * POINTS,
            augment,
            length,
            seed,
        )
        self.drawn = [record for record in range(len(data.tiles)) if data.drawings[record]]
        self.rate = Parts.feature_extractor.sampling_rate

    def __len__(self) -> int:
        return self.length

    def trace(self, record: int) -> tuple[np.ndarray, np.ndarray]:
        """float32 (12, points) in units of the record's RMS, mean of what each point stands for, and where its tile
        shows it.
        """
        signal = self.data.signal(record)
        area = np.pad(signal.cumsum(axis=1), ((0, 0), (1, 0))) / self.rate  # mV s up to each sample
        at = np.arange(area.shape[1]) / self.rate
        values, seen = np.zeros((12, self.points), np.float32), np.zeros((12, self.points), np.float32)
        for lead in range(12):
            start, stop, first, last = stretch(self.data.drawings[record], lead)
            edges = np.linspace(start, stop, self.points + 1)
            values[lead] = np.diff(np.interp(edges, at, area[lead])) / np.diff(edges)
            seen[lead] = (edges[:-1] >= first) & (edges[1:] <= last)
        return values / max(0.01, float(np.sqrt(np.square(signal).mean()))), seen

    def __getitem__(self, i: int) -> dict:
        rng = np.random.default_rng((self.seed, i))
        epoch, place = divmod(i, len(self.drawn))
        record = self.drawn[
            np.random.default_rng((self.seed, epoch)).permutation(len(self.drawn))[place] if self.augment else place
        ]
        ink = 1 - self.data.tiles[record].astype(np.float32) / 255
        if self.augment:
            ink = np.roll(ink * rng.uniform(0.7, 1.1), int(rng.integers(-6, 7)), axis=1)
        trace, seen = self.trace(record)
        return {"pixel_values": 1 - 2 * ink[:, None], "trace": trace, "seen": seen, "statements": self.said[record]}


def what_is_said(data: HeartcareData, teacher: str | None) -> tuple[np.ndarray, np.ndarray]:
    """float32 (records, 76): what is learnt, the mean of the statements, 0 or 1, and of what the teacher sees; and
    bool, the statements.
    """
    given = np.stack([truth(labels.statements) for labels in data.labels])
    if not teacher:
        return given.astype(np.float32), given
    return ((given + logits(load(teacher), Records(data)).sigmoid().numpy()) / 2).astype(np.float32), given


@torch.no_grad()
def evaluate(model: PictureReader, data: Pictures, given: np.ndarray) -> dict[str, float]:
    """What is read from pictures that were not trained on: PRD of the traces in %, macro AUC of the statements."""
    model.eval()
    error, energy, read = [], [], []
    for batch in torch.utils.data.DataLoader(data, 32):
        outputs = model(batch["pixel_values"])
        error.append(((outputs.trace - batch["trace"]).square() * batch["seen"]).sum())
        energy.append((batch["trace"].square() * batch["seen"]).sum())
        read.append(outputs.statements)
    labels, scores = given[data.drawn], torch.cat(read).numpy()
    found = {"PRD of the traces, %": float(100 * (sum(error) / sum(energy)).sqrt())}
    for name in SETS:
        found[f"macro AUC, {name}"] = float(macro_auc(select_set(labels, name), select_set(scores, name)))
    return found


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder of a data set built by python -m heartcare.agent build")
    parser.add_argument("--teacher", help="folder of a ResNet1d trained by heartcare.training.resnet1d")
    parser.add_argument("--start", help="folder of a ViT to begin with")
    parser.add_argument("--output", default="runs/vision")
    parser.add_argument("--pictures", type=int, default=20000, help="at most so many records' pictures")
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument(
        "--meaning-weight", type=float, default=4.0, help="of the statements' cross entropy in the loss"
    )
    parser.add_argument("--bf16", action="store_true", help="matrix products in bfloat16")
    parser.add_argument("--cache", default="runs/cache", help="where tiles are kept")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save-steps", type=int, default=250)
    parser.add_argument("--resume", action="store_true", help="continue from the last checkpoint in --output")
    args = parser.parse_args(argv)

    torch.manual_seed(args.seed)
    splits = [HeartcareData(args.data, split, args.cache, Parts, args.pictures) for split in ("train", "validation")]
    said = [what_is_said(data, args.teacher) for data in splits]
    vision = SiglipVisionModel.from_pretrained(args.start) if args.start else SiglipVisionModel(VISION)
    vision.set_attn_implementation(
        "eager" if args.bf16 else "sdpa"
    )  # in bfloat16, the backward pass of SDPA is slow on CPUs
    model = PictureReader(vision, args.meaning_weight)
    train = Pictures(splits[0], said[0][0], model.projector.slots, True, args.steps * args.batch_size, args.seed)
    watched = Pictures(splits[1], said[1][0], model.projector.slots, False, len(splits[1].tiles), args.seed)
    watched.length = len(watched.drawn)
    training = TrainingArguments(
        output_dir=args.output,
        max_steps=args.steps,
        per_device_train_batch_size=args.batch_size,
        per_device_eval_batch_size=32,
        max_grad_norm=1.0,
        bf16=args.bf16,
        use_cpu=not torch.cuda.is_available(),
        eval_strategy="no",
        save_steps=args.save_steps,
        save_total_limit=2,
        logging_steps=25,
        report_to="tensorboard",
        seed=args.seed,
        remove_unused_columns=False,
        label_names=["trace"],
        prediction_loss_only=True,
    )
    optimizer = MuonWithAdamW(model, 1e-3, 0.02, weight_decay=0.02)
    schedule = get_cosine_schedule_with_warmup(optimizer, 100, args.steps)
    trainer = Trainer(model=model, args=training, train_dataset=train, optimizers=(optimizer, schedule))
    trainer.train(resume_from_checkpoint=args.resume or None)
    vision.save_pretrained(args.output)
    for what, value in evaluate(model.cpu(), watched, said[1][1]).items():
        print(f"| {what} | {value:.3f} |")


if __name__ == "__main__":
    main()
