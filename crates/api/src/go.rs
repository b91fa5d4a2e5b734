//! Values as Go prints them, which some of upstream's messages show.

use crate::Value;

/// A value as Go prints it with `%+v`: `map[a:1 b:[x y]]`.
#[must_use]
pub fn shown(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(list) => format!("[{}]", list.iter().map(shown).collect::<Vec<_>>().join(" ")),
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_by_key(|(key, _)| *key);
            let entries: Vec<_> = entries.into_iter().map(|(key, value)| format!("{key}:{}", shown(value))).collect();
            format!("map[{}]", entries.join(" "))
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_shown_as_go_shows_them() {
        let cases = [
            (json!({"b": [1, "x", null], "a": {"c": true}}), "map[a:map[c:true] b:[1 x <nil>]]"),
            (json!({}), "map[]"),
            (json!({"a": 1.5}), "map[a:1.5]"),
        ];
        for (value, expected) in cases {
            assert_eq!(shown(&value), expected);
        }
    }
}
