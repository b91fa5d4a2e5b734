//! What form the client wants its answer in (`Accept`) and what form it sends (`Content-Type`).

use gantry_api::status::Status;

use crate::request::Format;
use crate::view::{MetaVersion, View};

/// Media types that this server writes.
const ACCEPTED: &str = "application/json, application/yaml, application/vnd.kubernetes.protobuf";
/// The same for custom kinds, whose fields have no numbers.
const ACCEPTED_OF_CUSTOM: &str = "application/json, application/yaml";
/// Media types that this server reads.
const READ: &str = "application/json, application/yaml, application/vnd.kubernetes.protobuf";

/// One alternative of an `Accept` header.
struct Alternative<'a> {
    media: &'a str,
    parameters: Vec<(&'a str, &'a str)>,
}

impl<'a> Alternative<'a> {
    fn parse(text: &'a str) -> Self {
        let mut parts = text.split(';').map(str::trim);
        let media = parts.next().unwrap_or_default();
        let parameters = parts.filter_map(|p| p.split_once('=')).map(|(k, v)| (k.trim(), v.trim())).collect();
        Self { media, parameters }
    }

    fn parameter(&self, name: &str) -> Option<&'a str> {
        self.parameters.iter().find(|(k, _)| *k == name).map(|(_, v)| *v)
    }

    fn is_json(&self) -> bool {
        matches!(self.media, "application/json" | "*/*" | "application/*")
    }

    fn is_protobuf(&self) -> bool {
        self.media == "application/vnd.kubernetes.protobuf"
    }

    fn is_yaml(&self) -> bool {
        self.media == "application/yaml"
    }

    /// The view that the parameters ask for; `None` when they ask for something unknown.
    fn view(&self) -> Option<View> {
        let Some(kind) = self.parameter("as") else {
            return self.parameter("g").is_none().then_some(View::Full);
        };
        let version =
            self.parameter("v").and_then(MetaVersion::parse).filter(|_| self.parameter("g") == Some("meta.k8s.io"))?;
        match kind {
            "Table" => Some(View::Table(version)),
            "PartialObjectMetadata" | "PartialObjectMetadataList" => Some(View::Metadata(version)),
            _ => None,
        }
    }
}

fn alternatives(accept: &str) -> impl Iterator<Item = Alternative<'_>> {
    accept.split(',').map(str::trim).filter(|a| !a.is_empty()).map(Alternative::parse)
}

/// The first alternative that this server can write.
///
/// # Errors
/// 406 when there is none.
pub(crate) fn view(accept: Option<&str>) -> Result<View, Status> {
    let Some(accept) = accept.filter(|a| !a.trim().is_empty()) else { return Ok(View::Full) };
    let text = chosen(accept).map(|(_, view)| view);
    text.or_else(|| protobuf(accept)).ok_or_else(|| Status::not_acceptable(ACCEPTED))
}

/// As [`view`], for a watch that begins with what is there: upstream sends that as objects only, and a client that also takes
/// those gets them.
///
/// # Errors
/// 406 where there is no alternative to a table.
pub(crate) fn view_of_streamed_list(accept: Option<&str>) -> Result<View, Status> {
    let found = view(accept)?;
    if !found.is_table() {
        return Ok(found);
    }
    let other = |a: Alternative<'_>| a.view().filter(|view| a.is_json() && !view.is_table());
    alternatives(accept.unwrap_or_default()).find_map(other).ok_or_else(|| Status::not_acceptable(ACCEPTED))
}

/// What the client wants to see where it takes nothing but protobuf. Whoever takes JSON too gets that: it needs no encoding.
pub(crate) fn protobuf(accept: &str) -> Option<View> {
    if accept.trim().is_empty() || chosen(accept).is_some() {
        return None;
    }
    let of = |a: Alternative<'_>| a.view().filter(|view| a.is_protobuf() && !view.is_table());
    alternatives(accept).find_map(of)
}

/// Whether the client takes a document in its one form.
///
/// # Errors
/// 406 when it asks for other forms only.
pub(crate) fn plain(accept: &str) -> Result<(), Status> {
    let full = |a: Alternative<'_>| (a.is_json() || a.is_yaml() || a.is_protobuf()) && a.view() == Some(View::Full);
    if accept.trim().is_empty() || alternatives(accept).any(full) {
        return Ok(());
    }
    Err(Status::not_acceptable(ACCEPTED))
}

fn chosen(accept: &str) -> Option<(Alternative<'_>, View)> {
    alternatives(accept).filter(|a| a.is_json() || a.is_yaml()).find_map(|a| a.view().map(|view| (a, view)))
}

/// Whether the client would rather have YAML than JSON.
pub(crate) fn yaml(accept: &str) -> bool {
    chosen(accept).is_some_and(|(a, _)| a.is_yaml())
}

/// 406 for protobuf of a custom kind.
pub(crate) fn refused_of_custom() -> Status {
    Status::not_acceptable(ACCEPTED_OF_CUSTOM)
}

/// 406 for a form that this answer does not come in.
pub(crate) fn refused() -> Status {
    Status::not_acceptable("application/json")
}

/// Whether the client wants aggregated discovery, and would rather have it than the plain form.
pub(crate) fn aggregated_discovery(accept: Option<&str>) -> bool {
    let wanted = alternatives(accept.unwrap_or_default()).find_map(|a| {
        if !a.is_json() {
            return None;
        }
        match (a.parameter("g"), a.parameter("v"), a.parameter("as")) {
            (Some("apidiscovery.k8s.io"), Some("v2"), Some("APIGroupDiscoveryList")) => Some(true),
            (None, None, None) => Some(false),
            _ => None,
        }
    });
    wanted.unwrap_or(false)
}

/// The version of a page of text that also comes as a document, where the client asks for exactly that; nothing for the text.
///
/// # Errors
/// 406 for another form.
pub(crate) fn page<'v>(accept: &str, group: &str, versions: &[&'v str], kind: &str) -> Result<Option<&'v str>, Status> {
    if accept.trim().is_empty() {
        return Ok(None);
    }
    let wanted = alternatives(accept).find_map(|a| match a.media {
        "application/json" if a.parameter("g") == Some(group) && a.parameter("as") == Some(kind) => {
            versions.iter().find(|version| a.parameter("v") == Some(**version)).map(|version| Some(*version))
        }
        "text/plain" | "text/*" | "*/*" => Some(None),
        _ => None,
    });
    let form = |version: &&str| format!("application/json;v={version};g={group};as={kind}");
    wanted.ok_or_else(|| {
        let forms: Vec<String> = versions.iter().map(form).collect();
        Status::not_acceptable(&format!("text/plain, {}", forms.join(", ")))
    })
}

/// The form of a body.
///
/// # Errors
/// 415 for a form that is not read.
pub(crate) fn format(content_type: Option<&str>) -> Result<Format, Status> {
    let media = content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    match media {
        "" | "application/json" | "*/*" => Ok(Format::Json),
        "application/yaml" | "application/x-yaml" | "text/yaml" => Ok(Format::Yaml),
        "application/vnd.kubernetes.protobuf" => Ok(Format::Protobuf),
        _ => Err(Status::unsupported_media_type(READ)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_streamed_list_is_no_table() {
        let check = |accept: &str, expected: Option<View>| {
            assert_eq!(view_of_streamed_list(Some(accept)).ok(), expected, "{accept}");
        };
        const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";
        check(TABLE, None);
        check(&format!("{TABLE},{}", TABLE.replace("v1", "v1beta1")), None);
        check(&format!("{TABLE},application/json"), Some(View::Full));
        check(
            &format!("{TABLE},{}", TABLE.replace("Table", "PartialObjectMetadata")),
            Some(View::Metadata(MetaVersion::V1)),
        );
        check("application/json", Some(View::Full));
        check("", Some(View::Full));
    }

    #[test]
    fn the_first_known_alternative_wins() {
        let check = |accept: &str, expected: Option<View>| assert_eq!(view(Some(accept)).ok(), expected, "{accept}");
        check("", Some(View::Full));
        check("*/*", Some(View::Full));
        check("application/json", Some(View::Full));
        check("application/vnd.kubernetes.protobuf,application/json", Some(View::Full));
        check(
            "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json",
            Some(View::Table(MetaVersion::V1)),
        );
        check("application/json;as=Table;v=v1beta1;g=meta.k8s.io", Some(View::Table(MetaVersion::V1Beta1)));
        check("application/json;as=Table;v=v7;g=meta.k8s.io,application/json", Some(View::Full));
        check("application/json;as=Table;v=v1;g=k8s.io", None);
        check(
            "application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json",
            Some(View::Metadata(MetaVersion::V1)),
        );
        check("application/yaml", Some(View::Full));
        check("text/html", None);
        check("application/json;as=Pie;v=v1;g=meta.k8s.io", None);
        check("application/vnd.kubernetes.protobuf", Some(View::Full));
        check(
            "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;v=v1;g=meta.k8s.io",
            Some(View::Metadata(MetaVersion::V1)),
        );
        check("application/vnd.kubernetes.protobuf;as=Table;v=v1;g=meta.k8s.io", None);
    }

    #[test]
    fn protobuf_is_for_who_takes_nothing_else() {
        let check = |accept: &str, expected: bool| assert_eq!(protobuf(accept).is_some(), expected, "{accept}");
        check("application/vnd.kubernetes.protobuf", true);
        check("application/vnd.kubernetes.protobuf;stream=watch", true);
        check("application/vnd.kubernetes.protobuf,application/json", false);
        check("application/vnd.kubernetes.protobuf,*/*", false);
        check("text/html", false);
        check("", false);
    }

    #[test]
    fn a_document_of_one_form_comes_in_no_other() {
        let check = |accept: &str, takes: bool| assert_eq!(plain(accept).is_ok(), takes, "{accept}");
        check("", true);
        check("application/json;as=Table;v=v1;g=meta.k8s.io,*/*", true);
        check("application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList", false);
        check("text/html", false);
    }

    #[test]
    fn yaml_is_chosen_in_its_turn() {
        let check = |accept: &str, expected| assert_eq!(yaml(accept), expected, "{accept}");
        check("application/yaml", true);
        check("application/yaml, */*", true);
        check("application/json,application/yaml", false);
        check("text/html,application/yaml", true);
        check("", false);
    }

    #[test]
    fn discovery_is_aggregated_on_request() {
        let v2 = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
        assert!(aggregated_discovery(Some(&format!("{v2},application/json"))));
        assert!(!aggregated_discovery(Some(&format!("application/json,{v2}"))));
        assert!(aggregated_discovery(Some(&format!(
            "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,{v2}"
        ))));
        assert!(!aggregated_discovery(None));
    }
}
