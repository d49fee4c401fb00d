"""`pulse promote`: an embedded installation moves to servers while it keeps collecting, and every count is proved.

1. *Copy* what has been consumed, in rounds, while the old server collects, consumes and answers.
2. *Hand over* while no batch lands: the last piece, the control plane, the comparison of both sides; then the note.
   Until the note nothing has happened to the old installation, and a difference ends here.
3. *Follow*: the rest of the old log goes into the new warehouse, changes of the old control plane into the new one,
   until the operator has switched and the old server has stopped.
4. *Prove* once more: what was copied is still there, every block of the rest is accounted for, the ledger closes.
   Until then the new control plane bears a mark, for which its jobs wait.

Interrupted anywhere and run again it goes on: what has been copied is read from the new warehouse itself.
"""

from __future__ import annotations

import asyncio
import dataclasses
import shutil
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import TYPE_CHECKING, cast

from deploy.clock import read_clock
from deploy.copying_alone import working_alone
from deploy.copying_ledger import count_kinds
from deploy.copying_proof import Proof, compare_later
from deploy.private import working_in_private_folder
from deploy.promote_absence import find_grace
from deploy.promote_control import destroy_salts, mirror, refuse_other_control
from deploy.promote_copy import Copier
from deploy.promote_follow import Follower
from deploy.promote_goal import find_work, open_new_control, open_sides, refuse_goal, telling_of
from deploy.promote_mark import mark, remove_mark
from deploy.promote_note import (
    FOLDER,
    NOTE,
    WORK,
    Note,
    read_json,
    read_note,
    work_folder,
    write_json,
    write_note,
    write_work,
)
from deploy.promote_source import open_source
from deploy.promote_target import Target
from deploy.terminal import CommandError
from ingest.log.open import open_log
from ingest.log.sqlite_room import Keeping
from ingest.logs import number_of_log

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy.ext.asyncio import AsyncEngine

    from deploy.promote_copy import Show
    from deploy.promote_goal import Goal, Sides
    from deploy.promote_note import Work
    from deploy.settings import Settings

DEAD_LETTERS = "SELECT count() AS found FROM dead_letters FINAL WHERE _log = {log:UInt16} AND NOT retried"
PROOF = "proof.json"
GIVE_UP = "deploy/README.md says what to do where a promotion cannot be finished"


async def promote(settings: Settings, goal: Goal, show: Show) -> dict[str, object]:
    """Do it all, or what an earlier run left to do; raise CommandError where both sides differ."""
    refuse_goal(settings, goal)
    with working_in_private_folder(settings.data), working_alone(settings.data, WORK):
        note = read_note(settings.data)
        work = find_work(settings.data, goal, note)
        async with AsyncExitStack() as stack:
            if note is not None and note.done:
                await clear_up(settings.data, await open_new_control(stack, goal), note)
                return to_result(note, goal, {})
            sides = await open_sides(stack, settings, goal, show)
            await refuse_other_control(sides.new, work.id)
            grace = goal.grace
            if note is None:
                grace = await find_grace(settings, goal.grace)
                note = await move(sides, work)
                grace = max(grace, await find_grace(settings, goal.grace))  # the copy took its time
            figures = await finish(sides, note, grace)
            await clear_up(settings.data, sides.new, note)
        return to_result(cast("Note", read_note(settings.data)), goal, figures)


async def move(sides: Sides, work: Work) -> Note:
    """Copy and hand over; when this returns the note is written."""
    target = Target(sides.warehouse, f"promotion-{work.id}")
    await target.prepare()
    write_work(sides.settings.data, work)
    await mark(sides.new, work.id)
    async with open_source(sides.settings) as source:
        copier = Copier(source, target, sides.show)
        await mirror(sides.old, sides.new, work.id)
        facts = await copier.copy_rounds()
        async with source.holding() as hand_over:
            sides.show.say("the last piece and the comparison: counting stands still, collecting goes on")
            facts = await source.look()
            await mirror(sides.old, sides.new, work.id, sides.carrier)
            proof = await copier.prove(facts.number, mend=sides.goal.mend)
            write_json(work_folder(sides.settings.data) / PROOF, proof.to_json())
            note = Note(work.id, sides.settings.warehouse, facts.number, facts.positions, sides.goal.places, to_time())
            if not await hand_over(note):
                message = "the server stopped before the hand-over: run this again"
                raise CommandError(message)
    return note


async def finish(sides: Sides, note: Note, grace: float) -> dict[str, object]:
    """Follow to the end and prove; raise CommandError where something differs. Afterwards the note says done.

    No jobs run on the new side until then: an erasure would take sites out of what is proved.
    """
    data = sides.settings.data
    found = read_json(work_folder(data) / PROOF)
    if found is None:
        message = f"{work_folder(data) / PROOF} is gone: it cannot be proved that everything arrived; {GIVE_UP}"
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
        message = f"NOT done, the new side differs: {'; '.join(problems[:20])}. Its jobs wait; {GIVE_UP}"
        raise CommandError(message)
    await destroy_salts(sides.old)
    write_note(data, dataclasses.replace(note, done=to_time()))
    left = (await sides.warehouse.query(DEAD_LETTERS, {"log": note.number})).to_pylist()[0]["found"]
    figures = {"sites_and_months": len(proof.months), "ledger_counts": len(proof.cells), **count_kinds(proof.cells)}
    return {**figures, "dead_letters_not_retried": left}


async def clear_up(data: Path, new: AsyncEngine, note: Note) -> None:
    """What is left to do when the note says done; with the last step the jobs of the new installation begin."""
    if (data / FOLDER).exists():
        await asyncio.to_thread(shutil.rmtree, data / FOLDER)
    await remove_mark(new, note.id)


async def take_number(sides: Sides) -> None:
    """Give the new log its number before anybody else asks."""
    with telling_of("--log"):
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
