"""The grammar of a time specification: tokens -> Spec, that of at(1) (its parsetime.y) with changes.

Added: the day may come before the time ("tomorrow noon"), seconds ("15:00:30"), "yesterday",
"tonight", "this friday", "now next week", "in 2 months", "2 months ago", several periods ("now + 1 day
2 hours"), short ones ("now+2h"), "at" and "on", ordinals ("April 1st") and "2018/04/01". Removed: impossible
times, which overflow in at(1) (30 February, 10:60, 24:30), and years that it changes (1800 becomes 3700).
"""

from __future__ import annotations

import re
from dataclasses import replace

from taskman_cli.core.escapes import quoted_ascii
from taskman_cli.core.timespec.dates import (
    check_day,
    checked,
    clock_of_parts,
    explain_missing_year,
    full_date,
    refuse_time_for_year,
)
from taskman_cli.core.timespec.spec import Clock, FullDate, MonthDay, RelativeDay, Shift, Spec, Weekday
from taskman_cli.core.timespec.vocabulary import Kind, Token, read_words
from taskman_cli.errors import TimespecError

_PERIODS = {
    "min": Shift(minutes=1),
    "minute": Shift(minutes=1),
    "hour": Shift(minutes=60),
    "day": Shift(days=1),
    "week": Shift(days=7),
    "month": Shift(months=1),
    "year": Shift(months=12),
    "m": Shift(minutes=1),
    "h": Shift(minutes=60),
    "hr": Shift(minutes=60),
    "d": Shift(days=1),
    "w": Shift(days=7),
    "wk": Shift(days=7),
    "mo": Shift(months=1),
    "y": Shift(months=12),
    "yr": Shift(months=12),
}
#: "tonight" without a time; and the first hour that counts as tonight.
_TONIGHT = 20
_NOON = 12
_EXPECTED = 'a time looks like "4pm tomorrow", "noon Jul 31", "2026-12-24 15:00", "now + 3 days" or "90s"'
#: As in a duration: from ten hours on it is a time of day.
_HOURS_AND_MINUTES = re.compile("([0-9])h([0-5][0-9])")
#: Numbers with more digits than this exceed any calendar.
_MAX_DIGITS = 12


def parse_spec(text: str) -> Spec:
    """Parse a time specification. Raises TimespecError with the column."""
    return _Parser(read_words(text)).spec()


class _Parser:
    """A recursive-descent parser with one token of lookahead, sometimes two."""

    def __init__(self, tokens: list[Token]) -> None:
        self._tokens = tokens
        self._position = 0

    def spec(self) -> Spec:
        spec = self._base()
        if self._at_sign("+-"):
            spec = self._shifted(spec)
        if self._next.kind is not Kind.END:
            raise self._unexpected()
        return spec

    def _base(self) -> Spec:
        if self._next.kind is Kind.NOW:
            self._take()
            return Spec(shifts=self._next_period()) if self._is(Kind.NEXT) else Spec()
        if self._is(Kind.IN) or self._at_sign("+"):
            self._take()
            return Spec(shifts=self._length(f'a number after "{self._previous.text}"'))
        if self._next.kind is Kind.DIGITS and self._after_next.kind is Kind.PERIOD:
            return self._length_from_now()
        if self._is_clock():
            clock = self._clock()
            return self._with_clock(self._day(), clock) if self._is_day() else Spec(clock=clock, is_bare=True)
        if not self._is_day():
            raise self._unexpected()
        spec = self._day()
        return self._with_clock(spec, self._clock()) if self._is_clock() else spec

    def _with_clock(self, spec: Spec, clock: Clock) -> Spec:
        """Combine a day with a time; "tonight" needs a time in the evening."""
        if spec.clock is not None and clock.hour < _NOON:
            time = f"{clock.hour}:{clock.minute:02}"
            meant = f'"tonight {clock.hour + 12}:{clock.minute:02}" or "tomorrow {time}"'
            raise TimespecError(f"{time} is not tonight: did you mean {meant}?", column=clock.column)
        return replace(spec, clock=clock)

    # Times of day.

    def _is_clock(self) -> bool:
        token, following = self._next, self._after_next
        if token.kind is Kind.AT:
            return True
        if token.kind is Kind.DIGITS:
            is_hour_minute = len(token.text) in (3, 4) and following.text != "/"
            return is_hour_minute or following.kind is Kind.HALF
        return token.kind in (Kind.HOUR_NAME, Kind.HOUR_MINUTE, Kind.HOUR_MINUTE_SECOND)

    def _clock(self) -> Clock:
        if self._is(Kind.AT):
            self._take()
            if self._next.kind is Kind.DIGITS and len(self._next.text) <= 2:
                return self._clock_of(self._take())  # "at 9" is 9:00
            if self._is(Kind.AT) or not self._is_clock():
                raise TimespecError(
                    'after "at" comes a time of day, such as "9", "9:30" or "5pm"', column=self._next.column
                )
        return self._clock_of(self._take())

    def _clock_of(self, token: Token) -> Clock:
        if token.kind is Kind.HOUR_NAME:
            clock = Clock(token.value, 0)
        else:
            clock = self._clock_of_digits(token) if token.kind is Kind.DIGITS else clock_of_parts(token)
            if self._next.kind is Kind.HALF:
                clock = self._half(token, clock)
        is_utc = self._next.kind is Kind.UTC
        if is_utc:
            self._take()
        return checked(clock._replace(is_utc=is_utc, column=token.column))

    def _clock_of_digits(self, token: Token) -> Clock:
        if len(token.text) <= 2:
            return Clock(int(token.text), 0)
        hour, minute = token.text[:-2], token.text[-2:]
        if len(token.text) == 3 or self._next.kind is Kind.HALF:
            raise TimespecError(
                f'put a colon into {quoted_ascii(token.text)}: "{hour}:{minute}"', column=token.column
            )
        return Clock(int(hour), int(minute))

    def _half(self, token: Token, clock: Clock) -> Clock:
        half = self._take()
        if clock.hour > 12:
            raise TimespecError(
                f'"{half.text}" goes with the hours 1 to 12: remove it, or write a smaller hour',
                column=token.column,
            )
        return clock._replace(hour=clock.hour % 12 + 12 * half.value)

    # Days.

    def _is_day(self) -> bool:
        token, following = self._next, self._after_next
        if token.kind is Kind.DIGITS:
            if following.text == "/":
                return len(token.text) in (1, 2, 4)
            return (len(token.text) <= 2 and following.kind is Kind.MONTH) or 5 <= len(token.text) <= 8
        if token.kind is Kind.ORDINAL:
            return following.kind is Kind.MONTH
        return token.kind in (
            Kind.RELATIVE_DAY, Kind.WEEKDAY, Kind.MONTH, Kind.NEXT, Kind.DOTTED_DATE, Kind.HYPHEN_DATE,
            Kind.ON, Kind.THIS, Kind.TONIGHT,
        )  # fmt: skip

    def _day(self) -> Spec:
        if self._is(Kind.ON):
            self._take()
            if self._is(Kind.ON) or not self._is_day():
                raise TimespecError('after "on" comes a day', column=self._next.column)
        token = self._next
        if token.kind is Kind.NEXT and self._after_next.kind is Kind.PERIOD:
            return Spec(shifts=self._next_period())
        if token.kind is Kind.NEXT:
            self._take()
            if self._next.kind is not Kind.WEEKDAY:
                raise TimespecError(
                    'after "next" comes a weekday or one of minute hour day week month year',
                    column=self._next.column,
                )
        is_this = self._is(Kind.THIS)
        if is_this:
            self._take()
            if self._next.kind is not Kind.WEEKDAY:
                raise TimespecError('after "this" comes a weekday', column=self._next.column)
        token = self._take()
        if token.kind is Kind.TONIGHT:
            return Spec(
                day=RelativeDay(0), clock=Clock(_TONIGHT, 0, column=token.column), column=token.column
            )
        if token.kind is Kind.RELATIVE_DAY:
            return Spec(day=RelativeDay(token.value), column=token.column)
        if token.kind is Kind.WEEKDAY:
            return Spec(day=Weekday(token.value, may_be_today=is_this), column=token.column)
        return Spec(day=self._date(token), column=token.column)

    def _date(self, token: Token) -> MonthDay | FullDate:
        if token.kind is Kind.MONTH:
            number = self._take_day_of_month()
            return self._with_year(token, month=token.value, day=number)
        if token.kind is Kind.HYPHEN_DATE:
            year, month, day = token.text.split("-")
        elif token.kind is Kind.DOTTED_DATE:
            day, month, year = token.text.split(".")
        elif self._next.kind is Kind.MONTH:
            day_of_month = token.value if token.kind is Kind.ORDINAL else int(token.text)
            return self._with_year(token, month=self._take().value, day=day_of_month)
        elif self._at_sign("/"):
            if len(token.text) == 4:
                year, month, day = self._slashed_from_year(token)
            else:
                month, day, year = self._slashed(token)
        else:
            # MMDDYY or MMDDYYYY; the first zero may be missing.
            digits = token.text.zfill(6 if len(token.text) <= 6 else 8)
            month, day, year = digits[:2], digits[2:4], digits[4:]
        return full_date(token, year=year, month=int(month), day=int(day))

    def _with_year(self, token: Token, *, month: int, day: int) -> MonthDay | FullDate:
        """Parse the optional year after a day and a month."""
        if self._at_sign(","):
            self._take()
        elif not self._is_year():
            check_day(token, year=None, month=month, day=day)
            return MonthDay(month, day)
        if len(self._next.text) not in (2, 4) or self._next.kind is not Kind.DIGITS:
            raise TimespecError("a year has two or four digits", column=self._next.column)
        year = self._take()
        refuse_time_for_year(year, month=month, day=day)
        return full_date(token, year=year.text, month=month, day=day)

    def _is_year(self) -> bool:
        """Tell whether the digits after a day and a month are its year rather than the time."""
        is_number = self._next.kind is Kind.DIGITS and len(self._next.text) in (2, 4)
        return is_number and self._after_next.kind is not Kind.HALF

    def _slashed(self, token: Token) -> tuple[str, str, str]:
        self._take()
        day = str(self._take_number("the day of the month", most_digits=2))
        if not self._at_sign("/"):
            raise TimespecError(
                explain_missing_year(int(token.text), int(day), token.text), column=self._next.column
            )
        self._take()
        if self._next.kind is not Kind.DIGITS or len(self._next.text) not in (2, 4):
            raise TimespecError("a year has two or four digits", column=self._next.column)
        return token.text, day, self._take().text

    def _slashed_from_year(self, token: Token) -> tuple[str, str, str]:
        self._take()
        month = self._take_number("the month", most_digits=2)
        if not self._at_sign("/"):
            raise TimespecError("the day of the month is missing", column=self._next.column)
        self._take()
        return token.text, str(month), str(self._take_number("the day of the month", most_digits=2))

    def _take_day_of_month(self) -> int:
        if self._is(Kind.ORDINAL):
            return self._take().value
        return self._take_number("the day of the month", most_digits=2)

    # Shifts.

    def _next_period(self) -> tuple[Shift, ...]:
        self._take()
        return (self._period(),)

    def _shifted(self, spec: Spec) -> Spec:
        """Parse a shift after `spec`."""
        sign = self._take()
        is_back = sign.text == "-"
        start = self._position
        shifts = self._length(f'a number after the "{sign.text}"', is_back=is_back)
        # "4pm + 0 days" is 4pm today.
        named = self._tokens[start : self._position]
        is_of_clock = all(_is_of_clock(token) for token in named if token.kind is Kind.PERIOD)
        return replace(spec, shifts=(*spec.shifts, *shifts), is_bare=spec.is_bare and is_of_clock)

    def _length_from_now(self) -> Spec:
        """Parse "2 months", "2 months ago" or "2 months from now"."""
        start = self._position
        shifts = self._length("a number")
        if self._is(Kind.AGO):
            self._position = start
            shifts = self._length("a number", is_back=True)
            self._take()
            return Spec(shifts=shifts)
        if not self._is(Kind.FROM):
            return Spec(shifts=shifts, is_length=True)
        self._take()
        if not self._is(Kind.NOW):
            raise TimespecError('after "from" comes "now"', column=self._next.column)
        self._take()
        return Spec(shifts=shifts)

    def _length(self, what: str, *, is_back: bool = False) -> tuple[Shift, ...]:
        """Parse numbers with their periods, the longest first: "1 day 2 hours", "1h30"."""
        if self._is(Kind.HOUR_MINUTE) and (match := _HOURS_AND_MINUTES.fullmatch(self._next.text)):
            self._take()
            minutes = int(match[1]) * 60 + int(match[2])
            return (Shift(minutes=-minutes if is_back else minutes),)
        shifts: list[Shift] = []
        last: Shift | None = None
        while last is None or (self._is(Kind.DIGITS) and self._after_next.kind is Kind.PERIOD):
            count = self._take_number(what, most_digits=_MAX_DIGITS)
            column, name = self._next.column, self._next.text
            period = self._period()
            if last is not None and period.size >= last.size:
                raise TimespecError(
                    (f'"{name}" must come before shorter periods, and only once'), column=column
                )
            shifts.append(period.times(-count if is_back else count))
            last = period
        return tuple(shifts)

    def _period(self) -> Shift:
        if self._next.kind is not Kind.PERIOD:
            raise TimespecError(
                "expected one of minutes hours days weeks months years", column=self._next.column
            )
        return _period_of(self._take())

    # Tokens.

    @property
    def _next(self) -> Token:
        return self._tokens[self._position]

    @property
    def _previous(self) -> Token:
        return self._tokens[self._position - 1]

    @property
    def _after_next(self) -> Token:
        return self._tokens[min(self._position + 1, len(self._tokens) - 1)]

    def _take(self) -> Token:
        token = self._next
        self._position += 1
        return token

    def _take_number(self, what: str, *, most_digits: int) -> int:
        token = self._next
        if token.kind is not Kind.DIGITS:
            hint = "; add a space after the comma" if "," in token.text[:-1] else ""
            raise TimespecError(f"{what} is missing{hint}", column=token.column)
        if len(token.text) > most_digits:
            raise TimespecError(f"{what} is too large", column=token.column)
        return int(self._take().text)

    def _is(self, kind: Kind) -> bool:
        return self._next.kind is kind

    def _at_sign(self, signs: str) -> bool:
        return self._next.kind is Kind.SIGN and self._next.text in signs

    def _unexpected(self) -> TimespecError:
        """Return the error for the next token."""
        token, following = self._next, self._after_next
        previous = self._tokens[self._position - 1] if self._position else None
        if previous is None and token.kind is Kind.SIGN and token.text in "+-":
            problem = f'what is it counted from? "now {token.text} 3 days"; {_EXPECTED}'
        elif token.kind is Kind.DIGITS and following.kind is Kind.PERIOD:
            problem = f'did you mean "now + {token.text[:20]} {following.text}"?'
        elif token.kind is Kind.DIGITS and len(token.text) <= 2 and 12 < int(token.text) < 24:
            problem = f'"{token.text}" is not a complete time: did you mean "{token.text}:00"?'
        elif token.kind is Kind.DIGITS and len(token.text) <= 2 and int(token.text) <= 12:
            problem = (
                f'"{token.text}" is not a complete time: did you mean "{token.text}:00", '
                f'"{token.text}am" or "{token.text}pm"?'
            )
        elif token.kind is Kind.UTC:
            problem = '"UTC" goes right after the time of day: "4pm UTC tomorrow"'
        elif previous is not None and previous.kind is Kind.NOW:
            problem = (
                'only "+ 3 days" or the like can follow "now"; remove "now" before '
                f"{quoted_ascii(token.text)}"
            )
        else:
            problem = f"{quoted_ascii(token.text)} does not belong here; {_EXPECTED}"
        return TimespecError(problem, column=token.column)


def _period_of(token: Token) -> Shift:
    return _PERIODS.get(token.text) or _PERIODS[token.text.removesuffix("s")]


def _is_of_clock(token: Token) -> bool:
    return _period_of(token).is_of_clock
