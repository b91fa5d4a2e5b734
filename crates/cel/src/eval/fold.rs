//! Folds: the loops of macros.

use super::{EvalError, Evaluator, Outcome, absorb};
use crate::plan::{Fold, Node};
use crate::value::{List, Map, Value};

/// What a new element of a list or map takes, in bytes.
const ELEMENT_BYTES: u64 = size_of::<Value<'static>>() as u64;

impl<'a> Evaluator<'_, 'a> {
    #[inline(never)]
    pub(super) fn fold(&mut self, fold: &'a Fold) -> Outcome<'a> {
        let range = self.eval(&fold.range)?;
        let init = absorb(self.eval(&fold.init))?;
        let depth = self.locals.len();
        self.locals.push(init);
        let ended = self.iterate(fold, &range, depth);
        self.locals.truncate(depth + 1);
        let result = match ended {
            Ok(()) => self.eval(&fold.result),
            Err(error) => Err(error),
        };
        self.locals.truncate(depth);
        result
    }

    #[inline(never)]
    fn iterate(&mut self, fold: &'a Fold, range: &Value<'a>, depth: usize) -> Result<(), EvalError> {
        match range {
            Value::List(list) => {
                for at in 0..list.len() {
                    let Some(element) = list.get(at) else { break };
                    let first = if fold.two { Ok(Value::Int(at as i64)) } else { element.clone() };
                    if !self.turn(fold, depth, first, fold.two.then_some(element))? {
                        break;
                    }
                }
                Ok(())
            }
            Value::Map(map) => {
                self.context.budget.allocate(map.len() as u64 * ELEMENT_BYTES)?;
                for key in map.keys() {
                    let value = fold.two.then(|| Self::entry(map, &key)).transpose()?;
                    if !self.turn(fold, depth, Ok(key), value)? {
                        break;
                    }
                }
                Ok(())
            }
            other if fold.two => Err(no_range("unsupported comprehension range type: ", other, "")),
            other => Err(no_range("got '", other, "', expected iterable type")),
        }
    }

    fn entry(map: &Map<'a>, key: &Value<'a>) -> Result<Outcome<'a>, EvalError> {
        map.get(&Self::key(key)?).ok_or_else(|| EvalError::new("no such key"))
    }

    /// One element; says whether to go on.
    fn turn(
        &mut self,
        fold: &'a Fold,
        depth: usize,
        first: Outcome<'a>,
        second: Option<Outcome<'a>>,
    ) -> Result<bool, EvalError> {
        self.context.budget.visit(1)?;
        self.locals.truncate(depth + 1);
        self.locals.push(first);
        self.locals.extend(second);
        if let Some(condition) = &fold.condition
            && !matches!(absorb(self.eval(condition))?, Ok(Value::Bool(true)))
        {
            return Ok(false);
        }
        let step = absorb(self.eval(&fold.step))?;
        // Without a condition nothing can make an error vanish any more.
        let go_on = step.is_ok() || fold.condition.is_some();
        self.locals[depth] = step;
        Ok(go_on)
    }

    /// Takes the accumulator out of its place, so that it is not shared and can be added to.
    fn take(&mut self, place: usize) -> Outcome<'a> {
        self.context.budget.spend(1)?;
        std::mem::replace(&mut self.locals[place], Ok(Value::Null))
    }

    #[inline(never)]
    pub(super) fn append(&mut self, list: usize, element: &'a Node) -> Outcome<'a> {
        let element = self.eval(element)?;
        // A list of one, and its concatenation.
        self.context.budget.spend(actual_list() + 1)?;
        self.context.budget.allocate(ELEMENT_BYTES)?;
        match self.take(list)? {
            Value::List(List::Owned(mut items)) => {
                std::sync::Arc::make_mut(&mut items).push(element);
                Ok(Value::List(List::Owned(items)))
            }
            _ => Err(EvalError::NoSuchOverload),
        }
    }

    #[inline(never)]
    pub(super) fn insert(&mut self, map: usize, entry: &'a [Node]) -> Outcome<'a> {
        let mut parts = Vec::with_capacity(entry.len());
        for part in entry {
            parts.push(self.eval(part)?);
        }
        self.context.budget.spend(1)?;
        let Value::Map(Map::Owned(mut entries)) = self.take(map)? else { return Err(EvalError::NoSuchOverload) };
        let added = match parts.as_slice() {
            [key, value] => vec![(Self::key(key)?, value.clone())],
            [Value::Map(more)] => {
                let mut added = Vec::new();
                for key in more.keys() {
                    added.push((Self::key(&key)?, Self::entry(more, &key)??));
                }
                added
            }
            _ => return Err(EvalError::NoSuchOverload),
        };
        let target = std::sync::Arc::make_mut(&mut entries);
        for (key, value) in added {
            self.context.budget.allocate(2 * ELEMENT_BYTES)?;
            if target.contains_key(&key) {
                return Err(EvalError::new(format!("insert failed: key {} already exists", show_key(&key))));
            }
            target.insert(key, value);
        }
        Ok(Value::Map(Map::Owned(entries)))
    }
}

/// That a value has no elements. Messages name the type as cel-go does that holds such values.
fn no_range(before: &str, value: &Value<'_>, behind: &str) -> EvalError {
    let name = match value {
        Value::Null => "types.Null",
        Value::Bool(_) => "types.Bool",
        Value::Int(_) => "types.Int",
        Value::Uint(_) => "types.Uint",
        Value::Double(_) => "types.Double",
        Value::String(_) => "types.String",
        Value::Bytes(_) => "types.Bytes",
        Value::Timestamp(_) => "types.Timestamp",
        Value::Duration(_) => "types.Duration",
        Value::Optional(_) => "*types.Optional",
        other => other.type_name(),
    };
    EvalError::new(format!("{before}{name}{behind}"))
}

fn actual_list() -> u64 {
    crate::cost::LIST_BASE
}

fn show_key(key: &crate::value::Key) -> String {
    use crate::value::Key;
    match key {
        Key::Bool(b) => b.to_string(),
        Key::Int(n) => n.to_string(),
        Key::Uint(n) => n.to_string(),
        Key::String(text) => text.to_string(),
    }
}
