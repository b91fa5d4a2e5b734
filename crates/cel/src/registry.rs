//! The functions and operators: their types for the checker, their code for the evaluation.

use std::collections::HashMap;
use std::sync::LazyLock;

use crate::environment::Library;
use crate::error::EvalError;
use crate::eval::Context;
use crate::library;
use crate::types::Type;
use crate::value::Value;

/// Code of a function. Values of other types than it knows are [`EvalError::NoSuchOverload`]: another function of that name may know them.
pub(crate) type Code = for<'a> fn(&mut Context<'_, 'a>, &[Value<'a>]) -> Result<Value<'a>, EvalError>;

/// A function as a library declares it. A signature is `(arguments) result`, of a member `receiver.(arguments) result`; single capitals stand for any type.
pub(crate) struct Entry {
    pub name: &'static str,
    pub code: Code,
    pub signatures: &'static [&'static str],
}

/// Short form of [`Entry`].
pub(crate) const fn entry(name: &'static str, code: Code, signatures: &'static [&'static str]) -> Entry {
    Entry { name, code, signatures }
}

/// All functions of one name.
#[derive(Default)]
pub(crate) struct Function {
    pub overloads: Vec<Overload>,
    pub codes: Vec<Code>,
}

/// One way to call a function.
#[derive(Debug)]
pub(crate) struct Overload {
    pub member: bool,
    /// With the receiver first. [`Type::Param`] holds the letter.
    pub params: Vec<Type>,
    pub result: Type,
    /// Known only where this library is.
    pub library: Option<Library>,
}

/// The function, if there is one of that name in any library.
pub(crate) fn function(name: &str) -> Option<&'static Function> {
    REGISTRY.get(name)
}

static REGISTRY: LazyLock<HashMap<&'static str, Function>> = LazyLock::new(|| {
    let mut functions: HashMap<&'static str, Function> = HashMap::new();
    for (library, entries) in library::ALL {
        for entry in *entries {
            let function = functions.entry(entry.name).or_default();
            function.codes.push(entry.code);
            function.overloads.extend(entry.signatures.iter().map(|s| signature(s, *library)));
        }
    }
    functions
});

fn signature(text: &'static str, library: Option<Library>) -> Overload {
    let open = text.find('(').unwrap_or(0);
    let close = text.rfind(')').unwrap_or(text.len() - 1);
    let receiver = text[..open].strip_suffix('.');
    let mut params: Vec<Type> = receiver.map(named).into_iter().collect();
    params.extend(split(&text[open + 1..close]).into_iter().map(named));
    Overload { member: receiver.is_some(), params, result: named(text[close + 1..].trim()), library }
}

/// The parts between commas that are not within angle brackets.
fn split(text: &'static str) -> Vec<&'static str> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0, 0);
    for (at, c) in text.char_indices() {
        match c {
            '<' => depth += 1,
            '>' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(text[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(text[start..].trim());
    parts.retain(|p| !p.is_empty());
    parts
}

/// A type by its name in a signature.
fn named(text: &'static str) -> Type {
    if let Some((outer, inner)) = text.strip_suffix('>').and_then(|t| t.split_once('<')) {
        let mut inner = split(inner).into_iter().map(named);
        let mut next = || inner.next().unwrap_or(Type::Dyn);
        return match outer {
            "list" => Type::list(next()),
            "map" => Type::map(next(), next()),
            "optional" => Type::optional(next()),
            _ => Type::Type(Some(next().into())),
        };
    }
    match text {
        "dyn" => Type::Dyn,
        "null" => Type::Null,
        "bool" => Type::Bool,
        "int" => Type::Int,
        "uint" => Type::Uint,
        "double" => Type::Double,
        "string" => Type::String,
        "bytes" => Type::Bytes,
        "timestamp" => Type::Timestamp,
        "duration" => Type::Duration,
        "type" => Type::Type(None),
        letter if letter.len() == 1 => Type::Param(u32::from(letter.as_bytes()[0])),
        opaque => Type::Opaque(opaque),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_read() {
        let overload = signature("map<K, list<V>>.(int, optional<A>) type<V>", None);
        assert!(overload.member);
        assert_eq!(overload.params.len(), 3);
        assert_eq!(overload.params[0].to_string(), "map(_var75, list(_var86))");
        assert_eq!(overload.params[2].to_string(), "optional_type(_var65)");
        assert_eq!(overload.result.to_string(), "type(_var86)");
        assert!(signature("() bool", None).params.is_empty());
    }
}
