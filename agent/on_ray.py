"""The same build on Ray Data, on as many machines as Ray has (extra: heartcare[ray]). All of them must see the source
and the output folder.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .build import Settings


def run_on_ray(
    units: list[dict], out: Path, settings: "Settings", partners: dict, address: str, workers: int
) -> Iterator[str]:
    """Builds the units on the Ray cluster at `address` ("local" starts one here with `workers` workers); yields the
    names as they are done.

    Raises: `ImportError` without the extra.
    """
    try:
        import ray
    except ImportError as error:
        raise ImportError("Building on Ray needs it: pip install heartcare[ray]") from error
    from .build import build_unit

    out = Path(out).absolute()
    if not ray.is_initialized():
        if address == "local":
            ray.init(num_cpus=workers, include_dashboard=False, log_to_driver=False)
        else:
            ray.init(address=address, log_to_driver=False)
    if not units:
        return

    def build_row(row: dict) -> dict:
        unit = units_by_name[row["name"]]
        return {"name": build_unit(unit, out, settings, partners.get(unit["name"]))}

    units_by_name = {unit["name"]: unit for unit in units}
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    data = ray.data.from_items([{"name": unit["name"]} for unit in units], override_num_blocks=len(units)).map(
        build_row
    )
    for row in data.iter_rows():
        yield row["name"]
