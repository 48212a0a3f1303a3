"""The sentences of the state of the sync: whether the data is safe, who has to act, since when."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from panel.i18n import Count, Message, Moment, join, say, say_count
from panel.models.runs import PASSWORD_UNREADABLE, Link, Loop, Run, RunStep
from panel.models.settings import Settings
from panel.preferences.parameter_table import PARAMETERS
from panel.preferences.readiness import BlockingUrl, Missing, missing_on_satellite, why_not
from panel.preferences.server_list import Counts, ServerState, server_state
from panel.status.history import Disagreement, disagreements
from panel.sync.protocol.error_codes import PASSING_BY_ITSELF, explain
from panel.sync.transport.http import SILENCE_SECONDS

_SECONDS_PER_MINUTE = 60
# The name of a day of the week is plain for so long.
_A_WEEK = timedelta(days=6)
_A_MINUTE = timedelta(minutes=1)
# Faults of the address, not of the line: waiting does not help.
_WRONG_ADDRESS = frozenset(
    {"certificate", "redirected", "not_a_sync_server", "no_tls", "tls_wanted"}
)
# Where a primary was before, it is a sign-in page of the line, as a rule.
_IN_ITS_PLACE = frozenset({"redirected", "not_a_sync_server"})
# Of the line, and yet somebody here has to act.
_PUT_RIGHT_HERE = frozenset({"line_sign_in", "proxy_unreachable", "proxy_refuses"})


class StateKind(StrEnum):
    """The kinds of state of the sync."""

    STANDALONE = "standalone"
    NOT_READY = "not_ready"
    PAUSED = "paused"
    DISABLED = "disabled"
    SYNCING = "syncing"
    NO_ANSWER = "no_answer"
    UP_TO_DATE = "up_to_date"
    LATE = "late"
    VERY_LATE = "very_late"
    UNREACHABLE = "unreachable"
    REFUSED = "refused"
    NEVER = "never"
    # In step, but for records that wait for a decision.
    SET_ASIDE = "set_aside"
    # In step, but one of the two clocks is wrong.
    CLOCK = "clock"
    # Nothing can be written.
    FULL = "full"
    # A primary that its satellites can call.
    OPEN = "open"


class Severity(StrEnum):
    """The severity of a state: it gives the shape and the colour, some of them by lateness."""

    WELL = "well"
    # Nobody has to act: it goes on by itself.
    WAITING = "waiting"
    LATE = "late"
    VERY_LATE = "very_late"
    OFF = "off"
    WORKING = "working"
    NOT_SEEN = "not_seen"


class Acts(StrEnum):
    """Who has to act."""

    NOBODY = "nobody"
    HERE = "here"
    # At the other server.
    THERE = "there"


# In the place of a field: what puts it right is an initialise.
INITIALISE = "initialise"
_REMEDIES = {
    StateKind.SET_ASIDE: say("Look"),
}
_ENTER = {"user_name": say("Enter them"), "url": say("Enter it")}
# A state in one or two words, as the list has it.
KIND_WORDS: Mapping[StateKind, Message] = {
    StateKind.STANDALONE: say("stand-alone"),
    StateKind.NOT_READY: say("not ready"),
    StateKind.PAUSED: say("paused"),
    StateKind.DISABLED: say("disabled"),
    StateKind.SYNCING: say("syncing"),
    StateKind.NO_ANSWER: say("no answer"),
    StateKind.UP_TO_DATE: say("up to date"),
    StateKind.LATE: say("late"),
    StateKind.VERY_LATE: say("very late"),
    StateKind.UNREACHABLE: say("no connection"),
    StateKind.REFUSED: say("refused"),
    StateKind.NEVER: say("not yet synchronised"),
    StateKind.SET_ASIDE: say("needs a decision"),
    StateKind.CLOCK: say("a clock is wrong"),
    StateKind.FULL: say("disk full"),
    StateKind.OPEN: say("ready"),
}
SEVERITIES: Mapping[ServerState, Severity] = {
    ServerState.REFUSED: Severity.VERY_LATE,
    ServerState.VERY_LATE: Severity.VERY_LATE,
    ServerState.LATE: Severity.LATE,
    ServerState.NOT_SEEN: Severity.NOT_SEEN,
    ServerState.UP_TO_DATE: Severity.WELL,
}


@dataclass(frozen=True)
class Part:
    """A count within a primary's sentence; ``state`` is that of the servers which it counts.

    It is "applicants" of who waits to be added, "set_aside" of records that need a decision.
    """

    state: str
    severity: Severity
    words: Message


@dataclass(frozen=True)
class Verdict:
    """A state in words: ``headline``, on a primary followed by the counts in ``parts``.

    ``field`` is the parameter that has to be corrected here, :data:`INITIALISE`, or "" if neither.
    """

    kind: StateKind
    severity: Severity
    headline: Message
    acts: Acts = Acts.NOBODY
    field: str = ""
    parts: Sequence[Part] = ()

    @property
    def sentence(self) -> Message:
        """Return all of it as one sentence."""
        if not self.parts:
            return self.headline
        return join([self.headline, join([part.words for part in self.parts], " · ")])

    @property
    def remedy(self) -> Message | None:
        """Return what a link to what puts it right here is called; None without such a link."""
        if self.kind in _REMEDIES:
            return _REMEDIES[self.kind]
        if self.kind is StateKind.NOT_READY:
            # Of several the first steps have a link each.
            return _ENTER.get(self.field)
        if self.field == INITIALISE:
            return say("Initialise")
        field = PARAMETERS.get(self.field)
        return say("Change %(field)s", field=field.label) if field else None


STANDALONE = Verdict(
    StateKind.STANDALONE,
    Severity.OFF,
    say("This server synchronises with nobody. These preferences can be ignored."),
)
FULL = Verdict(
    StateKind.FULL,
    Severity.VERY_LATE,
    say("The disk of this computer is full: nothing can be kept. Make room; it goes on by itself."),
    Acts.HERE,
)


def paused(person: str | None) -> Verdict:
    """Return the verdict on a server whose interval is 0, as ``person`` set it if that is known."""
    words = (
        say("Paused by %(person)s: the interval is 0.", person=person)
        if person
        else say("Paused: the interval is 0.")
    )
    return Verdict(StateKind.PAUSED, Severity.OFF, words)


def not_ready(missing: Sequence[Missing]) -> Verdict:
    """Return the verdict on a server that lacks something to begin with."""
    fields = {Missing.URL: "url", Missing.PAIR: "user_name"}
    words, name = why_not(missing), fields.get(missing[0], "") if len(missing) == 1 else ""
    return Verdict(StateKind.NOT_READY, Severity.LATE, words, Acts.HERE, name)


def clock_sentence(seconds_ahead: int) -> Message:
    """Return what a satellite's clock is, against its primary's, as the satellite is told."""
    minutes = abs(seconds_ahead) // _SECONDS_PER_MINUTE
    if seconds_ahead > 0:
        return say(
            "The clock of this server is %(minutes)s minutes ahead of the primary's: set the one "
            "that is wrong.",
            minutes=minutes,
        )
    return say(
        "The clock of this server is %(minutes)s minutes behind the primary's: set the one that "
        "is wrong.",
        minutes=minutes,
    )


# --- of a primary ---------------------------------------------------------------------------------


def disabled(culprits: Sequence[BlockingUrl]) -> Verdict:
    """Return the verdict on a primary that these URLs disable."""
    first = culprits[0]
    if len(culprits) > 1:
        words = say(
            "Sync is disabled: on a primary no URL may be set, and %(n)s are.", n=len(culprits)
        )
    elif first.kind == "settings":
        words = say("Sync is disabled: this server is a primary and has a URL.")
    else:
        words = say("Sync is disabled: row %(server)s has a URL.", server=first.label)
    return Verdict(StateKind.DISABLED, Severity.VERY_LATE, words, Acts.HERE)


def primary_says(counts: Counts, applicants: int, set_aside: int) -> Verdict:
    """Return the verdict on a primary that is open: the worst of its counts gives the severity."""
    parts = [part for part in _parts(counts, applicants, set_aside) if part is not None]
    worst = parts[0].severity if parts else Severity.WELL
    if any(part.severity is Severity.LATE for part in parts) and worst is Severity.NOT_SEEN:
        worst = Severity.LATE
    if counts.total:
        words = say_count(
            "%(up_to_date)s of %(num)s satellite up to date.",
            "%(up_to_date)s of %(num)s satellites up to date.",
            counts.total,
            up_to_date=Count(counts.up_to_date),
        )
    else:
        words = say("Ready for satellites: none is in the list yet.")
    acts = Acts.HERE if counts.refused or applicants or set_aside else Acts.NOBODY
    if acts is Acts.NOBODY and worst in (Severity.LATE, Severity.VERY_LATE):
        acts = Acts.THERE
    return Verdict(StateKind.OPEN, worst, words, acts, parts=parts)


def _parts(counts: Counts, applicants: int, set_aside: int) -> Sequence[Part | None]:
    in_states = (
        (ServerState.REFUSED, say("%(n)s refused", n=Count(counts.refused))),
        (ServerState.VERY_LATE, say("%(n)s very late", n=Count(counts.very_late))),
        (ServerState.LATE, say("%(n)s late", n=Count(counts.late))),
        (ServerState.NOT_SEEN, say("%(n)s not yet seen", n=Count(counts.not_seen))),
    )
    waiting = say("%(n)s waiting to be added", n=Count(applicants))
    decisions = say_count(
        "%(num)s record needs a decision", "%(num)s records need a decision", set_aside
    )
    return [
        *(
            Part(state, SEVERITIES[state], words) if counts.of(state) else None
            for state, words in in_states
        ),
        Part("applicants", Severity.LATE, waiting) if applicants else None,
        Part("set_aside", Severity.LATE, decisions) if set_aside else None,
    ]


# --- of a satellite -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Facts:
    """What the verdict on a satellite follows from.

    ``reason`` is the code of the present refusal or of the last line fault, with its values.
    ``waiting`` records are stored here and have still to be sent. ``there`` is the name of the
    primary, None where it is not in the list.
    """

    settings: Settings
    loop: Loop
    link: Link
    run: Run | None
    there: str | None
    now: datetime
    waiting: int = 0
    set_aside: int = 0
    reason: str = ""
    reason_values: Mapping[str, Any] = field(default_factory=dict)

    @property
    def age(self) -> ServerState:
        """Return how late this satellite is."""
        return server_state(self.link.last_success_at, self.now)

    @property
    def by_age(self) -> Severity:
        """Return the severity of what passes by itself, unless it lasts."""
        return {
            ServerState.LATE: Severity.LATE,
            ServerState.VERY_LATE: Severity.VERY_LATE,
        }.get(self.age, Severity.WAITING)

    @property
    def call(self) -> Message:
        """Return the sentence about who is called."""
        if self.settings.contact:
            return say("Call %(contact)s.", contact=self.settings.contact)
        return say("Tell whoever looks after %(there)s.", there=self.there)

    @property
    def safe(self) -> Message:
        """Return the sentence about what waits, all of it stored here."""
        if not self.waiting:
            return say("Nothing waits on this computer.")
        return say_count(
            "%(num)s record is safe on this computer.",
            "%(num)s records are safe on this computer.",
            self.waiting,
        )

    @property
    def has_met(self) -> bool:
        """Say whether a primary at the present URL has answered to the present user name."""
        link = self.link
        has_token = link.device_token_sealed is not None and not link.token_withheld
        return has_token or bool(link.protocol)


def satellite_says(facts: Facts) -> Verdict:
    """Return the verdict on a satellite; of several that apply, the first of those below.

    Whether the interval is 0 is asked before.
    """
    if facts.run is not None:
        return _running(facts, facts.run)
    if missing := missing_on_satellite(facts.settings, facts.there):
        return not_ready(missing)
    if facts.loop.refusal:
        return _refused(facts)
    if facts.loop.failures:
        return _unreachable(facts)
    if facts.age is ServerState.NOT_SEEN:
        return _never(facts)
    if facts.age is not ServerState.UP_TO_DATE:
        return _overdue(facts)
    if facts.link.clock_seconds:
        words = clock_sentence(facts.link.clock_seconds)
        return Verdict(StateKind.CLOCK, Severity.VERY_LATE, words, Acts.HERE)
    return _in_step(facts)


def _in_step(facts: Facts) -> Verdict:
    if facts.set_aside:
        words = say_count(
            "All well, but %(num)s record needs a decision.",
            "All well, but %(num)s records need a decision.",
            facts.set_aside,
        )
        return Verdict(StateKind.SET_ASIDE, Severity.LATE, words, Acts.HERE)
    words = say("All well. Everything is safe at %(there)s.", there=facts.there)
    if facts.waiting:
        words = say_count(
            "All well. %(num)s record is safe on this computer and goes with the next sync.",
            "All well. %(num)s records are safe on this computer and go with the next sync.",
            facts.waiting,
        )
    return Verdict(StateKind.UP_TO_DATE, Severity.WELL, words)


def _never(facts: Facts) -> Verdict:
    if facts.link.last_success_at is not None:
        words = say("The last success is dated in the future: a clock was wrong then.")
        return Verdict(StateKind.NEVER, Severity.LATE, words)
    words = say("Not synchronised with %(there)s yet: it begins by itself.", there=facts.there)
    return Verdict(StateKind.NEVER, Severity.OFF, words)


def _overdue(facts: Facts) -> Verdict:
    words = say(
        "Not synced since %(day)s. %(safe)s Press Sync now; if that does not help: %(call)s",
        day=_since(facts),
        safe=facts.safe,
        call=facts.call,
    )
    return Verdict(StateKind(facts.age), SEVERITIES[facts.age], words, Acts.HERE)


def _since(facts: Facts) -> Moment:
    at = facts.link.last_success_at or facts.now
    return Moment(at, "weekday" if facts.now - at < _A_WEEK else "day")


def _unreachable(facts: Facts) -> Verdict:
    severity = max(facts.by_age, Severity.LATE, key=_ORDER.index)
    reason = explain(facts.reason, facts.reason_values)
    if facts.reason in _PUT_RIGHT_HERE:
        words = say("%(what)s %(next)s", what=reason.what, next=reason.next)
        return Verdict(StateKind.UNREACHABLE, severity, words, Acts.HERE)
    if facts.reason in _IN_ITS_PLACE and facts.has_met:
        words = say(
            "Something else answers in the place of %(there)s. Open any web page on this computer: "
            "the internet line may want a sign-in.",
            there=facts.there,
        )
        return Verdict(StateKind.UNREACHABLE, severity, words, Acts.HERE)
    if facts.reason in _WRONG_ADDRESS or (facts.reason and not facts.has_met):
        words = say("%(what)s Check the URL.", what=reason.what)
        return Verdict(StateKind.UNREACHABLE, severity, words, Acts.HERE, "url")
    if facts.by_age is not Severity.WAITING:
        words = say(
            "Not synced since %(day)s. %(safe)s Check the line; if it works: %(call)s",
            day=_since(facts),
            safe=facts.safe,
            call=facts.call,
        )
        return Verdict(StateKind.UNREACHABLE, facts.by_age, words, Acts.HERE)
    words = say("The line is down. Nothing waits on this computer. Nothing to do.")
    if facts.waiting:
        words = say_count(
            "%(num)s record is safe on this computer and goes by itself when the line is back. "
            "Nothing to do.",
            "%(num)s records are safe on this computer and go by themselves when the line is back. "
            "Nothing to do.",
            facts.waiting,
        )
    return Verdict(StateKind.UNREACHABLE, Severity.WAITING, words)


_ORDER = (Severity.WELL, Severity.WAITING, Severity.LATE, Severity.VERY_LATE)


def _running(facts: Facts, run: Run) -> Verdict:
    if facts.loop.stop_asked_at is not None:
        return Verdict(StateKind.SYNCING, Severity.WORKING, say("Stopping."))
    if facts.loop.silent_since is not None:
        return _no_answer(facts, facts.loop.silent_since)
    if facts.settings.interval_minutes == 0:
        words = say("Syncing the batch in hand, then pausing.")
    else:
        words = _progress(facts, run)
    return Verdict(StateKind.SYNCING, Severity.WORKING, words)


def _no_answer(facts: Facts, since: datetime) -> Verdict:
    until = since + timedelta(seconds=SILENCE_SECONDS)
    words = say(
        "No answer from %(there)s for %(seconds)s s. Trying until %(until)s.",
        there=facts.there,
        seconds=Count(max(facts.now - since, timedelta()).total_seconds()),
        # A time of day is shown without its seconds: up, since it is not over at that minute.
        until=Moment(until + _A_MINUTE - timedelta.resolution, "clock"),
    )
    return Verdict(StateKind.NO_ANSWER, facts.by_age, words)


def _progress(facts: Facts, run: Run) -> Message:
    sent = {"n": Count(run.pushed), "of": Count(run.to_push)}
    got = {"n": Count(run.pulled), "of": Count(run.to_pull)}
    match run.step:
        case RunStep.PUSHING:
            words = say("Syncing now: %(n)s of %(of)s records sent", **sent)
            left = (run.to_push - run.pushed) * (facts.link.seconds_per_record_up or 0)
        case RunStep.INITIALISING:
            words = say("Initialising: %(n)s of %(of)s records received", **got)
            left = (run.to_pull - run.pulled) * (facts.link.seconds_per_record_down or 0)
        case RunStep.PULLING_CENTRAL | RunStep.PULLING_ADDRESSED:
            words = say("Syncing now: %(n)s of %(of)s records received", **got)
            left = (run.to_pull - run.pulled) * (facts.link.seconds_per_record_down or 0)
        case RunStep.APPLYING:
            return say("Syncing now: putting %(n)s records in their places.", n=Count(run.pulled))
        case _:
            return say("Syncing now.")
    minutes = round(left / _SECONDS_PER_MINUTE)
    if not minutes:
        return say("%(words)s.", words=words)
    return say_count(
        "%(words)s, about %(num)s minute.",
        "%(words)s, about %(num)s minutes.",
        minutes,
        words=words,
    )


# What each refusal means here and who has to act, with the parameter to correct. ``call`` is whom.
_REFUSALS: Mapping[str, tuple[Acts, str, Message]] = {
    "site_incorrect_password": (
        Acts.HERE,
        "password",
        say("%(there)s does not accept the Password of this server. Type it again here."),
    ),
    "site_name_not_found": (
        Acts.HERE,
        "user_name",
        say("%(there)s does not know the User name %(user_name)s. Correct it here."),
    ),
    "too_many_tries": (
        Acts.HERE,
        "password",
        say("%(there)s got too many wrong passwords from here. Correct it, then wait a little."),
    ),
    PASSWORD_UNREADABLE: (
        Acts.HERE,
        "password",
        say(
            "The Password cannot be read: the secret key of this installation is another one. Type "
            "the Password again here."
        ),
    ),
    "site_has_no_store": (Acts.HERE, "store", say("This server has no Store. Fill it in here.")),
    "not_a_primary": (
        Acts.HERE,
        "url",
        say("The server at the URL is no primary. Correct the URL here."),
    ),
    "two_machines": (
        Acts.HERE,
        "sync_id",
        say(
            "Two computers use Sync ID %(sync_id)s. Switch one off, or give it a number of its own."
        ),
    ),
    "device_token_ended": (
        Acts.HERE,
        "",
        say("%(there)s ended the access of this computer. Press Sync now."),
    ),
    "initialise_needed": (
        Acts.HERE,
        INITIALISE,
        say("%(there)s no longer has all that this server missed. Un-lock and press Initialise."),
    ),
    "history_differs": (
        Acts.HERE,
        INITIALISE,
        say("This server and %(there)s have lost each other. Un-lock and press Initialise."),
    ),
    "removal_needs_consent": (
        Acts.HERE,
        INITIALISE,
        say("%(records)s records that are here are not at %(there)s: they would be removed."),
    ),
    "site_incorrect_hardware_id": (
        Acts.THERE,
        "",
        say(
            "%(there)s has another computer for %(here)s. It has to clear the Hardware ID there; "
            "then this one goes on by itself. %(call)s"
        ),
    ),
    "waiting_to_be_added": (
        Acts.THERE,
        "",
        say(
            "%(there)s has to add this server, Sync ID %(sync_id)s; then it goes on by itself. "
            "%(call)s"
        ),
    ),
    "sync_disabled": (
        Acts.THERE,
        "",
        say(
            "Sync is disabled at %(there)s: a URL is set there. Once it is cleared, this server "
            "goes on by itself. %(call)s"
        ),
    ),
    "sync_paused": (
        Acts.THERE,
        "",
        say("%(there)s has paused sync. Once it is set going, this server goes on by itself."),
    ),
    "disk_full": (
        Acts.THERE,
        "",
        say(
            "The disk of %(there)s is full. Once it has room, this server goes on by itself. "
            "%(call)s"
        ),
    ),
    "api_version_incompatible": (
        Acts.THERE,
        "",
        say(
            "The versions of %(there)s and of this server do not understand each other: the older "
            "one has to be brought up to date. %(call)s"
        ),
    ),
}
_BUSY = say("%(there)s is busy with others. It is tried again by itself. Nothing to do.")
_OTHERWISE = say("%(there)s refuses this server. %(what)s %(call)s")


def _refused(facts: Facts) -> Verdict:
    code, values = facts.loop.refusal, facts.loop.refusal_values or {}
    if found := disagreements(code, values, at_primary=False):
        return Verdict(
            StateKind.REFUSED, Severity.VERY_LATE, _differs(facts, found), Acts.HERE, found[0].field
        )
    if code in PASSING_BY_ITSELF:
        return Verdict(StateKind.REFUSED, facts.by_age, _filled(_BUSY, facts))
    acts, name, words = _REFUSALS.get(code, (Acts.THERE, "", _OTHERWISE))
    severity = facts.by_age if code == "sync_paused" else Severity.VERY_LATE
    return Verdict(StateKind.REFUSED, severity, _filled(words, facts), acts, name)


def _filled(words: Message, facts: Facts) -> Message:
    settings, values = facts.settings, facts.loop.refusal_values or {}
    known = {
        "there": facts.there,
        "here": settings.name,
        "sync_id": settings.sync_id,
        "user_name": settings.user_name,
        "records": values.get("records", "?"),
        "what": explain(facts.loop.refusal, values).what,
        "call": facts.call,
    }
    return Message(words.text, {key: known[key] for key in known if f"%({key})s" in words.text})


# What the two servers disagree about, as the primary has it and as it is here.
_DIFFERENCES: Mapping[str, Message] = {
    "sync_id": say("%(there)s has this server as number %(value)s, here it is %(here)s."),
    "name": say("%(there)s has this server as %(value)s, here it is %(here)s."),
    "store": say("%(there)s has this store as %(value)s, here it is %(here)s."),
    "primary_name": say("%(there)s calls itself %(value)s, here it is %(here)s."),
    "primary_store": say("%(there)s has %(value)s as its own store, here it is %(here)s."),
}
_EMPTY = say("empty")


def _differs(facts: Facts, found: Sequence[Disagreement]) -> Message:
    return join(
        [
            say(
                _DIFFERENCES[one.field].text,
                there=facts.there,
                value=one.there or _EMPTY,
                here=one.here or _EMPTY,
            )
            for one in found
        ]
    )
