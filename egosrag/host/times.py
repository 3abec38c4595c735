"""Stored times, which are in UTC, as a reader writes them in their own time zone."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError


def local_time(at: str, zone: str | None, now: datetime | None = None) -> str:
    """A time as a short text: the hour for today, else the day, with the year where it is another one.

    Args:
        at: ISO 8601, in UTC where it states no offset.
        zone: name of the reader's time zone, such as ``Asia/Shanghai``; UTC where it is absent or unknown.
        now: the present, for tests.

    Returns:
        The text; empty where ``at`` is no time.
    """
    try:
        moment = datetime.fromisoformat(at)
    except ValueError:
        return ""
    try:
        reader = ZoneInfo(zone) if zone else UTC
    except (ZoneInfoNotFoundError, ValueError, OSError):
        reader = UTC
    moment = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(reader)
    today = (now or datetime.now(UTC)).astimezone(reader).date()
    if moment.date() == today:
        return f"{moment:%H:%M}"
    return f"{moment:%m-%d}" if moment.year == today.year else f"{moment:%Y-%m-%d}"
