//! Canonical forms of scalars: times, quantities, base64.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use jiff::Timestamp;

use crate::quantity::Quantity;

/// Go's `StdEncoding`: padding required, stray bits in the last letter let through.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical)
        .with_decode_allow_trailing_bits(true),
);

/// A moment as the API prints times: `2026-01-02T03:04:05Z`.
#[must_use]
pub fn time(at: Timestamp) -> String {
    format!("{at:.0}")
}

/// A moment as the API prints `MicroTime`: `2026-01-02T03:04:05.000000Z`.
#[must_use]
pub fn micro_time(at: Timestamp) -> String {
    format!("{at:.6}")
}

/// Whether `text` already has the canonical form with `fraction` digits, so that nothing needs to be made.
fn is_canonical(text: &str, fraction: usize) -> bool {
    let bytes = text.as_bytes();
    let length = if fraction == 0 { 20 } else { 21 + fraction };
    bytes.len() == length && bytes[length - 1] == b'Z' && bytes[10] == b'T' && text.parse::<Timestamp>().is_ok()
}

/// The canonical form of an RFC 3339 time, or upstream's complaint.
pub(super) fn canonical_time(text: &str, micro: bool) -> Result<Option<String>, String> {
    let fraction = if micro { 6 } else { 0 };
    if is_canonical(text, fraction) {
        return Ok(None);
    }
    let layout = if micro { "2006-01-02T15:04:05.000000Z07:00" } else { "2006-01-02T15:04:05Z07:00" };
    let parsed = text.parse::<Timestamp>().ok().filter(|_| text.as_bytes().get(10) == Some(&b'T'));
    match parsed {
        Some(at) => Ok(Some(if micro { micro_time(at) } else { time(floor_to_second(at)) })),
        None => Err(format!("parsing time \"{text}\" as \"{layout}\": cannot parse \"{text}\"")),
    }
}

/// Cuts a fraction off, towards the past.
fn floor_to_second(at: Timestamp) -> Timestamp {
    let second = if at.subsec_nanosecond() < 0 { at.as_second() - 1 } else { at.as_second() };
    Timestamp::from_second(second).unwrap_or(at)
}

/// The canonical form of a quantity, if it differs.
pub(super) fn canonical_quantity(text: &str) -> Result<Option<String>, String> {
    let trimmed = text.trim();
    let canonical = Quantity::parse(trimmed).map_err(|e| e.to_string())?.to_string();
    Ok(Some(canonical).filter(|c| c != text))
}

/// The canonical form of base64 text, if it differs: line breaks are taken out.
pub(super) fn canonical_base64(text: &str) -> Result<Option<String>, String> {
    let broken = text.contains(['\n', '\r']);
    let joined: String =
        if broken { text.chars().filter(|c| *c != '\n' && *c != '\r').collect() } else { String::new() };
    let plain = if broken { &joined } else { text };
    match BASE64.decode(plain) {
        Ok(_) if !broken => Ok(None),
        Ok(_) => Ok(Some(joined)),
        Err(error) => Err(format!("illegal base64 data at input byte {}", bad_base64_at(&error, plain.len()))),
    }
}

/// Where Go says that base64 text of so many bytes is broken.
#[must_use]
pub fn bad_base64_at(error: &base64::DecodeError, bytes: usize) -> usize {
    match *error {
        base64::DecodeError::InvalidByte(at, _) | base64::DecodeError::InvalidLastSymbol(at, _) => at,
        _ => bytes / 4 * 4,
    }
}
