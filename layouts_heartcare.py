# Copyright 2026 The HeartcareGPT authors. Licensed under the Apache License, Version 2.0.
"""Where on a page each lead is: the usual arrangements of twelve leads in rows and columns."""

import re
from dataclasses import dataclass

from .configuration_heartcare import LEADS

GRIDS = {"3x4": (3, 4), "4x3": (4, 3), "6x2": (6, 2), "12x1": (12, 1)}
MOST_STRIPS = {"3x4": 3, "4x3": 1, "6x2": 1, "12x1": 0}
CABRERA = ("aVL", "I", "-aVR", "II", "aVF", "III", *LEADS[6:])  # limb leads from left to right as the heart has them
ORDERS = {"standard": LEADS, "Cabrera": CABRERA}
LAYOUT_NAMES = tuple(
    grid + ("" if not strips else "+R" if strips == 1 else f"+{strips}R")
    for grid, most in MOST_STRIPS.items()
    for strips in range(most + 1)
)


@dataclass(frozen=True)
class PageLayout:
    """One arrangement: leads column by column, and below them strips, each of which shows a lead for the whole time.

    Attributes:
        grid: Key of `GRIDS`.
        strips: Number of strips.
        order: Key of `ORDERS`.
    """

    grid: str
    strips: int = 0
    order: str = "standard"

    @classmethod
    def named(cls, name: str, order: str = "standard") -> "PageLayout":
        """Returns the layout of a name such as "3x4", "3x4+R" or "3x4+3R".

        Raises: `ValueError` for another name or order.
        """
        found = re.fullmatch(r"(\d+x\d)(?:\+(\d?)R)?", name)
        if not found or name not in LAYOUT_NAMES or order not in ORDERS:
            raise ValueError(
                f"The layout {name!r} in {order!r} order is unknown; expected one of {', '.join(LAYOUT_NAMES)}, in "
                f"{' or '.join(ORDERS)} order."
            )
        strips = 0 if found[2] is None else int(found[2] or 1)
        return cls(found[1], strips, order)

    @property
    def name(self) -> str:
        """The layout's name, without its order."""
        return self.grid + ("" if not self.strips else "+R" if self.strips == 1 else f"+{self.strips}R")

    @property
    def rows(self) -> int:
        """Number of rows with several leads, which is that of all rows without the strips."""
        return GRIDS[self.grid][0]

    @property
    def columns(self) -> int:
        """Number of leads in such a row."""
        return GRIDS[self.grid][1]

    def lead(self, row: int, column: int) -> str:
        """Returns the lead at a place; "-aVR" is aVR upside down."""
        return ORDERS[self.order][column * self.rows + row]


__all__ = ["CABRERA", "GRIDS", "LAYOUT_NAMES", "ORDERS", "PageLayout"]
