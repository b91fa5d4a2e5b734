//! Points in time and spans of it.

use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};

use super::{NO_OVERLOAD, Result};
use crate::error::EvalError;
use crate::registry::{Entry, entry};
use crate::value::{Moment, Value};

const NANOS: i128 = 1_000_000_000;

const DATE: &[&str] = &["timestamp.() int", "timestamp.(string) int"];
const CLOCK: &[&str] = &["timestamp.() int", "timestamp.(string) int", "duration.() int"];

pub(super) const ENTRIES: &[Entry] = &[
    entry("getFullYear", |_, a| of_date(a, |z| i64::from(z.year())), DATE),
    entry("getMonth", |_, a| of_date(a, |z| i64::from(z.month()) - 1), DATE),
    entry("getDayOfYear", |_, a| of_date(a, |z| i64::from(z.day_of_year()) - 1), DATE),
    entry("getDayOfMonth", |_, a| of_date(a, |z| i64::from(z.day()) - 1), DATE),
    entry("getDate", |_, a| of_date(a, |z| i64::from(z.day())), DATE),
    entry("getDayOfWeek", |_, a| of_date(a, |z| i64::from(z.weekday().to_sunday_zero_offset())), DATE),
    entry("getHours", |_, a| of_clock(a, |z| i64::from(z.hour()), 3_600_000_000_000), CLOCK),
    entry("getMinutes", |_, a| of_clock(a, |z| i64::from(z.minute()), 60_000_000_000), CLOCK),
    entry("getSeconds", |_, a| of_clock(a, |z| i64::from(z.second()), 1_000_000_000), CLOCK),
    entry("getMilliseconds", |_, a| of_clock(a, |z| i64::from(z.millisecond()), 1_000_000), CLOCK),
];

fn of_date<'a>(args: &[Value<'a>], part: fn(&DateTime) -> i64) -> Result<Value<'a>> {
    let (moment, zone) = match args {
        [Value::Timestamp(moment)] => (moment, TimeZone::UTC),
        [Value::Timestamp(moment), Value::String(zone)] => (moment, time_zone(zone)?),
        _ => return Err(NO_OVERLOAD),
    };
    let civil = moment.civil(&zone).ok_or_else(|| EvalError::new("timestamp overflow"))?;
    Ok(Value::Int(part(&civil)))
}

/// A part of a time of day; of a duration all of it in that unit.
fn of_clock<'a>(args: &[Value<'a>], part: fn(&DateTime) -> i64, unit: i64) -> Result<Value<'a>> {
    match args {
        [Value::Duration(d)] => Ok(Value::Int(d / unit)),
        _ => of_date(args, part),
    }
}

/// A zone by its name or as `+02:00`.
fn time_zone(name: &str) -> Result<TimeZone> {
    let unknown = || EvalError::new(format!("unknown time zone {name}"));
    let Some((hours, minutes)) = name.split_once(':') else {
        if matches!(name, "" | "UTC") {
            return Ok(TimeZone::UTC);
        }
        return TimeZone::get(name).map_err(|_| unknown());
    };
    let whole: i32 = hours.parse().map_err(|_| unknown())?;
    let minutes: i32 = minutes.parse().map_err(|_| unknown())?;
    let minutes = if hours.starts_with('-') { -minutes } else { minutes };
    let seconds = whole.checked_mul(60).and_then(|m| m.checked_add(minutes)).and_then(|m| m.checked_mul(60));
    let offset = seconds.and_then(|s| Offset::from_seconds(s).ok()).ok_or_else(unknown)?;
    Ok(TimeZone::fixed(offset))
}

/// Reads RFC 3339 as strictly as Go does.
pub(crate) fn parse_timestamp(text: &str) -> Option<Moment> {
    let bytes = text.as_bytes();
    let digits = |from: usize, to: usize| bytes.get(from..to).is_some_and(|b| b.iter().all(u8::is_ascii_digit));
    let is = |at: usize, sign: u8| bytes.get(at) == Some(&sign);
    let date = digits(0, 4) && is(4, b'-') && digits(5, 7) && is(7, b'-') && digits(8, 10) && is(10, b'T');
    let clock = digits(11, 13) && is(13, b':') && digits(14, 16) && is(16, b':') && digits(17, 19);
    if !date || !clock {
        return None;
    }
    let mut zone = 19;
    if is(zone, b'.') {
        let count = bytes[20..].iter().take_while(|b| b.is_ascii_digit()).count();
        if count == 0 {
            return None;
        }
        zone += 1 + count;
    }
    let zoned = bytes.len() == zone + 6
        && matches!(bytes[zone], b'+' | b'-')
        && digits(zone + 1, zone + 3)
        && is(zone + 3, b':')
        && digits(zone + 4, zone + 6);
    let utc = bytes.len() == zone + 1 && is(zone, b'Z');
    if !(utc || zoned) || text.get(17..19)? == "60" {
        return None;
    }
    // Digits beyond nanoseconds count for nothing.
    let fraction = text.get(19..zone)?;
    let civil: DateTime = format!("{}{}", text.get(..19)?, fraction.get(..10).unwrap_or(fraction)).parse().ok()?;
    let two = |from: usize| text.get(from..from + 2).and_then(|t| t.parse::<i64>().ok());
    let ahead = if utc { 0 } else { (two(zone + 1)? * 60 + two(zone + 4)?) * 60 };
    Moment::from_civil(civil, if bytes[zone] == b'-' { -ahead } else { ahead })
}

/// Reads a date (`2006-01-02`) as its first moment in UTC.
pub(crate) fn parse_date(text: &str) -> Option<Moment> {
    (text.len() == 10).then(|| parse_timestamp(&format!("{text}T00:00:00Z"))).flatten()
}

/// RFC 3339 in UTC with as many digits as needed.
pub(crate) fn show_timestamp(moment: Moment) -> String {
    moment.civil(&TimeZone::UTC).map(|civil| format!("{civil}Z")).unwrap_or_default()
}

/// Reads Go's notation (`1h30m`) into nanoseconds.
pub(crate) fn parse_duration(text: &str) -> Option<i64> {
    let (negative, mut rest) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total: i128 = 0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(end);
        let end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        rest = after;
        let nanos: i128 = match unit {
            "ns" => 1,
            "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
            "ms" => 1_000_000,
            "s" => NANOS,
            "m" => 60 * NANOS,
            "h" => 3600 * NANOS,
            _ => return None,
        };
        total = total.checked_add(scaled(number, nanos)?)?;
    }
    i64::try_from(if negative { -total } else { total }).ok()
}

/// Digits with an optional point, times a unit.
fn scaled(number: &str, unit: i128) -> Option<i128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return None;
    }
    let whole: i128 = if whole.is_empty() { 0 } else { whole.parse::<i64>().ok()?.into() };
    let mut total = whole.checked_mul(unit)?;
    let mut part = unit;
    for digit in fraction.bytes() {
        // Past what a nanosecond is made of, digits change nothing.
        total += i128::from(digit - b'0') * part / 10;
        part /= 10;
    }
    Some(total)
}

/// Seconds, as `string()` shows a duration: `3600s`, `1.5s`.
pub(super) fn show_duration(nanoseconds: i64) -> String {
    let sign = if nanoseconds < 0 { "-" } else { "" };
    let n = nanoseconds.unsigned_abs();
    let (seconds, fraction) = (n / 1_000_000_000, n % 1_000_000_000);
    if fraction == 0 {
        return format!("{sign}{seconds}s");
    }
    let digits = format!("{fraction:09}");
    format!("{sign}{seconds}.{}s", digits.trim_end_matches('0'))
}

/// Go's notation.
pub(crate) fn show_go_duration(nanoseconds: i64) -> String {
    gantry_api::duration::go(nanoseconds)
}
