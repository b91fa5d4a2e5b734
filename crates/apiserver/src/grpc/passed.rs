//! Calls about group versions that other API servers serve: each becomes one request of REST to them, in the caller's name.
//!
//! Only what is one request and one answer: objects are read, listed, patched and deleted. To watch, to make and to replace them is
//! REST's.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use gantry_api::Value;
use gantry_api::status::Status;
use gantry_proto::v1;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use http_body_util::Full;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::json;
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::answers::{self, Held};
use super::convert;
use crate::aggregate::Remote;
use crate::aggregate::remote::{self, name_user};
use crate::app::App;
use crate::audit::ObjectRef;
use crate::pipeline::current::store_failed;
use crate::rbac::rule::Attributes;
use crate::request::Caller;
use crate::sessions::bounds::Holder;
use crate::sessions::record::Record;

/// How long a call may take, from its message to the end of the other server's answer (upstream's `--request-timeout`): it holds
/// its place among the requests in flight as long, as what upstream passes on does.
const PATIENCE: Duration = Duration::from_secs(60);
/// What stands in a path or a query as it is.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A call for another API server.
pub(super) struct Passing {
    app: Arc<App>,
    remote: Arc<Remote>,
    caller: Caller,
    until: Instant,
}

/// The reply to a call that was passed on.
pub(super) struct Passed<T> {
    reply: T,
    held: Held,
}

impl<T> Passed<T> {
    fn map<U>(self, make: impl FnOnce(T) -> U) -> Passed<U> {
        Passed { reply: make(self.reply), held: self.held }
    }

    /// The reply as a response, which [`super::entry`] counts until it has left.
    pub(super) fn response<U>(self, make: impl FnOnce(T) -> tonic::Response<U>) -> tonic::Response<U> {
        let mut response = make(self.reply);
        response.extensions_mut().insert(Arc::new(self.held));
        response
    }
}

/// What is asked for.
struct Asked<'r> {
    verb: &'static str,
    method: Method,
    resource: &'r str,
    namespace: &'r str,
    name: &'r str,
    query: Vec<(&'static str, &'r str)>,
    accept: &'static str,
    content_type: &'static str,
    /// Or why it cannot be made, which is nothing for those who may not ask.
    body: Result<Bytes, Status>,
}

impl<'r> Asked<'r> {
    fn new(verb: &'static str, resource: Option<&'r v1::Resource>, namespace: &'r str, name: &'r str) -> Self {
        let method = match verb {
            "delete" | "deletecollection" => Method::DELETE,
            "patch" => Method::PATCH,
            _ => Method::GET,
        };
        let resource = resource.map(|r| r.resource.as_str()).unwrap_or_default();
        let (query, json, body) = (Vec::new(), "application/json", Ok(Bytes::new()));
        Self { verb, method, resource, namespace, name, query, accept: json, content_type: json, body }
    }

    /// The path and the query below the group version at `root`.
    ///
    /// # Errors
    /// 400 for names that lead elsewhere.
    fn uri(&self, root: &str) -> Result<String, Status> {
        if self.resource.is_empty() {
            return Err(Status::no_such_resource());
        }
        for part in [self.resource, self.namespace, self.name] {
            if part.contains(['/', '\0']) || part == "." || part == ".." {
                return Err(Status::bad_request(format!("{part:?} cannot be a name in a path")));
            }
        }
        let mut uri = root.to_owned();
        let mut add = |part: &str| {
            uri.push('/');
            uri.extend(utf8_percent_encode(part, PLAIN));
        };
        if !self.namespace.is_empty() {
            add("namespaces");
            add(self.namespace);
        }
        add(self.resource);
        if !self.name.is_empty() {
            add(self.name);
        }
        let said = self.query.iter().filter(|(_, text)| !text.is_empty());
        for (at, (key, text)) in said.enumerate() {
            uri.extend([if at == 0 { "?" } else { "&" }, key, "="]);
            uri.extend(utf8_percent_encode(text, PLAIN));
        }
        Ok(uri)
    }
}

impl Passing {
    /// The call, if another server serves the group version of the resource.
    pub(super) fn of<T>(
        app: &Arc<App>,
        request: &tonic::Request<T>,
        resource: impl FnOnce(&T) -> Option<&v1::Resource>,
    ) -> Result<Option<Self>, tonic::Status> {
        let remote = resource(request.get_ref()).and_then(|r| app.aggregator.version(&r.group, &r.version));
        let Some(remote) = remote else { return Ok(None) };
        let until = Instant::now() + PATIENCE;
        Ok(Some(Self { app: app.clone(), remote, caller: convert::caller(request)?, until }))
    }

    /// Reads one object.
    pub(super) async fn get(&self, r: &v1::GetRequest) -> Result<Passed<v1::ObjectReply>, Status> {
        if !r.subresource.is_empty() {
            return Err(Status::no_such_resource());
        }
        named(&r.name)?;
        let asked = Asked {
            query: vec![("resourceVersion", r.resource_version.as_str())],
            accept: accept(r.view, "PartialObjectMetadata"),
            ..Asked::new("get", r.resource.as_ref(), &r.namespace, &r.name)
        };
        let passed = self.pass(&asked).await?;
        Ok(passed.map(|object| v1::ObjectReply { object, warnings: Vec::new(), created: false }))
    }

    /// Lists objects.
    pub(super) async fn list(&self, r: &v1::ListRequest) -> Result<Passed<v1::ListChunk>, Status> {
        let limit = if r.limit > 0 { r.limit.to_string() } else { String::new() };
        let asked = Asked {
            query: vec![
                ("labelSelector", r.label_selector.as_str()),
                ("fieldSelector", r.field_selector.as_str()),
                ("limit", limit.as_str()),
                ("continue", r.r#continue.as_str()),
                ("resourceVersion", r.resource_version.as_str()),
                ("resourceVersionMatch", r.resource_version_match.as_str()),
            ],
            accept: accept(r.view, "PartialObjectMetadataList"),
            ..Asked::new("list", r.resource.as_ref(), &r.namespace, "")
        };
        let Passed { reply, held } = self.pass(&asked).await?;
        Ok(Passed { reply: chunk(&reply)?, held })
    }

    /// Patches one object.
    pub(super) async fn patch(&self, r: &v1::PatchRequest) -> Result<Passed<v1::ObjectReply>, Status> {
        if !r.subresource.is_empty() {
            return Err(Status::no_such_resource());
        }
        named(&r.name)?;
        let options = r.options.clone().unwrap_or_default();
        let asked = Asked {
            query: vec![
                ("dryRun", if options.dry_run { "All" } else { "" }),
                ("fieldManager", options.field_manager.as_str()),
                ("fieldValidation", options.field_validation.as_str()),
                ("force", if r.force { "true" } else { "" }),
            ],
            content_type: patch_media(r.r#type)?,
            body: Ok(r.patch.clone()),
            ..Asked::new("patch", r.resource.as_ref(), &r.namespace, &r.name)
        };
        let passed = self.pass(&asked).await?;
        Ok(passed.map(|object| v1::ObjectReply { object, warnings: Vec::new(), created: false }))
    }

    /// Deletes one object.
    pub(super) async fn delete(&self, r: &v1::DeleteRequest) -> Result<Passed<v1::ObjectReply>, Status> {
        named(&r.name)?;
        let asked = Asked {
            body: deletion(&r.delete_options, r.options.as_ref()),
            ..Asked::new("delete", r.resource.as_ref(), &r.namespace, &r.name)
        };
        let passed = self.pass(&asked).await?;
        Ok(passed.map(|object| v1::ObjectReply { object, warnings: Vec::new(), created: false }))
    }

    /// Deletes all objects of a selection.
    pub(super) async fn delete_collection(
        &self,
        r: &v1::DeleteCollectionRequest,
    ) -> Result<Passed<v1::ListChunk>, Status> {
        let asked = Asked {
            query: vec![("labelSelector", r.label_selector.as_str()), ("fieldSelector", r.field_selector.as_str())],
            body: deletion(&r.delete_options, r.options.as_ref()),
            ..Asked::new("deletecollection", r.resource.as_ref(), &r.namespace, "")
        };
        let Passed { reply, held } = self.pass(&asked).await?;
        Ok(Passed { reply: chunk(&reply)?, held })
    }

    /// Sends the request, once the caller may make it, and gives the whole answer.
    async fn pass(&self, asked: &Asked<'_>) -> Result<Passed<Bytes>, Status> {
        let (uri, text) = (asked.uri(&self.remote.root())?, str::to_owned);
        let object = ObjectRef {
            resource: Cow::Owned(text(asked.resource)),
            namespace: text(asked.namespace),
            name: text(asked.name),
            uid: String::new(),
            api_version: Cow::Owned(self.remote.version.clone()),
            subresource: Cow::Borrowed(""),
        };
        let mut record = Record::proxied(&self.app, &self.caller, uri.clone(), asked.verb, object);
        let answered = tokio::time::timeout_at(self.until, self.answered(asked, &uri, &mut record)).await;
        let late = || Err(Status::timeout("request did not complete within the allotted timeout", 0));
        let answered = answered.unwrap_or_else(|_| late());
        let success = || Status { status: "Success".to_owned(), ..Status::failure(200, "", "") };
        record.finish(&answered.as_ref().err().cloned().unwrap_or_else(success));
        answered
    }

    async fn answered(&self, asked: &Asked<'_>, uri: &str, record: &mut Record) -> Result<Passed<Bytes>, Status> {
        let (user, remote) = (&self.caller.user, &self.remote);
        let needed = Attributes {
            verb: asked.verb.to_owned(),
            group: remote.group.clone(),
            version: remote.version.clone(),
            resource: asked.resource.to_owned(),
            namespace: asked.namespace.to_owned(),
            name: asked.name.to_owned(),
            ..Attributes::default()
        };
        self.app.authorizer.require(&self.app, user, &needed).await?;
        let body = asked.body.clone()?;
        let _place = self.app.places.take_for(Holder::of(user))?;
        record.open();
        self.check_fence().await?;
        if !remote.available {
            return Err(
                Status::unavailable(format!("the API server of {} does not answer", remote.name)).retry_after(1)
            );
        }
        let (backend, authority) = remote.connect::<Full<Bytes>>(&self.app).await.map_err(remote::Error::status)?;
        let is_empty = body.is_empty();
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = asked.method.clone();
        *request.uri_mut() =
            uri.parse().map_err(|error| Status::bad_request(format!("{uri:?} cannot be asked for: {error}")))?;
        *request.headers_mut() = self.headers(asked, is_empty, &authority)?;
        let answer = backend.send(request).await.map_err(|error| error.status())?;
        let (head, body) = answer.into_parts();
        let (reply, held) = answers::read(&self.app.answers, &user.name, &remote.name, body).await?;
        // Redirections are followed nowhere (CVE-2022-3172).
        if head.status.is_success() { Ok(Passed { reply, held }) } else { Err(failure(remote, head.status, &reply)) }
    }

    fn headers(&self, asked: &Asked<'_>, is_empty: bool, authority: &str) -> Result<HeaderMap, Status> {
        let mut headers = HeaderMap::new();
        let host = HeaderValue::from_str(authority).map_err(Status::internal)?;
        headers.insert(header::HOST, host);
        headers.insert(header::ACCEPT, HeaderValue::from_static(asked.accept));
        if !is_empty {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(asked.content_type));
        }
        name_user(&mut headers, &self.caller.user).map_err(Status::internal)?;
        Ok(headers)
    }

    /// Another server knows no fences: what can be known before is looked at here.
    async fn check_fence(&self) -> Result<(), Status> {
        let Some(fence) = &self.caller.fence else { return Ok(()) };
        let found = self.app.store.get(&fence.key()).await.map_err(store_failed)?;
        if found.map_or(0, |kv| kv.mod_revision) == fence.revision {
            return Ok(());
        }
        let (namespace, name) = (&fence.namespace, &fence.name);
        let why = format!("the leader that asks (lease {namespace}/{name} at {}) has been followed", fence.revision);
        Err(Status::failure(409, "Fenced", why))
    }
}

/// What is accepted for a view; `partial`: the kind of metadata alone.
fn accept(view: i32, partial: &str) -> &'static str {
    match v1::View::try_from(view).unwrap_or_default() {
        v1::View::Full => "application/json",
        v1::View::Metadata if partial.ends_with("List") => {
            "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
        }
        v1::View::Metadata => "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json",
        v1::View::Table | v1::View::TableWithObject => "application/json;as=Table;g=meta.k8s.io;v=v1,application/json",
    }
}

/// What a patch of this type is called.
///
/// # Errors
/// 400 for one without a type.
fn patch_media(kind: i32) -> Result<&'static str, Status> {
    match v1::PatchType::try_from(kind).unwrap_or_default() {
        v1::PatchType::Json => Ok("application/json-patch+json"),
        v1::PatchType::Merge => Ok("application/merge-patch+json"),
        v1::PatchType::StrategicMerge => Ok("application/strategic-merge-patch+json"),
        v1::PatchType::Apply => Ok("application/apply-patch+yaml"),
        v1::PatchType::Unspecified => Err(Status::bad_request("the patch has no type")),
    }
}

/// A right to one object is none to a list of them.
fn named(name: &str) -> Result<(), Status> {
    if name.is_empty() { Err(Status::bad_request("the request names no object")) } else { Ok(()) }
}

/// Options of a deletion as a body. Whoever gets one looks for a dry run nowhere else.
///
/// # Errors
/// 400 for options that are no object.
fn deletion(options: &Bytes, write: Option<&v1::WriteOptions>) -> Result<Bytes, Status> {
    if !write.is_some_and(|write| write.dry_run) {
        return Ok(options.clone());
    }
    let parsed = if options.is_empty() { Ok(json!({})) } else { serde_json::from_slice(options) };
    let mut parsed: Value =
        parsed.map_err(|error| Status::bad_request(format!("delete_options cannot be read: {error}")))?;
    let object = parsed.as_object_mut().ok_or_else(|| Status::bad_request("delete_options are no JSON object"))?;
    object.insert("dryRun".to_owned(), json!(["All"]));
    Ok(Bytes::from(parsed.to_string()))
}

/// A list: its head, then its items, which are parts of the answer as it came. What is none (a table, a Status) is all head.
fn chunk(answer: &Bytes) -> Result<v1::ListChunk, Status> {
    let why = |error| Status::failure(502, "BadGateway", format!("the answer is no list: {error}"));
    let mut list: BTreeMap<String, &RawValue> = serde_json::from_slice(answer).map_err(why)?;
    let items = list.insert("items".to_owned(), serde_json::from_str("[]").map_err(why)?);
    let items = items.map(RawValue::get).filter(|items| items.starts_with('[')).unwrap_or("[]");
    let items: Vec<&RawValue> = serde_json::from_str(items).map_err(why)?;
    let items = items.iter().map(|item| answer.slice_ref(item.get().as_bytes())).collect();
    Ok(v1::ListChunk { list: serde_json::to_vec(&list).map_err(why)?.into(), items })
}

/// What the other server says, or that it says nothing.
fn failure(remote: &Remote, code: StatusCode, answer: &[u8]) -> Status {
    let said = serde_json::from_slice::<Status>(answer).ok().filter(|said| said.kind == "Status" && said.code >= 400);
    said.unwrap_or_else(|| {
        let reason = code.canonical_reason().unwrap_or_default().replace(' ', "");
        Status::failure(code.as_u16(), &reason, format!("the API server of {} answered {code}", remote.name))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_become_requests() {
        let resource = v1::Resource { resource: "widgets".to_owned(), ..v1::Resource::default() };
        let check = |namespace: &str, name: &str, query: Vec<(&'static str, &str)>, expected: Option<&str>| {
            let asked = Asked { query, ..Asked::new("delete", Some(&resource), namespace, name) };
            let uri = asked.uri("/apis/a.b/v1").ok();
            assert_eq!((uri.as_deref(), asked.method), (expected, Method::DELETE), "{namespace} {name}");
        };
        check("", "", vec![], Some("/apis/a.b/v1/widgets"));
        check("n", "a b", vec![("x", "")], Some("/apis/a.b/v1/namespaces/n/widgets/a%20b"));
        let selectors = vec![("labelSelector", "a=b,c"), ("dryRun", ""), ("limit", "5")];
        check("n", "", selectors, Some("/apis/a.b/v1/namespaces/n/widgets?labelSelector=a%3Db%2Cc&limit=5"));
        for wrong in ["..", ".", "a/b", "\0"] {
            check(wrong, "", vec![], None);
            check("n", wrong, vec![], None);
        }
    }

    #[test]
    fn a_dry_run_stands_where_it_is_looked_for() {
        let check = |options: &'static str, dry_run: bool, expected: Option<Value>| {
            let write = v1::WriteOptions { dry_run, ..v1::WriteOptions::default() };
            let body = deletion(&Bytes::from_static(options.as_bytes()), Some(&write)).ok();
            assert_eq!(body.map(|body| serde_json::from_slice(&body).unwrap_or_default()), expected, "{options}");
        };
        check("", true, Some(json!({"dryRun": ["All"]})));
        let orphan = r#"{"propagationPolicy":"Orphan"}"#;
        check(orphan, true, Some(json!({"propagationPolicy": "Orphan", "dryRun": ["All"]})));
        check(orphan, false, Some(json!({"propagationPolicy": "Orphan"})));
        check("", false, Some(Value::Null));
        check("[]", true, None);
    }

    #[test]
    fn lists_are_taken_apart() {
        let chunk = |text: &'static str| chunk(&Bytes::from_static(text.as_bytes()));
        let part = chunk(r#"{"kind":"WidgetList","metadata":{"continue":"c"},"items":[{"a":1}, {"b":2} ]}"#);
        let part = part.expect("a list");
        assert_eq!(part.items, [r#"{"a":1}"#, r#"{"b":2}"#]);
        let head: Value = serde_json::from_slice(&part.list).expect("JSON");
        assert_eq!(head, json!({"kind": "WidgetList", "metadata": {"continue": "c"}, "items": []}));
        assert!(chunk(r#"{"kind":"Status","status":"Success"}"#).expect("a success").items.is_empty());
        assert!(chunk(r#"{"kind":"WidgetList","items":null}"#).expect("an empty list").items.is_empty());
        assert!(chunk("[]").is_err() && chunk("").is_err());
    }
}
