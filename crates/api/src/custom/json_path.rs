//! JSONPath as printer columns and selectable fields use it: `.spec.size`, `.items[0]`, `.conditions[?(@.type=="Ready")].status`.

use crate::Value;

/// Longer paths are refused; a definition can hold any number of them.
const MAX_STEPS: usize = 64;

/// A parsed path.
#[derive(Debug, Clone, PartialEq)]
pub struct JsonPath(Vec<Step>);

#[derive(Debug, Clone, PartialEq)]
enum Step {
    Field(String),
    /// Negative: from the end.
    Index(i64),
    /// Everything directly below.
    All,
    /// Everything below, at any depth.
    Deep,
    /// The items that match.
    Filter(Filter),
}

#[derive(Debug, Clone, PartialEq)]
struct Filter {
    path: JsonPath,
    operator: Operator,
    literal: Value,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Exists,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl JsonPath {
    /// Reads a path, with or without the braces of templates.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let text = text.strip_prefix('{').and_then(|t| t.strip_suffix('}')).unwrap_or(text);
        let mut rest = text.strip_prefix(['$', '@']).unwrap_or(text);
        let mut steps = Vec::new();
        while !rest.is_empty() {
            if steps.len() >= MAX_STEPS {
                return Err("too many steps".to_owned());
            }
            rest = if let Some(after) = rest.strip_prefix("..") {
                steps.push(Step::Deep);
                if after.starts_with('[') { after } else { field(after, &mut steps)? }
            } else if let Some(after) = rest.strip_prefix('.') {
                if after.is_empty() { after } else { field(after, &mut steps)? }
            } else if let Some(after) = rest.strip_prefix('[') {
                let (inner, after) = bracket(after)?;
                steps.push(subscript(inner)?);
                after
            } else {
                return Err(format!("unexpected {rest:?}"));
            };
        }
        Ok(Self(steps))
    }

    /// Whether it names one field by names alone, as `.spec.size` does.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        !self.0.is_empty() && self.0.iter().all(|step| matches!(step, Step::Field(_)))
    }

    /// The names of a plain path.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|step| if let Step::Field(name) = step { Some(name.as_str()) } else { None })
    }

    /// The first value that the path leads to.
    #[must_use]
    pub fn first<'v>(&self, value: &'v Value) -> Option<&'v Value> {
        find(&self.0, value)
    }
}

/// A name up to the next step; a backslash takes the character behind it as it is.
fn field<'t>(text: &'t str, steps: &mut Vec<Step>) -> Result<&'t str, String> {
    let mut name = String::new();
    let mut characters = text.char_indices();
    let mut end = text.len();
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' => name.extend(characters.next().map(|(_, c)| c)),
            '.' | '[' => {
                end = at;
                break;
            }
            other => name.push(other),
        }
    }
    if name.is_empty() {
        return Err(format!("a name is missing before {text:?}"));
    }
    steps.push(if name == "*" { Step::All } else { Step::Field(name) });
    Ok(&text[end..])
}

/// What stands between `[` and its `]`, and what follows.
fn bracket(text: &str) -> Result<(&str, &str), String> {
    let (mut quote, mut depth) = (None, 1);
    for (at, character) in text.char_indices() {
        match (quote, character) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(character),
            (None, '[') => depth += 1,
            (None, ']') => {
                depth -= 1;
                if depth == 0 {
                    return Ok((&text[..at], &text[at + 1..]));
                }
            }
            _ => {}
        }
    }
    Err("unterminated array".to_owned())
}

fn unquoted(text: &str) -> Option<&str> {
    let quote = text.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
    text.strip_prefix(quote)?.strip_suffix(quote)
}

fn subscript(inner: &str) -> Result<Step, String> {
    let inner = inner.trim();
    if inner == "*" {
        return Ok(Step::All);
    }
    if let Some(name) = unquoted(inner) {
        return Ok(Step::Field(name.to_owned()));
    }
    if let Some(condition) = inner.strip_prefix("?(").and_then(|c| c.strip_suffix(')')) {
        return filter(condition).map(Step::Filter);
    }
    inner.parse().map(Step::Index).map_err(|_| format!("invalid array index {inner}"))
}

fn filter(condition: &str) -> Result<Filter, String> {
    const OPERATORS: [(&str, Operator); 6] = [
        ("==", Operator::Equal),
        ("!=", Operator::NotEqual),
        ("<=", Operator::LessOrEqual),
        (">=", Operator::GreaterOrEqual),
        ("<", Operator::Less),
        (">", Operator::Greater),
    ];
    for (sign, operator) in OPERATORS {
        if let Some((left, right)) = condition.split_once(sign) {
            let right = right.trim();
            let literal = match unquoted(right) {
                Some(text) => Value::from(text),
                None => serde_json::from_str(right).map_err(|_| format!("cannot compare with {right}"))?,
            };
            return Ok(Filter { path: JsonPath::parse(left)?, operator, literal });
        }
    }
    Ok(Filter { path: JsonPath::parse(condition)?, operator: Operator::Exists, literal: Value::Null })
}

impl Filter {
    fn matches(&self, item: &Value) -> bool {
        let Some(found) = self.path.first(item) else { return false };
        let order = match (found, &self.literal) {
            (Value::Number(a), Value::Number(b)) => a.as_f64().partial_cmp(&b.as_f64()),
            (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
            (a, b) => (a == b).then_some(std::cmp::Ordering::Equal),
        };
        match self.operator {
            Operator::Exists => true,
            Operator::Equal => order.is_some_and(std::cmp::Ordering::is_eq),
            Operator::NotEqual => order.is_none_or(std::cmp::Ordering::is_ne),
            Operator::Less => order.is_some_and(std::cmp::Ordering::is_lt),
            Operator::LessOrEqual => order.is_some_and(std::cmp::Ordering::is_le),
            Operator::Greater => order.is_some_and(std::cmp::Ordering::is_gt),
            Operator::GreaterOrEqual => order.is_some_and(std::cmp::Ordering::is_ge),
        }
    }
}

/// Depth is bounded by that of decoded values and by [`MAX_STEPS`].
fn find<'v>(steps: &[Step], value: &'v Value) -> Option<&'v Value> {
    let Some((step, rest)) = steps.split_first() else { return Some(value) };
    let below = || -> Box<dyn Iterator<Item = &'v Value>> {
        match value {
            Value::Array(list) => Box::new(list.iter()),
            Value::Object(map) => Box::new(map.values()),
            _ => Box::new(std::iter::empty()),
        }
    };
    match step {
        Step::Field(name) => find(rest, value.as_object()?.get(name)?),
        Step::Index(at) => {
            let list = value.as_array()?;
            let at = if *at < 0 { at.checked_add(i64::try_from(list.len()).ok()?)? } else { *at };
            find(rest, list.get(usize::try_from(at).ok()?)?)
        }
        Step::All => below().find_map(|item| find(rest, item)),
        Step::Deep => find(rest, value).or_else(|| below().find_map(|item| find(steps, item))),
        Step::Filter(filter) => {
            value.as_array()?.iter().filter(|item| filter.matches(item)).find_map(|i| find(rest, i))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn paths_lead_to_values() {
        let object = json!({"spec": {"size": 3, "list": ["a", "b"], "a.b/c": "dotted"},
            "status": {"conditions": [{"type": "Old", "status": "False"}, {"type": "Ready", "status": "True", "n": 2}]}});
        let check = |path: &str, expected: Value| {
            let parsed = JsonPath::parse(path).expect(path);
            assert_eq!(parsed.first(&object).cloned().unwrap_or_default(), expected, "{path}");
        };
        check(".spec.size", json!(3));
        check("{.spec.size}", json!(3));
        check("$.spec['size']", json!(3));
        check(".spec.list[1]", json!("b"));
        check(".spec.list[-1]", json!("b"));
        check(".spec.list[5]", json!(null));
        check(".spec.list[*]", json!("a"));
        check(r".spec.a\.b/c", json!("dotted"));
        check(r#".status.conditions[?(@.type=="Ready")].status"#, json!("True"));
        check(".status.conditions[?(@.type=='Gone')].status", json!(null));
        check(".status.conditions[?(@.n>1)].type", json!("Ready"));
        check("..n", json!(2));
        check(".nope.size", json!(null));
    }

    #[test]
    fn broken_paths_are_refused() {
        for path in ["spec", ".spec[", ".spec[x]", ".a.[?(@.b==c)]", "..", &".a".repeat(100)] {
            assert!(JsonPath::parse(path).is_err(), "{path}");
        }
        assert!(JsonPath::parse(".spec.size").expect("a path").is_plain());
        assert!(!JsonPath::parse(".spec.list[0]").expect("a path").is_plain());
    }
}
