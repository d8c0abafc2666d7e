"""The page's words: Fluent catalogues (words/*.ftl), read once, and times as people of the place say
them. Words only: what is said is decided by `views`.
"""

from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib.resources import files
from zoneinfo import ZoneInfo

from babel.dates import format_skeleton, format_time, format_timedelta
from fluent.runtime import FluentBundle, FluentResource

# Each language's own name, for the links that change it. Bokmål is what the application speaks.
LANGUAGES = {"en": "English", "nb": "Norsk"}
# English dates as Europe writes them.
_DATES = {"en": "en_GB", "nb": "nb"}
_SPOKEN = {"en": "en", "nb": "nb", "no": "nb", "nn": "nb"}


@dataclass(frozen=True, slots=True)
class Words:
    """One language, one time zone. Calling it gives a message; one that is missing is a `KeyError`,
    and a test looks for that.
    """

    language: str
    zone: ZoneInfo

    def __call__(self, key: str, **values: str | int) -> str:
        """The message with its values."""
        bundle = _bundle(self.language)
        pattern = bundle.get_message(key).value
        if pattern is None:
            raise KeyError(key)
        text, errors = bundle.format_pattern(pattern, values)
        if errors:
            raise KeyError(key, *errors)
        return str(text)

    @property
    def place(self) -> str:
        """Whose clock the times are by, as people say it: Oslo, New York, UTC."""
        return self.zone.key.rpartition("/")[2].replace("_", " ")

    def has(self, key: str) -> bool:
        """Whether there is such a message."""
        return _bundle(self.language).has_message(key)

    def first(self, *keys: str, **values: str | int) -> str:
        """The first of these messages that there is."""
        return self(next(key for key in keys if self.has(key)), **values)

    def clock(self, at: datetime, now: datetime) -> str:
        """A time as on the wall: the hour, and the day unless it is today's."""
        here = at.astimezone(self.zone)
        hour = format_time(here, "HH:mm", tzinfo=self.zone, locale=self.language)
        if here.date() == now.astimezone(self.zone).date():
            return hour
        is_this_year = here.year == now.astimezone(self.zone).year
        skeleton = "MMMd" if is_this_year else "yMMMd"
        return f"{format_skeleton(skeleton, here, self.zone, locale=_DATES[self.language])} {hour}"

    def ago(self, at: datetime, now: datetime) -> str:
        """A time as its distance: '3 minutes ago', 'in 20 seconds'."""
        return format_timedelta(at - now, add_direction=True, threshold=1.5, locale=self.language)


@cache
def _bundle(language: str) -> FluentBundle:
    # Isolation marks are for mixed directions of writing; both languages run from left to right.
    bundle = FluentBundle([language], use_isolating=False)
    bundle.add_resource(FluentResource(catalogue(language)))
    return bundle


def catalogue(language: str) -> str:
    """A language's file."""
    return (files(__package__) / "words" / f"{language}.ftl").read_text("utf-8")


def choose(chosen: str | None, accepted: str) -> str:
    """The language: the one chosen by hand, else the browser's (RFC 9110, Accept-Language), else
    English.
    """
    if chosen in LANGUAGES:
        return str(chosen)
    ranked = sorted(_ranges(accepted), key=lambda pair: -pair[1])
    spoken = (_SPOKEN.get(tag.split("-")[0]) for tag, weight in ranked if weight > 0)
    return next((language for language in spoken if language), "en")


def _ranges(accepted: str) -> list[tuple[str, float]]:
    found = []
    for part in accepted[:200].split(","):
        tag, _, weight = part.strip().partition(";q=")
        try:
            found.append((tag.lower(), float(weight or 1)))
        except ValueError:
            continue
    return found
