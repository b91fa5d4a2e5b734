//! Field selectors: `metadata.name=a,status.phase!=Failed`.

use crate::convert;
use crate::kinds::KindInfo;

/// One condition of a field selector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Term {
    /// The field's path.
    pub path: String,
    /// What to compare with.
    pub value: String,
    /// Whether it must be another.
    pub negated: bool,
}

/// A conjunction of terms.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FieldSelector {
    terms: Vec<Term>,
}

impl FieldSelector {
    /// Parses a field selector; commas, equals signs and backslashes in values are escaped with a backslash.
    ///
    /// # Errors
    /// Upstream's message; the caller makes a 400 of it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut terms = Vec::new();
        for part in split(text).into_iter().filter(|p| !p.is_empty()) {
            let (path, operator, raw) =
                operator(part).ok_or_else(|| format!("invalid selector: '{text}'; can't understand '{part}'"))?;
            let value = unescape(raw).map_err(|e| format!("invalid field selector: {e}"))?;
            terms.push(Term { path: path.trim().to_owned(), value, negated: operator == "!=" });
        }
        Ok(Self { terms })
    }

    /// Refuses fields that the kind cannot select by; the others are named as in the stored form from now on, and
    /// stand in the order of their paths.
    ///
    /// # Errors
    /// `field label not supported: spec.foo`; the caller makes a 400 of it.
    pub fn check(&mut self, kind: &KindInfo) -> Result<(), String> {
        for term in &mut self.terms {
            // The old name of the field, which clients may still send.
            if kind.type_name == "core/v1.Pod" && term.path == "spec.host" {
                "spec.nodeName".clone_into(&mut term.path);
            }
            if !kind.selectable_fields.iter().any(|field| *field == term.path) && term.path != "metadata.namespace" {
                let own = kind.selectable_fields.iter().any(|f| !f.starts_with("metadata."));
                return Err(if own {
                    format!("field label not supported: {}", term.path)
                } else {
                    format!(
                        "{:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\"",
                        term.path
                    )
                });
            }
            term.path = convert::hub_field(kind, &term.path);
        }
        self.terms.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(())
    }

    /// The terms.
    #[must_use]
    pub fn terms(&self) -> &[Term] {
        &self.terms
    }

    /// Whether every object is selected.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.terms.is_empty()
    }

    /// The one value that `path` must have, if the selector says so.
    #[must_use]
    pub fn exact(&self, path: &str) -> Option<&str> {
        self.terms.iter().find(|t| t.path == path && !t.negated).map(|t| t.value.as_str())
    }

    /// Whether an object is selected whose fields `get` returns; an absent field is the empty string.
    pub fn matches<'a>(&self, get: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.terms.iter().all(|t| (get(&t.path).unwrap_or_default() == t.value) != t.negated)
    }
}

/// At commas that are not escaped.
fn split(text: &str) -> Vec<&str> {
    let (mut parts, mut start, mut escaped) = (Vec::new(), 0, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ',' => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

fn operator(part: &str) -> Option<(&str, &str, &str)> {
    let at = part.find(['=', '!'])?;
    let operator = ["!=", "==", "="].into_iter().find(|o| part[at..].starts_with(o))?;
    Some((&part[..at], operator, &part[at + operator.len()..]))
}

fn unescape(raw: &str) -> Result<String, String> {
    let mut out = String::with_capacity(raw.len());
    let mut chars = raw.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(c @ ('\\' | ',' | '=')) => out.push(c),
                other => {
                    return Err(format!("invalid escape sequence: \\{}", other.map(String::from).unwrap_or_default()));
                }
            },
            ',' | '=' => return Err(format!("unescaped character in selector value: {c}")),
            c => out.push(c),
        }
    }
    Ok(out)
}
