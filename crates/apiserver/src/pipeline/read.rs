//! GET and LIST, from the watch cache.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use gantry_api::kinds::KindInfo;
use gantry_api::status::Status;
use gantry_api::value::go_json_type;
use gantry_api::{Value, decode as api_decode, field};
use gantry_store::cache::{Error, Object, Scope, View};
use serde::Serialize;

use super::current::namespace_of;
use super::selection::Selection;
use crate::app::App;
use crate::custom::convert;
use crate::metrics::resources::Found;
use crate::request::Target;

/// Upstream's text for a token whose revision is compacted.
const TOKEN_EXPIRED: &str = "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.";

/// Objects that are read at a time to be selected from, as upstream's store has it.
const CHUNK_MAX: usize = 10_000;

/// What a list is asked for.
#[derive(Debug)]
pub(crate) struct ListQuery {
    pub(crate) selection: Selection,
    /// 0: all.
    pub(crate) limit: usize,
    pub(crate) continue_token: String,
    pub(crate) resource_version: String,
    pub(crate) resource_version_match: String,
}

impl ListQuery {
    /// Everything that the selection covers, now.
    pub(crate) fn all(selection: Selection) -> Self {
        Self {
            selection,
            limit: 0,
            continue_token: String::new(),
            resource_version: String::new(),
            resource_version_match: String::new(),
        }
    }
}

/// A list, not yet written.
#[derive(Debug)]
pub(crate) struct Listed {
    pub(crate) items: Vec<Arc<Object>>,
    pub(crate) revision: u64,
    pub(crate) continue_token: String,
    pub(crate) remaining: Option<usize>,
    /// What the client should know of the list.
    pub(crate) warnings: Vec<String>,
}

/// What a continue token holds.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Token {
    v: String,
    /// -1: go on in the present state.
    rv: i64,
    start: String,
}

impl Token {
    fn encode(rv: i64, after: &str) -> String {
        let token = Self { v: "meta.k8s.io/v1".to_owned(), rv, start: format!("{after}\0") };
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(&token).expect("a token is plain text"))
    }

    /// The token of decoded JSON; what is not there is empty.
    fn from_value(value: &Value) -> Result<Self, String> {
        let found = |key: &str| value.get(key).filter(|found| !found.is_null());
        let wrong = |found: &Value, place: &str, go: &str| {
            format!("json: cannot unmarshal {} into Go {place} of type {go}", go_json_type(found))
        };
        if !value.is_object() && !value.is_null() {
            return Err(wrong(value, "value", "storage.continueToken"));
        }
        let text = |key: &str| {
            let Some(value) = found(key) else { return Ok(String::new()) };
            let text = value.as_str().map(str::to_owned);
            text.ok_or_else(|| wrong(value, &format!("struct field continueToken.{key}"), "string"))
        };
        let rv = match found("rv") {
            None => 0,
            Some(value) => value.as_i64().ok_or_else(|| wrong(value, "struct field continueToken.rv", "int64"))?,
        };
        Ok(Self { v: text("v")?, rv, start: text("start")? })
    }

    /// The revision and the key to start after.
    fn decode(text: &str) -> Result<(i64, String), Status> {
        Self::read(text)
            .map_err(|why| Status::bad_request(format!("invalid continue token: continue key is not valid{why}")))
    }

    fn read(text: &str) -> Result<(i64, String), String> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|why| {
            // Padding is no part of this alphabet.
            let padding = text.find('=').unwrap_or(usize::MAX);
            let at = api_decode::bad_base64_at(&why, text.len()).min(padding);
            format!(": illegal base64 data at input byte {at}")
        })?;
        let unread = |why: String| format!(": {why}");
        let value: Value = serde_json::from_slice(&bytes)
            .map_err(|why| unread(api_decode::syntax_error(&bytes).unwrap_or_else(|| why.to_string())))?;
        let token = Self::from_value(&value).map_err(unread)?;
        if token.v != "meta.k8s.io/v1" {
            return Err(format!(": server does not recognize this encoded version {}", token.v));
        }
        if token.rv == 0 {
            return Err(": incorrect encoded start resourceVersion (version meta.k8s.io/v1)".to_owned());
        }
        if token.start.is_empty() {
            return Err(": encoded start key empty (version meta.k8s.io/v1)".to_owned());
        }
        // Nothing may lead out of the kind.
        let plain = |segment: &str| !matches!(segment, "" | "." | "..");
        match token.start.strip_suffix('\0') {
            Some(after) if after.strip_prefix('/').unwrap_or(after).split('/').all(plain) => {
                Ok((token.rv, after.to_owned()))
            }
            _ => Err(format!(": {}", token.start)),
        }
    }
}

/// Reads a resource version.
///
/// # Errors
/// 400 when it is no number.
pub(crate) fn version(text: &str) -> Result<Option<u64>, Status> {
    match text {
        "" => Ok(None),
        text => text.parse().map(Some).map_err(|_| {
            Status::bad_request(format!(
                "resourceVersion: Invalid value: {text:?}: strconv.ParseUint: parsing {text:?}: invalid syntax"
            ))
        }),
    }
}

/// What a client is told when the cache cannot serve a read.
pub(crate) fn cache_failed(error: Error) -> Status {
    match error {
        Error::TooLarge { requested, current } => too_large(requested, current),
        Error::Expired { .. } => Status::expired("The resourceVersion for the provided list is too old."),
        Error::Unreadable { .. } => Status::internal(error.to_string()),
        Error::Overlaps { .. } | Error::Closed => Status::unavailable("the API server is shutting down").retry_after(1),
        Error::Store { .. } => Status::unavailable(gantry_common::error_chain(&error)).retry_after(1),
    }
}

/// 504: the revision is not there yet.
pub(crate) fn too_large(requested: u64, current: u64) -> Status {
    Status::timeout(format!("Too large resource version: {requested}, current: {current}"), 1).with_cause(
        "ResourceVersionTooLarge",
        "Too large resource version",
        "",
    )
}

/// Waits until the cache can serve a read of this version: none = the present, 0 = any, else at least that.
///
/// # Errors
/// 504 when it does not come in time.
pub(crate) async fn settle(app: &App, version: Option<u64>) -> Result<(), Status> {
    match version {
        None => app.cache.consistent().await.map(drop),
        Some(0) => Ok(()),
        Some(revision) => app.cache.wait_for(revision).await,
    }
    .map_err(cache_failed)
}

/// One object.
///
/// # Errors
/// 404, and what [`settle`] says.
pub(crate) async fn get(app: &App, target: &Target, resource_version: &str) -> Result<Arc<Object>, Status> {
    settle(app, version(resource_version)?).await?;
    if let Some(what) = app.view(&target.kind).unreadable_object(namespace_of(target), &target.name) {
        return Err(Status::internal(what.reason));
    }
    app.view(&target.kind).get(namespace_of(target), &target.name).ok_or_else(|| target.not_found())
}

/// A list.
///
/// # Errors
/// 400 for parameters that make no sense, 410 for a state that is gone, 504 for one that is not there yet.
pub(crate) async fn list(app: &App, kind: &KindInfo, query: &ListQuery) -> Result<Listed, Status> {
    check_parameters(query, false)?;
    if !query.continue_token.is_empty() {
        return continued(app, kind, query).await;
    }
    let wanted = version(&query.resource_version)?;
    // Pages of a version meant that very version before it could be said.
    let exact_page = query.resource_version_match.is_empty() && query.limit > 0;
    if let Some(revision @ 1..) = wanted
        && (exact_page || query.resource_version_match == "Exact")
    {
        return at(app, kind, query, revision, None).await;
    }
    settle(app, wanted).await?;
    readable(&app.view(kind), &query.selection)?;
    // Upstream ignores the limit for reads of any version, and clients count on whole lists.
    let limit = if wanted == Some(0) { 0 } else { query.limit };
    present(app, kind, query, limit, None).await
}

/// What cannot be read must not be left out: whoever is told of a list without it takes it for deleted.
///
/// # Errors
/// 500, which names the first such key.
pub(crate) fn readable(view: &View, selection: &Selection) -> Result<(), Status> {
    view.unreadable(selection.namespace()).map_or(Ok(()), |what| Err(cache_failed(what.into())))
}

/// What does not go together; `sends`: whether `sendInitialEvents` is among it, which is for watches.
///
/// # Errors
/// 422 in upstream's words.
pub(crate) fn check_parameters(query: &ListQuery, sends: bool) -> Result<(), Status> {
    let (version, wanted) = (&query.resource_version, query.resource_version_match.as_str());
    let (stated, path) = (!wanted.is_empty(), field::Path::new("resourceVersionMatch"));
    let mut errors = Vec::new();
    let mut refuse = |when: bool, error: field::Error| errors.extend(when.then_some(error));
    let forbidden = |why: &str| field::Error::forbidden(&path, why);
    let no_version = "resourceVersionMatch is forbidden unless resourceVersion is provided";
    refuse(stated && version.is_empty(), forbidden(no_version));
    let goes_on = "resourceVersionMatch is forbidden when continue is provided";
    refuse(stated && !query.continue_token.is_empty(), forbidden(goes_on));
    let known = field::Error::not_listed(&path, wanted, &["Exact", "NotOlderThan", ""]);
    refuse(stated && !["Exact", "NotOlderThan"].contains(&wanted), known);
    let exactly_any = "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"";
    refuse(wanted == "Exact" && version == "0", forbidden(exactly_any));
    let for_watches = "sendInitialEvents is forbidden for list";
    refuse(sends, field::Error::forbidden(&field::Path::new("sendInitialEvents"), for_watches));
    if errors.is_empty() { Ok(()) } else { Err(Status::invalid("meta.k8s.io", "ListOptions", "", &errors)) }
}

async fn continued(app: &App, kind: &KindInfo, query: &ListQuery) -> Result<Listed, Status> {
    let (revision, after) = Token::decode(&query.continue_token)?;
    if !query.resource_version.is_empty() && query.resource_version != "0" {
        return Err(Status::bad_request("specifying resource version is not allowed when using continue"));
    }
    let Ok(revision) = u64::try_from(revision) else {
        settle(app, None).await?;
        readable(&app.view(kind), &query.selection)?;
        return present(app, kind, query, query.limit, Some(&after)).await;
    };
    let mut result = at(app, kind, query, revision, Some(&after)).await;
    if let Err(status) = &mut result
        && status.is("Expired")
    {
        TOKEN_EXPIRED.clone_into(&mut status.message);
        status.metadata.continue_token = Token::encode(-1, &after);
    }
    result
}

/// The list as of `revision`.
async fn at(
    app: &App,
    kind: &KindInfo,
    query: &ListQuery,
    revision: u64,
    after: Option<&str>,
) -> Result<Listed, Status> {
    // The kind's view may be another one when the revision has come.
    settle(app, Some(revision)).await?;
    readable(&app.view(kind), &query.selection)?;
    if query.selection.is_selective() {
        return selected_at(app, kind, query, revision, after).await;
    }
    let namespace = query.selection.namespace();
    let page = app.view(kind).page_at(revision, namespace, after, query.limit).await.map_err(cache_failed)?;
    let continue_token = match page.items.last() {
        Some(last) if page.remaining > 0 => token_after(kind, last, revision),
        _ => String::new(),
    };
    let remaining = (page.remaining > 0).then_some(page.remaining);
    Ok(Listed { items: page.items, revision, continue_token, remaining, warnings: Vec::new() })
}

/// The selected objects as of `revision`. They are read chunk by chunk, until there are as many as were asked for: each may
/// come from the store.
async fn selected_at(
    app: &App,
    kind: &KindInfo,
    query: &ListQuery,
    revision: u64,
    after: Option<&str>,
) -> Result<Listed, Status> {
    let (view, selection) = (app.view(kind), &query.selection);
    let wanted = if query.limit == 0 { usize::MAX } else { query.limit.saturating_add(1) };
    let mut chunk = Chunk { after: after.map(str::to_owned), objects: wanted.min(CHUNK_MAX) };
    let (mut found, mut shown) = (Vec::new(), Vec::new());
    loop {
        let read = view.page_at(revision, selection.namespace(), chunk.after.as_deref(), chunk.objects);
        let mut page = read.await.map_err(cache_failed)?;
        let last = page.items.last().map(|last| relative(kind, last).to_owned());
        page.items.retain(|object| selection.may_match(object));
        let mut converted = page.items.clone();
        if convert::asks(kind) {
            convert::shown(app, kind, &mut converted).await?;
        }
        for (stored, shown_as) in page.items.into_iter().zip(converted) {
            if selection.matches(&shown_as) {
                found.push(stored);
                shown.push(shown_as);
            }
        }
        if page.remaining == 0 || found.len() >= wanted {
            return Ok(cut_shown(kind, found, shown, query.limit, revision));
        }
        chunk.go_on(last);
    }
}

/// What is read of a list at a time.
#[derive(Debug, PartialEq, Eq)]
struct Chunk {
    after: Option<String>,
    objects: usize,
}

impl Chunk {
    /// Goes on behind the last object that was read, with a larger chunk: a selection that few objects match needs many of them.
    fn go_on(&mut self, last: Option<String>) {
        let doubled = self.objects.saturating_mul(2);
        match last {
            Some(last) => {
                self.after = Some(last);
                self.objects = doubled.min(CHUNK_MAX);
            }
            // What cannot be decoded is left out: a chunk of nothing else does not say where it ends.
            None => self.objects = doubled,
        }
    }
}

/// The list in the cache's present state.
async fn present(
    app: &App,
    kind: &KindInfo,
    query: &ListQuery,
    limit: usize,
    after: Option<&str>,
) -> Result<Listed, Status> {
    let view = app.view(kind);
    let (selection, figures) = (&query.selection, app.metrics.resources.of(kind));
    if after.is_none()
        && let Scope::Index { index, value } = selection.scope()
    {
        let (found, revision) = view.by_index(index, &value);
        let fetched = found.len();
        let listed = cut(kind, found.into_iter().filter(|o| selection.matches(o)), limit, revision);
        figures.listed(Found::ByNode, fetched, listed.items.len());
        return Ok(listed);
    }
    let snapshot = view.snapshot();
    if selection.is_selective() {
        let mut fetched = 0;
        let all = snapshot.list(selection.namespace(), after).inspect(|_| fetched += 1);
        let listed = if convert::asks(kind) {
            let found = all.filter(|o| selection.may_match(o)).cloned().collect();
            cut_converted(app, kind, selection, found, limit, snapshot.revision()).await?
        } else {
            cut(kind, all.filter(|o| selection.matches(o)).cloned(), limit, snapshot.revision())
        };
        figures.listed(Found::ByKey, fetched, listed.items.len());
        return Ok(listed);
    }
    let page = snapshot.page(selection.namespace(), after, limit);
    figures.listed(Found::ByKey, page.items.len(), page.items.len());
    let continue_token = match page.items.last() {
        Some(last) if page.remaining > 0 => token_after(kind, last, page.revision),
        _ => String::new(),
    };
    let remaining = (page.remaining > 0).then_some(page.remaining);
    Ok(Listed { items: page.items, revision: page.revision, continue_token, remaining, warnings: Vec::new() })
}

/// As [`cut`], where a webhook says what the objects are in the version that is asked for: only then can they be selected.
async fn cut_converted(
    app: &App,
    kind: &KindInfo,
    selection: &Selection,
    found: Vec<Arc<Object>>,
    limit: usize,
    revision: u64,
) -> Result<Listed, Status> {
    let mut shown = found.clone();
    convert::shown(app, kind, &mut shown).await?;
    let both = found.into_iter().zip(shown).filter(|(_, shown)| selection.matches(shown));
    let (found, shown): (Vec<_>, Vec<_>) = both.unzip();
    Ok(cut_shown(kind, found, shown, limit, revision))
}

/// As [`cut`], of matching objects that are shown as `shown`, one for one.
fn cut_shown(
    kind: &KindInfo,
    found: Vec<Arc<Object>>,
    mut shown: Vec<Arc<Object>>,
    limit: usize,
    revision: u64,
) -> Listed {
    // What is converted has no place in the store any more; the others say where to go on.
    let mut listed = cut(kind, found.into_iter(), limit, revision);
    shown.truncate(listed.items.len());
    listed.items = shown;
    listed
}

/// The first `limit` of the matching objects, with a token if there are more.
fn cut(kind: &KindInfo, matching: impl Iterator<Item = Arc<Object>>, limit: usize, revision: u64) -> Listed {
    let mut items: Vec<Arc<Object>> =
        if limit == 0 { matching.collect() } else { matching.take(limit.saturating_add(1)).collect() };
    let mut continue_token = String::new();
    if limit > 0 && items.len() > limit {
        items.truncate(limit);
        if let Some(last) = items.last() {
            continue_token = token_after(kind, last, revision);
        }
    }
    Listed { items, revision, continue_token, remaining: None, warnings: Vec::new() }
}

fn token_after(kind: &KindInfo, last: &Object, revision: u64) -> String {
    Token::encode(i64::try_from(revision).unwrap_or(i64::MAX), relative(kind, last))
}

/// The key below that of the kind.
fn relative<'o>(kind: &KindInfo, object: &'o Object) -> &'o str {
    object.key().strip_prefix(kind.storage_prefix.as_str()).unwrap_or_else(|| object.key())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_come_back() {
        assert_eq!(Token::decode(&Token::encode(42, "default/web")), Ok((42, "default/web".to_owned())));
        assert_eq!(Token::decode(&Token::encode(-1, "web")), Ok((-1, "web".to_owned())));
        let json = |json: &str| URL_SAFE_NO_PAD.encode(json);
        let bad = [
            (String::new(), ": unexpected end of JSON input"),
            ("x".to_owned(), ": illegal base64 data at input byte 0"),
            ("e30=".to_owned(), ": illegal base64 data at input byte 3"),
            (json("x"), ": invalid character 'x' looking for beginning of value"),
            (json("[]"), ": json: cannot unmarshal array into Go value of type storage.continueToken"),
            (
                json(r#"{"rv":"1"}"#),
                ": json: cannot unmarshal string into Go struct field continueToken.rv of type int64",
            ),
            (json("{}"), ": server does not recognize this encoded version "),
            (json(r#"{"v":"v2"}"#), ": server does not recognize this encoded version v2"),
            (json(r#"{"v":"meta.k8s.io/v1"}"#), ": incorrect encoded start resourceVersion (version meta.k8s.io/v1)"),
            (json(r#"{"v":"meta.k8s.io/v1","rv":1}"#), ": encoded start key empty (version meta.k8s.io/v1)"),
            (json(r#"{"v":"meta.k8s.io/v1","rv":1,"start":"../a\u0000"}"#), ": ../a\0"),
            (json(r#"{"v":"meta.k8s.io/v1","rv":1,"start":"a//b\u0000"}"#), ": a//b\0"),
        ];
        for (token, why) in bad {
            let status = Token::decode(&token).expect_err(why);
            let message = format!("invalid continue token: continue key is not valid{why}");
            assert_eq!((status.code, status.message), (400, message), "{token}");
        }
    }

    #[test]
    fn chunks_grow_and_go_on() {
        let mut chunk = Chunk { after: None, objects: 3 };
        chunk.go_on(Some("a/b".to_owned()));
        assert_eq!(chunk, Chunk { after: Some("a/b".to_owned()), objects: 6 });
        chunk.go_on(None);
        assert_eq!(chunk, Chunk { after: Some("a/b".to_owned()), objects: 12 });
        (0..20).for_each(|_| chunk.go_on(Some("c".to_owned())));
        assert_eq!(chunk, Chunk { after: Some("c".to_owned()), objects: CHUNK_MAX });
    }

    #[test]
    fn versions_are_numbers() {
        assert_eq!(version(""), Ok(None));
        assert_eq!(version("0"), Ok(Some(0)));
        assert_eq!(version("x").expect_err("no number").code, 400);
    }
}
