"""The collator of the whole model's training: questions about the same ECGs share them, in one prompt with branches,
and the loss is that of the answers alone.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from transformers.utils.chat_template_utils import render_jinja_template

from heartcare.branching_heartcare import attention_bias, lay_out, who_sees_whom
from heartcare.configuration_heartcare import ECG_TOKENS
from heartcare.findings_heartcare import NUMBERS
from heartcare.processing_heartcare import HeartcareProcessor

from .recordings import CONTENT_TYPE, BeatTokens, CleanedSignal, ImageSlots, LeadTiles, Recording, TrainingItem

# Characters of Unicode's private use area, which stand for question and answer while the chat template is rendered.
QUESTION, ANSWER = "\ue000", "\ue001"
LENGTH_STEP = 32  # tokens; the lengths of rows are multiples of it
PLACEHOLDERS = [token for name, token in ECG_TOKENS.items() if name != "prediction_token"]


class PackedPrompt(NamedTuple):
    """One prompt with branches, a value for each token.

    Attributes:
        input_ids: Tokens.
        labels: Tokens to learn, those of answers and of some questions, -100 elsewhere.
        position_ids: Positions, which each branch counts from the end of the shared part on.
        branch: 0 in the part that the questions share, and 1, 2, ... in the branches.
    """

    input_ids: list[int]
    labels: list[int]
    position_ids: list[int]
    branch: list[int]


def fill_rows(lengths: list[int]) -> list[list[int]]:
    """Packs items into rows: the longest items first, each into the first row that has room for it.

    Args:
        lengths: Number of tokens of each item.

    Returns: For each row, the places of its items in `lengths`; no row is longer than the longest item.
    """
    rows: list[list[int]] = []
    room: list[int] = []
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        place = next((k for k, free in enumerate(room) if free >= lengths[i]), len(rows))
        if place == len(rows):
            rows.append([])
            room.append(max(lengths))
        rows[place].append(i)
        room[place] -= lengths[i]
    return rows


class QuestionPacker:
    """A list of items -> the model's inputs, with labels.

    The questions of an item are branches of one prompt. Each sees the ECGs and itself, not the others, and counts its
    positions from the ECGs on, so that its answer has exactly the loss that it would have in a prompt of its own. The
    prompt is the processor's chat template, token by token; labels are -100 outside of its generation blocks.

    Several short items share a row of the batch; they do not see each other either. With one question in each item, the
    batch is an ordinary one, an item a row, padded on the right, for attention kernels that take no mask of four
    dimensions. Rows are padded to few lengths, since the memory that libraries keep for one shape is not used for
    another.

    Where items come with ECGs that are only probed, the batch also has `probe_positions`, bool (rows, tokens), True at
    the last token of each of those ECGs, and `statements`, float32 (probed ECGs, statements) in the order of the rows.

    Args:
        processor: Its chat template must mark the assistant's words by {% generation %}.
        branches: Number of questions at most that share one prompt; others get another prompt about the same ECGs,
            since the cost of attention grows with the square of a prompt, masked or not. No limit by default.
        learn_questions: Share of the questions whose own words are learnt as well as their answers, drawn anew for each
            prompt.
        seed: Seed of that draw.
    """

    def __init__(
        self,
        processor: HeartcareProcessor,
        branches: int | None = None,
        learn_questions: float = 0.0,
        seed: int = 0,
    ):
        self.processor, self.tokenizer, self.branches = processor, processor.tokenizer, branches
        self.learn_questions, self.rng = learn_questions, np.random.default_rng(seed)
        self._rendered: dict[tuple[str, ...], tuple[str, str, str, str]] = {}
        self._tensors: dict[type, Callable[[list], dict[str, torch.Tensor]]] = {
            BeatTokens: self.codes_and_gains,
            CleanedSignal: self.signals,
            LeadTiles: self.pixel_values,
            ImageSlots: self.image_slots,
        }

    def __call__(self, items: Sequence[TrainingItem]) -> dict[str, torch.Tensor]:
        items = [part for item in items for part in (*self.split(item), *item.probe_only)]
        prompts = [self.pack(item) for item in items]
        plain = all(len(item.questions) == 1 for item in items)
        rows = [[i] for i in range(len(items))] if plain else fill_rows([len(p.input_ids) for p in prompts])

        def batch(values: list[list[int]], fill: int) -> torch.Tensor:
            lines = [[value for i in row for value in values[i]] for row in rows]
            longest = -(-max(map(len, lines)) // LENGTH_STEP) * LENGTH_STEP
            return torch.tensor([line + [fill] * (longest - len(line)) for line in lines])

        ids = batch([p.input_ids for p in prompts], self.tokenizer.pad_token_id)
        labels = batch([p.labels for p in prompts], -100)
        positions = batch([p.position_ids for p in prompts], 0)
        branch = batch([p.branch for p in prompts], -1)
        if plain:
            mask = (branch >= 0).long()
        else:
            place = batch([[i] * len(p.input_ids) for i, p in enumerate(prompts)], -1)
            mask = attention_bias(who_sees_whom(branch, place), torch.float32)
        probe_positions = batch(
            [[0] * (len(p.input_ids) - 1) + [int(item.statements is not None)] for p, item in zip(prompts, items)], 0
        )
        # The values for the placeholders come in the order of the placeholders, row by row.
        items = [items[i] for row in rows for i in row]
        inputs = {"input_ids": ids, "labels": labels, "position_ids": positions, "attention_mask": mask}
        if statements := [item.statements for item in items if item.statements is not None]:
            inputs["probe_positions"] = probe_positions.bool()
            inputs["statements"] = torch.from_numpy(np.stack(statements)).float()
        return inputs | self.recordings([recording for item in items for recording in item.recordings])

    def split(self, item: TrainingItem) -> list[TrainingItem]:
        """Returns items about the same ECGs, each with at most `branches` of the questions."""
        parts = max(1, -(-len(item.questions) // self.branches)) if self.branches else 1
        return [replace(item, questions=item.questions[k::parts]) for k in range(parts)]

    def pack(self, item: TrainingItem) -> PackedPrompt:
        """Returns the prompt of an item, with a branch for each question."""
        head, middle, learnt, after = self.parts(tuple(CONTENT_TYPE[type(each)] for each in item.recordings))
        head = self.expand(head, item.recordings)
        # Number of characters up to the end of the last ECG or picture, which the branches share.
        shared = max([head.rfind(token) + len(token) for token in PLACEHOLDERS if token in head], default=0)
        bos = self.tokenizer.bos_token
        options = {"add_special_tokens": not (bos and head.startswith(bos))}  # some templates write the first token
        if not item.questions:
            ids = self.tokenizer(head[:shared], **options)["input_ids"]
            return PackedPrompt(ids, [-100] * len(ids), list(range(len(ids))), [0] * len(ids))
        texts = [head + q.question + middle + q.answer + learnt + after for q in item.questions]
        learns_question = self.rng.random(len(item.questions)) < self.learn_questions
        encoded = self.tokenizer(texts, return_offsets_mapping=True, **options)
        tokens, offsets = encoded["input_ids"], encoded["offset_mapping"]
        # The placeholders are tokens of their own, so that all texts begin with the same tokens up to the last of them.
        common = next((i for i, (_, stop) in enumerate(offsets[0]) if stop > shared), 0) if shared else 0
        ids, branch, positions = lay_out(tokens[0][:common], [line[common:] for line in tokens])
        labels = [-100] * common
        for question, line, spans, with_question in zip(item.questions, tokens, offsets, learns_question):
            question_end = len(head + question.question)
            answer_start = question_end + len(middle)
            answer_end = answer_start + len(question.answer + learnt)
            for token, (start, stop) in list(zip(line, spans))[common:]:
                is_answer = answer_start < stop and start < answer_end
                is_learnt_question = with_question and len(head) < stop <= question_end
                labels.append(token if is_answer or is_learnt_question else -100)
        return PackedPrompt(ids, labels, positions, branch)

    def parts(self, content: tuple[str, ...]) -> tuple[str, str, str, str]:
        """Returns the rendered template in four parts: before the question, between question and answer, and, after the
        answer, the part that is learnt like the answer and the part that is not.

        Args:
            content: "ecg" or "image" for each recording, in their order.

        Raises: `ValueError` for a template that does not mark answers.
        """
        if content not in self._rendered:
            self._rendered[content] = self._render(content)
        return self._rendered[content]

    def _render(self, content: tuple[str, ...]) -> tuple[str, str, str, str]:
        chat = [
            {"role": "user", "content": [*({"type": part} for part in content), {"type": "text", "text": QUESTION}]},
            {"role": "assistant", "content": [{"type": "text", "text": ANSWER}]},
        ]
        (text,), (spans,) = render_jinja_template(
            [chat],
            chat_template=self.processor.chat_template,
            return_assistant_tokens_mask=True,
            **self.tokenizer.special_tokens_map,
        )
        if not spans:
            raise ValueError(
                "The chat template has no {% generation %} block around the assistant's words, so that the answers "
                "cannot be told from the rest; add one."
            )
        end = spans[-1][1]
        head, rest = text[:end].split(QUESTION)
        middle, learnt = rest.split(ANSWER)
        return head, middle, learnt, text[end:]

    def expand(self, text: str, recordings: Sequence[Recording]) -> str:
        """Repeats each placeholder once for each token of its recording, and writes the measured numbers of a signal
        behind it where the processor does so.
        """
        ecg, image = self.processor.ecg_token, self.processor.image_token
        signals = [each for each in recordings if CONTENT_TYPE[type(each)] == "ecg"]
        text = text.replace(image, self.processor.replace_image_token({}, 0))
        first, *others = text.split(ecg)
        written = self.processor.write_measurements
        shown = [ecg * self.num_tokens(each) + (each.line if written else "") for each in signals]
        return first + "".join(each + part for each, part in zip(shown, others, strict=True))

    def num_tokens(self, recording: BeatTokens | CleanedSignal) -> int:
        """Returns the number of tokens of a signal in the prompt."""
        if isinstance(recording, BeatTokens):
            latents = recording.codes.shape[-1]
        else:
            latents = self.processor.feature_extractor.num_latents(recording.signal.shape[1])
        return latents + self.processor.evidence_tokens

    def recordings(self, recordings: Sequence[Recording]) -> dict[str, torch.Tensor]:
        """Returns the model's inputs for the placeholders.

        Raises: `ValueError` where some of the signals, or some of the pictures, are encoded and others are not.
        """
        kinds: dict[type, list[Recording]] = {}
        for recording in recordings:
            kinds.setdefault(type(recording), []).append(recording)
        if len({CONTENT_TYPE[kind] for kind in kinds}) < len(kinds):
            names = sorted(kind.__name__ for kind in kinds)
            raise ValueError(
                f"A batch holds {' and '.join(names)}; encode all its ECGs or pictures beforehand, or none."
            )
        return {name: value for kind, values in kinds.items() for name, value in self._tensors[kind](values).items()}

    def codes_and_gains(self, tokens: list[BeatTokens]) -> dict[str, torch.Tensor]:
        """Returns `ecg_codes` int64 (ecgs, levels, latents), -1 on the left of shorter ones, `ecg_gain` float32 (ecgs,)
        in mV, and `numbers`.
        """
        longest = max(each.codes.shape[-1] for each in tokens)
        padded = [
            np.pad(each.codes, ((0, 0), (longest - each.codes.shape[-1], 0)), constant_values=-1) for each in tokens
        ]
        gain = torch.tensor([each.gain for each in tokens], dtype=torch.float32)
        inputs = {"ecg_codes": torch.from_numpy(np.stack(padded)).long(), "ecg_gain": gain}
        return inputs | self.numbers(tokens)

    def signals(self, signals: list[CleanedSignal]) -> dict[str, torch.Tensor]:
        """Returns `input_values`, `ecg_attention_mask` and `lead_mask`, as the feature extractor pads them, and
        `numbers`.
        """
        values, masks = [each.signal for each in signals], [each.lead_mask for each in signals]
        return dict(self.processor.feature_extractor.pad(values, masks, return_tensors="pt")) | self.numbers(signals)

    def numbers(self, signals: Sequence[BeatTokens | CleanedSignal]) -> dict[str, torch.Tensor]:
        """Returns `ecg_numbers` float32 (ecgs, numbers), NaN for a signal that comes without them; nothing where the
        model does not read numbers.
        """
        if not self.processor.evidence_tokens:
            return {}
        unknown = np.full(len(NUMBERS), np.nan, np.float32)
        rows = [unknown if each.numbers is None else each.numbers for each in signals]
        return {"ecg_numbers": torch.from_numpy(np.stack(rows))}

    def pixel_values(self, pictures: list[LeadTiles]) -> dict[str, torch.Tensor]:
        """Returns `pixel_values` float32 (pictures, 12, 3, height, width)."""
        image = self.processor.image_processor
        grey = torch.from_numpy(np.stack([tiles for (tiles,) in pictures])).float()
        grey = grey[:, :, None].expand(-1, -1, 3, -1, -1)
        return {"pixel_values": (grey / 255 - image.image_mean) / image.image_std}

    def image_slots(self, pictures: list[ImageSlots]) -> dict[str, torch.Tensor]:
        """Returns `image_slots` float16 (pictures, slots, width)."""
        return {"image_slots": torch.from_numpy(np.stack([slots for (slots,) in pictures]))}
