//! Which zero values version 3 states as the defaults of fields.

use std::collections::HashMap;

const ZEROS: &str = include_str!("../../facts/zeros.tsv");

/// Fields, by the name of their type (`core/v1.Container`) and their own, that say otherwise than the rule for all.
pub(super) struct Zeros(HashMap<(&'static str, &'static str), bool>);

impl Zeros {
    pub(super) fn read() -> Self {
        let mut found = HashMap::new();
        for line in ZEROS.lines().skip(1).filter(|line| !line.starts_with('#')) {
            let mut cells = line.split('\t');
            let ty = cells.next().unwrap_or_default();
            for (fields, stated) in cells.zip([true, false]) {
                found.extend(fields.split_whitespace().map(|field| ((ty, field), stated)));
            }
        }
        Self(found)
    }

    /// Whether the zero of a field is stated; nothing where the rule for all fields of its kind says it.
    pub(super) fn is_stated(&self, ty: &'static str, field: &'static str) -> Option<bool> {
        self.0.get(&(ty, field)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::{FieldType, TypeTable};

    #[test]
    fn the_table_names_structs_and_text() {
        let table = TypeTable::builtin();
        for (&(ty, name), &stated) in &Zeros::read().0 {
            let field = table.ty(ty).and_then(|ty| ty.fields.get(name)).unwrap_or_else(|| panic!("{ty} {name}"));
            match field.ty {
                FieldType::Struct(_) => assert!(stated, "{ty} {name}"),
                FieldType::String => assert_ne!(stated, field.required, "{ty} {name} is as the rule has it"),
                _ => panic!("{ty} {name} is neither a struct nor text"),
            }
        }
    }
}
