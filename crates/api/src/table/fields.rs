//! The fields of a type: in order, and found by name at once.
//!
//! Every field of every object is looked up several times on its way into the store. A type has up to a hundred fields; a tree of
//! them costs five comparisons of strings, this one hash and one comparison.

use super::Field;

/// What stands in a place of the index that no field has.
const FREE: u16 = u16::MAX;

/// Fields by their JSON names.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Fields {
    /// By name, in byte order.
    sorted: Vec<(&'static str, Field)>,
    /// Positions in `sorted`, by hash; a power of two of them, at most half of them taken.
    index: Vec<u16>,
}

impl Fields {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sorted.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sorted.is_empty()
    }

    /// The field `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Field> {
        if self.index.is_empty() {
            // None, or more than the index can count.
            let at = self.sorted.binary_search_by_key(&name, |(known, _)| known).ok()?;
            return Some(&self.sorted[at].1);
        }
        let mut place = hash(name) & (self.index.len() - 1);
        loop {
            let (known, field) = self.sorted.get(usize::from(self.index[place]))?;
            if *known == name {
                return Some(field);
            }
            place = (place + 1) & (self.index.len() - 1);
        }
    }

    /// Whether there is a field `name`.
    #[must_use]
    pub fn contains_key(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Adds a field; one of the same name goes.
    pub fn insert(&mut self, name: &'static str, field: Field) {
        match self.sorted.binary_search_by_key(&name, |(known, _)| known) {
            Ok(at) => self.sorted[at].1 = field,
            Err(at) => self.sorted.insert(at, (name, field)),
        }
        self.count();
    }

    /// The names in byte order.
    pub fn keys(&self) -> impl DoubleEndedIterator<Item = &&'static str> {
        self.sorted.iter().map(|(name, _)| name)
    }

    /// The fields in the order of their names.
    pub fn values(&self) -> impl DoubleEndedIterator<Item = &Field> {
        self.sorted.iter().map(|(_, field)| field)
    }

    /// Names and fields in the order of the names.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&&'static str, &Field)> {
        self.sorted.iter().map(|(name, field)| (name, field))
    }

    /// Makes the index.
    fn count(&mut self) {
        let places = (self.sorted.len() * 2).next_power_of_two();
        self.index.clear();
        if self.sorted.is_empty() || self.sorted.len() >= usize::from(FREE) {
            return;
        }
        self.index.resize(places, FREE);
        for (at, (name, _)) in (0..FREE).zip(&self.sorted) {
            let mut place = hash(name) & (places - 1);
            while self.index[place] != FREE {
                place = (place + 1) & (places - 1);
            }
            self.index[place] = at;
        }
    }
}

/// Mixes length, beginning and end: names of one type differ there.
fn hash(name: &str) -> usize {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let bytes = name.as_bytes();
    let word = |part: &[u8]| part.iter().fold(0_u64, |word, byte| (word << 8) | u64::from(*byte));
    let (head, tail) = match (bytes.first_chunk::<8>(), bytes.last_chunk::<8>()) {
        (Some(head), Some(tail)) => (u64::from_le_bytes(*head), u64::from_le_bytes(*tail)),
        _ => (word(bytes), 0),
    };
    let mixed = (head ^ tail.rotate_left(23) ^ u64::try_from(bytes.len()).unwrap_or(0)).wrapping_mul(ODD);
    // The upper half is mixed best.
    usize::try_from(mixed >> 32).unwrap_or(0)
}

impl FromIterator<(&'static str, Field)> for Fields {
    fn from_iter<I: IntoIterator<Item = (&'static str, Field)>>(fields: I) -> Self {
        let sorted: std::collections::BTreeMap<&'static str, Field> = fields.into_iter().collect();
        let mut fields = Self { sorted: sorted.into_iter().collect(), index: Vec::new() };
        fields.count();
        fields
    }
}

impl std::ops::Index<&str> for Fields {
    type Output = Field;

    fn index(&self, name: &str) -> &Field {
        self.get(name).unwrap_or_else(|| panic!("no field {name:?}"))
    }
}

impl<'f> IntoIterator for &'f Fields {
    type Item = (&'f &'static str, &'f Field);
    type IntoIter = std::iter::Map<
        std::slice::Iter<'f, (&'static str, Field)>,
        fn(&'f (&'static str, Field)) -> (&'f &'static str, &'f Field),
    >;

    fn into_iter(self) -> Self::IntoIter {
        self.sorted.iter().map(|(name, field)| (name, field))
    }
}

#[cfg(test)]
mod tests {
    use super::super::TypeTable;
    use super::*;

    #[test]
    fn every_field_is_found_and_nothing_else() {
        for ty in TypeTable::builtin().types() {
            let found: Vec<&str> = ty.fields.keys().copied().filter(|name| ty.fields.get(name).is_some()).collect();
            assert_eq!(found.len(), ty.fields.len(), "{}", ty.name);
            assert!(found.is_sorted() && found.iter().all(|name| ty.fields[*name].name == *name), "{}", ty.name);
            for absent in ["", "x", "metadatum", "containerx", "a name that is longer than most"] {
                assert_eq!(ty.fields.get(absent), None, "{} {absent:?}", ty.name);
            }
        }
        assert_eq!(Fields::default().get("name"), None);
    }

    #[test]
    fn a_field_replaces_the_one_of_its_name() {
        let field = |json: &str| TypeTable::builtin().ty("core/v1.Pod").unwrap().fields[json].clone();
        let mut fields: Fields = [("spec", field("spec")), ("kind", field("kind"))].into_iter().collect();
        fields.insert("kind", field("status"));
        fields.insert("apiVersion", field("apiVersion"));
        assert_eq!(fields.keys().copied().collect::<Vec<_>>(), ["apiVersion", "kind", "spec"]);
        assert_eq!((fields["kind"].name, fields.len()), ("status", 3));
    }
}
