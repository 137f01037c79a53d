"""The grammar of a time specification: tokens -> Spec, as at(1) has it (its parsetime.y), and what we add.

What we add: the day may stand before the time ("tomorrow noon"), seconds ("15:00:30"), "yesterday", and
"now next week". What we take away: the impossible, which at(1) counts on from (30 February, 10:60, 24:30),
and years that it moves (1800 becomes 3700).
"""

from __future__ import annotations

from dataclasses import replace

from taskman_cli.core.timespec.dates import (
    check_day,
    checked,
    clock_of_parts,
    full_date,
    refuse_time_for_year,
)
from taskman_cli.core.timespec.spec import Clock, FullDate, MonthDay, RelativeDay, Shift, Spec, Weekday
from taskman_cli.core.timespec.words import Kind, Token, quoted, read_words
from taskman_cli.errors import TimespecError

_PERIODS = {
    "min": Shift(minutes=1),
    "minute": Shift(minutes=1),
    "hour": Shift(minutes=60),
    "day": Shift(days=1),
    "week": Shift(days=7),
    "month": Shift(months=1),
    "year": Shift(months=12),
}
_EXPECTED = 'a time is such as "4pm tomorrow", "noon Jul 31", "2026-12-24 15:00", "now + 3 days" or "90s"'
#: More digits than this count what no calendar holds.
_MAX_DIGITS = 12


def parse_spec(text: str) -> Spec:
    """Read a time specification. Raises TimespecError, with the column."""
    return _Parser(read_words(text)).spec()


class _Parser:
    """One token of look-ahead over the tokens of one text, sometimes two."""

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
        if self._is_clock():
            clock = self._clock()
            return replace(self._day(), clock=clock) if self._is_day() else Spec(clock=clock, is_bare=True)
        if not self._is_day():
            raise self._unexpected()
        spec = self._day()
        return replace(spec, clock=self._clock()) if self._is_clock() else spec

    # Times of day.

    def _is_clock(self) -> bool:
        token, following = self._next, self._after_next
        if token.kind is Kind.DIGITS:
            is_hour_minute = len(token.text) in (3, 4) and following.text != "/"
            return is_hour_minute or following.kind is Kind.HALF
        return token.kind in (Kind.HOUR_NAME, Kind.HOUR_MINUTE, Kind.HOUR_MINUTE_SECOND)

    def _clock(self) -> Clock:
        token = self._take()
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
                f'put a colon into {quoted(token.text)}: "{hour}:{minute}"', column=token.column
            )
        return Clock(int(hour), int(minute))

    def _half(self, token: Token, clock: Clock) -> Clock:
        half = self._take()
        if clock.hour > 12:
            raise TimespecError(
                f'"{half.text}" goes with the hours 1 to 12: leave it away, or write a smaller hour',
                column=token.column,
            )
        return clock._replace(hour=clock.hour % 12 + 12 * half.value)

    # Days.

    def _is_day(self) -> bool:
        token, following = self._next, self._after_next
        if token.kind is Kind.DIGITS:
            is_day_or_month = len(token.text) <= 2 and (following.kind is Kind.MONTH or following.text == "/")
            return is_day_or_month or 5 <= len(token.text) <= 8
        return token.kind in (
            Kind.RELATIVE_DAY, Kind.WEEKDAY, Kind.MONTH, Kind.NEXT, Kind.DOTTED_DATE, Kind.HYPHEN_DATE,
        )  # fmt: skip

    def _day(self) -> Spec:
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
        token = self._take()
        if token.kind is Kind.RELATIVE_DAY:
            return Spec(day=RelativeDay(token.value), column=token.column)
        if token.kind is Kind.WEEKDAY:
            return Spec(day=Weekday(token.value), column=token.column)
        return Spec(day=self._date(token), column=token.column)

    def _date(self, token: Token) -> MonthDay | FullDate:
        if token.kind is Kind.MONTH:
            number = self._take_number("the day of the month", most_digits=2)
            return self._with_year(token, month=token.value, day=number)
        if token.kind is Kind.HYPHEN_DATE:
            year, month, day = token.text.split("-")
        elif token.kind is Kind.DOTTED_DATE:
            day, month, year = token.text.split(".")
        elif self._next.kind is Kind.MONTH:
            return self._with_year(token, month=self._take().value, day=int(token.text))
        elif self._at_sign("/"):
            month, day, year = self._slashed(token)
        else:
            # MMDDYY or MMDDYYYY; the first zero may be missing.
            digits = token.text.zfill(6 if len(token.text) <= 6 else 8)
            month, day, year = digits[:2], digits[2:4], digits[4:]
        return full_date(token, year=year, month=int(month), day=int(day))

    def _with_year(self, token: Token, *, month: int, day: int) -> MonthDay | FullDate:
        """Read the year that may follow a day and a month."""
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
        """Say whether the digits that follow a day and a month are its year, not the time."""
        is_number = self._next.kind is Kind.DIGITS and len(self._next.text) in (2, 4)
        return is_number and self._after_next.kind is not Kind.HALF

    def _slashed(self, token: Token) -> tuple[str, str, str]:
        self._take()
        day = str(self._take_number("the day of the month", most_digits=2))
        if not self._at_sign("/"):
            raise TimespecError(
                f'the year is missing: "{token.text}/{day}/26", month first', column=self._next.column
            )
        self._take()
        if self._next.kind is not Kind.DIGITS or len(self._next.text) not in (2, 4):
            raise TimespecError("a year has two or four digits", column=self._next.column)
        return token.text, day, self._take().text

    # How far to go on.

    def _next_period(self) -> tuple[Shift, ...]:
        self._take()
        return (self._period(),)

    def _shifted(self, spec: Spec) -> Spec:
        """Read a shift behind `spec`."""
        sign = self._take()
        count = self._take_number(f'a number after the "{sign.text}"', most_digits=_MAX_DIGITS)
        period = self._period()
        shift = period.times(-count if sign.text == "-" else count)
        # "4pm + 0 days" is 4pm today.
        return replace(spec, shifts=(*spec.shifts, shift), is_bare=spec.is_bare and period.is_of_clock)

    def _period(self) -> Shift:
        if self._next.kind is not Kind.PERIOD:
            raise TimespecError(
                "here comes one of minutes hours days weeks months years", column=self._next.column
            )
        name = self._take().text
        return _PERIODS.get(name) or _PERIODS[name.removesuffix("s")]

    # Tokens.

    @property
    def _next(self) -> Token:
        return self._tokens[self._position]

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
            hint = "; put a blank behind the comma" if "," in token.text[:-1] else ""
            raise TimespecError(f"{what} is missing{hint}", column=token.column)
        if len(token.text) > most_digits:
            raise TimespecError(f"{what} is too large", column=token.column)
        return int(self._take().text)

    def _is(self, kind: Kind) -> bool:
        return self._next.kind is kind

    def _at_sign(self, signs: str) -> bool:
        return self._next.kind is Kind.SIGN and self._next.text in signs

    def _unexpected(self) -> TimespecError:
        """Say what is wrong with the next token."""
        token, following = self._next, self._after_next
        previous = self._tokens[self._position - 1] if self._position else None
        if previous is None and token.kind is Kind.SIGN and token.text in "+-":
            problem = f'what is it counted from? "now {token.text} 3 days"; {_EXPECTED}'
        elif token.kind is Kind.DIGITS and following.kind is Kind.PERIOD:
            problem = f'did you mean "now + {token.text[:20]} {following.text}"?'
        elif token.kind is Kind.DIGITS and following.text == "/":
            problem = f'write "{token.text[:20]}-12-31", with hyphens, or "12/31/{token.text[:20]}"'
        elif token.kind is Kind.DIGITS and len(token.text) <= 2 and 12 < int(token.text) < 24:
            problem = f'"{token.text}" is no time yet: "{token.text}:00"?'
        elif token.kind is Kind.DIGITS and len(token.text) <= 2 and int(token.text) <= 12:
            problem = (
                f'"{token.text}" is no time yet: "{token.text}:00", "{token.text}am" or "{token.text}pm"?'
            )
        elif token.kind is Kind.UTC:
            problem = '"UTC" stands right after the time of day: "4pm UTC tomorrow"'
        elif previous is not None and previous.kind is Kind.NOW:
            problem = f'after "now" comes "+ 3 days" or nothing; leave "now" away before {quoted(token.text)}'
        else:
            problem = f"{quoted(token.text)} does not belong here; {_EXPECTED}"
        return TimespecError(problem, column=token.column)
