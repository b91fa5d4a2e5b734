//! Values as Go prints them, which some of upstream's messages show.

use crate::Value;

/// A value as Go prints it with `%+v`: `map[a:1 b:[x y]]`.
#[must_use]
pub fn shown(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(list) => format!("[{}]", list.iter().map(shown).collect::<Vec<_>>().join(" ")),
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_by_key(|(key, _)| *key);
            let entries: Vec<_> = entries.into_iter().map(|(key, value)| format!("{key}:{}", shown(value))).collect();
            format!("map[{}]", entries.join(" "))
        }
        Value::Number(number) if number.is_f64() => number.as_f64().map(float).unwrap_or_default(),
        other => other.to_string(),
    }
}

/// A number as Go prints it with `%v`: the shortest digits, with an exponent below -4 and from 6 on.
fn float(number: f64) -> String {
    let scientific = format!("{number:e}");
    let Some((digits, power)) = scientific.split_once('e') else { return scientific };
    let power: i32 = power.parse().unwrap_or_default();
    if (-4..6).contains(&power) {
        return number.to_string();
    }
    format!("{digits}e{}{:02}", if power < 0 { '-' } else { '+' }, power.abs())
}

/// A string as Go prints it with `%q`: `"a\x00\n"`.
#[must_use]
pub fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\x07' => quoted.push_str("\\a"),
            '\x08' => quoted.push_str("\\b"),
            '\x0b' => quoted.push_str("\\v"),
            '\x0c' => quoted.push_str("\\f"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            ' '..='~' => quoted.push(c),
            '\0'..='\x7f' => quoted.push_str(&format!("\\x{:02x}", u32::from(c))),
            _ if printable(c) => quoted.push(c),
            '\u{80}'..='\u{ffff}' => quoted.push_str(&format!("\\u{:04x}", u32::from(c))),
            _ => quoted.push_str(&format!("\\U{:08x}", u32::from(c))),
        }
    }
    quoted.push('"');
    quoted
}

/// Whether Go prints a character as it is (`unicode.IsPrint`). Rust and Go agree beyond ASCII, but for marks at the beginning of a string.
#[must_use]
pub fn printable(c: char) -> bool {
    if c.is_ascii() {
        return matches!(c, ' '..='~');
    }
    !format!("a{c}").escape_debug().any(|c| c == '\\')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_shown_as_go_shows_them() {
        let cases = [
            (json!({"b": [1, "x", null], "a": {"c": true}}), "map[a:map[c:true] b:[1 x <nil>]]"),
            (json!({}), "map[]"),
            (json!({"a": 1.5}), "map[a:1.5]"),
            (json!([1_000_000, 1_000_000.0, 0.00001, 100_000.5]), "[1000000 1e+06 1e-05 100000.5]"),
        ];
        for (value, expected) in cases {
            assert_eq!(shown(&value), expected);
        }
    }

    #[test]
    fn strings_are_quoted_as_go_quotes_them() {
        let cases = [
            ("a b", r#""a b""#),
            ("\"\\\t\n\r", r#""\"\\\t\n\r""#),
            ("\0\x07\x08\x0b\x0c\x1b\x7f", r#""\x00\a\b\v\f\x1b\x7f""#),
            ("ü日e\u{301}", "\"ü日e\u{301}\""),
            ("\u{200b}\u{a0}\u{feff}", r#""\u200b\u00a0\ufeff""#),
            ("\u{e0001}", r#""\U000e0001""#),
            ("<&>'", r#""<&>'""#),
        ];
        for (text, expected) in cases {
            assert_eq!(quoted(text), expected);
        }
    }
}
