"""Places of the repository, and of the real ECGs that some tests read."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RECIPES = ROOT / "training" / "recipes"
REAL_ECGS = Path(os.environ.get("HEARTCARE_DATA") or ROOT.parent / "shared" / "data")
