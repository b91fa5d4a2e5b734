//! The containers of a pod, all three sorts of them: who checks or collects something per container asks here, so that no
//! sort is forgotten.

use crate::Value;

/// The sorts of containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    /// `spec.initContainers`.
    Init,
    /// `spec.containers`.
    Regular,
    /// `spec.ephemeralContainers`.
    Ephemeral,
}

impl Sort {
    /// All of them, in the order in which they start.
    pub const ALL: [Self; 3] = [Self::Init, Self::Regular, Self::Ephemeral];

    /// The list in a pod's spec.
    #[must_use]
    pub fn field(self) -> &'static str {
        match self {
            Self::Init => "initContainers",
            Self::Regular => "containers",
            Self::Ephemeral => "ephemeralContainers",
        }
    }

    /// As messages name it.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Init => "init container",
            Self::Regular => "container",
            Self::Ephemeral => "ephemeral container",
        }
    }
}

/// Every container of a pod's spec.
pub fn all(spec: &Value) -> impl Iterator<Item = (Sort, &Value)> {
    Sort::ALL.into_iter().flat_map(move |sort| of(spec, sort).iter().map(move |container| (sort, container)))
}

/// The containers of one sort.
#[must_use]
pub fn of(spec: &Value, sort: Sort) -> &[Value] {
    spec.get(sort.field()).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn no_sort_is_left_out() {
        let spec = json!({"containers": [{"name": "a"}, {"name": "b"}], "initContainers": [{"name": "i"}],
            "ephemeralContainers": [{"name": "e"}]});
        let found: Vec<String> = all(&spec).map(|(sort, c)| format!("{} {}", sort.words(), c["name"])).collect();
        assert_eq!(found, ["init container \"i\"", "container \"a\"", "container \"b\"", "ephemeral container \"e\""]);
        assert_eq!(all(&json!({"containers": null})).count(), 0);
    }
}
