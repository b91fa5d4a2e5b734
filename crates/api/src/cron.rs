//! Schedules of cron jobs: five fields (minute, hour, day of month, month, day of week), or `@hourly` and the like.
//!
//! What is accepted, and what is said of the rest, is what upstream's parser (robfig/cron, standard form) does.

use std::time::Duration;

/// Set in a field that was `*` or `?`: of the two day fields, one that says nothing does not count.
const STAR: u64 = 1 << 63;

/// The times at which a schedule is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Schedule {
    /// Bit n of a field is set where the schedule is due at value n.
    Fields(Fields),
    /// `@every 90s`: this long after the last time, in whole seconds.
    Every(Duration),
}

/// A bit set per field; [`Fields::any_day_of_month`] and [`Fields::any_day_of_week`] tell of stars.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fields {
    /// Bits 0-59.
    pub minute: u64,
    /// Bits 0-23.
    pub hour: u64,
    /// Bits 1-31.
    pub day_of_month: u64,
    /// Bits 1-12.
    pub month: u64,
    /// Bits 0-6, Sunday is 0.
    pub day_of_week: u64,
}

impl Fields {
    /// Whether the day of month was left open.
    #[must_use]
    pub fn any_day_of_month(&self) -> bool {
        self.day_of_month & STAR != 0
    }

    /// Whether the day of week was left open.
    #[must_use]
    pub fn any_day_of_week(&self) -> bool {
        self.day_of_week & STAR != 0
    }

    /// Whether a day is meant: both day fields where one is open, else any of the two.
    #[must_use]
    pub fn on_day(&self, month: u32, day_of_month: u32, day_of_week: u32) -> bool {
        let in_month = self.day_of_month >> day_of_month & 1 == 1;
        let in_week = self.day_of_week >> day_of_week & 1 == 1;
        let day =
            if self.any_day_of_month() || self.any_day_of_week() { in_month && in_week } else { in_month || in_week };
        day && self.month >> month & 1 == 1
    }
}

struct Field {
    low: u64,
    high: u64,
    names: &'static [&'static str],
    /// The number of the first name.
    first: u64,
}

const MONTHS: &[&str] = &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: &[&str] = &["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
const MINUTE: Field = Field { low: 0, high: 59, names: &[], first: 0 };
const HOUR: Field = Field { low: 0, high: 23, names: &[], first: 0 };
const DAY_OF_MONTH: Field = Field { low: 1, high: 31, names: &[], first: 0 };
const MONTH: Field = Field { low: 1, high: 12, names: MONTHS, first: 1 };
const DAY_OF_WEEK: Field = Field { low: 0, high: 6, names: DAYS, first: 0 };

/// Reads a schedule. Time zones (`TZ=`) belong to the caller, who takes them off or refuses them.
///
/// # Errors
/// What is wrong, in the words of upstream's parser.
pub fn parse(schedule: &str) -> Result<Schedule, String> {
    if schedule.is_empty() {
        return Err("empty spec string".to_owned());
    }
    if schedule.starts_with('@') {
        return descriptor(schedule);
    }
    let words: Vec<&str> = schedule.split_whitespace().collect();
    let [minute, hour, day_of_month, month, day_of_week] = words.as_slice() else {
        return Err(format!("expected exactly 5 fields, found {}: [{}]", words.len(), words.join(" ")));
    };
    Ok(Schedule::Fields(Fields {
        minute: field(minute, &MINUTE)?,
        hour: field(hour, &HOUR)?,
        day_of_month: field(day_of_month, &DAY_OF_MONTH)?,
        month: field(month, &MONTH)?,
        day_of_week: field(day_of_week, &DAY_OF_WEEK)?,
    }))
}

fn descriptor(text: &str) -> Result<Schedule, String> {
    let standard = match text {
        "@yearly" | "@annually" => "0 0 1 1 *",
        "@monthly" => "0 0 1 * *",
        "@weekly" => "0 0 * * 0",
        "@daily" | "@midnight" => "0 0 * * *",
        "@hourly" => "0 * * * *",
        _ => {
            let Some(rest) = text.strip_prefix("@every ") else {
                return Err(format!("unrecognized descriptor: {text}"));
            };
            let nanoseconds =
                crate::duration::parse_go(rest).map_err(|why| format!("failed to parse duration {text}: {why}"))?;
            let seconds = u64::try_from(nanoseconds / 1_000_000_000).unwrap_or(0).max(1);
            return Ok(Schedule::Every(Duration::from_secs(seconds)));
        }
    };
    parse(standard)
}

fn field(text: &str, field: &Field) -> Result<u64, String> {
    let mut bits = 0;
    for part in text.split(',').filter(|p| !p.is_empty()) {
        bits |= range(part, field)?;
    }
    Ok(bits)
}

/// `number | number "-" number [ "/" number ]`, where a name or `*` may stand for numbers.
fn range(text: &str, field: &Field) -> Result<u64, String> {
    let range_and_step: Vec<&str> = text.split('/').collect();
    let low_and_high: Vec<&str> = range_and_step[0].split('-').collect();
    let mut star = 0;
    let (low, mut high) = if matches!(low_and_high[0], "*" | "?") {
        star = STAR;
        (field.low, field.high)
    } else {
        let low = number_or_name(low_and_high[0], field)?;
        match low_and_high.as_slice() {
            [_] => (low, low),
            [_, high] => (low, number_or_name(high, field)?),
            _ => return Err(format!("too many hyphens: {text}")),
        }
    };
    let step = match range_and_step.as_slice() {
        [_] => 1,
        [_, step] => {
            let step = number(step)?;
            // `N/step` means `N-max/step`.
            if low_and_high.len() == 1 {
                high = field.high;
            }
            if step > 1 {
                star = 0;
            }
            step
        }
        _ => return Err(format!("too many slashes: {text}")),
    };
    if low < field.low {
        return Err(format!("beginning of range ({low}) below minimum ({}): {text}", field.low));
    }
    if high > field.high {
        return Err(format!("end of range ({high}) above maximum ({}): {text}", field.high));
    }
    if low > high {
        return Err(format!("beginning of range ({low}) beyond end of range ({high}): {text}"));
    }
    if step == 0 {
        return Err(format!("step of range should be a positive number: {text}"));
    }
    // A range has at most 60 values, so a longer step is as good as 64.
    let step = usize::try_from(step.min(64)).unwrap_or(64);
    Ok((low..=high).step_by(step).fold(star, |bits, n| bits | 1 << n))
}

fn number_or_name(text: &str, field: &Field) -> Result<u64, String> {
    let lower = text.to_ascii_lowercase();
    match field.names.iter().zip(field.first..).find(|(name, _)| **name == lower) {
        Some((_, number)) => Ok(number),
        None => number(text),
    }
}

fn number(text: &str) -> Result<u64, String> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let invalid = digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit());
    let why = if invalid { "invalid syntax" } else { "value out of range" };
    let failed = |_| format!("failed to parse int from {text}: strconv.Atoi: parsing {text:?}: {why}");
    match text.parse::<i64>().map_err(failed)? {
        negative if negative < 0 => Err(format!("negative number ({negative}) not allowed: {text}")),
        number => Ok(number.unsigned_abs()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(text: &str) -> Fields {
        match parse(text) {
            Ok(Schedule::Fields(fields)) => fields,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn schedules_are_bits() {
        let bits = |text: &str, expected: &[u64]| {
            let expected = expected.iter().fold(0, |bits, n| bits | 1 << n);
            assert_eq!(fields(&format!("{text} * * * *")).minute & !STAR, expected, "{text}");
        };
        bits("5", &[5]);
        bits("5,7-9", &[5, 7, 8, 9]);
        bits("*/20", &[0, 20, 40]);
        bits("50/4", &[50, 54, 58]);
        bits("0-10/5", &[0, 5, 10]);
        bits("3-9/100", &[3]);
        assert_eq!(fields("? ? ? ? ?"), fields("* * * * *"));
        assert_eq!(fields("0 0 1 JAN-mar Sun"), fields("0 0 1 1-3 0"));
        assert_eq!(fields("@weekly"), fields("0 0 * * 0"));
        assert_eq!(fields("@yearly"), fields("@annually"));
        assert_eq!(parse("@every 1m30s"), Ok(Schedule::Every(Duration::from_secs(90))));
        assert_eq!(parse("@every 1ms"), Ok(Schedule::Every(Duration::from_secs(1))));
    }

    #[test]
    fn a_star_leaves_the_other_day_field_to_decide() {
        let check = |text: &str, day: (u32, u32, u32), expected: bool| {
            assert_eq!(fields(text).on_day(day.0, day.1, day.2), expected, "{text} {day:?}");
        };
        // The 13th or any Friday.
        check("0 0 13 * 5", (1, 13, 1), true);
        check("0 0 13 * 5", (1, 14, 5), true);
        check("0 0 13 * 5", (1, 14, 1), false);
        check("0 0 * * 5", (1, 13, 1), false);
        check("0 0 13 * ?", (1, 13, 1), true);
        check("0 0 13 2 *", (1, 13, 1), false);
        // A step above one is a choice, no star.
        check("0 0 */2 * 5", (1, 2, 5), true);
    }

    #[test]
    fn errors_are_upstreams() {
        let check = |text: &str, expected: &str| {
            assert_eq!(parse(text).expect_err(text), expected);
        };
        check("", "empty spec string");
        check("* * *", "expected exactly 5 fields, found 3: [* * *]");
        check("error", "expected exactly 5 fields, found 1: [error]");
        check("60 * * * *", "end of range (60) above maximum (59): 60");
        check("* * 0 * *", "beginning of range (0) below minimum (1): 0");
        check("9-3 * * * *", "beginning of range (9) beyond end of range (3): 9-3");
        check("*/0 * * * *", "step of range should be a positive number: */0");
        check("1-2-3 * * * *", "too many hyphens: 1-2-3");
        check("1/2/3 * * * *", "too many slashes: 1/2/3");
        check("x * * * *", "failed to parse int from x: strconv.Atoi: parsing \"x\": invalid syntax");
        check("* * * foo *", "failed to parse int from foo: strconv.Atoi: parsing \"foo\": invalid syntax");
        check("* * * * 7", "end of range (7) above maximum (6): 7");
        check("@fortnightly", "unrecognized descriptor: @fortnightly");
        check("@every x", "failed to parse duration @every x: time: invalid duration \"x\"");
    }
}
