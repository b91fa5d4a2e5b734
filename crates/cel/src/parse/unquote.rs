//! Escapes in strings.

/// An escape: a code point, or (in bytes) a byte.
enum Unit {
    Char(char),
    Byte(u8),
}

/// The text of a string literal, or `None` when an escape is wrong.
pub(super) fn text(body: &str) -> Option<String> {
    let mut out = String::with_capacity(body.len());
    each(body, false, |unit| match unit {
        Unit::Char(c) => out.push(c),
        // Without bytes, `each` makes characters only.
        Unit::Byte(b) => out.push(char::from(b)),
    })?;
    Some(out)
}

/// The content of a bytes literal: octal and hexadecimal escapes are bytes, all else is UTF-8.
pub(super) fn bytes(body: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(body.len());
    each(body, true, |unit| match unit {
        Unit::Char(c) => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        Unit::Byte(b) => out.push(b),
    })?;
    Some(out)
}

fn each(body: &str, bytes: bool, mut put: impl FnMut(Unit)) -> Option<()> {
    let mut rest = body;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        if c != '\\' {
            put(Unit::Char(c));
            continue;
        }
        let escape = rest.chars().next()?;
        rest = &rest[escape.len_utf8()..];
        let simple = match escape {
            'a' => '\u{7}',
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\u{b}',
            '\\' | '\'' | '"' | '`' | '?' => escape,
            'x' | 'X' => {
                put(number(take(&mut rest, 2)?, 16, bytes)?);
                continue;
            }
            '0'..='3' => {
                let more = take(&mut rest, 2)?;
                put(number(&format!("{escape}{more}"), 8, bytes)?);
                continue;
            }
            // A code point has no place among bytes.
            'u' if !bytes => {
                put(number(take(&mut rest, 4)?, 16, false)?);
                continue;
            }
            'U' if !bytes => {
                put(number(take(&mut rest, 8)?, 16, false)?);
                continue;
            }
            _ => return None,
        };
        put(Unit::Char(simple));
    }
    Some(())
}

fn take<'a>(rest: &mut &'a str, length: usize) -> Option<&'a str> {
    let taken = rest.get(..length)?;
    *rest = &rest[length..];
    Some(taken)
}

fn number(digits: &str, radix: u32, byte: bool) -> Option<Unit> {
    if !digits.chars().all(|c| c.is_digit(radix)) {
        return None;
    }
    let value = u32::from_str_radix(digits, radix).ok()?;
    if byte { Some(Unit::Byte(u8::try_from(value).ok()?)) } else { Some(Unit::Char(char::from_u32(value)?)) }
}
