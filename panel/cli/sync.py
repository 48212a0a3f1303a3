"""``sync-panel sync``, ``restored``, ``test-connection`` and ``status``."""

import time
from collections.abc import Callable
from typing import Any

import click
from sqlalchemy.orm import Session

from panel import clock
from panel.activity.log import Actor
from panel.cli.terminal import (
    installation,
    print_json,
    print_table,
    shell_actor,
    show_progress,
)
from panel.errors import Refusal
from panel.i18n import say
from panel.installation import Installation
from panel.models.runs import Run, RunResult
from panel.operations.connection_test import Trial, try_connection
from panel.operations.sync_requests import (
    ask_to_initialise,
    ask_to_stop,
    ask_to_sync,
    asked_run,
    note_restored,
)
from panel.status.sentences import Acts, Severity, StateKind
from panel.status.state import State, as_facts, read_state
from panel.sync.loop import start_loop
from panel.sync.protocol.error_codes import Reason, explain

EXIT_WELL, EXIT_LATE, EXIT_NEEDS_ATTENTION = 0, 3, 4
_LOOK_SECONDS = 0.3
# A loop looks once a second; a busy machine has some patience.
_HEARD_SECONDS = 10.0
_UNHEARD = say(
    "Nothing began: no sync process seems to run here. Start “sync-panel up” or “sync-panel "
    "worker”, or let this command run it: --here."
)
# The next step where no refusal and no failed connection names one.
_NEXT = {
    StateKind.STANDALONE: "To start: `sync-panel settings set sync_id=…`, 1 for the primary.",
    StateKind.PAUSED: "`sync-panel settings set sync_interval=10` lets it go on.",
    StateKind.DISABLED: "`sync-panel settings set url=` or `servers edit SYNC_ID --url ''`.",
    StateKind.NOT_READY: "See `sync-panel settings show` and `servers list`; `settings set …` and "
    "`servers add|edit …` put it right.",
}


@click.group("sync")
def sync() -> None:
    """The sync of a satellite."""


def _waits(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of a command that lets a run begin and waits for its end."""
    for option in (
        click.option("--here", "in_here", is_flag=True, help="Run it in this very command."),
        click.option("--no-wait", is_flag=True, help="Ask for it, and do not wait for its end."),
    ):
        command = option(command)
    return click.pass_context(command)


@sync.command("now")
@_waits
def now(context: click.Context, no_wait: bool, in_here: bool) -> None:
    """Let a run begin at once, in the "sync-panel up" or "worker" that runs here, and wait for it.

    Exit codes: 0 it went well; 3 it failed, and is tried again; 4 it was refused, or it is very
    late: somebody has to see to it; 1 nothing began.
    """
    context.exit(_begin_run(ask_to_sync, no_wait, in_here))


def _begin_run(ask: Callable[[Session, Actor], int], no_wait: bool, in_here: bool) -> int:
    """Let the run begin that ``ask`` asks for, wait for its end, and return the exit code."""
    if no_wait and in_here:
        raise click.UsageError("--here waits for the run that it does.")
    with installation() as here:
        with here.database.writing() as session:
            asked = ask(session, shell_actor())
        if no_wait:
            click.echo("Asked: it begins in a moment. `sync-panel status` says how it goes.")
            return EXIT_WELL
        # Where another process was quicker, that one runs.
        loop = start_loop(here) if in_here else None
        try:
            run = _await_end(here, asked)
        finally:
            show_progress("")
            if loop is not None:
                loop.stop()
        return _print_result(here, run)


def _await_end(here: Installation, asked: int) -> Run:
    """Show how the run goes that was asked for, and return it once it has ended."""
    idle_since = time.monotonic()
    while True:
        with here.database.reading() as session:
            state = read_state(session, clock.now(), probe=True)
            run = asked_run(session, asked)
        if run is not None and (run.ended_at or state.run is None):
            return run
        if state.run is not None:
            # It may be an earlier one that goes on.
            idle_since = time.monotonic()
            show_progress(str(state.sentence))
        elif state.kind is StateKind.FULL:
            raise Refusal(state.sentence)
        elif time.monotonic() - idle_since > _HEARD_SECONDS:
            raise Refusal(_UNHEARD)
        time.sleep(_LOOK_SECONDS)


def _print_result(here: Installation, run: Run) -> int:
    """Say how ``run`` ended, and return the exit code."""
    with here.database.reading() as session:
        state = read_state(session, clock.now(), probe=True)
    _print_words(state, _status_facts(state))
    if run.result is RunResult.WELL:
        click.echo(f"{run.pushed} records sent, {run.pulled} received.")
        return EXIT_WELL
    if run.reason and run.reason != state.reason:
        click.echo(str(explain(run.reason, run.reason_values).what))
    return _exit_code(state) or EXIT_LATE


@sync.command("stop")
def stop() -> None:
    """End the run under way at once; the next one goes on where it was."""
    with installation() as here, here.database.writing() as session:
        is_running = ask_to_stop(session, shell_actor())
    click.echo("It ends in a moment." if is_running else "No sync is under way.")


@sync.command("initialise")
@click.option("--confirm", "confirmed", multiple=True, metavar="ACT", help="What a refusal named.")
@_waits
def initialise(
    context: click.Context, confirmed: tuple[str, ...], no_wait: bool, in_here: bool
) -> None:
    """Get everything again from the primary, and wait for it; agree to what that would remove.

    The exit codes are those of `sync now`.
    """

    def ask(session: Session, actor: Actor) -> int:
        return ask_to_initialise(session, actor, confirmed)

    context.exit(_begin_run(ask, no_wait, in_here))


@click.command("restored")
def restored() -> None:
    """Say that this server was restored from a backup, before it is started again.

    From then on no number is used twice, and each side gets back what it lost.
    """
    with installation() as here, here.database.writing() as session:
        said = note_restored(session, shell_actor())
    click.echo(str(said))


@click.command("test-connection")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_context
def test_connection(context: click.Context, as_json: bool) -> None:
    """Ask the primary whether it would let this satellite in; nothing is changed.

    Exit codes: 0 it would; 1 it would not or cannot be reached, and the reason says what to do.
    """
    with installation() as here:
        trial = try_connection(here, shell_actor())
    reason = explain(trial.code, trial.values)
    if as_json:
        print_json(_trial_facts(trial, reason))
        context.exit(0 if trial.is_well else 1)
    if not trial.is_well:
        raise Refusal(say("%(what)s %(next)s", what=reason.what, next=reason.next))
    click.echo("Well: the primary would let this server in.")
    click.echo(f"To the primary and back: {trial.round_trip_ms} ms.")


@click.command("status")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_context
def status(context: click.Context, as_json: bool) -> None:
    """Say how sync stands.

    Exit codes: 0 as it should be (paused and stand-alone too); 3 late, or the primary cannot be
    reached; 4 very late, refused or disabled: somebody has to see to it.
    """
    with installation() as here, here.database.reading() as session:
        state = read_state(session, clock.now(), probe=True)
        facts = _status_facts(state)
    if as_json:
        print_json(facts)
    else:
        _print(state, facts)
    context.exit(_exit_code(state))


def _trial_facts(trial: Trial, reason: Reason) -> dict[str, object]:
    return {
        "well": trial.is_well,
        "reason": trial.code or None,
        "what": None if trial.is_well else str(reason.what),
        "next": None if trial.is_well else str(reason.next),
        "differences": [vars(difference) for difference in trial.disagreements],
        "round_trip_ms": trial.round_trip_ms,
    }


def _status_facts(state: State) -> dict[str, Any]:
    facts = as_facts(state)
    return {**facts, "next": facts["next"] or _NEXT.get(state.kind)}


def _print(state: State, facts: dict[str, Any]) -> None:
    _print_words(state, facts)
    if state.clock and str(state.clock) != facts["sentence"]:
        click.echo(str(state.clock))
    if state.run:
        run = state.run
        moved = f"pushed {run.pushed} of {run.to_push}, pulled {run.pulled} of {run.to_pull}"
        click.echo(f"Now: {run.step.replace('_', ' ')}; {moved}.")
    if differences := facts["differences"]:
        rows = [[one["field"], one["here"], one["there"]] for one in differences]
        print_table(("field", "here", "at the primary"), rows)
    names = ("last_success_at", "last_attempt_at", "next_try_at", "waiting", "set_aside")
    print_table(("fact", "value"), [(name, facts[name]) for name in names])


def _print_words(state: State, facts: dict[str, Any]) -> None:
    click.echo(facts["sentence"])
    # The sentence has the reason of a fault of the address already.
    words = [facts["what"], facts["next"]] if state.reason else [facts["next"]]
    if words := [one for one in words if one and one not in facts["sentence"]]:
        click.echo(" ".join(words))


def _exit_code(state: State) -> int:
    if (
        state.severity is Severity.VERY_LATE
        or state.kind is StateKind.NOT_READY
        or (state.kind is StateKind.REFUSED and state.acts is not Acts.NOBODY)
    ):
        return EXIT_NEEDS_ATTENTION
    if state.severity in (Severity.LATE, Severity.WAITING):
        return EXIT_LATE
    return EXIT_WELL
