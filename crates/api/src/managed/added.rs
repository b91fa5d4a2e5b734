//! What the writer of a new object owns: the `fieldsV1` of a create, written as text in one go.
//!
//! It is what [`super::compare`] finds between nothing and the object, without the sets and trees in between: most writes are
//! creates, a new object has a few dozen paths, and nobody but the store and its readers wants to see them. A property in the
//! tests holds the two together.

use super::compare::implied;
use super::element;
use super::rule::{Rule, array, is_empty};
use super::set::{METADATA, OF_METADATA, OF_OBJECTS, SELF, Set};
use crate::table::Type;
use crate::{Object, Value};

/// Writes the paths that a writer of `new` owns, but for those in `reset`, what is below them, and what the server writes itself.
/// Nothing is written if there are none.
pub(super) fn write_fields(new: &Value, ty: &Type, reset: &Set, out: &mut Vec<u8>) -> bool {
    let Some(new) = new.as_object() else { return false };
    let mut paths = Paths { out };
    let node = paths.open(false);
    paths.structure(new, ty, true, Place { cut: Some(reset), level: Level::Object });
    paths.close(node)
}

/// Where a node is.
#[derive(Clone, Copy)]
struct Place<'r> {
    /// What is taken out at and below it.
    cut: Option<&'r Set>,
    level: Level,
}

/// Where the server writes fields of its own, which nobody owns.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Object,
    Metadata,
    Below,
}

impl Place<'_> {
    /// Where an element leads; `None` if that is taken out.
    fn below(self, element: &str) -> Option<Self> {
        let (of_server, level): (&[&str], _) = match self.level {
            Level::Object if element == METADATA => (&[], Level::Metadata),
            Level::Object => (&OF_OBJECTS, Level::Below),
            Level::Metadata => (&OF_METADATA, Level::Below),
            Level::Below => (&[], Level::Below),
        };
        if of_server.contains(&element) {
            return None;
        }
        match self.cut.and_then(|cut| cut.children.get(element)) {
            Some(cut) if cut.member => None,
            cut => Some(Self { cut, level }),
        }
    }
}

/// An open node: where it begins, where its children begin, and whether it is a member itself.
struct Node {
    start: usize,
    children: usize,
    is_member: bool,
}

struct Paths<'o> {
    out: &'o mut Vec<u8>,
}

impl Paths<'_> {
    fn open(&mut self, is_member: bool) -> Node {
        let start = self.out.len();
        self.out.push(b'{');
        if is_member {
            self.name(SELF);
            self.out.extend_from_slice(b"{}");
        }
        Node { start, children: self.out.len(), is_member }
    }

    /// Whether anything is left: a node that is no member and has no children is not there.
    fn close(&mut self, node: Node) -> bool {
        if self.out.len() == node.children {
            self.out.truncate(node.start);
            if node.is_member {
                self.out.extend_from_slice(b"{}");
            }
            return node.is_member;
        }
        self.out.push(b'}');
        true
    }

    /// The name of a member of the object that is being written.
    fn name(&mut self, element: &str) {
        if self.out.last() != Some(&b'{') {
            self.out.push(b',');
        }
        if element.bytes().all(|byte| byte >= b' ' && byte != b'"' && byte != b'\\') {
            self.out.push(b'"');
            self.out.extend_from_slice(element.as_bytes());
            self.out.push(b'"');
        } else {
            element::json(element, self.out);
        }
        self.out.push(b':');
    }

    /// Writes an element with what `below` writes of it, unless that is nothing.
    fn child(&mut self, element: &str, below: impl FnOnce(&mut Self) -> bool) {
        let before = self.out.len();
        self.name(element);
        if !below(self) {
            self.out.truncate(before);
        }
    }

    fn leaf(&mut self) -> bool {
        self.out.extend_from_slice(b"{}");
        true
    }

    /// `held`: the struct is there even where nothing is in it, and with it what Go holds by value.
    fn structure(&mut self, new: &Object, ty: &Type, held: bool, at: Place<'_>) {
        let mut element = String::with_capacity(64);
        for (name, value) in new {
            let (before, rule) = match ty.fields.get(name.as_str()) {
                Some(field) => {
                    let implies = held && (!ty.is_custom() || name == "metadata");
                    (implies.then(|| implied(field)).flatten(), Rule::of(field))
                }
                None if ty.is_open() => (None, Rule::Deduced),
                None => continue,
            };
            element.replace_range(.., "f:");
            element.push_str(name);
            let Some(place) = at.below(&element) else { continue };
            self.child(&element, |paths| paths.owned(before, value, rule, place));
        }
    }

    fn owned(&mut self, before: Option<&Value>, new: &Value, rule: Rule<'_>, at: Place<'_>) -> bool {
        // Nobody owns the metadata as such.
        let is_metadata = at.level == Level::Metadata;
        if before == Some(new) || is_metadata && (is_empty(Some(new)) || !new.is_object()) {
            return false;
        }
        if is_empty(before) && is_empty(Some(new)) {
            return self.leaf();
        }
        let rule = rule.settle(before.into_iter().chain([new]));
        if matches!(rule, Rule::Leaf | Rule::Deduced) {
            return self.leaf();
        }
        let node = self.open(before.is_none() && !is_metadata);
        match (rule, new) {
            (Rule::Struct(ty), Value::Object(map)) => self.structure(map, ty, before.is_some(), at),
            (Rule::Map(_), Value::Object(map)) => {
                for (name, value) in map {
                    let element = element::field(name);
                    let Some(place) = at.below(&element) else { continue };
                    self.child(&element, |paths| paths.owned(None, value, rule.entry(name), place));
                }
            }
            (Rule::Set | Rule::Keyed(..), list) => {
                let Some(mut items) = rule.items(array(Some(list))) else {
                    self.out.truncate(node.start);
                    return self.leaf();
                };
                items.sort_by(|(a, _), (b, _)| a.cmp(b));
                for same in items.chunk_by(|(a, _), (b, _)| a == b) {
                    let (element, item) = &same[0];
                    let Some(place) = at.below(element) else { continue };
                    // Items of one element cannot be told apart: they are taken as one value.
                    let is_one = same.len() == 1;
                    self.child(element, |paths| match is_one {
                        true => paths.owned(None, item, rule.item(), place),
                        false => paths.leaf(),
                    });
                }
            }
            _ => {}
        }
        self.close(node)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::rngs::StdRng;
    use rand::seq::IndexedRandom as _;
    use rand::{Rng as _, SeedableRng};
    use serde_json::json;

    use super::super::compare;
    use super::*;
    use crate::table::{FieldType, TypeTable};

    /// A value of a type, or sometimes of another; often empty, with items that are there twice.
    fn made(ty: &FieldType, depth: usize, random: &mut StdRng) -> Value {
        if random.random_bool(0.05) {
            return [json!(null), json!({}), json!([]), json!("x"), json!({"name": "x"})]
                .choose(random)
                .unwrap()
                .clone();
        }
        match ty {
            FieldType::Struct(id) => made_struct(TypeTable::builtin().get(id), depth, random),
            FieldType::List(item) => {
                let count = random.random_range(0..3);
                let mut list: Vec<Value> = (0..count).map(|_| made(item, depth, random)).collect();
                if random.random_bool(0.2) {
                    list.extend(list.first().cloned());
                }
                Value::Array(list)
            }
            FieldType::Map(item) => {
                let names =
                    ["a", "b\"\\", "\u{1}ü"].into_iter().filter(|_| random.random_bool(0.5)).collect::<Vec<_>>();
                names.into_iter().map(|name| (name.to_owned(), made(item, depth, random))).collect()
            }
            FieldType::Open => json!({"open": {"deep": 1}, "list": [1]}),
            _ => [json!("a"), json!(1), json!(true)].choose(random).unwrap().clone(),
        }
    }

    fn made_struct(ty: &Type, depth: usize, random: &mut StdRng) -> Value {
        let mut object = Object::new();
        for (name, field) in &ty.fields {
            let wanted = if field.map_keys.is_empty() && depth > 1 { 0.2 } else { 0.5 };
            if depth < 7 && random.random_bool(wanted) {
                object.insert((*name).to_owned(), made(&field.ty, depth + 1, random));
            }
        }
        if random.random_bool(0.1) {
            object.insert("unknown".to_owned(), json!({"a": 1}));
        }
        Value::Object(object)
    }

    proptest! {
        #[test]
        fn it_is_what_a_comparison_with_nothing_finds(seed in any::<u64>()) {
            const TYPES: [&str; 5] = [
                "core/v1.Pod", "core/v1.Service", "apps/v1.Deployment", "core/v1.ConfigMap",
                "apiextensions/v1.CustomResourceDefinition",
            ];
            let mut random = StdRng::seed_from_u64(seed);
            let ty = TypeTable::builtin().ty(TYPES.choose(&mut random).unwrap()).unwrap();
            let new = made_struct(ty, 0, &mut random);
            let mut reset = Set::default();
            for path in ["status", "metadata.labels", "spec.template.metadata"] {
                if random.random_bool(0.5) {
                    reset.unite(&Set::path(path));
                }
            }
            let mut compared = compare::changes(&json!({}), &new, ty).set;
            compared.cut(&reset);
            compared.remove_system_fields();
            let expected = compared.into_fields();
            let mut text = Vec::new();
            prop_assert_eq!(write_fields(&new, ty, &reset, &mut text), !expected.is_empty());
            let expected = if expected.is_empty() { String::new() } else { Value::Object(expected).to_string() };
            prop_assert_eq!(String::from_utf8(text).unwrap(), expected, "{}", new);
        }
    }
}
