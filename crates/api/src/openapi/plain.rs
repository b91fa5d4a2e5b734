//! The paths that belong to no kind: discovery, the version, the OpenID documents.

use super::operation::{Content, Item, JSON, Operation};
use super::paths::{group_id, root, tag};
use crate::kinds::Kinds;

const FORMS: &[&str] = &[JSON, "application/yaml", "application/vnd.kubernetes.protobuf"];

/// A document of version 3 that is about one such path: its name, and the path.
pub(super) fn documents(kinds: &Kinds) -> Vec<(String, Item)> {
    let mut found = vec![
        (
            "api".to_owned(),
            item("/api/", "getCoreAPIVersions", "The versions of the core group.", "core", "APIVersions"),
        ),
        ("apis".to_owned(), item("/apis/", "getAPIVersions", "The named groups.", "apis", "APIGroupList")),
        ("version".to_owned(), version()),
        (".well-known/openid-configuration".to_owned(), openid_configuration()),
        ("openid/v1/jwks".to_owned(), keys()),
    ];
    let mut groups: Vec<&str> = kinds.group_versions().into_iter().map(|(group, _)| group).collect();
    groups.retain(|group| !group.is_empty());
    groups.dedup();
    for group in groups {
        let id = format!("get{}APIGroup", group_id(group));
        let text = format!("The versions of the group {group}.");
        found
            .push((format!("apis/{group}"), item(&format!("/apis/{group}/"), &id, &text, &tag(group, ""), "APIGroup")));
    }
    found
}

/// The path that lists the resources of a group and version.
pub(super) fn resources(group: &str, version: &str) -> Item {
    let mut capital = version.to_owned();
    capital[..1].make_ascii_uppercase();
    let id = format!("get{}{capital}APIResources", group_id(group));
    let path = format!("/{}/", root(group, version));
    item(&path, &id, "The resources that are served.", &tag(group, version), "APIResourceList")
}

fn item(path: &str, id: &str, text: &str, tag: &str, ty: &str) -> Item {
    single(path, id, text, tag, FORMS, Content::Of(format!("meta/v1.{ty}")))
}

fn version() -> Item {
    single(
        "/version/",
        "getCodeVersion",
        "The version of this server.",
        "version",
        &[JSON],
        Content::Of("version/Info".to_owned()),
    )
}

fn openid_configuration() -> Item {
    let text = "How tokens of service accounts are verified: the issuer, and where its keys are.";
    let path = "/.well-known/openid-configuration/";
    single(path, "getServiceAccountIssuerOpenIDConfiguration", text, "WellKnown", &[JSON], Content::Text)
}

fn keys() -> Item {
    let text = "The public keys that tokens of service accounts are signed with, as a JSON Web Key Set.";
    let gives = &["application/jwk-set+json"];
    single("/openid/v1/jwks/", "getServiceAccountIssuerOpenIDKeyset", text, "openid", gives, Content::Text)
}

fn single(path: &str, id: &str, text: &str, tag: &str, gives: &'static [&'static str], answer: Content) -> Item {
    let operation = Operation {
        method: "get",
        id: id.to_owned(),
        text: text.to_owned(),
        tag: tag.to_owned(),
        parameters: Vec::new(),
        takes: if answer == Content::Text { &[] } else { gives },
        body: Content::Nothing,
        body_required: false,
        gives,
        answers: vec![(200, answer)],
        action: None,
        gvk: None,
    };
    Item { path: path.to_owned(), places: Vec::new(), operations: vec![operation] }
}
