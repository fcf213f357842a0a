"""The collator of the training scripts: questions about the same ECGs share them, in one prompt with branches, and the
loss is that of the answers alone.
"""

from collections.abc import Callable

import numpy as np
import torch
from transformers.utils.chat_template_utils import render_jinja_template

from heartcare.branching_heartcare import attention_bias, lay_out, who_sees_whom
from heartcare.configuration_heartcare import ECG_TOKENS
from heartcare.processing_heartcare import HeartcareProcessor

QUESTION, ANSWER = (
    "\ue000",
    "\ue001",
)  # stand for the two while the chat template is rendered; of Unicode's private use area
PLACEHOLDERS = [token for name, token in ECG_TOKENS.items() if name != "prediction_token"]


def fill_rows(lengths: list[int]) -> list[list[int]]:
    """Places of items -> rows no longer than the longest item, the longest items first, each in the first row that has
    room.
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

    An item is a dict of `questions` (each with `question` and `answer`) and what they are about, in the order of the
        prompt: `codes`, (codes (levels, latents),
    gain) of each ECG, or `signals`, ((12, samples) mV, lead_mask bool (12, samples)) of each; and `tiles`, uint8 (12, height, width)
    of each picture, or `slots`, of `get_image_slots`. Its `glances` are items that have no questions, but `statements`
    that are to be read from the ECG alone; the batch then has `glances`, bool, the last token of each, and
    `statements`, float32 (glances, statements) in their order.

    The questions of an item are branches of one prompt. Each sees the ECGs and itself, not the others, and counts its
    positions from the ECGs on, so that its answer has exactly the loss that it would have in a prompt of its own. The
    prompt is the processor's chat template, token by token; labels are -100 outside of its generation blocks.

    Several items share a row of the batch, where there is room for them beside the longest; they do not see each other
    either. With one question in each item, the batch is an ordinary one, an item a row, padded on the right, for
    attention kernels that take no mask of four dimensions.

    Args:
        processor: Its chat template must mark what the assistant says by {% generation %}.
        branches: So many questions share one prompt at most; others get another one about the same ECGs, since the cost
            of attention grows with the square of a prompt, even where nothing is seen. All of them by default.
    """

    def __init__(self, processor: HeartcareProcessor, branches: int | None = None):
        self.processor, self.tokenizer, self.branches = processor, processor.tokenizer, branches
        self.rendered: dict[tuple[int, int], tuple[str, str, str, str]] = {}  # by the numbers of ECGs and images

    def parts(self, ecgs: int, images: int) -> tuple[str, str, str, str]:
        """The rendered template before the question, between question and answer, and after the answer: what is still
        learnt, and what is not.

        Raises: `ValueError` for a template that does not mark answers.
        """
        if (ecgs, images) not in self.rendered:
            self.rendered[ecgs, images] = self._render(ecgs, images)
        return self.rendered[ecgs, images]

    def _render(self, ecgs: int, images: int) -> tuple[str, str, str, str]:
        content = [{"type": "ecg"}] * ecgs + [{"type": "image"}] * images + [{"type": "text", "text": QUESTION}]
        chat = [
            {"role": "user", "content": content},
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
                "The chat template has no {% generation %} block around what the assistant says, so that the answers cannot be told."
            )
        end = spans[-1][1]
        head, rest = text[:end].split(QUESTION)
        middle, learnt = rest.split(ANSWER)
        return head, middle, learnt, text[end:]

    def expand(self, text: str, latents: list[int]) -> str:
        """As the processor does: each placeholder as often as its ECG or picture has tokens."""
        ecg, image, counts = self.processor.ecg_token, self.processor.image_token, iter(latents)
        text = text.replace(image, self.processor.replace_image_token({}, 0))
        first, *others = text.split(ecg)
        return first + "".join(ecg * next(counts) + part for part in others)

    def pack(self, item: dict):
        """-> input_ids, labels, position_ids and branch of every token; branch 0 is what the questions share."""
        head, middle, learnt, after = self.parts(
            len(item.get("codes", item.get("signals", ()))), len(item.get("slots", item.get("tiles", ())))
        )
        head = self.expand(head, self.latents(item))
        shared = max(
            [head.rfind(token) + len(token) for token in PLACEHOLDERS if token in head], default=0
        )  # in characters
        if not item["questions"]:
            ids = self.tokenizer(head[:shared], add_special_tokens=self._begins(head))["input_ids"]
            return ids, [-100] * len(ids), list(range(len(ids))), [0] * len(ids)
        starts = [len(head) + len(q.question) + len(middle) for q in item["questions"]]
        ends = [start + len(q.answer) + len(learnt) for start, q in zip(starts, item["questions"])]
        texts = [head + q.question + middle + q.answer + learnt + after for q in item["questions"]]
        encoded = self.tokenizer(texts, add_special_tokens=self._begins(head), return_offsets_mapping=True)
        tokens, offsets = encoded["input_ids"], encoded["offset_mapping"]
        # The placeholders are tokens of their own, so that all texts begin with the same tokens up to the last of them.
        common = next((i for i, (_, stop) in enumerate(offsets[0]) if stop > shared), 0) if shared else 0
        ids, branch, positions = lay_out(tokens[0][:common], [own[common:] for own in tokens])
        labels = [-100] * common
        for own, places, start, end in zip(tokens, offsets, starts, ends):
            learnt_ids = [token if start < stop and at < end else -100 for token, (at, stop) in zip(own, places)]
            labels += learnt_ids[common:]
        return ids, labels, positions, branch

    def parted(self, item: dict) -> list[dict]:
        """Items of the same ECGs, each with no more than `branches` of the questions."""
        parts = max(1, -(-len(item["questions"]) // self.branches)) if self.branches else 1
        return [{**item, "questions": item["questions"][k::parts]} for k in range(parts)]

    def _begins(self, head: str) -> bool:
        """Whether the tokenizer has to add the first token, since the template has not."""
        bos = self.tokenizer.bos_token
        return not (bos and head.startswith(bos))

    def latents(self, item: dict) -> list[int]:
        if "codes" in item:
            return [codes.shape[-1] for codes, _ in item["codes"]]
        return [self.processor.feature_extractor.num_latents(signal.shape[1]) for signal, _ in item.get("signals", ())]

    def __call__(self, items: list[dict]) -> dict[str, torch.Tensor]:
        items = [each for item in items for each in (*self.parted(item), *item.get("glances", ()))]
        packed = [self.pack(item) for item in items]
        plain = all(len(item["questions"]) == 1 for item in items)
        rows = [[i] for i in range(len(items))] if plain else fill_rows([len(ids) for ids, *_ in packed])
        longest = max(sum(len(packed[i][0]) for i in row) for row in rows)

        def batch(of: Callable[[int], list[int]], fill: int) -> torch.Tensor:
            values = [[value for i in row for value in of(i)] for row in rows]
            return torch.tensor([row + [fill] * (longest - len(row)) for row in values])

        ids, labels, positions, branch = (
            batch(lambda i: packed[i][part], fill)
            for part, fill in enumerate((self.tokenizer.pad_token_id, -100, 0, -1))
        )
        if plain:
            mask = (branch >= 0).long()
        else:
            item = batch(lambda i: [i] * len(packed[i][0]), -1)
            mask = attention_bias(who_sees_whom(branch, item), torch.float32)
        # What is put into the placeholders comes in their order, row by row.
        items = [items[i] for row in rows for i in row]
        inputs = {"input_ids": ids, "labels": labels, "position_ids": positions, "attention_mask": mask}
        return inputs | self.ecgs(items) | self.images(items) | self.glances(items, rows, packed, ids.shape)

    def glances(self, items: list[dict], rows, packed, shape) -> dict[str, torch.Tensor]:
        said = [item["statements"] for item in items if "statements" in item]
        if not said:
            return {}
        places, ordered = torch.zeros(shape, dtype=torch.bool), iter(items)
        for k, row in enumerate(rows):
            end = 0
            for i in row:
                end += len(packed[i][0])
                places[k, end - 1] = "statements" in next(ordered)
        return {"glances": places, "statements": torch.from_numpy(np.stack(said)).float()}

    def ecgs(self, items: list[dict]) -> dict[str, torch.Tensor]:
        if coded := [each for item in items for each in item.get("codes", ())]:
            longest = max(codes.shape[-1] for codes, _ in coded)
            padded = [np.pad(codes, ((0, 0), (longest - codes.shape[-1], 0)), constant_values=-1) for codes, _ in coded]
            gain = torch.tensor([gain for _, gain in coded], dtype=torch.float32)
            return {"ecg_codes": torch.from_numpy(np.stack(padded)).long(), "ecg_gain": gain}
        signals = [pair for item in items for pair in item.get("signals", ())]
        return dict(self.processor.feature_extractor.pad(*zip(*signals), return_tensors="pt")) if signals else {}

    def images(self, items: list[dict]) -> dict[str, torch.Tensor]:
        if slots := [each for item in items for each in item.get("slots", ())]:
            return {"image_slots": torch.from_numpy(np.stack(slots))}
        tiles = [each for item in items for each in item.get("tiles", ())]
        if not tiles:
            return {}
        image = self.processor.image_processor
        grey = torch.from_numpy(np.stack(tiles)).float()[:, :, None].expand(-1, -1, 3, -1, -1)
        return {"pixel_values": (grey / 255 - image.image_mean) / image.image_std}
