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

/// All descriptions, by the names that schemas have in documents (`io.k8s.api.core.v1.Pod`).
pub(super) struct Descriptions {
    text: String,
    types: HashMap<String, Range<usize>>,
}

impl Descriptions {
    pub(super) fn unpack() -> Self {
        let mut text = String::new();
        DeflateDecoder::new(PACKED).read_to_string(&mut text).expect("the build script packed text");
        let mut types = HashMap::new();
        let mut start = 0;
        for record in text.split_terminator(END) {
            let name = record.split(CELL).next().unwrap_or_default();
            types.insert(name.to_owned(), start..start + record.len());
            start += record.len() + END.len_utf8();
        }
        Self { text, types }
    }

    /// What is said of a type.
    pub(super) fn of(&self, schema_name: &str) -> Described<'_> {
        let record = self.types.get(schema_name).and_then(|range| self.text.get(range.clone()));
        Described { cells: record.and_then(|r| r.split_once(CELL)).map_or("", |(_, cells)| cells) }
    }
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

    /// That of a field, where it has one.
    pub(super) fn field(self, name: &str) -> Option<&'a str> {
        let mut cells = self.cells.split(CELL);
        while let (Some(field), Some(text)) = (cells.next(), cells.next()) {
            if field == name && !text.is_empty() {
                return Some(text);
            }
        }
        None
    }
}
