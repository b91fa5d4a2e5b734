//! Names of fields as expressions write them: what is not an identifier is escaped (`__dash__`), in Kubernetes' way.

use gantry_api::names;

/// The identifier for a JSON field, or `None` when there is none: it is empty, starts with a digit or has other characters than letters, digits and `_.-/`.
#[must_use]
pub fn escape(name: &str) -> Option<String> {
    let first = name.chars().next()?;
    if first.is_ascii_digit() {
        return None;
    }
    if names::is_expression_word(name) {
        return Some(format!("__{name}__"));
    }
    let mut out = String::with_capacity(name.len());
    let mut rest = name;
    while let Some(c) = rest.chars().next() {
        if let Some(after) = rest.strip_prefix("__") {
            out.push_str("__underscores__");
            rest = after;
            continue;
        }
        match c {
            '.' => out.push_str("__dot__"),
            '-' => out.push_str("__dash__"),
            '/' => out.push_str("__slash__"),
            c if c.is_ascii_alphanumeric() || c == '_' => out.push(c),
            _ => return None,
        }
        rest = &rest[c.len_utf8()..];
    }
    Some(out)
}

/// The JSON field of an escaped identifier, or `None` when it holds an unknown escape.
#[must_use]
pub fn unescape(escaped: &str) -> Option<String> {
    let mut out = String::with_capacity(escaped.len());
    let mut rest = escaped;
    while !rest.is_empty() {
        let Some(at) = rest.find("__") else {
            out.push_str(rest);
            break;
        };
        out.push_str(&rest[..at]);
        let inner = &rest[at + 2..];
        let Some(end) = inner.find('_').filter(|end| *end > 0 && inner[*end..].starts_with("__")) else {
            // One underscore further on there may be an escape.
            out.push('_');
            rest = &rest[at + 1..];
            continue;
        };
        match &inner[..end] {
            "underscores" => out.push_str("__"),
            "dot" => out.push('.'),
            "dash" => out.push('-'),
            "slash" => out.push('/'),
            word if names::is_expression_word(word) && word.len() + 4 == escaped.len() => out.push_str(word),
            _ => return None,
        }
        rest = &inner[end + 2..];
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped_as_upstream() {
        let check = |name: &str, expected: Option<&str>| {
            assert_eq!(escape(name).as_deref(), expected, "{name}");
            if let Some(escaped) = expected {
                assert_eq!(unescape(escaped).as_deref(), Some(name), "{escaped}");
            }
        };
        check("spec", Some("spec"));
        check("_x", Some("_x"));
        check("namespace", Some("__namespace__"));
        check("a.b", Some("a__dot__b"));
        check("a-b/c", Some("a__dash__b__slash__c"));
        check("redact__d", Some("redact__underscores__d"));
        check("___", Some("__underscores___"));
        check("9a", None);
        check("", None);
        check("a b", None);
        check("$ref", None);
        assert_eq!(unescape("a__nope__"), None);
        assert_eq!(unescape("x__if__"), None);
    }
}
