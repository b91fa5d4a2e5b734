//! Ages as upstream prints them, and Go's duration notation.

use std::fmt::Write as _;

/// The age in at most two units: `3m5s`, `47h`, `2d3h` (apimachinery `HumanDuration`); `<invalid>` for the future.
#[must_use]
pub fn human(seconds: i64) -> String {
    let two = |big: i64, unit: &str, small: i64, small_unit: &str| {
        if small == 0 { format!("{big}{unit}") } else { format!("{big}{unit}{small}{small_unit}") }
    };
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    let days = hours / 24;
    match () {
        () if seconds < -1 => "<invalid>".to_owned(),
        () if seconds < 0 => "0s".to_owned(),
        () if seconds < 120 => format!("{seconds}s"),
        () if minutes < 10 => two(minutes, "m", seconds % 60, "s"),
        () if minutes < 180 => format!("{minutes}m"),
        () if hours < 8 => two(hours, "h", minutes % 60, "m"),
        () if hours < 48 => format!("{hours}h"),
        () if hours < 24 * 8 => two(days, "d", hours % 24, "h"),
        () if days < 365 * 2 => format!("{days}d"),
        () if days < 365 * 8 => two(days / 365, "y", days % 365, "d"),
        () => format!("{}y", days / 365),
    }
}

/// Nanoseconds in Go's notation: `1h30m0s`, `1.5s`, `300ms`, `0s`.
#[must_use]
pub fn go(nanoseconds: i64) -> String {
    let sign = if nanoseconds < 0 { "-" } else { "" };
    let n = nanoseconds.unsigned_abs();
    let fraction = |n: u64, unit: u64, name: &str| {
        let mut text = format!("{}", n / unit);
        if !n.is_multiple_of(unit) {
            let width = unit.ilog10() as usize;
            let digits = format!("{:0width$}", n % unit);
            let _ = write!(text, ".{}", digits.trim_end_matches('0'));
        }
        text + name
    };
    let body = match n {
        0 => return "0s".to_owned(),
        1..1_000 => fraction(n, 1, "ns"),
        1_000..1_000_000 => fraction(n, 1_000, "µs"),
        1_000_000..1_000_000_000 => fraction(n, 1_000_000, "ms"),
        _ => {
            let (minutes, rest) = (n / 60_000_000_000, n % 60_000_000_000);
            let seconds = fraction(rest, 1_000_000_000, "s");
            match (minutes / 60, minutes % 60) {
                (0, 0) => seconds,
                (0, m) => format!("{m}m{seconds}"),
                (h, m) => format!("{h}h{m}m{seconds}"),
            }
        }
    };
    format!("{sign}{body}")
}

/// Reads Go's notation into nanoseconds.
///
/// # Errors
/// What is wrong, in Go's words.
pub fn parse_go(text: &str) -> Result<i64, String> {
    let invalid = || format!("time: invalid duration {text:?}");
    let (negative, mut rest) = match text.strip_prefix(['+', '-']) {
        Some(rest) => (text.starts_with('-'), rest),
        None => (false, text),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total: i128 = 0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, tail) = rest.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
            return Err(invalid());
        }
        let end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (name, tail) = tail.split_at(end);
        let unit: i128 = match name {
            "" => return Err(format!("time: missing unit in duration {text:?}")),
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return Err(format!("time: unknown unit {name:?} in duration {text:?}")),
        };
        // Digits beyond these are below a nanosecond, or above all that fits.
        let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| invalid())? };
        let digits = &fraction[..fraction.len().min(15)];
        let part: i128 = if digits.is_empty() { 0 } else { digits.parse().map_err(|_| invalid())? };
        let scale = 10i128.pow(u32::try_from(digits.len()).unwrap_or(0));
        total = whole.checked_mul(unit).and_then(|n| total.checked_add(n + part * unit / scale)).ok_or_else(invalid)?;
        rest = tail;
    }
    i64::try_from(if negative { -total } else { total }).map_err(|_| invalid())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_upstreams() {
        let check = |seconds: i64, text: &str| assert_eq!(human(seconds), text, "{seconds}");
        let (m, h, d) = (60, 3600, 86400);
        check(-2, "<invalid>");
        check(-1, "0s");
        check(119, "119s");
        check(120, "2m");
        check(125, "2m5s");
        check(10 * m, "10m");
        check(179 * m, "179m");
        check(3 * h, "3h");
        check(3 * h + 5 * m, "3h5m");
        check(8 * h + 5 * m, "8h");
        check(47 * h, "47h");
        check(48 * h, "2d");
        check(2 * d + 3 * h, "2d3h");
        check(8 * d + 3 * h, "8d");
        check(729 * d, "729d");
        check(730 * d, "2y");
        check(800 * d, "2y70d");
        check(3000 * d, "8y");
    }

    #[test]
    fn go_durations() {
        let check = |n: i64, text: &str| assert_eq!(go(n), text);
        check(0, "0s");
        check(1, "1ns");
        check(1_500, "1.5µs");
        check(300_000_000, "300ms");
        check(1_500_000_000, "1.5s");
        check(90_000_000_000, "1m30s");
        check(-5_400_000_000_000, "-1h30m0s");
    }

    #[test]
    fn go_durations_are_read() {
        for n in [0, 1, 1_500, 300_000_000, 1_500_000_000, 90_000_000_000, -5_400_000_000_000] {
            assert_eq!(parse_go(&go(n)), Ok(n));
        }
        assert_eq!(parse_go("1.5h"), Ok(5_400_000_000_000));
        assert_eq!(parse_go(".5s"), Ok(500_000_000));
        for (text, why) in [
            ("", "time: invalid duration \"\""),
            ("x", "time: invalid duration \"x\""),
            ("3", "time: missing unit in duration \"3\""),
            ("3d", "time: unknown unit \"d\" in duration \"3d\""),
            ("1.2.3s", "time: invalid duration \"1.2.3s\""),
            ("9999999999h", "time: invalid duration \"9999999999h\""),
        ] {
            assert_eq!(parse_go(text), Err(why.to_owned()));
        }
    }
}
