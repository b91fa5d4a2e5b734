//! The descriptions of the built-in types and fields, as upstream words them.
//!
//! The build script packs them (see `build.rs`); they are unpacked while documents are made, and dropped afterwards.

use std::collections::HashMap;
use std::io::Read as _;
use std::ops::Range;

use flate2::read::DeflateDecoder;

const PACKED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptions.deflate"));
/// Between the cells of a type, and behind a type; as the build script writes them.
const CELL: char = '\u{1f}';
const END: char = '\u{1e}';

/// A kind whose fields `apiVersion` and `kind` are described as those of every kind are.
pub(super) const ANY_KIND: &str = "io.k8s.api.core.v1.Pod";

/// All descriptions, by the names that schemas have in documents (`io.k8s.api.core.v1.Pod`).
pub(super) struct Descriptions {
    text: String,
    types: HashMap<String, Range<usize>>,
}

impl Descriptions {
    pub(super) fn unpack() -> Self {
        let mut text = String::new();
        DeflateDecoder::new(PACKED).read_to_string(&mut text).expect("the build script packed text");
        Self { types: index(&text), text }
    }

    /// What is said of a type.
    pub(super) fn of(&self, schema_name: &str) -> Described<'_> {
        let record = self.types.get(schema_name).and_then(|range| self.text.get(range.clone()));
        Described { cells: record.and_then(|r| r.split_once(CELL)).map_or("", |(_, cells)| cells) }
    }
}

/// Where the record of each type is.
fn index(text: &str) -> HashMap<String, Range<usize>> {
    let mut types = HashMap::new();
    let mut start = 0;
    for record in text.split_terminator(END) {
        let name = record.split(CELL).next().unwrap_or_default();
        types.insert(name.to_owned(), start..start + record.len());
        start += record.len() + END.len_utf8();
    }
    types
}

/// The descriptions of one type and its fields.
#[derive(Clone, Copy)]
pub(super) struct Described<'a> {
    cells: &'a str,
}

impl<'a> Described<'a> {
    /// The type's own, where it has one.
    pub(super) fn own(self) -> Option<&'a str> {
        self.field("")
    }

    /// That of a field, where it has one. The names of messages' fields tell no acronyms (`insecureSkipTlsVerifyBackend`).
    pub(super) fn field(self, name: &str) -> Option<&'a str> {
        let mut cells = self.cells.split(CELL);
        while let (Some(field), Some(text)) = (cells.next(), cells.next()) {
            if field.eq_ignore_ascii_case(name) && !text.is_empty() {
                return Some(text);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::Column;

    #[test]
    fn types_and_fields_are_found() {
        let all = Descriptions::unpack();
        let check = |ty: &str, field: &str, start: &str| {
            let text = all.of(ty).field(field).unwrap_or_default();
            assert!(text.starts_with(start), "{ty} {field}: {text:?}");
        };
        check("io.k8s.api.core.v1.Container", "", "A single application container");
        check("io.k8s.api.core.v1.Container", "image", "Container image name.");
        check("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta", "uid", "UID is the unique in time");
        check("io.k8s.metrics.pkg.apis.metrics.v1beta1.PodMetrics", "containers", "Metrics for all containers");
        check("io.k8s.metrics.pkg.apis.metrics.v1beta1.PodMetrics", "apiVersion", "APIVersion defines");
        check("io.k8s.api.core.v1.PodList", "items", "List of pods. More info: https://git.k8s.io/");
        check("io.k8s.api.core.v1.PodList", "kind", "Kind is a string value");
        check("io.k8s.api.admissionregistration.v1.MutatingAdmissionPolicyList", "", "MutatingAdmissionPolicyList is");
        check(
            "io.k8s.api.core.v1.PodLogOptions",
            "insecureSkipTLSVerifyBackend",
            "insecureSkipTLSVerifyBackend indicates",
        );
        let metadata = all.of("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta");
        assert_eq!(metadata.field("name"), Some(Column::NAME_TEXT), "tables say the same");
        assert_eq!(metadata.field("creationTimestamp"), Some(Column::CREATED_TEXT));
        assert_eq!(all.of("io.k8s.api.core.v1.Container").field("nothing"), None);
        assert_eq!(all.of("io.k8s.api.core.v1.Nothing").own(), None);
    }
}
