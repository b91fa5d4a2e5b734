//! Named formats: `format.dns1123Label().validate(x)`.

use std::sync::Arc;

use gantry_api::custom::formats;
use gantry_api::names;

use super::opaque::Opaque;
use super::{NO_OVERLOAD, Result, url};
use crate::eval::Context;
use crate::registry::{Entry, entry};
use crate::value::Value;

/// A format and what is wrong with a text of it.
#[derive(Debug)]
pub struct Format {
    pub(crate) name: &'static str,
    /// Name in `format.named`.
    key: &'static str,
    /// Length of the regular expression that costs assume.
    pub(crate) regex: u64,
    faults: fn(&str) -> Vec<String>,
}

macro_rules! formats {
    ($($constant:ident $key:literal $name:literal $regex:literal $faults:expr;)*) => {
        $(static $constant: Format = Format { name: $name, key: $key, regex: $regex, faults: $faults };)*
        static ALL: &[&Format] = &[$(&$constant),*];
        pub(super) const ENTRIES: &[Entry] = &[
            $(entry(concat!("format.", $key), |_, _| Ok(value(&$constant)), &["() kubernetes.NamedFormat"]),)*
            entry("format.named", named, &["(string) optional<kubernetes.NamedFormat>"]),
            entry("validate", validate, &["kubernetes.NamedFormat.(string) optional<list<string>>"]),
        ];
    };
}

formats! {
    LABEL "dns1123Label" "DNS1123Label" 30 names::dns_label;
    SUBDOMAIN "dns1123Subdomain" "DNS1123Subdomain" 60 names::dns_subdomain;
    LABEL_1035 "dns1035Label" "DNS1035Label" 30 names::dns_1035_label;
    QUALIFIED "qualifiedName" "QualifiedName" 60 names::qualified_name;
    LABEL_PREFIX "dns1123LabelPrefix" "DNS1123LabelPrefix" 30 |s| names::dns_label(&names::masked(s));
    SUBDOMAIN_PREFIX "dns1123SubdomainPrefix" "DNS1123SubdomainPrefix" 60 |s| names::dns_subdomain(&names::masked(s));
    LABEL_1035_PREFIX "dns1035LabelPrefix" "DNS1035LabelPrefix" 30 |s| names::dns_1035_label(&names::masked(s));
    LABEL_VALUE "labelValue" "LabelValue" 40 names::label_value;
    URI "uri" "URI" 1200 |s| url::Url::parse(s).err().map(|e| format!("parse {s:?}: {e}")).into_iter().collect();
    UUID "uuid" "uuid" 100 |s| unless("uuid", s, "does not match the UUID format");
    BYTE "byte" "byte" 90 |s| unless("byte", s, "invalid base64");
    DATE "date" "date" 200 |s| unless("date", s, "invalid date");
    DATETIME "datetime" "datetime" 200 |s| unless("datetime", s, "invalid datetime");
}

/// The fault, where a text has not the format that schemas call so.
fn unless(format: &str, text: &str, fault: &str) -> Vec<String> {
    if formats::fits(format, text) { Vec::new() } else { vec![fault.to_owned()] }
}

fn value<'a>(format: &'static Format) -> Value<'a> {
    Value::Opaque(Arc::new(Opaque::Format(format)))
}

fn named<'a>(_: &mut Context<'_, 'a>, args: &[Value<'a>]) -> Result<Value<'a>> {
    let [Value::String(name)] = args else { return Err(NO_OVERLOAD) };
    let found = ALL.iter().find(|f| f.key == &**name);
    Ok(Value::Optional(found.map(|f| Arc::new(value(f)))))
}

fn validate<'a>(context: &mut Context<'_, 'a>, args: &[Value<'a>]) -> Result<Value<'a>> {
    let [Value::Opaque(opaque), Value::String(text)] = args else { return Err(NO_OVERLOAD) };
    let Opaque::Format(format) = &**opaque else { return Err(NO_OVERLOAD) };
    context.budget.allocate(2 * text.len() as u64)?;
    let faults = (format.faults)(text);
    let list = (!faults.is_empty()).then(|| Value::list(faults.iter().map(|f| Value::text(f)).collect()));
    Ok(Value::Optional(list.map(Arc::new)))
}
