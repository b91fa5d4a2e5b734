//! Ranges of sizes and costs, and the declared types that sizes are taken from.

use super::times;
use crate::types::Type;

/// At least and at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Estimate {
    /// At least.
    pub min: u64,
    /// At most; `u64::MAX` when there is no bound.
    pub max: u64,
}

/// Nothing is known.
pub(super) const UNKNOWN: Estimate = Estimate { min: 0, max: u64::MAX };

impl Estimate {
    pub(super) const fn exactly(n: u64) -> Self {
        Self { min: n, max: n }
    }

    pub(super) fn plus(self, other: Self) -> Self {
        Self { min: self.min.saturating_add(other.min), max: self.max.saturating_add(other.max) }
    }

    pub(super) fn product(self, other: Self) -> Self {
        Self { min: self.min.saturating_mul(other.min), max: self.max.saturating_mul(other.max) }
    }

    pub(super) fn times(self, factor: f64) -> Self {
        Self { min: times(self.min, factor), max: times(self.max, factor) }
    }

    /// The smallest range that both are in.
    pub(super) fn union(self, other: Self) -> Self {
        Self { min: self.min.min(other.min), max: self.max.max(other.max) }
    }
}

/// Sizes of what is in a list or map: keys (or indices) and values.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entries {
    pub list: bool,
    pub key: Estimate,
    pub value: Estimate,
}

impl Entries {
    pub(super) fn union(self, other: Self) -> Self {
        Self { list: self.list, key: self.key.union(other.key), value: self.value.union(other.value) }
    }
}

/// One step into a declared type.
pub(super) enum Step<'a> {
    Field(&'a str),
    Value,
    Key,
}

/// The declared type behind a step, with its bounds.
pub(super) fn step(ty: &Type, step: &Step<'_>) -> Option<Type> {
    match (ty.plain(), step) {
        (Type::Optional(of), _) => self::step(of, step),
        (Type::Object(object), Step::Field(name)) => object.fields.get(*name).map(|f| f.ty.clone()),
        (Type::List(element), Step::Value) => Some((**element).clone()),
        (Type::Map(_, value), Step::Value) => Some((**value).clone()),
        // Keys are not counted, as upstream.
        (Type::Map(..), Step::Key) => Some(Type::String.at_most(0)),
        _ => None,
    }
}

/// The size that values of a declared type have.
pub(super) fn declared_size(ty: &Type) -> Option<Estimate> {
    if let Some(max) = ty.max_elements() {
        return Some(Estimate { min: 0, max });
    }
    match ty.plain() {
        Type::String | Type::Bytes | Type::List(_) | Type::Map(..) | Type::Dyn => None,
        Type::Optional(of) => declared_size(of),
        _ => Some(Estimate::exactly(0)),
    }
}

/// The size of all values of a type, if it is one.
pub(super) fn fixed_size(ty: &Type) -> Option<Estimate> {
    match ty.plain() {
        Type::Bool | Type::Double | Type::Duration | Type::Int | Type::Timestamp | Type::Uint => {
            Some(Estimate::exactly(1))
        }
        Type::Optional(of) => fixed_size(of),
        _ => None,
    }
}
