//! What objects were found to use, so that a quota is not worked out from the start with each change.

use std::{collections::BTreeMap, sync::Arc};

use gantry_api::{
    Value,
    kinds::KindInfo,
    quota::{self, Tally, Usage},
};
use gantry_client::{Key, Object, Reader};

use super::is_fleeting;

struct Part {
    uid: String,
    revision: u64,
    usage: Usage,
}

/// The parts of one quota, by kind and object.
#[derive(Default)]
pub(super) struct Memo {
    spec: Value,
    kinds: BTreeMap<&'static str, BTreeMap<Key, Part>>,
}

impl Memo {
    /// Forgets what was found for another spec.
    pub(super) fn begin(&mut self, spec: &Value) {
        if self.spec != *spec {
            self.spec = spec.clone();
            self.kinds.clear();
        }
    }

    /// What the objects of a namespace use, and the revision up to which they are known; nothing while they are not.
    pub(super) fn count<K: Object>(
        &mut self,
        tally: &Tally<'_>,
        kind: &KindInfo,
        reader: &Reader<K>,
        namespace: &str,
        now: i64,
    ) -> Option<(Usage, u64)> {
        let revision = Some(reader.revision()).filter(|_| reader.is_synced())?;
        Some((self.sum(tally, kind, &reader.in_namespace(namespace), now), revision))
    }

    /// What the objects use, all of the kind that there are.
    pub(super) fn sum<K: Object>(&mut self, tally: &Tally<'_>, kind: &KindInfo, objects: &[Arc<K>], now: i64) -> Usage {
        let mut known = self.kinds.remove(kind.type_name.as_str()).unwrap_or_default();
        let mut parts = BTreeMap::new();
        let mut sum = Usage::new();
        for object in objects {
            let key = object.key();
            let same = |p: &Part| p.uid == object.uid() && p.revision == object.revision() && !is_fleeting(&**object);
            let part = known.remove(&key).filter(same).unwrap_or_else(|| {
                let value = serde_json::to_value(&**object).unwrap_or_default();
                Part { uid: object.uid().to_owned(), revision: object.revision(), usage: tally.of(kind, &value, now) }
            });
            quota::add(&mut sum, &part.usage);
            parts.insert(key, part);
        }
        self.kinds.insert(kind.name(), parts);
        sum
    }
}
