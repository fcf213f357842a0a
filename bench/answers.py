"""An answer to one item, as it is kept while a run goes on and in the result file."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ItemAnswer:
    """An answer to one item.

    Attributes:
        text: The text; empty for classification.
        confidence: Probability that the model gave to its text, or None where it is not known.
        yes: Probability of each of the 76 labels, for classification.
        forecasts: Row -> metrics of its forecast, None where there is none, for predictions: the model's own under
            "model", and simple ones beside it.
    """

    text: str = ""
    confidence: float | None = None
    yes: list[float] | None = None
    forecasts: dict[str, dict | None] | None = None

    def as_dict(self) -> dict:
        """Returns the form of the files: "yes" alone, or "text", "confidence" and, for predictions, "metrics"."""
        if self.yes is not None:
            return {"yes": self.yes}
        answer = {"text": self.text, "confidence": self.confidence}
        return answer if self.forecasts is None else answer | {"metrics": self.forecasts}

    @classmethod
    def from_dict(cls, given: dict) -> "ItemAnswer":
        """Makes the answer that `as_dict` wrote."""
        return cls(given.get("text", ""), given.get("confidence"), given.get("yes"), given.get("metrics"))
