//! A kind that somebody holds on to.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use super::{KindInfo, all};
use crate::custom::Definition;

/// A kind, for as long as this is held: a built-in one, which is always there, or one of a definition, which is counted and goes with
/// its schema once nobody holds it any more. Holding a built-in kind counts nothing (docs/adr/0006).
#[derive(Clone)]
pub struct Kind(Held);

#[derive(Clone)]
enum Held {
    Builtin(&'static KindInfo),
    /// The version at this place.
    Custom(Arc<Definition>, u16),
}

impl Kind {
    /// The definition that it belongs to, if one defines it.
    #[must_use]
    pub fn definition(&self) -> Option<&Arc<Definition>> {
        match &self.0 {
            Held::Builtin(_) => None,
            Held::Custom(definition, _) => Some(definition),
        }
    }
}

impl KindInfo {
    /// Holds on to the kind.
    #[must_use]
    pub fn held(&self) -> Kind {
        Kind(match &self.custom {
            Some(custom) => Held::Custom(custom.definition(), self.place),
            None => Held::Builtin(&all()[usize::from(self.place)]),
        })
    }
}

impl Deref for Kind {
    type Target = KindInfo;

    fn deref(&self) -> &KindInfo {
        match &self.0 {
            Held::Builtin(kind) => kind,
            Held::Custom(definition, place) => definition.at(*place),
        }
    }
}

impl From<&KindInfo> for Kind {
    fn from(kind: &KindInfo) -> Self {
        kind.held()
    }
}

impl From<&Self> for Kind {
    fn from(kind: &Self) -> Self {
        kind.clone()
    }
}

impl PartialEq for Kind {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl PartialEq<KindInfo> for Kind {
    fn eq(&self, other: &KindInfo) -> bool {
        **self == *other
    }
}

impl Eq for Kind {}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}
