//! Lists, maps and messages written out.

use super::Checker;
use super::unify::more_general;
use crate::ast::{Entry, Expr, FieldInit, Item};
use crate::types::Type;

impl Checker<'_> {
    pub(super) fn list(&mut self, items: &[Item]) -> Type {
        let mut joined = None;
        for item in items {
            self.check(&item.value);
            let ty = self.unwrapped(&item.value, item.optional);
            joined = Some(self.join(joined, ty));
        }
        Type::list(joined.unwrap_or_else(|| self.variables.fresh()))
    }

    pub(super) fn map(&mut self, entries: &[Entry]) -> Type {
        let (mut keys, mut values) = (None, None);
        for entry in entries {
            self.check(&entry.key);
            let key = self.type_of(&entry.key);
            keys = Some(self.join(keys, key));
            self.check(&entry.value);
            let value = self.unwrapped(&entry.value, entry.optional);
            values = Some(self.join(values, value));
        }
        let keys = keys.unwrap_or_else(|| self.variables.fresh());
        let values = values.unwrap_or_else(|| self.variables.fresh());
        Type::map(keys, values)
    }

    /// The type of an element; of an optional one what it may hold.
    fn unwrapped(&mut self, expr: &Expr, optional: bool) -> Type {
        let ty = self.type_of(expr);
        if !optional {
            return ty;
        }
        match ty {
            Type::Optional(of) => (*of).clone(),
            Type::Dyn | Type::Error => Type::Dyn,
            other => {
                self.issue(expr.at, format!("expected type 'optional_type({other})' but found '{other}'"));
                Type::Error
            }
        }
    }

    /// The type of elements of both types: `dyn` when they have none in common, which is refused later where it is not meant.
    fn join(&mut self, former: Option<Type>, ty: Type) -> Type {
        match former {
            None => ty,
            Some(former) if self.variables.assignable(&former, &ty) => more_general(&former, &ty),
            Some(_) => Type::Dyn,
        }
    }

    pub(super) fn message(&mut self, at: u32, name: &str, fields: &[FieldInit]) -> Type {
        let plain = name.trim_start_matches('.');
        let object = match self.environment.type_named(plain) {
            Some(Type::Object(object)) => Some(object),
            Some(other) => {
                self.issue(at, format!("'{other}' is not a message type"));
                None
            }
            None => {
                self.undeclared(at, plain);
                None
            }
        };
        for field in fields {
            self.check(&field.value);
            let ty = self.unwrapped(&field.value, field.optional);
            let Some(object) = &object else { continue };
            let wanted = match object.fields.get(&*field.name) {
                Some(field) => field.ty.plain().clone(),
                None if object.open => Type::Dyn,
                None => {
                    self.issue(field.at, format!("undefined field '{}'", field.name));
                    continue;
                }
            };
            if !self.variables.assignable(&ty, &wanted) {
                let message =
                    format!("expected type of field '{}' is '{wanted}' but provided type is '{ty}'", field.name);
                self.issue(field.at, message);
            }
        }
        object.map_or(Type::Error, Type::Object)
    }
}
