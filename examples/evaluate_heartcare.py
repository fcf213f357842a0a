"""Does the model read the ECG? Macro AUC of the superclasses and closed-QA accuracy on PTB-XL fold 9, with the right and with a wrong ECG.

    python examples/evaluate_heartcare.py --ptbxl PTBXL_FOLDER --model .

Prints a Markdown table. The same questions are asked twice: of the ECG they are about, and of another patient's.
"""

import argparse
from collections import Counter

import numpy as np
import torch
from heartcare.agent.qa import CERTAIN, COMMON_CHOICES, TOPICS, Labels, QuestionBuilder, sentence
from heartcare.agent.render import draw_ecg
from heartcare.agent.statements import SUPERCLASS, SUPERCLASS_OF
from ptbxl import PTBXL
from scipy.stats import rankdata
from tqdm import tqdm
from transformers import AutoModel, AutoProcessor
from transformers.modeling_outputs import BaseModelOutputWithPooling


def auc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Area under the ROC curve: the share of (positive, negative) pairs in the right order; nan without one of the two."""
    positive = int(labels.sum())
    if positive in (0, len(labels)):
        return float("nan")
    ranks = rankdata(scores)
    return (ranks[labels].sum() - positive * (positive + 1) / 2) / (positive * (len(labels) - positive))


class Reader:
    """Asks questions of ECGs that are encoded once."""

    def __init__(self, model, processor, batch_size: int = 32):
        self.model, self.processor, self.batch_size = model.eval(), processor, batch_size

    @torch.no_grad()
    def encode(self, data: PTBXL, indices, picture: str | None = None) -> list[torch.Tensor]:
        """What each record puts into a prompt; as a picture of the given layout, or as a signal."""
        features = []
        for start in tqdm(range(0, len(indices), self.batch_size), desc="encoding"):
            signals = [data.signal(i) for i in indices[start : start + self.batch_size]]
            if picture:
                pages = [draw_ecg(signal, 100, picture) for signal in signals]
                pixels = self.processor.image_processor(pages, return_tensors="pt")["pixel_values"]
                features += self.model.get_image_features(pixels).pooler_output
            else:  # these were cleaned by the processor's own code before
                prepared = [(signal, np.ones(12, np.int64), {}) for signal in signals]
                inputs = self.processor.feature_extractor.pad(prepared, return_tensors="pt")
                features += self.model.get_ecg_features(**inputs).pooler_output
        return features

    def prompts(self, questions: list[str], features: list[torch.Tensor], what: str) -> dict:
        tokenizer = self.processor.tokenizer
        token = getattr(self.processor, f"{what}_token")
        texts = []
        for question, each in zip(questions, features):
            message = {"role": "user", "content": [{"type": what}, {"type": "text", "text": question}]}
            text = self.processor.apply_chat_template([message], add_generation_prompt=True)
            texts.append(text.replace(token, token * len(each)))
        inputs = tokenizer(texts, padding=True, padding_side="left", add_special_tokens=False, return_tensors="pt")
        return {**inputs, "mm_encoder_outputs": {what: BaseModelOutputWithPooling(pooler_output=tuple(features))}}

    @torch.no_grad()
    def yes_probability(self, questions: list[str], features: list[torch.Tensor], what: str = "ecg") -> np.ndarray:
        """P(yes) / (P(yes) + P(no)) of the first token of the answer."""
        yes, no = (self.processor.tokenizer(word, add_special_tokens=False)["input_ids"][0] for word in ("Yes.", "No."))
        out = []
        for start in range(0, len(questions), self.batch_size):
            part = slice(start, start + self.batch_size)
            logits = self.model(**self.prompts(questions[part], features[part], what), logits_to_keep=1).logits[:, -1]
            out.append(logits[:, [yes, no]].float().softmax(-1)[:, 0])
        return torch.cat(out).numpy()

    @torch.no_grad()
    def answers(self, questions: list[str], features: list[torch.Tensor], what: str = "ecg", max_new_tokens: int = 24) -> list[str]:
        """Greedy answers."""
        out = []
        for start in range(0, len(questions), self.batch_size):
            part = slice(start, start + self.batch_size)
            inputs = self.prompts(questions[part], features[part], what)
            ids = self.model.generate(**inputs, max_new_tokens=max_new_tokens, do_sample=False)
            out += self.processor.batch_decode(ids[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        return out


def closed_questions(data: PTBXL, builder: QuestionBuilder, per_answer: int):
    """(record, Question). Every rhythm, every form, and every superclass of the diagnoses is the right answer equally often, as far as
    the fold has it, so that no answer is a good guess."""
    items = []
    for dimension, codes in COMMON_CHOICES.items():
        family = {code: SUPERCLASS_OF[code] if dimension == "diagnosis" else code for code in codes}
        least = CERTAIN if dimension == "diagnosis" else 0
        for name in dict.fromkeys(family.values()):
            found = [
                (i, code)
                for i, row in enumerate(data.rows)
                for code in codes
                if family[code] == name and row["scp_codes"].get(code, -1) >= least
            ]
            asked = 0
            for k in builder.rng.permutation(len(found)):
                i, code = found[k]
                question = builder.closed(Labels(data.rows[i]["scp_codes"]), dimension, code)
                if question and asked < per_answer:
                    items.append((i, question))
                    asked += 1
    return items


def another_patient(data: PTBXL, index: int, shift: int) -> int:
    """The next record, `shift` further on, that is not this patient's."""
    other = (index + shift) % len(data)
    while data.rows[other]["patient_id"] == data.rows[index]["patient_id"]:
        other = (other + 1) % len(data)
    return other


def evaluate(model, processor, data: PTBXL, train: PTBXL, per_answer: int = 60, picture: str | None = None) -> dict:
    reader, what = Reader(model, processor), "image" if picture else "ecg"
    builder = QuestionBuilder(np.random.default_rng(0), COMMON_CHOICES, plain=True)
    records = range(len(data))
    features = reader.encode(data, records, picture)
    own = {"": list(records), " (another patient's ECG)": [another_patient(data, i, len(data) // 2) for i in records]}
    items = closed_questions(data, builder, per_answer)
    texts = [question.question for _, question in items]
    dimensions = np.array([question.dimension for _, question in items])
    results = {"records": len(data), "closed questions": len(items)}
    for name, source in own.items():
        aucs = []
        for superclass in SUPERCLASS:
            questions = [builder.verify_superclass(Labels(data.rows[i]["scp_codes"]), superclass) for i in records]
            labels = np.array([question.answer == "Yes." for question in questions])
            scores = reader.yes_probability([question.question for question in questions], [features[source[i]] for i in records], what)
            aucs.append(auc(labels, scores))
            results[f"AUC {superclass}{name}"] = aucs[-1]
        results[f"macro AUC, 5 superclasses{name}"] = float(np.mean(aucs))

        # Strict: the answer must be the right option, word by word; whatever else it is, it is wrong.
        answers = [answer.strip() for answer in reader.answers(texts, [features[source[i]] for i, _ in items], what)]
        right = np.array([answer == question.answer for answer, (_, question) in zip(answers, items)])
        valid = [answer in map(sentence, question.options) for answer, (_, question) in zip(answers, items)]
        for dimension in COMMON_CHOICES:
            results[f"closed-QA {dimension}{name}"] = float(right[dimensions == dimension].mean())
        results[f"closed-QA accuracy{name}"] = float(right.mean())
        results[f"closed-QA invalid answers{name}"] = 1 - float(np.mean(valid))

    # What can be had without an ECG: the option that is most often right, on the training folds or in these very questions.
    often = {TOPICS[d][code]: sum(code in row["scp_codes"] for row in train.rows) for d, codes in COMMON_CHOICES.items() for code in codes}
    here = Counter(question.answer for _, question in items)
    for name, count in (("training folds", lambda o: often[o]), ("these questions", lambda o: here[sentence(o)])):
        chosen = [sentence(max(question.options, key=count)) == question.answer for _, question in items]
        results[f"closed-QA, the option most often right in {name} (control)"] = float(np.mean(chosen))
    return results


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ptbxl", required=True)
    parser.add_argument("--model", default=".")
    parser.add_argument("--fold", type=int, default=9)
    parser.add_argument("--cache", default="runs/cache")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--picture", help="ask about pictures of this layout (3x4, 3x4+R, 6x2, 12x1) instead of signals")
    args = parser.parse_args()
    model = AutoModel.from_pretrained(args.model, trust_remote_code=True)
    processor = AutoProcessor.from_pretrained(args.model, trust_remote_code=True)
    data, train = PTBXL(args.ptbxl, [args.fold], args.cache, args.limit), PTBXL(args.ptbxl, range(1, 9), args.cache)
    print("| measure | value |\n|---|---|")
    for name, value in evaluate(model, processor, data, train, picture=args.picture).items():
        print(f"| {name} | {value:.3f} |" if isinstance(value, float) else f"| {name} | {value} |")


if __name__ == "__main__":
    main()
