"""`pulse promote`: an embedded installation moves to servers while it keeps collecting, and every count is proved.

1. *Copy* what has been consumed, in rounds, while the old server collects, consumes and answers.
2. *Hand over* while no batch lands: the last piece, the control plane, the comparison of both sides; then the note.
   Until the note nothing has happened to the old installation, and a difference ends here.
3. *Follow*: the rest of the old log goes into the new warehouse, changes of the old control plane into the new one,
   until the operator has switched and the old server has stopped.
4. *Prove* once more: what was copied is still there, every block of the rest is accounted for, the ledger closes.

Interrupted anywhere and run again it goes on: what has been copied is read from the new warehouse itself.
"""

from __future__ import annotations

import asyncio
import dataclasses
import shutil
import uuid
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, cast

from deploy.asking import is_served
from deploy.backup import find_places
from deploy.clock import read_clock
from deploy.copying_alone import working_alone
from deploy.copying_ledger import count_kinds
from deploy.copying_proof import Proof, compare_later
from deploy.private import working_in_private_folder
from deploy.promote_control import Carrier, destroy_salts, mirror, prepare_control
from deploy.promote_copy import Copier, Show
from deploy.promote_follow import Follower
from deploy.promote_note import (
    NOTE,
    WORK,
    Note,
    Places,
    Work,
    read_json,
    read_note,
    read_work,
    work_folder,
    write_json,
    write_note,
    write_work,
)
from deploy.promote_source import open_source
from deploy.promote_target import Target
from deploy.terminal import CommandError
from ingest.log.open import hide_password, open_log, prepare_log
from ingest.log.sqlite_room import Keeping
from ingest.logs import number_of_log
from schemas.control.connect import migrate_control, open_control
from schemas.warehouse.address import is_server
from schemas.warehouse.client import Warehouse
from schemas.warehouse.migrate import migrate

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from deploy.settings import Settings

DEAD_LETTERS = "SELECT count() AS found FROM dead_letters FINAL WHERE _log = {log:UInt16} AND NOT retried"
PROOF, KNOWN = "proof.json", "control.db"
HANDLES = 4


@dataclass(frozen=True, slots=True)
class Goal:
    """Where to: URLs. An empty `log` leaves the log where it is; `mend` copies anew what differs.

    `grace` is for how many seconds the old server must have been away to count as stopped for good.
    """

    warehouse: str
    control: str
    log: str
    limits: str
    mend: bool
    grace: float

    @property
    def places(self) -> Places:
        """The URLs as they may be shown."""
        return Places(*(hide_password(url) for url in (self.warehouse, self.control, self.log, self.limits)))


@dataclass(frozen=True, slots=True)
class Sides:
    """What is open of both sides."""

    settings: Settings
    goal: Goal
    warehouse: Warehouse
    old: AsyncEngine
    new: AsyncEngine
    show: Show

    @property
    def carrier(self) -> Carrier:
        """What carries changes of the control plane."""
        data = self.settings.data
        return Carrier(find_places(self.settings)[1], self.new, work_folder(data) / KNOWN)


async def promote(settings: Settings, goal: Goal, show: Show) -> dict[str, object]:
    """Do it all, or what an earlier run left to do; raise CommandError where both sides differ."""
    refuse_goal(settings, goal)
    with working_in_private_folder(settings.data), working_alone(settings.data, WORK):
        note = read_note(settings.data)
        if note is not None and note.done:
            return to_result(note, goal, {})
        work = begin_work(settings, goal)
        async with AsyncExitStack() as stack:
            sides = await open_sides(stack, settings, goal, show)
            await prepare_control(sides.new, work.id)
            grace = goal.grace
            if note is None:
                grace = grace if await is_served(settings.data) else 0.0  # then nobody has served all the time
                note = await move(sides, work)
            figures = await finish(sides, note, grace)
        return to_result(cast("Note", read_note(settings.data)), goal, figures)


def refuse_goal(settings: Settings, goal: Goal) -> None:
    """Raise CommandError for a goal that cannot be one, before anything is opened."""
    find_places(settings)
    if not is_server(goal.warehouse):
        message = "--warehouse: name a server, clickhouse://user:password@host:8123/database"
        raise CommandError(message)
    if goal.control in {settings.control, ""}:
        message = "--control: name another control plane, postgresql://user:password@host:5432/database"
        raise CommandError(message)
    if goal.log and not goal.log.startswith("kafka://"):
        message = "--log: name a topic, kafka://host:9092/topic; leave it out to keep the log where it is"
        raise CommandError(message)


def begin_work(settings: Settings, goal: Goal) -> Work:
    """The promotion that was begun to the same places, or a new one; raise CommandError for other places."""
    work = read_work(settings.data)
    if work is None:
        work = Work(uuid.uuid4().hex, goal.places)
        write_work(settings.data, work)
    if work.places != goal.places:
        message = (
            f"a promotion to {work.places.warehouse} and {work.places.control} was begun: run it with the same URLs, "
            f"or remove {work_folder(settings.data)} to begin anew with empty databases"
        )
        raise CommandError(message)
    return work


async def open_sides(stack: AsyncExitStack, settings: Settings, goal: Goal, show: Show) -> Sides:
    """Open both control planes and the new warehouse; raise what they say when one cannot be had."""
    old, new = open_control(settings.control), open_control(goal.control)
    for engine in (old, new):
        stack.push_async_callback(engine.dispose)
        await migrate_control(engine)
    warehouse = await asyncio.to_thread(Warehouse, goal.warehouse, HANDLES)
    stack.push_async_callback(warehouse.close)
    await migrate(warehouse)
    return Sides(settings, goal, warehouse, old, new, show)


async def move(sides: Sides, work: Work) -> Note:
    """Copy and hand over; when this returns the note is written."""
    target = Target(sides.warehouse, f"promotion-{work.id}")
    await target.prepare()
    async with open_source(sides.settings) as source:
        copier = Copier(source, target, sides.show)
        await mirror(sides.old, sides.new, work.id)
        facts = await copier.copy_rounds()
        async with source.holding() as hand_over:
            sides.show.say("the last piece and the comparison: counting stands still, collecting goes on")
            facts = await source.look()
            sides.carrier.remember()
            await mirror(sides.old, sides.new, work.id)
            proof = await copier.prove(facts.number, mend=sides.goal.mend)
            write_json(work_folder(sides.settings.data) / PROOF, proof.to_json())
            note = Note(work.id, sides.settings.warehouse, facts.number, facts.positions, sides.goal.places, to_time())
            if not await hand_over(note):
                message = "the server stopped before the hand-over: run this again"
                raise CommandError(message)
    return note


async def finish(sides: Sides, note: Note, grace: float) -> dict[str, object]:
    """Follow to the end and prove; raise CommandError where something differs. Afterwards the note says done."""
    data = sides.settings.data
    found = read_json(work_folder(data) / PROOF)
    if found is None:
        message = f"{work_folder(data) / PROOF} is gone: it cannot be proved that everything arrived"
        raise CommandError(message)
    proof = Proof.from_json(found)
    carrier = sides.carrier
    follower = Follower(sides, carrier, grace)
    problems: list[str] = []
    if sides.goal.log:
        await take_number(sides)
        ends = await follower.follow(note, sides.old, sides.show)
        problems += await follower.verify_rest(note, ends, proof.extent.erasure)
    else:
        await follower.wait(sides.show)
    problems += await compare_later(sides.warehouse, proof)
    if carrier.problem:
        problems.append(carrier.problem)
    if problems:
        message = f"NOT done, the new side differs: {'; '.join(problems[:20])}"
        raise CommandError(message)
    await destroy_salts(sides.old)
    write_note(data, dataclasses.replace(note, done=to_time()))
    await asyncio.to_thread(shutil.rmtree, work_folder(data))
    left = (await sides.warehouse.query(DEAD_LETTERS, {"log": note.number})).to_pylist()[0]["found"]
    figures = {"sites_and_months": len(proof.months), "ledger_counts": len(proof.cells), **count_kinds(proof.cells)}
    return {**figures, "dead_letters_not_retried": left}


async def take_number(sides: Sides) -> None:
    """Make the new log ready, and give it its number before anybody else asks."""
    for line in await prepare_log(sides.goal.log):
        sides.show.say(line)
    log = await open_log(sides.goal.log, Keeping(), read_clock)
    try:
        await number_of_log(sides.new, log.identity, read_clock)
    finally:
        await log.close()


def to_result(note: Note, goal: Goal, figures: dict[str, object]) -> dict[str, object]:
    """What is told at the end; URLs without passwords."""
    places = goal.places
    settings = {"PULSE_WAREHOUSE_URL": places.warehouse, "PULSE_CONTROL_URL": places.control}
    if goal.log:
        settings["PULSE_LOG_URL"] = places.log
    if goal.limits:
        settings["PULSE_LIMITS_URL"] = places.limits
    return {
        "handed_over": note.handed_over,
        "done": note.done,
        "proved": figures,
        "settings": settings,
        "note": NOTE,
    }


def to_time() -> str:
    """Now."""
    return datetime.now(UTC).isoformat(timespec="seconds")
