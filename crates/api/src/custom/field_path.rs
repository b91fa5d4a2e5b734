//! Paths to fields that a schema has: `.spec.size`, `.spec['a b']`.

use super::schema::{Additional, Schema};

const END: &str = "unexpected end of JSON path";
const NOWHERE: &str = "does not refer to a valid field";

/// The next token: a delimiter, a quoted string, or what stands before the next delimiter.
fn token(text: &str) -> Option<(&str, &str)> {
    let first = text.chars().next()?;
    let length = match first {
        '.' | '[' | ']' => 1,
        '\'' => {
            let bytes = text.as_bytes();
            (1..bytes.len()).find(|&i| bytes[i] == b'\'' && bytes[i - 1] != b'\\').map_or(text.len(), |end| end + 1)
        }
        _ => text.find(['.', '[', ']']).unwrap_or(text.len()),
    };
    Some(text.split_at(length))
}

fn unescaped(text: &str) -> Result<String, String> {
    let mut plain = String::new();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character != '\\' {
            plain.push(character);
            continue;
        }
        match characters.next() {
            Some('a') => plain.push('\u{7}'),
            Some('b') => plain.push('\u{8}'),
            Some('f') => plain.push('\u{c}'),
            Some('n') => plain.push('\n'),
            Some('r') => plain.push('\r'),
            Some('t') => plain.push('\t'),
            Some('v') => plain.push('\u{b}'),
            Some(kept @ ('\'' | '\\')) => plain.push(kept),
            other => {
                let other = other.map(String::from).unwrap_or_default();
                return Err(format!("invalid string literal: invalid escape char \\{other}"));
            }
        }
    }
    Ok(plain)
}

/// What `[` begins: the name, and what follows the `]`.
fn subscript(rest: &str) -> Result<(String, &str), String> {
    let (quoted, rest) = token(rest).ok_or(END)?;
    let name = quoted.strip_prefix('\'').and_then(|q| q.strip_suffix('\''));
    let name = unescaped(name.ok_or_else(|| format!("expected single quoted string but got {quoted}"))?)?;
    match token(rest) {
        None => Err(END.to_owned()),
        Some(("]", rest)) => Ok((name, rest)),
        Some((other, _)) => Err(format!("expected ] but got {other}")),
    }
}

/// The path as errors print it, and the schema to which it leads. `arrays`: whether names may stand in brackets.
///
/// # Errors
/// Why it leads to none, in upstream's words.
pub fn field_path<'s>(path: &str, schema: &'s Schema, arrays: bool) -> Result<(String, &'s Schema), String> {
    let (mut rest, mut schema, mut printed) = (path, schema, String::new());
    while let Some((found, after)) = token(rest) {
        let (name, after) = match found {
            "[" if !arrays => return Err("array notation is not allowed".to_owned()),
            "[" => subscript(after)?,
            "." => token(after).map(|(name, after)| (name.to_owned(), after)).ok_or(END)?,
            other => return Err(format!("expected [ or . but got: {other}")),
        };
        schema = if schema.properties.is_empty() {
            printed.push_str(&format!("[{name}]"));
            match &schema.additional {
                Some(Additional::Schema(below)) => below.as_ref(),
                _ => return Err(NOWHERE.to_owned()),
            }
        } else {
            if !printed.is_empty() {
                printed.push('.');
            }
            printed.push_str(&name);
            schema.properties.get(&name).ok_or(NOWHERE)?
        };
        rest = after;
    }
    Ok((printed, schema))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn paths_lead_to_fields() {
        let schema = Schema::parse(&json!({"type": "object", "properties": {
            "spec": {"type": "object", "properties": {"a b": {"type": "string"}, "c": {"type": "array"}}},
            "labels": {"type": "object", "additionalProperties": {"type": "string"}}}}));
        let check = |path: &str, expected: Result<&str, &str>| {
            let found = field_path(path, &schema, true).map(|(printed, _)| printed);
            assert_eq!(found, expected.map(str::to_owned).map_err(str::to_owned), "{path}");
        };
        check(".spec.c", Ok("spec.c"));
        check(".spec['a b']", Ok("spec.a b"));
        check(".labels['x.y']", Ok("labels[x.y]"));
        check("spec", Err("expected [ or . but got: spec"));
        check(".", Err("unexpected end of JSON path"));
        check(".spec.d", Err("does not refer to a valid field"));
        check(".spec.c.d", Err("does not refer to a valid field"));
        check(".spec[c]", Err("expected single quoted string but got c"));
        check(".spec['c'", Err("unexpected end of JSON path"));
        check(r".spec['\q']", Err(r"invalid string literal: invalid escape char \q"));
        assert_eq!(field_path(".spec['c']", &schema, false).err().as_deref(), Some("array notation is not allowed"));
    }
}
