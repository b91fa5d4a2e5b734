//! Query parameters.

use std::collections::HashMap;
use std::num::IntErrorKind;

use gantry_api::go::quoted;
use gantry_api::status::Status;
use percent_encoding::percent_decode_str;

/// The parameters of a URL, decoded; the first of a repeated one counts, except in [`Query::all`].
#[derive(Debug, Default)]
pub(crate) struct Query(HashMap<String, Vec<String>>);

fn decode(text: &str) -> String {
    let spaced = text.replace('+', " ");
    percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
}

impl Query {
    /// Reads the part of a URL after `?`.
    pub(crate) fn parse(query: &str) -> Self {
        let mut map: HashMap<String, Vec<String>> = HashMap::new();
        for pair in query.split('&').filter(|p| !p.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            map.entry(decode(key)).or_default().push(decode(value));
        }
        Self(map)
    }

    /// A parameter, `""` where it is absent.
    pub(crate) fn get(&self, name: &str) -> &str {
        self.0.get(name).and_then(|v| v.first()).map_or("", String::as_str)
    }

    /// Whether the parameter was given at all.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// All values of a repeated parameter.
    pub(crate) fn all(&self, name: &str) -> &[String] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }

    /// A boolean as upstream reads it: `0` and `false` in any case are false, whatever else is given (nothing, too) is true.
    pub(crate) fn flag(&self, name: &str) -> bool {
        self.0.get(name).and_then(|v| v.first()).is_some_and(|v| v != "0" && !v.eq_ignore_ascii_case("false"))
    }

    /// A number.
    ///
    /// # Errors
    /// 400 when it is not one.
    pub(crate) fn number(&self, name: &str) -> Result<Option<i64>, Status> {
        match self.get(name) {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|error: std::num::ParseIntError| {
                let why = match error.kind() {
                    IntErrorKind::PosOverflow | IntErrorKind::NegOverflow => "value out of range",
                    _ => "invalid syntax",
                };
                Status::bad_request(format!("strconv.ParseInt: parsing {}: {why}", quoted(text)))
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded() {
        let query =
            Query::parse("labelSelector=a%3Db%2Cc+in+%28d%29&watch&pretty=false&limit=x&dryRun=All&dryRun=None");
        assert_eq!(query.get("labelSelector"), "a=b,c in (d)");
        assert!(query.flag("watch") && !query.flag("pretty") && !query.flag("absent"));
        let watch = |text: &str| Query::parse(&format!("watch={text}")).flag("watch");
        assert!(
            ["", "1", "true", "F", "f", "no"].into_iter().all(watch) && !["0", "false", "FALSE"].into_iter().any(watch)
        );
        let message = |text: &str| Query::parse(&format!("limit={text}")).number("limit").map_err(|s| s.message);
        assert_eq!(message("x"), Err("strconv.ParseInt: parsing \"x\": invalid syntax".to_owned()));
        let large = "9223372036854775808";
        assert_eq!(message(large), Err(format!("strconv.ParseInt: parsing \"{large}\": value out of range")));
        assert_eq!(message("-5"), Ok(Some(-5)));
        assert_eq!(query.number("timeoutSeconds"), Ok(None));
        assert_eq!(query.all("dryRun").len(), 2);
    }
}
