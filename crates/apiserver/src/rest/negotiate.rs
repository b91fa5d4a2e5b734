//! What form the client wants its answer in (`Accept`) and what form it sends (`Content-Type`).
//!
//! Upstream reads `Accept` with goautoneg and takes the first range that it can serve, in the order of the ranges' quality and
//! of how much they say: so does this.

use std::cmp::Ordering;

use gantry_api::status::Status;

use crate::request::Format;
use crate::view::{MetaVersion, View};

/// Media types that this server writes.
const ACCEPTED: &str = "application/json, application/yaml, application/vnd.kubernetes.protobuf";
/// The same for custom kinds, whose fields have no numbers.
const ACCEPTED_OF_CUSTOM: &str = "application/json, application/yaml";
/// Those in which there are streams of events.
const STREAMED: &str = "application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch";
/// Media types that this server reads.
const READ: &str = "application/json, application/yaml, application/vnd.kubernetes.protobuf";
/// The forms, in the order in which a wildcard stands for them.
const FORMS: [(Format, &str); 3] =
    [(Format::Json, "json"), (Format::Yaml, "yaml"), (Format::Protobuf, "vnd.kubernetes.protobuf")];
/// Go sorts as many by insertion, and more in an order of which nothing is said.
const INSERTED_MAX: usize = 12;

/// One range of an `Accept` header.
#[derive(Debug)]
struct Range<'a> {
    /// `application` or `*`.
    family: &'a str,
    /// `json` or `*`.
    subtype: &'a str,
    quality: f32,
    parameters: Vec<(&'a str, &'a str)>,
}

impl<'a> Range<'a> {
    /// What goautoneg makes of the text between two commas; nothing where it passes over it.
    fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.split(';');
        let media = parts.next()?;
        let (family, subtype) = match media.split_once('/') {
            Some((family, subtype)) if !subtype.is_empty() => (spaceless(family), subtype),
            _ if spaceless(media.trim_end_matches('/')) == "*" => ("*", "*"),
            _ => return None,
        };
        if subtype.contains('/') {
            return None;
        }
        let mut range = Self { family, subtype: spaceless(subtype), quality: 1.0, parameters: Vec::new() };
        for (name, value) in parts.filter_map(|part| part.split_once('=')) {
            match (spaceless(name), value) {
                (_, value) if value.is_empty() || value.contains('=') => {}
                ("q", value) => range.quality = value.parse().unwrap_or(0.0),
                (name, value) => range.parameters.push((name, spaceless(value))),
            }
        }
        Some(range)
    }

    /// Of a name that comes twice the later one counts.
    fn parameter(&self, name: &str) -> Option<&'a str> {
        self.parameters.iter().rev().find(|(k, _)| *k == name).map(|(_, v)| *v)
    }

    fn media(&self) -> (&'a str, &'a str) {
        (self.family, self.subtype)
    }

    fn includes(&self, subtype: &str) -> bool {
        match self.media() {
            ("*", "*") => true,
            ("application", named) => named == "*" || named == subtype,
            _ => false,
        }
    }

    /// Whether it comes before `other`. This is goautoneg's comparison, in which each of two may come before the other.
    fn is_before(&self, other: &Self) -> bool {
        self.quality > other.quality
            || (self.family != "*" && other.family == "*")
            || (self.subtype != "*" && other.subtype == "*")
    }

    /// Whether its parameters about streams and about versions of the server, of which `versions` are known, can be met.
    fn is_met(&self, format: Format, versions: &[&str]) -> bool {
        let is_streamed = |schema| schema == "watch" && format != Format::Yaml;
        self.parameter("stream").is_none_or(is_streamed) && self.parameter("sv").is_none_or(|v| versions.contains(&v))
    }

    /// Group, version and kind that the answer is to be turned into.
    fn conversion(&self) -> Option<(&'a str, &'a str, &'a str)> {
        let asked = ["g", "v", "as"].map(|name| self.parameter(name));
        let [group, version, kind] = asked.map(Option::unwrap_or_default);
        asked.iter().any(Option::is_some).then_some((group, version, kind))
    }

    /// How objects are shown for this range in `format`.
    fn objects(&self, format: Format) -> Option<Chosen> {
        if !self.is_met(format, &["v1"]) {
            return None;
        }
        let (view, of_list) = match self.conversion() {
            None => (View::Full, false),
            Some(("meta.k8s.io", version, kind)) => {
                let version = MetaVersion::parse(version)?;
                match kind {
                    "Table" if format != Format::Protobuf => (View::Table(version), false),
                    "PartialObjectMetadata" => (View::Metadata(version), false),
                    "PartialObjectMetadataList" => (View::Metadata(version), true),
                    _ => return None,
                }
            }
            Some(_) => return None,
        };
        Some(Chosen { format, view, of_list, pretty: self.parameter("pretty") == Some("1") })
    }

    /// Whether a document comes for this range in `format`, as it is.
    fn document(&self, format: Format) -> Option<Format> {
        (self.conversion().is_none() && self.is_met(format, &[])).then_some(format)
    }
}

fn spaceless(text: &str) -> &str {
    text.trim_matches(' ')
}

/// The ranges, the most wanted first.
fn ranges(accept: &str) -> Vec<Range<'_>> {
    let mut ranges: Vec<Range<'_>> = accept.split(',').map(spaceless).filter_map(Range::parse).collect();
    if ranges.len() > INSERTED_MAX {
        let named = |range: &Range<'_>| (range.family != "*", range.subtype != "*");
        ranges.sort_by(|a, b| match b.quality.total_cmp(&a.quality) {
            Ordering::Equal => named(b).cmp(&named(a)),
            unequal => unequal,
        });
        return ranges;
    }
    for end in 1..ranges.len() {
        let mut at = end;
        while at > 0 && ranges[at].is_before(&ranges[at - 1]) {
            ranges.swap(at, at - 1);
            at -= 1;
        }
    }
    ranges
}

/// What `serves` makes of each range and each form in it, the most wanted first.
fn candidates<'r, 'a: 'r, T>(
    ranges: &'r [Range<'a>],
    serves: impl Fn(&Range<'a>, Format) -> Option<T>,
) -> impl Iterator<Item = T> {
    let pairs = ranges.iter().flat_map(|range| FORMS.map(|form| (range, form)));
    pairs.filter_map(
        move |(range, (format, subtype))| {
            if range.includes(subtype) { serves(range, format) } else { None }
        },
    )
}

/// How objects are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Chosen {
    pub(crate) format: Format,
    pub(crate) view: View,
    /// The metadata is to be that of a list.
    pub(crate) of_list: bool,
    /// JSON with lines and indents.
    pub(crate) pretty: bool,
}

/// How the client wants objects; nothing where it takes no form that there is. Whoever takes whole objects in protobuf and likewise
/// in JSON gets the latter: it needs no encoding. Metadata alone is taken out of its object in any case.
pub(crate) fn objects(accept: &str) -> Option<Chosen> {
    if accept.trim().is_empty() {
        return Some(Chosen { format: Format::Json, view: View::Full, of_list: false, pretty: false });
    }
    let ranges = ranges(accept);
    let mut found = candidates(&ranges, Range::objects);
    let first = found.next()?;
    Some(unencoded(first, found))
}

/// The first of several, or for whole objects in protobuf whichever shows the same otherwise.
fn unencoded(first: Chosen, mut others: impl Iterator<Item = Chosen>) -> Chosen {
    if first.format != Format::Protobuf || first.view != View::Full {
        return first;
    }
    let is_alike =
        |other: &Chosen| other.format != Format::Protobuf && (other.view, other.of_list) == (first.view, first.of_list);
    others.find(is_alike).unwrap_or(first)
}

/// What the client wants to see of objects, and how it is written.
///
/// # Errors
/// 406 when it takes no form that there is.
pub(crate) fn chosen(accept: &str) -> Result<Chosen, Status> {
    objects(accept).ok_or_else(|| Status::not_acceptable(ACCEPTED))
}

/// As [`chosen`], where there are no rows: in what is no object, and in a watch that begins with what is there. A client that also
/// takes another form gets that.
///
/// # Errors
/// 406 where there is no alternative to a table.
pub(crate) fn chosen_without_rows(accept: &str) -> Result<Chosen, Status> {
    let found = chosen(accept)?;
    if !found.view.is_table() {
        return Ok(found);
    }
    let ranges = ranges(accept);
    let mut others = candidates(&ranges, Range::objects).filter(|other| !other.view.is_table());
    let first = others.next().ok_or_else(|| Status::not_acceptable(ACCEPTED))?;
    Ok(unencoded(first, others))
}

/// Whether the metadata that the client wants is that of what was found, which is of Go's type `found`.
///
/// # Errors
/// 406, in upstream's words.
pub(crate) fn check_metadata(accept: &str, is_list: bool, found: &str) -> Result<(), Status> {
    let Some(chosen) = objects(accept).filter(|chosen| matches!(chosen.view, View::Metadata(_))) else { return Ok(()) };
    let why = match (chosen.of_list, is_list) {
        (true, false) => "you requested PartialObjectMetadataList, but the requested object is not a list",
        (false, true) => "you requested PartialObjectMetadata, but the requested object is a list",
        _ => return Ok(()),
    };
    Err(Status::failure(406, "NotAcceptable", format!("{why} ({found})")))
}

/// The form in which the client takes a document that cannot be shown otherwise than as it is.
///
/// # Errors
/// 406 when it asks for other forms only.
pub(crate) fn plain(accept: &str) -> Result<Format, Status> {
    if accept.trim().is_empty() {
        return Ok(Format::Json);
    }
    let ranges = ranges(accept);
    let mut found = candidates(&ranges, Range::document);
    let first = found.next().ok_or_else(|| Status::not_acceptable(ACCEPTED))?;
    Ok(if first == Format::Protobuf { found.find(|other| *other != first).unwrap_or(first) } else { first })
}

/// 406 for protobuf of a custom kind.
pub(crate) fn refused_of_custom() -> Status {
    Status::not_acceptable(ACCEPTED_OF_CUSTOM)
}

/// 406 for a form in which there are no streams of events.
pub(crate) fn refused_of_stream() -> Status {
    Status::not_acceptable(STREAMED)
}

/// 406 for a form that this answer does not come in.
pub(crate) fn refused() -> Status {
    Status::not_acceptable("application/json")
}

/// The form in which the client wants aggregated discovery, if it does. Like upstream this asks for the aggregated form alone:
/// whoever names it gets it, also where it names the older one first.
pub(crate) fn aggregated_discovery(accept: &str) -> Option<Format> {
    let serves = |range: &Range<'_>, format: Format| {
        let wanted = range.conversion() == Some(("apidiscovery.k8s.io", "v2", "APIGroupDiscoveryList"));
        (wanted && range.is_met(format, &[])).then_some(format)
    };
    let ranges = ranges(accept);
    candidates(&ranges, serves).next()
}

/// The version of a page of text that also comes as a document, where the client asks for exactly that; nothing for the text.
///
/// # Errors
/// 406 for another form.
pub(crate) fn page<'v>(accept: &str, group: &str, versions: &[&'v str], kind: &str) -> Result<Option<&'v str>, Status> {
    if accept.trim().is_empty() {
        return Ok(None);
    }
    let wanted = ranges(accept).iter().find_map(|range| match range.media() {
        ("application", "json") if range.parameter("g") == Some(group) && range.parameter("as") == Some(kind) => {
            versions.iter().find(|version| range.parameter("v") == Some(**version)).map(|version| Some(*version))
        }
        ("text", "plain" | "*") | ("*", "*") => Some(None),
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
/// 415 for a form that is not read, and for a header that is not a media type.
pub(crate) fn format(content_type: &str) -> Result<Format, Status> {
    if content_type.is_empty() {
        return Ok(Format::Json);
    }
    let media = media_type(content_type);
    let subtype = media.as_deref().and_then(|media| media.strip_prefix("application/"));
    let found = FORMS.iter().find(|(_, known)| subtype == Some(*known));
    found.map(|(format, _)| *format).ok_or_else(|| Status::unsupported_media_type(READ))
}

/// The media type in small letters; nothing where Go's `mime.ParseMediaType` finds something wrong.
fn media_type(text: &str) -> Option<String> {
    let (media, mut rest) = text.split_at(text.find(';').unwrap_or(text.len()));
    let media = media.trim().to_lowercase();
    let mut names: Vec<String> = Vec::new();
    while !rest.trim_start().is_empty() {
        match media_parameter(rest) {
            Some((name, after)) if !names.contains(&name) => {
                names.push(name);
                rest = after;
            }
            // A semicolon at the end is no parameter.
            None if rest.trim() == ";" => break,
            _ => return None,
        }
    }
    Some(media)
}

/// The name of the parameter that `text` begins with, and what comes after it.
fn media_parameter(text: &str) -> Option<(String, &str)> {
    let (name, rest) = token(text.trim_start().strip_prefix(';')?.trim_start())?;
    let value = rest.trim_start().strip_prefix('=')?.trim_start();
    let after = match value.strip_prefix('"') {
        Some(quoted) => after_quoted(quoted)?,
        None => token(value)?.1,
    };
    Some((name.to_lowercase(), after))
}

/// The token that `text` begins with, and the rest.
fn token(text: &str) -> Option<(&str, &str)> {
    let is_token = |c: char| c.is_ascii_graphic() && !r#"()<>@,;:\"/[]?="#.contains(c);
    let end = text.find(|c| !is_token(c)).unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

/// What comes after a quoted value; nothing where it has no end.
fn after_quoted(text: &str) -> Option<&str> {
    let mut is_escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            '"' if !is_escaped => return Some(&text[at + 1..]),
            _ => is_escaped = c == '\\' && !is_escaped,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";
    const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";
    const V2: &str = "g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

    #[test]
    fn what_has_no_rows_comes_in_the_next_form() {
        let check = |accept: &str, expected: Option<(Format, View)>| {
            let chosen = chosen_without_rows(accept).ok().map(|chosen| (chosen.format, chosen.view));
            assert_eq!(chosen, expected, "{accept}");
        };
        check(TABLE, None);
        check(&format!("{TABLE},{}", TABLE.replace("v1", "v1beta1")), None);
        check(&format!("{TABLE},application/json"), Some((Format::Json, View::Full)));
        check(&format!("{TABLE},{PROTOBUF}"), Some((Format::Protobuf, View::Full)));
        check(&format!("{TABLE},{PROTOBUF},application/json"), Some((Format::Json, View::Full)));
        check(&format!("{TABLE},application/yaml"), Some((Format::Yaml, View::Full)));
        check(
            &format!("{TABLE},{}", TABLE.replace("Table", "PartialObjectMetadata")),
            Some((Format::Json, View::Metadata(MetaVersion::V1))),
        );
        check(PROTOBUF, Some((Format::Protobuf, View::Full)));
        check("", Some((Format::Json, View::Full)));
    }

    #[test]
    fn the_first_range_that_can_be_served_wins() {
        let check = |accept: &str, expected: Option<View>| {
            assert_eq!(chosen(accept).ok().map(|chosen| chosen.view), expected, "{accept}")
        };
        check("", Some(View::Full));
        check("*/*", Some(View::Full));
        check("*", Some(View::Full));
        check("application/json", Some(View::Full));
        check("application/vnd.kubernetes.protobuf,application/json", Some(View::Full));
        check(
            "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json",
            Some(View::Table(MetaVersion::V1)),
        );
        check("application/json;as=Table;v=v1beta1;g=meta.k8s.io", Some(View::Table(MetaVersion::V1Beta1)));
        check("application/json;as=Table;v=v7;g=meta.k8s.io,application/json", Some(View::Full));
        check("application/json;as=Table;v=v1;g=k8s.io", None);
        check("application/json;v=v1", None);
        check(
            "application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json",
            Some(View::Metadata(MetaVersion::V1)),
        );
        check("application/yaml", Some(View::Full));
        check("text/html", None);
        check("application", None);
        check("application/json/x", None);
        check("application/JSON", None);
        check("application/json;as=Pie;v=v1;g=meta.k8s.io", None);
        check("application/vnd.kubernetes.protobuf", Some(View::Full));
        check(
            "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;v=v1;g=meta.k8s.io",
            Some(View::Metadata(MetaVersion::V1)),
        );
        check("application/vnd.kubernetes.protobuf;as=Table;v=v1;g=meta.k8s.io", None);
    }

    #[test]
    fn quality_counts_before_the_order_and_what_is_named_before_wildcards() {
        let check = |accept: &str, format, view| {
            let chosen = objects(accept).map(|chosen| (chosen.format, chosen.view));
            assert_eq!(chosen, Some((format, view)), "{accept}");
        };
        check("application/yaml;q=0.5,application/json", Format::Json, View::Full);
        check("application/json;q=0.1,application/yaml;q=0.9", Format::Yaml, View::Full);
        check("application/json, application/yaml", Format::Json, View::Full);
        check("application/yaml, */*", Format::Yaml, View::Full);
        check("*/*,application/yaml", Format::Yaml, View::Full);
        check("application/*,application/yaml", Format::Yaml, View::Full);
        check("*/*,application/yaml;q=0.1", Format::Yaml, View::Full);
        check("text/html,application/yaml", Format::Yaml, View::Full);
        check(&format!("{TABLE};q=0.1,application/json"), Format::Json, View::Full);
        check(&format!("application/json;q=0.1,{TABLE}"), Format::Json, View::Table(MetaVersion::V1));
        check("application/json;q=x,application/yaml;q=0.1", Format::Yaml, View::Full);
        let many = format!("{}application/json;q=0.5,application/yaml;q=0.6", "text/html,".repeat(20));
        check(&many, Format::Yaml, View::Full);
    }

    #[test]
    fn parameters_that_cannot_be_met_rule_a_range_out() {
        let check = |accept: &str, expected| assert_eq!(objects(accept).map(|c| c.format), expected, "{accept}");
        check("application/json;stream=watch", Some(Format::Json));
        check("application/json;stream=foo", None);
        check("application/yaml;stream=watch", None);
        check("application/json;stream=foo,application/yaml", Some(Format::Yaml));
        check("application/json;sv=v1", Some(Format::Json));
        check("application/json;sv=v2", None);
        check("application/json;charset=utf-8", Some(Format::Json));
        assert!(objects("application/json;pretty=1").is_some_and(|chosen| chosen.pretty));
        assert!(objects("application/json;pretty=true").is_some_and(|chosen| !chosen.pretty));
    }

    #[test]
    fn whole_objects_come_in_protobuf_where_nothing_else_is_taken() {
        let check = |accept: &str, expected: bool| {
            let is_protobuf = objects(accept).is_some_and(|chosen| chosen.format == Format::Protobuf);
            assert_eq!(is_protobuf, expected, "{accept}");
        };
        check(PROTOBUF, true);
        check(&format!("{PROTOBUF};stream=watch"), true);
        check(&format!("{PROTOBUF},application/json"), false);
        check(&format!("{PROTOBUF},*/*"), false);
        let metadata = "as=PartialObjectMetadata;v=v1;g=meta.k8s.io";
        check(&format!("{PROTOBUF};{metadata},application/json"), true);
        // The metadata client of client-go.
        check(&format!("{PROTOBUF};{metadata},application/json;{metadata},application/json"), true);
        check(&format!("application/json;{metadata},{PROTOBUF};{metadata}"), false);
        check("text/html", false);
        check("", false);
    }

    #[test]
    fn metadata_is_that_of_what_was_found() {
        let check = |kind: &str, is_list: bool, expected: Option<&str>| {
            let accept = format!("application/json;as={kind};v=v1;g=meta.k8s.io");
            let refused = check_metadata(&accept, is_list, "*core.Any").err();
            assert!(refused.iter().all(|status| (status.code, status.reason.as_str()) == (406, "NotAcceptable")));
            assert_eq!(refused.map(|status| status.message).as_deref(), expected, "{kind} {is_list}");
        };
        let not_one = "you requested PartialObjectMetadata, but the requested object is a list (*core.Any)";
        let no_list = "you requested PartialObjectMetadataList, but the requested object is not a list (*core.Any)";
        check("PartialObjectMetadata", true, Some(not_one));
        check("PartialObjectMetadata", false, None);
        check("PartialObjectMetadataList", false, Some(no_list));
        check("PartialObjectMetadataList", true, None);
        check("Table", true, None);
    }

    #[test]
    fn a_document_of_one_form_comes_in_no_other() {
        let check = |accept: &str, format| assert_eq!(plain(accept).ok(), format, "{accept}");
        check("", Some(Format::Json));
        check(&format!("{TABLE},*/*"), Some(Format::Json));
        check("application/yaml;as=Table;v=v1;g=meta.k8s.io,application/json", Some(Format::Json));
        check("application/json;q=0.5,application/yaml", Some(Format::Yaml));
        check(PROTOBUF, Some(Format::Protobuf));
        check(&format!("{PROTOBUF},application/json"), Some(Format::Json));
        check("application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList", None);
        check("text/html", None);
    }

    #[test]
    fn discovery_is_aggregated_on_request() {
        let check = |accept: &str, format| assert_eq!(aggregated_discovery(accept), format, "{accept}");
        check(&format!("application/json;{V2},application/json"), Some(Format::Json));
        check(&format!("application/json,application/json;{V2}"), Some(Format::Json));
        check(&format!("application/yaml;{V2}"), Some(Format::Yaml));
        check(&format!("application/json;{V2};q=0.5,application/yaml;{V2}"), Some(Format::Yaml));
        check(&format!("{PROTOBUF};{V2}"), Some(Format::Protobuf));
        check(&format!("*/*;{V2}"), Some(Format::Json));
        check(
            &format!("application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json;{V2}"),
            Some(Format::Json),
        );
        check("application/json", None);
        check("", None);
    }

    #[test]
    fn bodies_are_what_their_media_type_says() {
        let check = |text: &str, expected: Option<Format>| {
            assert_eq!(format(text).map_err(|status| status.code), expected.ok_or(415), "{text}");
        };
        check("", Some(Format::Json));
        check("application/json", Some(Format::Json));
        check("application/JSON", Some(Format::Json));
        check("Application/Yaml ; charset=utf-8", Some(Format::Yaml));
        check("application/json;", Some(Format::Json));
        check("application/json; charset=\"utf-8;\\\"\"; a=b", Some(Format::Json));
        check(PROTOBUF, Some(Format::Protobuf));
        for refused in [
            "text/yaml",
            "application/x-yaml",
            "*/*",
            "text/plain",
            "json",
            "application/json; charset",
            "application/json; charset=",
            "application/json; charset=\"utf-8",
            "application/json; a=b; A=c",
            "application/json;;a=b",
        ] {
            check(refused, None);
        }
    }
}
