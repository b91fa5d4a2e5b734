//! Quantities (`500m`, `1Gi`, `1e3`): parsing, canonical form, arithmetic.
//!
//! A value is kept in nano units in an `i128`, which holds all that the API allows (at most 2^63-1, at least 1n, rounded away from zero).

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

const NANO: i128 = 1_000_000_000;
const MAX: i128 = (i64::MAX as i128) * NANO;
/// Digits that are kept exactly: more than 2^63 in nano units needs.
const DIGITS_MAX: i128 = 10i128.pow(28);

/// Why a text is not a quantity; the messages are upstream's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The text has not the form of a quantity.
    #[error("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")]
    Format,
    /// The digits make no number.
    #[error("unable to parse numeric part of quantity")]
    Number,
    /// The suffix is unknown.
    #[error("unable to parse quantity's suffix")]
    Suffix,
}

/// Which suffixes the canonical form uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `1Ki`, `1Mi`.
    BinarySi,
    /// `1k`, `500m`.
    DecimalSi,
    /// `1e3`.
    DecimalExponent,
}

/// An exact amount and the family of suffixes that it was written with.
#[derive(Debug, Clone, Copy)]
pub struct Quantity {
    nano: i128,
    format: Format,
}

const DECIMAL: [(&str, i64); 10] =
    [("n", -9), ("u", -6), ("m", -3), ("", 0), ("k", 3), ("M", 6), ("G", 9), ("T", 12), ("P", 15), ("E", 18)];
const BINARY: [(&str, u32); 6] = [("Ki", 10), ("Mi", 20), ("Gi", 30), ("Ti", 40), ("Pi", 50), ("Ei", 60)];

impl Quantity {
    /// Zero.
    pub const ZERO: Self = Self { nano: 0, format: Format::DecimalSi };

    /// Reads a quantity.
    ///
    /// # Errors
    /// Says what is wrong, in upstream's words.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let bytes = text.as_bytes();
        let signed = usize::from(matches!(bytes.first(), Some(b'+' | b'-')));
        let number_end =
            bytes[signed..].iter().position(|b| !b.is_ascii_digit() && *b != b'.').map_or(bytes.len(), |n| n + signed);
        let (number, suffix) = (&text[signed..number_end], &text[number_end..]);
        if number.is_empty() || !well_formed(suffix) {
            return Err(Error::Format);
        }
        let (scale, format) = interpret(suffix)?;
        let magnitude = scaled(number, scale)?.min(MAX);
        let nano = if bytes[0] == b'-' { -magnitude } else { magnitude };
        // A fraction has no binary suffix of its own.
        let format = if format == Format::BinarySi && magnitude < NANO { Format::DecimalSi } else { format };
        Ok(Self { nano, format })
    }

    /// A whole amount.
    #[must_use]
    pub fn from_value(value: i64, format: Format) -> Self {
        Self { nano: i128::from(value) * NANO, format }
    }

    /// Thousandths.
    #[must_use]
    pub fn from_milli(milli: i64) -> Self {
        Self { nano: i128::from(milli) * (NANO / 1000), format: Format::DecimalSi }
    }

    /// The whole amount, rounded away from zero.
    #[must_use]
    pub fn value(&self) -> i64 {
        saturate(round_away(self.nano, NANO))
    }

    /// The amount without fractions, rounded away from zero; what is whole stays as it is.
    #[must_use]
    pub fn rounded_up(self) -> Self {
        Self { nano: round_away(self.nano, NANO) * NANO, ..self }
    }

    /// The amount in whole thousandths, rounded away from zero.
    #[must_use]
    pub fn rounded_to_milli(self) -> Self {
        Self { nano: round_away(self.nano, NANO / 1000) * (NANO / 1000), ..self }
    }

    /// The amount in thousandths, rounded away from zero.
    #[must_use]
    pub fn milli(&self) -> i64 {
        saturate(round_away(self.nano, NANO / 1000))
    }

    /// Which suffixes it prints with.
    #[must_use]
    pub fn format(&self) -> Format {
        self.format
    }

    /// -1, 0 or 1.
    #[must_use]
    pub fn signum(&self) -> i32 {
        match self.nano.cmp(&0) {
            Ordering::Less => -1,
            Ordering::Equal => 0,
            Ordering::Greater => 1,
        }
    }

    /// The amount as the nearest floating-point number.
    #[must_use]
    pub fn as_f64(&self) -> f64 {
        self.nano as f64 / NANO as f64
    }

    /// The sum; zero takes the other's suffixes.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        let format = if self.nano == 0 { other.format } else { self.format };
        Self { nano: (self.nano + other.nano).clamp(-MAX, MAX), format }
    }

    /// The difference; zero takes the other's suffixes.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        self.plus(Self { nano: -other.nano, format: other.format })
    }
}

fn saturate(n: i128) -> i64 {
    i64::try_from(n).unwrap_or(if n < 0 { i64::MIN } else { i64::MAX })
}

fn round_away(n: i128, unit: i128) -> i128 {
    let whole = n / unit;
    if n % unit == 0 { whole } else { whole + n.signum() }
}

/// Whether the suffix has the letters, sign and digits, in that order, that the regular expression asks for.
fn well_formed(suffix: &str) -> bool {
    let rest = suffix.trim_start_matches(|c| "eEinumkKMGTP".contains(c));
    let rest = rest.strip_prefix(['+', '-']).unwrap_or(rest);
    rest.bytes().all(|b| b.is_ascii_digit())
}

/// What to multiply with.
#[derive(Clone, Copy)]
enum Scale {
    Ten(i64),
    Two(u32),
}

/// The amount that a text tells, as upstream keeps those which surely fit 64 bits: digits, and the power of ten that they are to be
/// multiplied with. It keeps all others as decimals of any size, and never takes one of them for an integer.
#[must_use]
pub fn short(text: &str) -> Option<(i64, i32)> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
    let (number, suffix) = unsigned.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let whole = whole.trim_start_matches('0');
    let whole = if whole.is_empty() { "0" } else { whole };
    let digits = i32::try_from(whole.len() + fraction.len()).ok()?;
    let (scale, factor, spare) = match interpret(suffix).ok()?.0 {
        Scale::Ten(exponent) => (i32::try_from(exponent).ok()?, 1, 18 - digits),
        Scale::Two(_) if !fraction.is_empty() => return None,
        Scale::Two(bits) => (0, 1i64 << bits, 15 - digits - (bits * 3 / 10) as i32 - 1),
    };
    let scale = scale.checked_sub(i32::try_from(fraction.len()).ok()?)?;
    if spare < 0 || scale < -9 {
        return None;
    }
    let value = format!("{whole}{fraction}").parse::<i64>().ok()?.checked_mul(factor)?;
    Some((if text.starts_with('-') { -value } else { value }, scale))
}

fn interpret(suffix: &str) -> Result<(Scale, Format), Error> {
    if let Some((_, exponent)) = DECIMAL.iter().find(|(s, _)| *s == suffix) {
        return Ok((Scale::Ten(*exponent), Format::DecimalSi));
    }
    if let Some((_, bits)) = BINARY.iter().find(|(s, _)| *s == suffix) {
        return Ok((Scale::Two(*bits), Format::BinarySi));
    }
    let exponent = suffix.strip_prefix(['e', 'E']).ok_or(Error::Suffix)?;
    let exponent: i64 = exponent.parse().map_err(|_| Error::Suffix)?;
    Ok((Scale::Ten(exponent), Format::DecimalExponent))
}

/// The digits times the scale in nano units, rounded up, saturating well above [`MAX`].
fn scaled(number: &str, scale: Scale) -> Result<i128, Error> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if fraction.contains('.') || (whole.is_empty() && fraction.is_empty()) {
        return Err(Error::Number);
    }
    let fraction = fraction.trim_end_matches('0');
    let mut digits: i128 = 0;
    let mut lost = false;
    let mut exponent = 9i64;
    for (at, b) in whole.bytes().chain(fraction.bytes()).enumerate() {
        let in_fraction = at >= whole.len();
        // Beyond 29 digits only the size matters, and whether something was cut off.
        if digits < DIGITS_MAX {
            digits = digits * 10 + i128::from(b - b'0');
            exponent -= i64::from(in_fraction);
        } else {
            lost |= b != b'0';
            exponent += i64::from(!in_fraction);
        }
    }
    if digits == 0 {
        return Ok(0);
    }
    let exponent = match scale {
        Scale::Ten(e) => exponent.saturating_add(e),
        Scale::Two(bits) => {
            // A long fraction gives up its last digits so that the product fits.
            while exponent < 0 && digits.checked_mul(1 << bits).is_none() {
                lost |= digits % 10 != 0;
                digits /= 10;
                exponent += 1;
            }
            digits = digits.saturating_mul(1 << bits);
            exponent
        }
    };
    if exponent >= 0 {
        let factor = u32::try_from(exponent).ok().and_then(|e| 10i128.checked_pow(e));
        return Ok(factor.map_or(i128::MAX, |f| digits.saturating_mul(f)));
    }
    let divisor = u32::try_from(exponent.unsigned_abs()).ok().and_then(|e| 10i128.checked_pow(e));
    let Some(divisor) = divisor else { return Ok(1) };
    Ok(digits / divisor + i128::from(digits % divisor != 0 || lost))
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nano == 0 {
            return f.write_str("0");
        }
        if self.format == Format::BinarySi && self.nano.abs() >= 1024 * NANO && self.nano % NANO == 0 {
            let mut value = self.nano / NANO;
            let mut suffix = "";
            for (name, _) in BINARY {
                if value % 1024 != 0 {
                    break;
                }
                value /= 1024;
                suffix = name;
            }
            return write!(f, "{value}{suffix}");
        }
        let (mut value, mut exponent) = (self.nano, -9);
        while value % 1000 == 0 && exponent < 18 {
            value /= 1000;
            exponent += 3;
        }
        if self.format == Format::DecimalExponent {
            return if exponent == 0 { write!(f, "{value}") } else { write!(f, "{value}e{exponent}") };
        }
        let suffix = DECIMAL.iter().find(|(_, e)| *e == exponent).map_or("", |(s, _)| s);
        write!(f, "{value}{suffix}")
    }
}

impl FromStr for Quantity {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::parse(text)
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nano == other.nano
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nano.cmp(&other.nano)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn canonical_form_is_upstreams() {
        let check = |text: &str, canonical: &str| {
            assert_eq!(Quantity::parse(text).map(|q| q.to_string()), Ok(canonical.to_owned()), "{text}");
        };
        for same in [
            "0",
            "1",
            "500m",
            "1Gi",
            "1500m",
            "100Mi",
            "1e3",
            "1n",
            "-1",
            "1025",
            "3E",
            "9223372036854775807",
            "1536Mi",
        ] {
            check(same, same);
        }
        check("1000m", "1");
        check("0.5", "500m");
        check(".5", "500m");
        check("5.", "5");
        check("1.5Gi", "1536Mi");
        check("0.5Mi", "512Ki");
        check("0.5Ki", "512");
        check("1024Mi", "1Gi");
        check("100000", "100k");
        check("1E3", "1e3");
        check("12e2", "1200");
        check("1e-3", "1e-3");
        check("1e-9223372036854775808", "1e-9");
        check("0.00000000001e-9223372036854775808", "1e-9");
        check("0.1n", "1n");
        check("+1", "1");
        check("0Gi", "0");
        check("0.3Ki", "307200m");
        check("100E", "9223372036854775807");
        check("123456789012345678901234567890123456789012", "9223372036854775807");
    }

    #[test]
    fn what_is_no_quantity_is_refused() {
        let check = |text: &str, error: Error| assert_eq!(Quantity::parse(text), Err(error), "{text}");
        check("", Error::Format);
        check("m", Error::Format);
        check("1 Gi", Error::Format);
        check("abc", Error::Format);
        check("1mm", Error::Suffix);
        check("1e", Error::Suffix);
        check("1K", Error::Suffix);
        check(".", Error::Number);
        check("1.2.3", Error::Number);
    }

    #[test]
    fn arithmetic_and_rounding() {
        let q = |t: &str| Quantity::parse(t).expect("valid");
        assert_eq!((q("1500m").value(), q("1500m").milli(), q("0.1m").milli()), (2, 1500, 1));
        assert_eq!(q("1Gi").plus(q("1Mi")).to_string(), "1025Mi");
        assert_eq!(q("1").minus(q("250m")).to_string(), "750m");
        assert!(q("1Gi") > q("1G") && q("1000m") == q("1"));
        assert_eq!(Quantity::ZERO.plus(q("1Ki")).to_string(), "1Ki");
    }

    proptest! {
        #[test]
        fn canonical_is_a_fixed_point(text in "[+-]?[0-9]{1,25}(\\.[0-9]{0,12})?(n|u|m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei|e-?[0-9])?") {
            let once = Quantity::parse(&text).expect("of the right form");
            let twice = Quantity::parse(&once.to_string()).expect("canonical form parses");
            prop_assert_eq!(once, twice);
            prop_assert_eq!(once.to_string(), twice.to_string());
        }

        #[test]
        fn no_text_panics(text in ".{0,12}") {
            let _ = Quantity::parse(&text);
        }
    }
}
