"""Whether two warehouses hold the same: every event by checksum, every count of the ledger, every other row."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, cast

from deploy.copying import LIVING, UNDER_WAY, WHOLE, Measure, Month, measure_months, measure_whole
from deploy.copying_ledger import BELOW, Cells, Extent, find_differences, find_open, from_list, read_cells, to_list

if TYPE_CHECKING:
    from collections.abc import Container, Mapping

    from schemas.warehouse.client import Warehouse

# Dead letters that were retried have a newer row at an older position.
WHOLE_CONDITIONS: Mapping[str, str] = {name: LIVING.get(name, "1") for name in WHOLE} | {"dead_letters": "version > 1"}
COMPARED: Mapping[str, str] = {
    name: LIVING.get(name, "1") for name in (*WHOLE, "duplicates", "dead_letters", "receipts")
}
NO_IDS = 1 << 62
ERASED_SINCE = "SELECT DISTINCT site_id FROM erased WHERE erasure > {erasure:UInt64}"


@dataclass(frozen=True, slots=True)
class Proof:
    """What a warehouse holds up to an extent: events by site and month, counts by site and hour, other tables."""

    extent: Extent
    kept: int
    months: Mapping[Month, Measure]
    cells: Cells
    tables: Mapping[str, Measure]

    def to_json(self) -> dict[str, object]:
        """As JSON."""
        return {
            "extent": asdict(self.extent),
            "kept": self.kept,
            "months": [[*month, *measure] for month, measure in self.months.items()],
            "cells": to_list(self.cells),
            "tables": {name: list(measure) for name, measure in self.tables.items()},
        }

    @classmethod
    def from_json(cls, value: Mapping[str, object]) -> Proof:
        """From JSON."""
        extent = Extent(**cast("dict[str, list[int]]", value["extent"]))  # type: ignore[arg-type]
        rows = cast("list[list[int]]", value["months"])
        months = {Month(site, month): Measure(count, checksum) for site, month, count, checksum in rows}
        cells = from_list(cast("list[list[int | str]]", value["cells"]))
        tables = {name: Measure(*measure) for name, measure in cast("dict[str, list[int]]", value["tables"]).items()}
        return cls(extent, cast("int", value["kept"]), months, cells, tables)


async def read_proof(warehouse: Warehouse, extent: Extent, kept: int) -> Proof:
    """Measure everything that the warehouse holds. Months and tables wholly, cells up to the extent."""
    months = await measure_months(warehouse, {"kept": kept})
    tables = {name: await measure_whole(warehouse, name, where, kept) for name, where in COMPARED.items()}
    return Proof(extent, kept, months, await read_cells(warehouse, extent), tables)


async def find_under_way(warehouse: Warehouse) -> list[str]:
    """Tables that hold something although nothing may be under way."""
    found = {table: await measure_whole(warehouse, table, "1", 0) for table in UNDER_WAY}
    return [table for table, measure in found.items() if measure.rows]


def compare(old: Proof, new: Proof) -> list[str]:
    """What differs, in words; nothing when the copy is the same to the last row."""
    return [
        *compare_months(old.months, new.months, ()),
        *(
            f"table {name}: old {old.tables[name].rows} rows, new {found.rows}, or they are not the same"
            for name, found in new.tables.items()
            if found != old.tables[name]
        ),
        *find_differences(old.cells, new.cells, ("old", "new")),
        *find_open(new.cells),
    ]


def compare_months(old: Mapping[Month, Measure], new: Mapping[Month, Measure], without: Container[int]) -> list[str]:
    """The sites and months that differ, but for some sites."""
    nothing = Measure(0, 0)
    return [
        f"events of site {key.site} in {key.month}: old {old.get(key, nothing).rows}, new {new.get(key, nothing).rows}"
        + ("" if old.get(key, nothing).rows != new.get(key, nothing).rows else " (other rows)")
        for key in sorted(old.keys() | new.keys())
        if old.get(key, nothing) != new.get(key, nothing) and key.site not in without
    ]


async def measure_below(warehouse: Warehouse, extent: Extent) -> dict[Month, Measure]:
    """The events up to the extent, without ids that are forgotten after some time."""
    return await measure_months(warehouse, extent.to_parameters() | {"kept": NO_IDS}, BELOW)


async def compare_later(warehouse: Warehouse, proof: Proof) -> list[str]:
    """The same while more lands in the new warehouse: whether what was copied is still there.

    The months of the proof are those of `measure_below`. Sites of which something was erased since are left out.
    """
    extent = proof.extent
    erased = await find_erased_later(warehouse, extent.erasure)
    months = await measure_below(warehouse, extent)
    cells = {key: count for key, count in (await read_cells(warehouse, extent)).items() if key[0] not in erased}
    wanted = {key: count for key, count in proof.cells.items() if key[0] not in erased}
    return compare_months(proof.months, months, erased) + find_differences(wanted, cells, ("old", "new"))


async def find_erased_later(warehouse: Warehouse, erasure: int) -> frozenset[int]:
    """The sites of which something was erased after this erasure."""
    rows = await warehouse.query(ERASED_SINCE, {"erasure": erasure})
    return frozenset(rows.column("site_id").to_pylist())
