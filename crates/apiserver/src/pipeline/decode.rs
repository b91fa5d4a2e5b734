//! From a body to an object of the right kind, with what is wrong with its fields.

use gantry_api::kinds::{self, KindInfo};
use gantry_api::status::Status;
use gantry_api::table::TypeRef;
use gantry_api::{Object, Value, decode, field, managed, value};

use crate::request::{FieldValidation, Format, Payload};

/// What the body must be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Expected<'a> {
    pub(crate) group: &'a str,
    pub(crate) version: &'a str,
    pub(crate) kind: &'a str,
    /// The type.
    pub(crate) ty: TypeRef<'a>,
}

impl<'a> Expected<'a> {
    pub(crate) fn of(kind: &'a KindInfo) -> Self {
        Self { group: kind.group, version: kind.version, kind: kind.kind, ty: kind.into() }
    }

    pub(crate) fn api_version(&self) -> String {
        kinds::api_version(self.group, self.version)
    }
}

/// A decoded body.
#[derive(Debug)]
pub(crate) struct Decoded {
    pub(crate) object: Value,
    pub(crate) warnings: Vec<String>,
}

fn parse(payload: &Payload, custom: bool) -> Result<(Value, Vec<String>), Status> {
    match payload.format {
        Format::Json => decode::json(&payload.bytes, true),
        Format::Yaml => {
            let (value, duplicates) = decode::yaml(&payload.bytes).or_else(|_| decode::yaml_lenient(&payload.bytes))?;
            Ok((value, as_yaml_error(&duplicates).into_iter().collect()))
        }
        Format::Protobuf if custom => Err(Status::unsupported_media_type("application/json, application/yaml")),
        Format::Protobuf => Ok((decode::protobuf(&payload.bytes)?, Vec::new())),
    }
}

/// Keys that stand twice, as upstream's reader of YAML complains of them.
fn as_yaml_error(duplicates: &[String]) -> Option<String> {
    (!duplicates.is_empty()).then(|| format!("yaml: unmarshal errors:\n  {}", duplicates.join("\n  ")))
}

/// Upstream's head of every decoding error.
fn cannot_be_handled(found: (&str, &str), expected: &str, why: &str) -> Status {
    Status::bad_request(format!("{} in version {:?} cannot be handled as a {expected}: {why}", found.0, found.1))
}

/// Upstream's words for a body that does not even say what it is, with its beginning.
fn unrecognized(expected: Expected<'_>, body: &[u8], why: &Status) -> Status {
    const SHOWN_BYTES: usize = 30;
    let head = &body[..body.len().min(SHOWN_BYTES)];
    let more = if body.len() > SHOWN_BYTES { " ..." } else { "" };
    let shown = match head.first() {
        None => "<empty>".to_owned(),
        Some(b'{') => String::from_utf8_lossy(head).into_owned(),
        Some(_) => head.iter().map(|b| format!("{b:02x}")).collect(),
    };
    Status::bad_request(format!(
        "the object provided is unrecognized (must be of type {}): {} ({shown}{more})",
        expected.kind, why.message
    ))
}

/// What upstream says of JSON that is no object: its first look is for kind and version.
fn no_object(found: &Value) -> Status {
    let go = r#"struct { APIVersion string "json:\"apiVersion,omitempty\""; Kind string "json:\"kind,omitempty\"" }"#;
    let found = value::go_json_type(found);
    Status::bad_request(format!(
        "couldn't get version/kind; json parse error: json: cannot unmarshal {found} into Go value of type {go}"
    ))
}

/// Decodes a body, fills in kind and apiVersion (not those of custom kinds), and drops what the type does not have.
///
/// # Errors
/// 400 for broken text, another kind (422 where that is custom), a wrong JSON type, and, where fields are validated strictly, an unknown or
/// duplicate field.
pub(crate) fn object(
    payload: &Payload,
    expected: Expected<'_>,
    validation: FieldValidation,
) -> Result<Decoded, Status> {
    object_or(payload, expected, "", validation)
}

/// As [`object`], where old clients may send an earlier `apiVersion` of the same shape.
pub(crate) fn object_or(
    payload: &Payload,
    expected: Expected<'_>,
    earlier: &str,
    validation: FieldValidation,
) -> Result<Decoded, Status> {
    let custom = matches!(expected.ty, TypeRef::Type(ty) if ty.is_custom());
    let (mut object, mut problems) = parse(payload, custom)
        .map_err(|status| if custom { status } else { unrecognized(expected, &payload.bytes, &status) })?;
    if !earlier.is_empty() && value::str_at(&object, "apiVersion") == Some(earlier) {
        value::set(&mut object, "apiVersion", expected.api_version());
    }
    // Go reads null into anything, and leaves that as it was.
    if object.is_null() {
        object = Value::Object(Object::new());
    }
    if !object.is_object() {
        let status = no_object(&object);
        return Err(if custom { status } else { unrecognized(expected, &payload.bytes, &status) });
    }
    let is_named = settle_api_version(&mut object);
    if custom {
        check_custom_kind(&object, is_named, expected, payload, validation)?;
    } else if !is_named {
        let why = malformed(value::str_at(&object, "apiVersion").unwrap_or_default());
        return Err(unrecognized(expected, &payload.bytes, &Status::bad_request(why)));
    }
    check_kind(&mut object, expected)?;
    managed::keep_reset(&mut object);
    problems.extend(decode::conform(&mut object, expected.ty)?);
    if payload.format == Format::Json && !custom {
        problems = decode::in_order(&payload.bytes, problems);
    }
    let warnings = judge(problems, validation)
        .map_err(|why| cannot_be_handled((expected.kind, expected.version), expected.kind, &why))?;
    Ok(Decoded { object, warnings })
}

/// What to do about unknown and duplicate fields: warnings, or the text of a strict refusal.
pub(crate) fn judge(problems: Vec<String>, validation: FieldValidation) -> Result<Vec<String>, String> {
    match validation {
        FieldValidation::Ignore => Ok(Vec::new()),
        FieldValidation::Warn => Ok(problems),
        FieldValidation::Strict if problems.is_empty() => Ok(problems),
        FieldValidation::Strict => Err(format!("strict decoding error: {}", problems.join(", "))),
    }
}

/// What upstream says of an object without a kind, which it cannot make up for custom ones.
pub(super) fn kind_missing(shown: &str) -> String {
    format!("Object 'Kind' is missing in '{shown}'")
}

/// Puts an `apiVersion` into its plain form; whether it is one.
pub(super) fn settle_api_version(object: &mut Value) -> bool {
    let Some(given) = value::str_at(object, "apiVersion") else { return true };
    let Some(plain) = kinds::read_api_version(given) else { return false };
    if plain.len() < given.len() {
        let plain = plain.to_owned();
        value::set(object, "apiVersion", plain);
    }
    true
}

/// What upstream says of an `apiVersion` with more than one slash.
fn malformed(api_version: &str) -> String {
    format!("unexpected GroupVersion string: {api_version}")
}

/// Objects of custom kinds must say what they are, in upstream's three ways of saying so. Without a version that can be read
/// (`is_named`) they do not.
fn check_custom_kind(
    object: &Value,
    is_named: bool,
    expected: Expected<'_>,
    payload: &Payload,
    validation: FieldValidation,
) -> Result<(), Status> {
    let api_version = value::str_at(object, "apiVersion").unwrap_or_default();
    let kind = value::str_at(object, "kind").unwrap_or_default();
    if kind.is_empty() || !is_named {
        // Only a reader that looks at each field knows what the client sent.
        if validation != FieldValidation::Ignore {
            let why = kind_missing(&String::from_utf8_lossy(&payload.bytes));
            return Err(unrecognized(expected, &payload.bytes, &Status::bad_request(why)));
        }
        let (_, version) = kinds::split_api_version(api_version);
        let version = if version.is_empty() { expected.version } else { version };
        let shown = match payload.format {
            Format::Json => String::from_utf8_lossy(payload.bytes.trim_ascii()).into_owned(),
            Format::Yaml | Format::Protobuf => object.to_string(),
        };
        return Err(cannot_be_handled((expected.kind, version), expected.kind, &kind_missing(&shown)));
    }
    let wanted = expected.api_version();
    if api_version != wanted {
        return Err(Status::bad_request(format!(
            "the API version in the data ({api_version}) does not match the expected API version ({wanted})"
        )));
    }
    if kind != expected.kind {
        let name = value::str_at(object, "metadata.name").unwrap_or_default();
        let why = format!("must be {}", expected.kind);
        let error = field::Error::invalid(&field::Path::new("kind"), kind, &why);
        return Err(Status::invalid(expected.group, kind, name, &[error]));
    }
    Ok(())
}

fn check_kind(object: &mut Value, expected: Expected<'_>) -> Result<(), Status> {
    let api_version = value::str_at(object, "apiVersion").unwrap_or_default();
    let kind = value::str_at(object, "kind").unwrap_or_default();
    let wanted = expected.api_version();
    let fits = |found: &str, wanted: &str| found.is_empty() || found == wanted;
    if !fits(kind, expected.kind) || !fits(api_version, &wanted) {
        let (_, version) = kinds::split_api_version(api_version);
        let version = if version.is_empty() { expected.version } else { version };
        let found = if kind.is_empty() { expected.kind } else { kind };
        return Err(another_kind((found, version), api_version, expected));
    }
    value::set(object, "apiVersion", wanted);
    value::set(object, "kind", expected.kind);
    Ok(())
}

/// What upstream says of a body of another kind or version: that it knows of none, that it converts nothing into the wanted one,
/// or that this is not the place for another version of the same kind.
fn another_kind((kind, version): (&str, &str), api_version: &str, expected: Expected<'_>) -> Status {
    let wanted = expected.api_version();
    let given = if api_version.is_empty() { &wanted } else { api_version };
    let (group, _) = kinds::split_api_version(given);
    let custom = matches!(expected.ty, TypeRef::Type(ty) if ty.is_custom());
    if !custom && !kinds::all().iter().any(|k| k.kind == kind && k.api_version == given) {
        return cannot_be_handled((kind, version), expected.kind, &unregistered(kind, given));
    }
    if (group, kind) == (expected.group, expected.kind) {
        return Status::bad_request(format!(
            "the API version in the data ({given}) does not match the expected API version ({wanted})"
        ));
    }
    cannot_be_handled((kind, version), expected.kind, &unconvertible((kind, version), expected))
}

fn unconvertible((kind, version): (&str, &str), expected: Expected<'_>) -> String {
    // Upstream's packages of types in memory are named by the first word of their group.
    let package = match expected.group.split('.').next().unwrap_or_default() {
        "" => "core",
        package => package,
    };
    format!("converting ({version}.{kind}) to ({package}.{}): unknown conversion", expected.kind)
}

/// Why something that says it is of `kind` and `api_version` is not what is expected.
pub(super) fn not_of(expected: Expected<'_>, kind: &str, api_version: &str) -> String {
    let kind = if kind.is_empty() { expected.kind } else { kind };
    let wanted = expected.api_version();
    let given = if api_version.is_empty() { &wanted } else { api_version };
    if kinds::read_api_version(given).is_none() {
        return malformed(given);
    }
    if kinds::all().iter().any(|k| k.kind == kind && k.api_version == given) {
        return unconvertible((kind, kinds::split_api_version(given).1), expected);
    }
    unregistered(kind, given)
}

/// What upstream says of a kind that it does not know.
fn unregistered(kind: &str, api_version: &str) -> String {
    let scheme = "pkg/api/legacyscheme/scheme.go:30";
    format!("no kind {kind:?} is registered for version {api_version:?} in scheme {scheme:?}")
}

/// 400: the object does not say its name.
pub(super) fn nameless(in_url: &str) -> Status {
    let why = format!("the name of the object ({in_url} based on URL) was undeterminable: name must be provided");
    Status::bad_request(why)
}

/// Checks that name and namespace of an object are those of the URL, and fills in what it leaves out.
///
/// # Errors
/// 400 in upstream's words.
pub(crate) fn place(object: &mut Value, kind: &KindInfo, namespace: &str, name: &str) -> Result<(), Status> {
    let given = value::str_at(object, "metadata.namespace").unwrap_or_default();
    if kind.namespaced {
        if !given.is_empty() && given != namespace {
            return Err(Status::bad_request(
                "the namespace of the provided object does not match the namespace sent on the request",
            ));
        }
        value::set(object, "metadata.namespace", namespace);
    } else if !given.is_empty() {
        return Err(Status::bad_request("namespace should not be set on cluster-scoped objects"));
    } else {
        value::remove(object, "metadata.namespace");
    }
    if name.is_empty() {
        return Ok(());
    }
    let given = value::str_at(object, "metadata.name").unwrap_or_default();
    if !given.is_empty() && given != name {
        return Err(Status::bad_request(format!(
            "the name of the object ({given}) does not match the name on the URL ({name})"
        )));
    }
    value::set(object, "metadata.name", name);
    Ok(())
}
