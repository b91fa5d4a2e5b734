//! Reads paths.

use super::filter::{Filter, Operand, Operator};
use super::{JsonPath, Slice, Step};
use crate::Value;

/// Where a name ends, unless a backslash stands before it.
const ENDS: [char; 12] = [' ', '\t', '\r', '\n', '.', ',', '[', ']', '$', '@', '{', '}'];

/// A path without braces around it.
pub(super) fn path(text: &str) -> Result<JsonPath, String> {
    let (mut rest, mut steps) = (text, Vec::new());
    while let Some(first) = rest.chars().next() {
        if steps.len() > super::MAX_STEPS {
            return Err("too many steps".to_owned());
        }
        rest = if let Some(after) = rest.strip_prefix("[?(") {
            let (condition, after) = condition(after)?;
            steps.push(Step::Filter(Box::new(filter(condition)?)));
            after
        } else if let Some(after) = rest.strip_prefix("..") {
            if steps.last() == Some(&Step::Deep) {
                return Err("invalid multiple recursive descent".to_owned());
            }
            steps.push(Step::Deep);
            match after.chars().next() {
                Some(c) if c == '_' || c.is_alphanumeric() => field(after, &mut steps),
                _ => after,
            }
        } else {
            match first {
                ' ' | '@' | '$' => &rest[1..],
                '.' if rest.len() == 1 => "",
                '.' => field(&rest[1..], &mut steps),
                '[' => subscript(&rest[1..], &mut steps)?,
                other => return Err(format!("unrecognized character in action: {other:?}")),
            }
        };
    }
    Ok(JsonPath(steps))
}

/// A name up to the next step; a backslash takes the character behind it as it is.
fn field<'t>(text: &'t str, steps: &mut Vec<Step>) -> &'t str {
    let (mut name, mut end) = (String::new(), text.len());
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        if character == '\\' {
            name.extend(characters.next().map(|(_, c)| c).filter(|c| *c != '\\'));
        } else if ENDS.contains(&character) {
            end = at;
            break;
        } else {
            name.push(character);
        }
    }
    steps.push(if name == "*" { Step::All } else { Step::Field(name) });
    &text[end..]
}

/// What follows `[`.
fn subscript<'t>(text: &'t str, steps: &mut Vec<Step>) -> Result<&'t str, String> {
    let (inner, after) = text.split_once(']').filter(|(inner, _)| !inner.contains('\n')).ok_or("unterminated array")?;
    if inner.contains(',') {
        let one = |inner: &str| {
            let mut steps = Vec::new();
            element(inner.trim_matches(' '), &mut steps).map(|()| JsonPath(steps))
        };
        steps.push(Step::Union(inner.split(',').map(one).collect::<Result<_, _>>()?));
    } else {
        element(inner, steps)?;
    }
    Ok(after)
}

/// A quoted name, an index or a slice. Dots in a name lead on, unless a backslash stands before them.
fn element(inner: &str, steps: &mut Vec<Step>) -> Result<(), String> {
    let quoted = inner.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\''));
    if let Some(name) = quoted.filter(|name| !name.contains('\'')) {
        let JsonPath(below) = path(&format!(".{name}"))?;
        steps.extend(below);
        return Ok(());
    }
    let inner = if inner == "*" { ":" } else { inner };
    let wrong = || format!("invalid array index {inner}");
    let parts: Vec<&str> = inner.split(':').collect();
    let number = |at: usize| match parts.get(at).copied().unwrap_or_default() {
        "" => Ok(None),
        digits if digits.strip_prefix('-').unwrap_or(digits).bytes().all(|b| b.is_ascii_digit()) => {
            digits.parse().map(Some).map_err(|_| format!("array index {digits} is not a number"))
        }
        _ => Err(wrong()),
    };
    if parts.len() > 3 {
        return Err(wrong());
    }
    let (from, to, step) = (number(0)?, number(1)?, number(2)?);
    steps.push(Step::Slice(Slice { from: from.unwrap_or(0), to, single: parts.len() == 1, step: step.unwrap_or(1) }));
    Ok(())
}

/// What stands before `)]`, and what follows. Quotes in it stand once.
fn condition(text: &str) -> Result<(&str, &str), String> {
    let (mut open, mut closed, mut before) = (None, false, '\0');
    for (at, character) in text.char_indices() {
        match (character, open) {
            ('\n', _) => break,
            ('"' | '\'', None) => open = Some(character),
            ('"' | '\'', Some(quote)) => closed |= before != '\\' && character == quote,
            (')', _) if open.is_some() == closed => {
                let after = text[at + 1..].strip_prefix(']').ok_or("unclosed array expect ]")?;
                return Ok((&text[..at], after));
            }
            _ => {}
        }
        before = character;
    }
    Err("unterminated filter".to_owned())
}

fn filter(condition: &str) -> Result<Filter, String> {
    const SIGNS: [char; 4] = ['!', '<', '>', '='];
    if let Some(at) = condition.find(SIGNS).filter(|at| *at > 0) {
        let (one, rest) = condition.split_at(at);
        let other = rest.trim_start_matches(SIGNS);
        if !other.is_empty() {
            let operator = Operator::of(&rest[..rest.len() - other.len()]);
            return Ok(Filter::Compare(operand(one)?, operator, operand(other)?));
        }
    }
    operand(condition).map(Filter::Exists)
}

fn operand(text: &str) -> Result<Operand, String> {
    let text = text.trim_matches(' ');
    let Some(first) = text.chars().next() else { return Ok(Operand::Path(JsonPath(Vec::new()))) };
    match first {
        '"' | '\'' => {
            let inner = text[1..].strip_suffix(first).ok_or("unterminated quoted string")?;
            Ok(Operand::Literal(Value::from(unescaped(inner))))
        }
        '+' | '-' | '0'..='9' => {
            let whole = text.parse::<i64>().map(Value::from).ok();
            let number = whole.or_else(|| text.parse::<f64>().ok().filter(|n| n.is_finite()).map(Value::from));
            number.map(Operand::Literal).ok_or_else(|| format!("cannot parse number {text}"))
        }
        '@' | '$' | '.' | '[' => path(text).map(Operand::Path),
        _ => match text {
            "true" | "false" => Ok(Operand::Literal(Value::Bool(text == "true"))),
            word if word.chars().all(|c| c == '_' || c.is_alphanumeric()) => Ok(Operand::Unknown),
            other => Err(format!("unrecognized character in action: {other:?}")),
        },
    }
}

/// Takes away the backslashes before quotes and backslashes.
fn unescaped(text: &str) -> String {
    let (mut plain, mut characters) = (String::with_capacity(text.len()), text.chars());
    while let Some(character) = characters.next() {
        plain.extend(if character == '\\' { characters.next() } else { Some(character) });
    }
    plain
}
