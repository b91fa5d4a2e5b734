//! Label and field selectors: what is read can be printed and read again, and chooses the same.

use std::collections::BTreeMap;

use gantry_api::selector::{FieldSelector, LabelSelector};

use crate::body;

pub(crate) fn run(data: &[u8]) {
    let Some((choice, bytes)) = data.split_first() else { return };
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(selector) = LabelSelector::parse(text) {
        let printed = selector.to_string();
        let again = LabelSelector::parse(&printed).unwrap_or_else(|e| panic!("{printed:?} of {text:?}: {e}"));
        for labels in [&[][..], &[("a", "b")], &[("a", ""), ("b", "3")], &[("x", "y"), ("a", "c")]] {
            let labels: BTreeMap<String, String> =
                labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            assert_eq!(selector.matches(&labels), again.matches(&labels), "{text:?} and {printed:?}");
        }
    }
    if let Ok(mut selector) = FieldSelector::parse(text) {
        let _ = selector.check(body::kind(*choice));
        let _ = selector.matches(|_| Some("a"));
        assert_eq!(selector.is_everything(), selector.terms().is_empty());
    }
}
