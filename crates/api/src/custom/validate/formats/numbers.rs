//! Numbers that count in their digits, and the formats of JSON's numbers.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::Number;

use crate::custom::schema::SchemaType;

/// Whether a number is within what its type and format hold; the formats of `integer` are `int32` and `int64`, those of `number`
/// `float` and `double`. Others mean nothing.
pub(in super::super) fn fits(ty: SchemaType, format: &str, number: &Number) -> bool {
    let Some(float) = number.as_f64() else { return true };
    match (ty, format) {
        (SchemaType::Integer, "int32") => number
            .as_i64()
            .map_or_else(|| float >= f64::from(i32::MIN) && float <= f64::from(i32::MAX), |n| i32::try_from(n).is_ok()),
        // Half of the largest step is rounded down.
        (SchemaType::Number, "float") => float.abs() < f64::from(f32::MAX) * (1.0 + f64::from(f32::EPSILON) / 4.0),
        _ => true,
    }
}

/// The digits of a text in which dashes and white space count for nothing.
fn compact(text: &str) -> Vec<u8> {
    text.bytes().filter(|b| !matches!(b, b'-' | b' ' | b'\t' | b'\n' | b'\x0c' | b'\r')).collect()
}

fn value(digit: u8) -> u32 {
    u32::from(digit.wrapping_sub(b'0'))
}

pub(super) fn is_isbn10(text: &str) -> bool {
    let digits = compact(text);
    let Some((last, first)) = digits.split_last().filter(|(_, first)| first.len() == 9) else { return false };
    if !first.iter().all(u8::is_ascii_digit) || !(last.is_ascii_digit() || *last == b'X') {
        return false;
    }
    let sum: u32 = (1..).zip(first).map(|(weight, digit)| weight * value(*digit)).sum();
    let last = if *last == b'X' { 10 } else { value(*last) };
    (sum + 10 * last).is_multiple_of(11)
}

pub(super) fn is_isbn13(text: &str) -> bool {
    let digits = compact(text);
    if digits.len() != 13 || !digits.iter().all(u8::is_ascii_digit) {
        return false;
    }
    let weights = [1, 3].into_iter().cycle();
    weights.zip(&digits).map(|(weight, digit)| weight * value(*digit)).sum::<u32>().is_multiple_of(10)
}

/// The number of a card of a known brand, whatever stands between its digits.
pub(super) fn is_credit_card(text: &str) -> bool {
    static BRANDS: LazyLock<Regex> = LazyLock::new(|| {
        let pattern = "^(?:4[0-9]{12}(?:[0-9]{3})?|5[1-5][0-9]{14}|(?:222[1-9]|22[3-9][0-9]|2[3-6][0-9]{2}|27[01][0-9]|2720)[0-9]{12}\
                       |6(?:011|5[0-9][0-9])[0-9]{12}|3[47][0-9]{13}|3(?:0[0-5]|[68][0-9])[0-9]{11}|(?:2131|1800|35[0-9]{3})[0-9]{11}\
                       |6[27][0-9]{14}|81[0-9]{14,17})$";
        Regex::new(pattern).expect("a valid expression")
    });
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    let checked = |(at, digit): (usize, u8)| {
        let n = value(digit) * if at % 2 == 1 { 2 } else { 1 };
        n / 10 + n % 10
    };
    BRANDS.is_match(&digits) && digits.bytes().rev().enumerate().map(checked).sum::<u32>().is_multiple_of(10)
}

pub(super) fn is_ssn(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() == 11
        && bytes.iter().enumerate().all(|(at, b)| match at {
            3 | 6 => matches!(b, b'-' | b' '),
            _ => b.is_ascii_digit(),
        })
}
