"""Before stage 2: train the default checkpoint's small ViT, which starts from random weights, on the pictures of a data
set built by HeartAgent, so that it can be frozen afterwards. A pretrained SigLIP needs none of this.

    python -m heartcare.training.vision --data HEARTCARE_400K --soft-labels runs/teacher/soft_labels.safetensors \\
        --output runs/vision

The language model sees few slots of each lead tile. From these, two things are read: the trace itself, in mV, and, from
the slots of all tiles together, PTB-XL's statements, whose labels are the mean of the cardiologists' statements and of
a teacher's probabilities for the signal. The heads that read them are thrown away afterwards. The command continues an
interrupted run with --resume.
"""

import argparse
from types import SimpleNamespace

import numpy as np
import torch
from torch import nn
from transformers import SiglipVisionModel, Trainer
from transformers.utils import ModelOutput

from heartcare.agent.records import IMAGE_DPI, IMAGE_SIZE
from heartcare.agent.render import CALIBRATION_MM, MARGIN_MM
from heartcare.agent.statements import NAMES, truth
from heartcare.configuration_heartcare import HeartcareConfig
from heartcare.extraction_heartcare import BeatFeatureExtractor
from heartcare.image_processing_heartcare import LAYOUTS, ECGImageProcessor
from heartcare.projectors_heartcare import ImageProjector
from heartcare.version_heartcare import HEARTCARE_VERSION

from .data import HeartcareData
from .encoder import add_encoder_options, choose_attention, encoder_arguments
from .optimizers import muon_with_cosine_schedule
from .pooling import AttentionPooling
from .shapes import VISION
from .statement_labels import macro_auc_of_sets, soft_labels

# Points of the trace in each slot: one stands for 25 ms where a tile shows 6.2 s, and for 10 ms where it shows 2.5 s.
POINTS = 62

# The two parts of a processor that `HeartcareData` needs.
PROCESSORS = SimpleNamespace(
    image_processor=ECGImageProcessor(size={"height": VISION.image_size, "width": VISION.image_size}),
    feature_extractor=BeatFeatureExtractor(),
)


def given_statements(data: HeartcareData) -> np.ndarray:
    """Returns the cardiologists' statements of all records, bool (records, 76)."""
    return np.stack([truth(labels.statements) for labels in data.labels])


class PictureReader(nn.Module):
    """The ViT with the two heads that read traces and statements from the slots of its tiles.

    Args:
        vision: The model to train.
        weight: Weight of the statements' cross entropy in the loss.
    """

    def __init__(self, vision: SiglipVisionModel, weight: float):
        super().__init__()
        config = HeartcareConfig(
            vision_config=vision.config.to_dict(), text_config={"model_type": "llama", "hidden_size": 256}
        )
        self.vision, self.projector, self.weight = vision, ImageProjector(config), weight
        slots, width = 12 * config.image_slots_per_tile, config.text_config.hidden_size
        self.trace_head = nn.Linear(vision.config.hidden_size, POINTS)
        self.slot_position_embedding = nn.Parameter(torch.zeros(slots, width))
        self.statement_layers = nn.Sequential(nn.GELU(), nn.Linear(width, width), nn.GELU())
        self.statement_head = AttentionPooling(width, len(NAMES))

    def forward(
        self,
        pixel_values: torch.Tensor,
        trace: torch.Tensor | None = None,
        trace_mask: torch.Tensor | None = None,
        statements: torch.Tensor | None = None,
    ) -> ModelOutput:
        """Reads traces and statements.

        Args:
            pixel_values: float32 (B, 12, 1, h, w).
            trace: float32 (B, 12, slots * POINTS) in units of the record's RMS; without it, no loss is computed.
            trace_mask: float32 of the same shape, 1 where the tile shows the trace.
            statements: float32 (B, 76).

        Returns:
            `loss`, `trace` (B, 12, slots * POINTS), and `statements`, logits (B, 76).
        """
        hidden = self.vision(pixel_values.flatten(0, 1).expand(-1, 3, -1, -1)).last_hidden_state
        slots = self.projector.pool(hidden).unflatten(0, (-1, 12)).flatten(1, 2)  # (B, 12 * slots, Dv)
        drawn = self.trace_head(slots).float().unflatten(1, (12, -1)).flatten(2)
        states = self.statement_layers(self.projector(slots) + self.slot_position_embedding).float()
        logits = self.statement_head(states, states.new_zeros(len(states), 1))
        loss = None
        if trace is not None:
            trace_loss = ((drawn - trace).square() * trace_mask).sum() / trace_mask.sum()
            loss = trace_loss + self.weight * nn.functional.binary_cross_entropy_with_logits(logits, statements)
        return ModelOutput(loss=loss, trace=drawn, statements=logits)


class Pictures(torch.utils.data.Dataset):
    """Pictures as lead tiles, with the traces that they show. Item i is the same in every run with the same seed.

    Args:
        data: A split, with tiles.
        statements: float32 (records, 76), probability of each statement.
        slots: Number of slots of a tile.
        length: Number of items; by default, each picture once, in order and without augmentation.
        seed: Seed of the order, and of the augmentation: tiles are shifted up or down a little, and their ink is made
            weaker or stronger.
    """

    def __init__(
        self, data: HeartcareData, statements: np.ndarray, slots: int, length: int | None = None, seed: int = 0
    ):
        self.data, self.statements, self.points, self.seed = data, statements, slots * POINTS, seed
        self.records = [record for record in range(len(data.tiles)) if data.drawings[record]]
        self.augment = length is not None
        self.length = len(self.records) if length is None else length
        self.sampling_rate = PROCESSORS.feature_extractor.sampling_rate

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, i: int) -> dict[str, np.ndarray]:
        rng = np.random.default_rng((self.seed, i))
        epoch, place = divmod(i, len(self.records))
        if self.augment:
            place = np.random.default_rng((self.seed, epoch)).permutation(len(self.records))[place]
        record = self.records[place]
        ink = 1 - self.data.tiles[record].astype(np.float32) / 255
        if self.augment:
            ink = np.roll(ink * rng.uniform(0.7, 1.1), int(rng.integers(-6, 7)), axis=1)
        trace, mask = self.trace(record)
        pixel_values = 1 - 2 * ink[:, None]
        return {
            "pixel_values": pixel_values,
            "trace": trace,
            "trace_mask": mask,
            "statements": self.statements[record],
        }

    def trace(self, record: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns the trace of a record, float32 (12, points) in units of its RMS, each point the mean of the time that
        it stands for, and a mask of that shape, 1 where the tile shows the point.
        """
        signal = self.data.signal(record)
        area = np.pad(signal.cumsum(axis=1), ((0, 0), (1, 0))) / self.sampling_rate  # mV s up to each sample
        times = np.arange(area.shape[1]) / self.sampling_rate
        values, mask = np.zeros((12, self.points), np.float32), np.zeros((12, self.points), np.float32)
        for lead in range(12):
            start, stop, first, last = tile_times(self.data.drawings[record], lead)
            edges = np.linspace(start, stop, self.points + 1)
            values[lead] = np.diff(np.interp(edges, times, area[lead])) / np.diff(edges)
            mask[lead] = (edges[:-1] >= first) & (edges[1:] <= last)
        return values / max(0.01, float(np.sqrt(np.square(signal).mean()))), mask


def tile_times(drawing: dict, lead: int) -> tuple[float, float, float, float]:
    """Returns when a tile begins and ends, as the image processor cuts it, and when the part of its lead that it shows
    begins and ends; all in seconds of the recording.
    """
    rows, columns = LAYOUTS[drawing["layout"]]
    width, speed = IMAGE_SIZE[0] / IMAGE_DPI * 25.4, drawing["mm_per_s"]
    shown = min(10.0, (width - 2 * MARGIN_MM - CALIBRATION_MM) / speed)
    strip = drawing["layout"].endswith("+R")
    column, columns = (0, 1) if strip and lead == 1 else (lead // (rows - strip), columns)
    edges = [((column + k) * (CALIBRATION_MM + shown * speed) / columns - CALIBRATION_MM) / speed for k in (0, 1)]
    return *edges, column * shown / columns, (column + 1) * shown / columns


@torch.no_grad()
def evaluate(model: PictureReader, data: Pictures, given: np.ndarray) -> dict[str, float | None]:
    """Returns the PRD of the traces in %, and the macro AUC of each set of statements, on pictures without
    augmentation.

    Args:
        model: The trained model.
        data: Each picture once.
        given: Statements of all records, bool (records, 76).
    """
    model.eval()
    error, energy, logits = [], [], []
    for batch in torch.utils.data.DataLoader(data, 32):
        outputs = model(batch["pixel_values"])
        error.append(((outputs.trace - batch["trace"]).square() * batch["trace_mask"]).sum())
        energy.append((batch["trace"].square() * batch["trace_mask"]).sum())
        logits.append(outputs.statements)
    table = macro_auc_of_sets(given[data.records], torch.cat(logits).numpy())
    prd = float(100 * (sum(error) / sum(energy)).sqrt())
    return {"PRD of the traces, %": prd, **{f"macro AUC, {name}": value for name, value in table.items()}}


def main(argv: list[str] | None = None) -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder of a data set built by python -m heartcare.agent build")
    add_encoder_options(parser, "runs/vision", steps=4000, batch_size=16, statement_weight=4.0, save_steps=250)
    parser.add_argument("--start", help="folder of a ViT to begin with")
    parser.add_argument("--pictures", type=int, default=20000, help="number of records at most whose pictures are used")
    args = parser.parse_args(argv)

    torch.manual_seed(args.seed)
    splits = [
        HeartcareData(args.data, split, args.cache, PROCESSORS, args.pictures) for split in ("train", "validation")
    ]
    given = [given_statements(data) for data in splits]
    labels = [soft_labels(statements, list(data.record), args.soft_labels) for statements, data in zip(given, splits)]
    vision = SiglipVisionModel.from_pretrained(args.start) if args.start else SiglipVisionModel(VISION)
    choose_attention(vision, args.bf16)
    model = PictureReader(vision, args.statement_weight)
    slots = model.projector.slots
    trainer = Trainer(
        model=model,
        args=encoder_arguments(args, eval_strategy="no", logging_steps=25, label_names=["trace"]),
        train_dataset=Pictures(splits[0], labels[0], slots, args.steps * args.batch_size, args.seed),
        optimizers=muon_with_cosine_schedule(
            model, 100, args.steps, learning_rate=1e-3, muon_learning_rate=0.02, weight_decay=0.02
        ),
    )
    trainer.train(resume_from_checkpoint=args.resume or None)
    vision.config.heartcare_version = HEARTCARE_VERSION
    vision.save_pretrained(args.output)
    for measure, value in evaluate(model.cpu(), Pictures(splits[1], labels[1], slots), given[1]).items():
        print(f"| {measure} | {'–' if value is None else f'{value:.3f}'} |")


if __name__ == "__main__":
    main()
