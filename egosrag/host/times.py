"""Stored times, which are in UTC, as a reader writes them in their own time zone."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

Day = Literal["today", "yesterday", "earlier"]


def local_time(at: str, zone: str | None, now: datetime | None = None) -> str:
    """A time as a short text: the hour for today, else the day, with the year where it is another one.

    Args:
        at: ISO 8601, in UTC where it states no offset.
        zone: name of the reader's time zone, such as ``Asia/Shanghai``; UTC where it is absent or unknown.
        now: the present, for tests.

    Returns:
        The text; empty where ``at`` is no time.
    """
    found = _moment_and_today(at, zone, now)
    if found is None:
        return ""
    moment, today = found
    if moment.date() == today:
        return f"{moment:%H:%M}"
    return f"{moment:%m-%d}" if moment.year == today.year else f"{moment:%Y-%m-%d}"


def day_of(at: str, zone: str | None, now: datetime | None = None) -> Day:
    """On which day a time is; arguments as of :func:`local_time`. What is no time is of today: it is new."""
    found = _moment_and_today(at, zone, now)
    days = (found[1] - found[0].date()).days if found else 0
    return "today" if days < 1 else "yesterday" if days == 1 else "earlier"


def _moment_and_today(at: str, zone: str | None, now: datetime | None) -> tuple[datetime, date] | None:
    """A time and the present day in the reader's time zone; None where it is no time."""
    try:
        moment = datetime.fromisoformat(at)
    except ValueError:
        return None
    try:
        reader = ZoneInfo(zone) if zone else UTC
    except (ZoneInfoNotFoundError, ValueError, OSError):
        reader = UTC
    moment = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(reader)
    return moment, (now or datetime.now(UTC)).astimezone(reader).date()
