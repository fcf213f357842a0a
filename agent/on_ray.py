"""Runs the data engine on Ray Data, on all machines of a cluster (extra: heartcare[ray]). All of them must see the
source and the output folder.
"""

from collections.abc import Callable, Iterator
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
    from .build import build_unit

    out = Path(out).absolute()
    units_by_name = {unit["name"]: unit for unit in units}

    def build_named(name: str) -> str:
        return build_unit(units_by_name[name], out, settings, partners.get(name))

    yield from map_on_ray(build_named, list(units_by_name), address, workers)


def map_on_ray(call: Callable[[str], str], texts: list[str], address: str, workers: int) -> Iterator[str]:
    """Calls a function on the Ray cluster at `address` ("local" starts one here with `workers` workers); yields its
    results as they are done, in any order.

    Raises: `ImportError` without the extra.
    """
    try:
        import ray
    except ImportError as error:
        raise ImportError("Ray is needed: pip install 'heartcare[ray]'") from error

    if not ray.is_initialized():
        if address == "local":
            ray.init(num_cpus=workers, include_dashboard=False, log_to_driver=False)
        else:
            ray.init(address=address, log_to_driver=False)
    if not texts:
        return
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    items = [{"text": text} for text in texts]
    data = ray.data.from_items(items, override_num_blocks=len(items)).map(lambda row: {"text": call(row["text"])})
    for row in data.iter_rows():
        yield row["text"]
