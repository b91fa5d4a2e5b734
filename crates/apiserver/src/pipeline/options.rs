//! DeleteOptions: from a body or the query.

use gantry_api::field::{Error, Path};
use gantry_api::status::Status;
use gantry_api::{Value, decode as api_decode, value};

use crate::request::{Format, Payload};

/// What becomes of dependents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Propagation {
    Background,
    Foreground,
    Orphan,
}

impl Propagation {
    /// What the older `orphanDependents` means.
    pub(crate) fn orphan(orphan: bool) -> Self {
        if orphan { Self::Orphan } else { Self::Background }
    }
}

/// What asks for a deletion.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum By {
    /// A DELETE of the object.
    #[default]
    Name,
    /// A DELETE of the list that it is in.
    Collection,
    /// The server, for a request that was admitted as such: an eviction, or the end of what the object belongs to.
    Server,
}

/// How to delete.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct DeleteOptions {
    pub(crate) grace_period_seconds: Option<i64>,
    pub(crate) propagation: Option<Propagation>,
    /// Whether the client asked for dependents to go in the older way: it is told then if the object is still to go.
    pub(crate) cascades: bool,
    pub(crate) uid: Option<String>,
    pub(crate) resource_version: Option<String>,
    pub(crate) dry_run: bool,
    pub(crate) by: By,
}

impl DeleteOptions {
    /// Reads the object.
    ///
    /// # Errors
    /// 400 and 422 in upstream's words.
    pub(crate) fn from_value(options: &Value) -> Result<Self, Status> {
        let mut found = Self {
            grace_period_seconds: value::i64_at(options, "gracePeriodSeconds"),
            uid: value::str_at(options, "preconditions.uid").map(str::to_owned),
            resource_version: value::str_at(options, "preconditions.resourceVersion").map(str::to_owned),
            ..Self::default()
        };
        let orphan = value::get(options, "orphanDependents").and_then(Value::as_bool);
        let policy = value::str_at(options, "propagationPolicy");
        let mut errors = Vec::new();
        if let (Some(_), Some(policy)) = (orphan, policy) {
            let detail = "orphanDependents and deletionPropagation cannot be both set";
            errors.push(Error::invalid(&Path::new("propagationPolicy"), policy, detail));
        }
        found.cascades = orphan == Some(false);
        found.propagation = match policy.map(propagation) {
            Some(Ok(policy)) => Some(policy),
            Some(Err(error)) => {
                errors.push(error);
                None
            }
            None => orphan.map(Propagation::orphan),
        };
        let wanted = value::list_at(options, "dryRun").iter().map(|v| v.as_str().unwrap_or_default().to_owned());
        match dry_run(&wanted.collect::<Vec<_>>()) {
            Ok(dry_run) => found.dry_run = dry_run,
            Err(error) => errors.push(error),
        }
        if !errors.is_empty() {
            return Err(Status::invalid("meta.k8s.io", "DeleteOptions", "", &errors));
        }
        Ok(found.checked())
    }

    fn checked(mut self) -> Self {
        // Upstream takes a negative period for the shortest that is not a kill.
        if self.grace_period_seconds.is_some_and(|g| g < 0) {
            self.grace_period_seconds = Some(1);
        }
        self
    }
}

/// Decodes a body: `DeleteOptions` of any group's version.
///
/// # Errors
/// 400 for broken text or another kind.
pub(crate) fn decode(payload: &Payload) -> Result<Value, Status> {
    let object = match payload.format {
        Format::Json => api_decode::json(&payload.bytes, false)?.0,
        Format::Yaml => api_decode::yaml(&payload.bytes)?.0,
        Format::Protobuf => api_decode::protobuf(&payload.bytes)?,
    };
    match value::str_at(&object, "kind") {
        None | Some("" | "DeleteOptions") => Ok(object),
        Some(kind) => {
            Err(Status::bad_request(format!("decoded object cannot be converted to DeleteOptions: it is a {kind}")))
        }
    }
}

/// Whether nothing is to be stored.
///
/// # Errors
/// For anything but `All`.
pub(crate) fn dry_run(wanted: &[String]) -> Result<bool, Error> {
    if wanted.iter().all(|w| w == "All") {
        return Ok(!wanted.is_empty());
    }
    Err(Error::not_supported(&Path::new("dryRun"), wanted.to_vec(), &["All"]))
}

fn propagation(text: &str) -> Result<Propagation, Error> {
    match text {
        "Background" => Ok(Propagation::Background),
        "Foreground" => Ok(Propagation::Foreground),
        "Orphan" => Ok(Propagation::Orphan),
        other => {
            let known = ["Foreground", "Background", "Orphan", "nil"];
            Err(Error::not_listed(&Path::new("propagationPolicy"), other, &known))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn options_are_read() {
        let options = DeleteOptions::from_value(&json!({
            "gracePeriodSeconds": -1, "propagationPolicy": "Foreground", "preconditions": {"uid": "u"}, "dryRun": ["All"],
        }))
        .expect("valid");
        assert_eq!(options.grace_period_seconds, Some(1));
        assert_eq!(options.propagation, Some(Propagation::Foreground));
        assert_eq!((options.uid.as_deref(), options.dry_run), (Some("u"), true));
        let orphan = DeleteOptions::from_value(&json!({"orphanDependents": true})).expect("valid");
        assert_eq!(orphan.propagation, Some(Propagation::Orphan));
    }

    #[test]
    fn contradictions_are_refused() {
        for bad in [
            json!({"orphanDependents": false, "propagationPolicy": "Orphan"}),
            json!({"propagationPolicy": "Sideways"}),
            json!({"dryRun": ["Some"]}),
        ] {
            assert_eq!(DeleteOptions::from_value(&bad).expect_err("refused").code, 422, "{bad}");
        }
    }
}
