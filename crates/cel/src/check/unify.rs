//! Which type may stand where another is expected, and what that says about type variables.

use crate::types::Type;

/// What is known of the type variables.
#[derive(Default)]
pub(super) struct Variables {
    bound: Vec<Option<Type>>,
    /// Former values, to take a failed attempt back.
    trail: Vec<(u32, Option<Type>)>,
}

impl Variables {
    pub(super) fn fresh(&mut self) -> Type {
        self.bound.push(None);
        Type::Param(self.bound.len() as u32 - 1)
    }

    fn get(&self, id: u32) -> Option<&Type> {
        self.bound.get(id as usize).and_then(Option::as_ref)
    }

    fn set(&mut self, id: u32, ty: Type) {
        let Some(slot) = self.bound.get_mut(id as usize) else { return };
        self.trail.push((id, slot.replace(ty)));
    }

    /// Whether each of `given` may stand for the one of `wanted` at its place. If not, nothing is changed.
    pub(super) fn assignable_all(&mut self, given: &[Type], wanted: &[Type]) -> bool {
        self.trail.clear();
        let fits = given.len() == wanted.len() && given.iter().zip(wanted).all(|(g, w)| self.assign(g, w));
        if !fits {
            while let Some((id, former)) = self.trail.pop() {
                self.bound[id as usize] = former;
            }
        }
        fits
    }

    pub(super) fn assignable(&mut self, given: &Type, wanted: &Type) -> bool {
        self.assignable_all(std::slice::from_ref(given), std::slice::from_ref(wanted))
    }

    fn assign(&mut self, given: &Type, wanted: &Type) -> bool {
        let (given, wanted) = (given.plain(), wanted.plain());
        if let (Type::Param(a), Type::Param(b)) = (given, wanted)
            && a == b
        {
            return true;
        }
        if let Type::Param(id) = wanted {
            if let Some(known) = self.get(*id).cloned() {
                return self.widen(*id, given, &known);
            }
            if self.absent(*id, given) {
                self.set(*id, given.clone());
                return true;
            }
        }
        if let Type::Param(id) = given {
            return match self.get(*id).cloned() {
                Some(known) => self.widen(*id, wanted, &known),
                None if self.absent(*id, wanted) => {
                    self.set(*id, wanted.clone());
                    true
                }
                None => false,
            };
        }
        if given.is_dyn() || wanted.is_dyn() {
            return true;
        }
        match (given, wanted) {
            (Type::Null, other) => matches!(
                other,
                Type::Null | Type::Object(_) | Type::Opaque(_) | Type::Optional(_) | Type::Timestamp | Type::Duration
            ),
            (Type::List(a), Type::List(b)) | (Type::Optional(a), Type::Optional(b)) => self.assign(a, b),
            (Type::Map(ak, av), Type::Map(bk, bv)) => self.assign(ak, bk) && self.assign(av, bv),
            (Type::Type(_), Type::Type(_)) => true,
            (a, b) => a == b,
        }
    }

    /// Fits a type to what a variable already stands for; the more general of both remains.
    fn widen(&mut self, id: u32, other: &Type, known: &Type) -> bool {
        if other == known {
            return true;
        }
        if !self.assign(other, known) {
            return false;
        }
        let general = more_general(other, known);
        if general != *known {
            self.set(id, general);
        }
        true
    }

    /// Whether the variable does not stand within the type, so that it may stand for it.
    fn absent(&self, id: u32, within: &Type) -> bool {
        match within.plain() {
            Type::Param(other) if *other == id => false,
            Type::Param(other) => self.get(*other).is_none_or(|t| self.absent(id, t)),
            Type::List(a) | Type::Optional(a) | Type::Type(Some(a)) => self.absent(id, a),
            Type::Map(k, v) => self.absent(id, k) && self.absent(id, v),
            _ => true,
        }
    }

    /// The type with all that is known of its variables put in; the unknown ones become `dyn` if asked.
    pub(super) fn resolve(&self, ty: &Type, unknown_to_dyn: bool) -> Type {
        let inner = |t: &Type| self.resolve(t, unknown_to_dyn);
        match ty.plain() {
            Type::Param(id) => match self.get(*id) {
                Some(known) => inner(known),
                None if unknown_to_dyn => Type::Dyn,
                None => Type::Param(*id),
            },
            Type::List(a) => Type::list(inner(a)),
            Type::Optional(a) => Type::optional(inner(a)),
            Type::Map(k, v) => Type::map(inner(k), inner(v)),
            Type::Type(Some(a)) => Type::Type(Some(inner(a).into())),
            other => other.clone(),
        }
    }
}

/// Of two types that fit each other the one that says less.
pub(super) fn more_general(a: &Type, b: &Type) -> Type {
    if less_specific(a, b) { a.clone() } else { b.clone() }
}

fn less_specific(a: &Type, b: &Type) -> bool {
    let (a, b) = (a.plain(), b.plain());
    if a.is_dyn() || matches!(a, Type::Param(_)) {
        return true;
    }
    if b.is_dyn() || matches!(b, Type::Param(_)) {
        return false;
    }
    match (a, b) {
        (Type::List(a), Type::List(b)) | (Type::Optional(a), Type::Optional(b)) => less_specific(a, b),
        (Type::Map(ak, av), Type::Map(bk, bv)) => less_specific(ak, bk) && less_specific(av, bv),
        (a, b) => a == b,
    }
}
