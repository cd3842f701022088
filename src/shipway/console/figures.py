"""Write numbers and times the way people read them: with a unit, and no more digits than they carry.

Pure text from values. A thin space is never used, a missing value is a dash with words beside it, and
an instant is always UTC here; the page's script turns it into the reader's zone.
"""

import math
from datetime import UTC, datetime

MINUS = "\N{MINUS SIGN}"
NOTHING = "\N{EN DASH}"
"""Written where there is no number."""


def count(n: float) -> str:
    """Write a whole number with thousands separated.

    >>> count(1234567)
    '1,234,567'
    """
    return f"{round(n):,}".replace("-", MINUS)


def number(value: float | None, digits: int = 3) -> str:
    """Write a number with about `digits` significant figures.

    >>> number(0.84213), number(1234.5), number(-0.0042), number(None)
    ('0.842', '1,234', '−0.0042', '–')
    """  # noqa: RUF002 - as it is written
    if value is None or math.isnan(value):
        return NOTHING
    if math.isinf(value):
        return "∞" if value > 0 else f"{MINUS}∞"
    if value == 0:
        return "0"
    places = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    text = f"{value:,.{min(places, 6)}f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return text.replace("-", MINUS)


def percent(share: float | None, digits: int = 3) -> str:
    """Write a fraction of one as percent.

    >>> percent(0.1), percent(0.0004), percent(0.98765)
    ('10 %', '0.04 %', '98.8 %')
    """
    return NOTHING if share is None else f"{number(share * 100, digits)} %"


def points(difference: float | None) -> str:
    """Write a difference of two fractions as signed percentage points.

    >>> points(0.0123), points(-0.0001)
    ('+1.23', '−0.01')
    """  # noqa: RUF002 - as it is written
    if difference is None or math.isnan(difference):
        return NOTHING
    if abs(difference) > 1:
        return "wide"
    if round(difference * 100, 2) == 0:
        return "0.00"
    return f"{difference * 100:+.2f}".replace("-", MINUS)


def signed(value: float | None) -> str:
    """Write a number with its sign.

    >>> signed(0.0123), signed(-2)
    ('+0.0123', '−2')
    """  # noqa: RUF002 - as it is written
    if value is None or math.isnan(value):
        return NOTHING
    return number(value) if value <= 0 else f"+{number(value)}"


def rate(per_second: float) -> tuple[str, str]:
    """Write a rate as number and unit, in the unit that gives a readable number.

    >>> rate(24.04), rate(0.007), rate(0)
    (('24', 'a second'), ('0.42', 'a minute'), ('0', 'a second'))
    """
    if per_second == 0 or per_second >= 1:
        return number(per_second), "a second"
    per_minute = per_second * 60
    return (number(per_minute, 2), "a minute") if per_minute >= 0.1 else (number(per_minute * 60, 2), "an hour")


def latency(microseconds: float | None) -> tuple[str, str]:
    """Write a duration of an answer as number and unit.

    >>> latency(870), latency(3400), latency(2_500_000), latency(None)
    (('0.87', 'ms'), ('3.4', 'ms'), ('2.5', 's'), ('–', ''))
    """  # noqa: RUF002 - as it is written
    if microseconds is None:
        return NOTHING, ""
    if microseconds < 100:
        return number(microseconds, 2), "µs"
    if microseconds < 1_000_000:
        return number(microseconds / 1000, 2), "ms"
    return number(microseconds / 1_000_000, 2), "s"


def duration(seconds: float) -> str:
    """Write how long something takes, in one or two units.

    >>> duration(6000), duration(45), duration(86_000), duration(200_000)
    ('1 h 40 min', '45 s', '24 h', '2 days 7 h')
    """
    if seconds < 90:
        return f"{number(max(seconds, 0), 2)} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if 10 <= hours < 48:
        return f"{hours + round(minutes / 60)} h"
    if hours < 48:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days} days {hours} h" if hours else f"{days} days"


def size(octets: float) -> str:
    """Write a size in bytes.

    >>> size(4_300_000), size(812)
    ('4.3 MB', '812 bytes')
    """
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if octets >= scale:
            return f"{number(octets / scale, 2)} {unit}"
    return f"{count(octets)} bytes"


def plural(n: int, one: str, many: str = "") -> str:
    """Write a number with its noun.

    >>> plural(1, "entry", "entries"), plural(0, "version"), plural(1284, "entry", "entries")
    ('1 entry', 'no versions', '1,284 entries')
    """
    noun = one if n == 1 else (many or f"{one}s")
    return f"{'no' if n == 0 else count(n)} {noun}"


def words(items: list[str], limit: int = 4) -> str:
    """Join names into a phrase.

    >>> words(["a", "b", "c"]), words(["a"]), words(["a", "b", "c", "d", "e"], 3)
    ('a, b and c', 'a', 'a, b, c and 2 more')
    """
    if len(items) > limit:
        return f"{', '.join(items[:limit])} and {len(items) - limit} more"
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}" if items else ""


def start(text: str) -> str:
    """Begin a sentence with a name, which may be written small.

    >>> start("churn"), start("iOS-model")
    ('Churn', 'IOS-model')
    """
    return text[:1].upper() + text[1:]


def instant(at: float) -> datetime:
    """Return Unix seconds as a UTC instant."""
    return datetime.fromtimestamp(at, UTC)


def utc(at: float) -> str:
    """Write an instant in full.

    >>> utc(1795182720)
    '20 Nov 2026, 13:52 UTC'
    """
    moment = instant(at)
    return f"{moment.day} {moment:%b %Y, %H:%M} UTC"


def iso(at: float) -> str:
    """Write an instant for machines.

    >>> iso(1795182720.4)
    '2026-11-20T13:52:00Z'
    """
    return f"{instant(at):%Y-%m-%dT%H:%M:%SZ}"


def clock(at: float, now: float) -> str:
    """Write an instant as briefly as `now` allows: the time today, else the date too.

    >>> clock(1795182720, 1795183000), clock(1795182720, 1795183000 + 86400)
    ('13:52', '20 Nov, 13:52')
    """
    moment = instant(at)
    if moment.date() == instant(now).date():
        return f"{moment:%H:%M}"
    if moment.year == instant(now).year:
        return f"{moment.day} {moment:%b, %H:%M}"
    return f"{moment.day} {moment:%b %Y}"


def day(at: float) -> str:
    """Write the day of an instant.

    >>> day(1795182720)
    'Friday 20 November 2026'
    """
    moment = instant(at)
    return f"{moment:%A} {moment.day} {moment:%B %Y}"
