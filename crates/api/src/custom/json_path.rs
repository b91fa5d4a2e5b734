//! JSONPath as printer columns and selectable fields use it: `.spec.size`, `.items[0]`, `.conditions[?(@.type=="Ready")].status`.
//!
//! It is read and followed as upstream's `client-go/util/jsonpath` does within one pair of braces, missing keys allowed.

mod filter;
mod parse;

use crate::Value;
use filter::Filter;

/// Longer paths are refused; a definition can hold any number of them.
const MAX_STEPS: usize = 64;
/// A path that leads to more values on its way than this leads nowhere: steps can multiply them.
const MAX_VALUES: usize = 100_000;

/// A parsed path.
#[derive(Debug, Clone, PartialEq)]
pub struct JsonPath(Vec<Step>);

#[derive(Debug, Clone, PartialEq)]
enum Step {
    Field(String),
    Slice(Slice),
    /// Everything directly below.
    All,
    /// The value and everything below it that holds something, at any depth.
    Deep,
    /// What each of the paths leads to, one after the other.
    Union(Vec<JsonPath>),
    /// The items that match.
    Filter(Box<Filter>),
}

/// Items of a list; numbers below zero count from its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Slice {
    from: i64,
    /// Without one: to the end of the list.
    to: Option<i64>,
    /// The slice is the one item `from`.
    single: bool,
    step: i64,
}

/// A step that cannot be taken: upstream gives up then, whatever else it has found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Astray;

type Found<'v> = Result<Vec<&'v Value>, Astray>;

impl JsonPath {
    /// Reads a path, with or without the braces of templates.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let text = text.strip_prefix('{').and_then(|t| t.strip_suffix('}')).unwrap_or(text);
        let path = parse::path(text)?;
        if path.steps() > MAX_STEPS {
            return Err("too many steps".to_owned());
        }
        Ok(path)
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
        if self.is_plain() {
            return self.names().try_fold(value, |value, name| value.as_object()?.get(name));
        }
        self.follow(vec![value], &mut { MAX_VALUES }).ok()?.first().copied()
    }

    fn steps(&self) -> usize {
        let below = |step: &Step| match step {
            Step::Union(paths) => paths.iter().map(Self::steps).sum(),
            Step::Filter(filter) => filter.steps(),
            _ => 0,
        };
        self.0.iter().map(|step| 1 + below(step)).sum()
    }

    /// All that the path leads to; `left` is how many values may be met on the way.
    fn follow<'v>(&self, from: Vec<&'v Value>, left: &mut usize) -> Found<'v> {
        self.0.iter().try_fold(from, |values, step| {
            let found = step.take(&values, left)?;
            *left = left.checked_sub(found.len()).ok_or(Astray)?;
            Ok(found)
        })
    }
}

impl Step {
    fn take<'v>(&self, values: &[&'v Value], left: &mut usize) -> Found<'v> {
        // Nothing is below null, and no step fails there but a filter.
        let held = || values.iter().copied().filter(|value| !value.is_null());
        let mut found = Vec::new();
        match self {
            Self::Field(name) => found.extend(held().filter_map(|value| value.as_object()?.get(name))),
            Self::Slice(slice) => {
                for value in held() {
                    found.extend(slice.of(value.as_array().ok_or(Astray)?)?);
                }
            }
            Self::All => held().for_each(|value| found.extend(below(value))),
            Self::Deep => {
                for value in held() {
                    deep(value, &mut found, left)?;
                }
            }
            Self::Union(paths) => {
                for path in paths {
                    found.extend(path.follow(values.to_vec(), left)?);
                }
            }
            Self::Filter(filter) => {
                for value in values {
                    for item in value.as_array().ok_or(Astray)? {
                        if filter.matches(item, left)? {
                            found.push(item);
                        }
                    }
                }
            }
        }
        Ok(found)
    }
}

fn below(value: &Value) -> Box<dyn Iterator<Item = &Value> + '_> {
    match value {
        Value::Array(list) => Box::new(list.iter()),
        Value::Object(map) => Box::new(map.values()),
        _ => Box::new(std::iter::empty()),
    }
}

/// Adds the value and all below it, but nothing that is empty. Its depth is bounded by that of decoded values.
fn deep<'v>(value: &'v Value, found: &mut Vec<&'v Value>, left: &mut usize) -> Result<(), Astray> {
    let holds = match value {
        Value::String(text) => !text.is_empty(),
        other => below(other).next().is_some(),
    };
    if !holds {
        return Ok(());
    }
    *left = left.checked_sub(1).ok_or(Astray)?;
    found.push(value);
    below(value).try_for_each(|item| deep(item, found, left))
}

impl Slice {
    fn of<'v>(&self, list: &'v [Value]) -> Found<'v> {
        let length = i64::try_from(list.len()).map_err(|_| Astray)?;
        let from_end = |at: i64| if at < 0 { at.saturating_add(length) } else { at };
        let from = from_end(self.from);
        let to = match self.to {
            // The one behind the last, -1, is 0.
            _ if self.single => from.saturating_add(1),
            Some(to) => from_end(to),
            None => length,
        };
        if from == to {
            return Ok(Vec::new());
        }
        let inside = (0..length).contains(&from) && (from..=length).contains(&to) && self.step > 0;
        let (true, Ok(from), Ok(to), Ok(step)) =
            (inside, usize::try_from(from), usize::try_from(to), usize::try_from(self.step))
        else {
            return Err(Astray);
        };
        Ok(list.get(from..to).ok_or(Astray)?.iter().step_by(step).collect())
    }
}

#[cfg(test)]
mod tests;
