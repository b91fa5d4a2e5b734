//! `ABAC`: a file with one policy a line, as upstream's `abac.authorization.kubernetes.io/v1beta1`.

use std::path::Path;

use gantry_api::Value;
use serde::Deserialize;

use super::Opinion;
use crate::auth::{AUTHENTICATED, User};
use crate::rbac::rule::{Attributes, Rule};

const VERSION: &str = "abac.authorization.kubernetes.io/v1beta1";
const READS: &[&str] = &["get", "list", "watch"];

/// The lines of the file.
pub(crate) struct Policies(Vec<Policy>);

/// What one line allows. Empty is nobody and nothing, `*` is all; of users and groups it is all who have said who they are.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Policy {
    user: String,
    group: String,
    readonly: bool,
    api_group: String,
    resource: String,
    namespace: String,
    #[serde(rename = "nonResourcePath")]
    path: String,
}

impl Policy {
    fn read(line: &str) -> Result<Self, String> {
        let value: Value = serde_json::from_str(line).map_err(|error| error.to_string())?;
        let text = |key: &str| value[key].as_str().unwrap_or_default();
        let policy = |value: &Value| serde_json::from_value::<Self>(value.clone()).map_err(|error| error.to_string());
        let mut read = match (text("apiVersion"), text("kind")) {
            (VERSION, "Policy") => policy(&value["spec"])?,
            ("", _) | (_, "") => policy(&value)?.unversioned(),
            (version, kind) => {
                return Err(format!(
                    "no kind {kind:?} is registered for version {version:?}: want Policy of {VERSION}"
                ));
            }
        };
        // Nobody is somebody.
        if read.user == "*" || read.group == "*" {
            read.user.clear();
            AUTHENTICATED.clone_into(&mut read.group);
        }
        Ok(read)
    }

    /// A line as it was written before there were versions: what it leaves out is all.
    fn unversioned(mut self) -> Self {
        let all = || "*".to_owned();
        self.api_group = all();
        self.path = if self.namespace.is_empty() && self.resource.is_empty() { all() } else { String::new() };
        for left_out in [&mut self.namespace, &mut self.resource].into_iter().filter(|text| text.is_empty()) {
            *left_out = all();
        }
        if self.user.is_empty() && self.group.is_empty() {
            self.group = all();
        }
        self
    }

    fn is_about(&self, user: &User) -> bool {
        let names = !self.user.is_empty() || !self.group.is_empty();
        let is_user = self.user.is_empty() || self.user == user.name;
        names && is_user && (self.group.is_empty() || user.in_group(&self.group))
    }

    fn allows(&self, user: &User, request: &Attributes) -> bool {
        let covers = |pattern: &str, text: &str| pattern == "*" || pattern == text;
        if !self.is_about(user) || (self.readonly && !READS.contains(&request.verb.as_str())) {
            return false;
        }
        match &request.path {
            Some(path) => {
                let below = self.path.ends_with('*') && path.starts_with(self.path.trim_end_matches('*'));
                covers(&self.path, path) || below
            }
            None => {
                covers(&self.namespace, &request.namespace)
                    && covers(&self.resource, &request.resource)
                    && covers(&self.api_group, &request.group)
            }
        }
    }

    /// What the line allows, as rules of roles would.
    fn rules(&self) -> Vec<Rule> {
        let verbs = if self.readonly { READS } else { &["*"] };
        let verbs: Vec<String> = verbs.iter().map(|verb| (*verb).to_owned()).collect();
        let one = |text: &String| vec![text.clone()];
        let (verbs, mut rules) = (|| verbs.clone(), Vec::new());
        if !self.resource.is_empty() {
            let (api_groups, resources) = (one(&self.api_group), one(&self.resource));
            rules.push(Rule { verbs: verbs(), api_groups, resources, ..Rule::default() });
        }
        if !self.path.is_empty() {
            rules.push(Rule { verbs: verbs(), non_resource_urls: one(&self.path), ..Rule::default() });
        }
        rules
    }
}

impl Policies {
    /// Reads the file; empty lines and those that begin with `#` are passed over.
    ///
    /// # Errors
    /// In upstream's words, with the line.
    pub(super) fn load(path: &Path) -> Result<Self, String> {
        let shown = path.display();
        let text = std::fs::read_to_string(path).map_err(|error| format!("cannot read {shown}: {error}"))?;
        let lines =
            text.lines().enumerate().filter(|(_, line)| !matches!(line.trim().chars().next(), None | Some('#')));
        let read = lines.map(|(at, line)| {
            let wrong = |why| format!("error reading policy file {shown}, line {}: {line}: {why}", at + 1);
            Policy::read(line).map_err(wrong)
        });
        read.collect::<Result<_, _>>().map(Self)
    }

    /// Whether a line allows the request.
    pub(crate) fn decide(&self, user: &User, request: &Attributes) -> Opinion {
        if self.0.iter().any(|policy| policy.allows(user, request)) {
            return Opinion::Allow(String::new());
        }
        Opinion::none("No policy matched.")
    }

    /// What all lines allow the user in a namespace.
    pub(crate) fn rules_of(&self, user: &User, namespace: &str) -> Vec<Rule> {
        let there = |policy: &&Policy| policy.namespace == "*" || policy.namespace == namespace;
        self.0.iter().filter(there).filter(|policy| policy.is_about(user)).flat_map(Policy::rules).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policies(lines: &[&str]) -> Result<Policies, String> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("policy.jsonl");
        std::fs::write(&path, lines.join("\n")).expect("written");
        Policies::load(&path).map_err(|why| why.replace(&path.display().to_string(), "FILE"))
    }

    fn line(spec: &str) -> String {
        format!(r#"{{"apiVersion":"{VERSION}","kind":"Policy","spec":{{{spec}}}}}"#)
    }

    /// `verb [group:]resource [namespace]` or `verb /path`.
    fn request(text: &str) -> Attributes {
        let mut words = text.split(' ').map(str::to_owned);
        let mut word = || words.next().unwrap_or_default();
        let (verb, what, namespace) = (word(), word(), word());
        if what.starts_with('/') {
            return Attributes { verb, path: Some(what), ..Attributes::default() };
        }
        let (group, resource) = what.split_once(':').unwrap_or(("", &what));
        let (group, resource) = (group.to_owned(), resource.to_owned());
        Attributes { verb, group, resource, namespace, ..Attributes::default() }
    }

    #[test]
    fn a_line_allows_what_it_says() {
        let check = |line: &str, user: &User, may: &[&str], may_not: &[&str]| {
            let policies = policies(&["# a comment", "", line]).expect(line);
            for (requests, allows) in [(may, true), (may_not, false)] {
                for text in requests {
                    let expected =
                        if allows { Opinion::Allow(String::new()) } else { Opinion::none("No policy matched.") };
                    assert_eq!(policies.decide(user, &request(text)), expected, "{line}: {text}");
                }
            }
        };
        let (alice, nobody) = (User::new("alice", &["dev"]), User::anonymous());
        let all = r#""namespace":"*","resource":"*","apiGroup":"*","nonResourcePath":"*""#;
        let pods = r#""namespace":"a","resource":"pods""#;
        check(&line(&format!(r#""user":"alice",{pods}"#)), &alice, &["get pods a", "delete pods a"], &["get pods b"]);
        check(&line(&format!(r#""user":"bob",{pods}"#)), &alice, &[], &["get pods a"]);
        check(&line(pods), &alice, &[], &["get pods a"]);
        check(&line(&format!(r#""group":"dev",{all}"#)), &alice, &["get apps:deployments a", "post /x"], &[]);
        check(&line(&format!(r#""user":"bob","group":"dev",{all}"#)), &alice, &[], &["get pods a"]);
        check(&line(&format!(r#""user":"*",{all}"#)), &alice, &["get nodes", "create pods a"], &[]);
        check(&line(&format!(r#""user":"*",{all}"#)), &nobody, &[], &["get nodes", "get /healthz"]);
        let reads = line(&format!(r#""user":"alice","readonly":true,{all}"#));
        check(&reads, &alice, &["get pods a", "watch pods a", "list x:y", "get /x"], &["create pods a", "head /x"]);
        let below = line(r#""group":"system:unauthenticated","readonly":true,"nonResourcePath":"/health*""#);
        check(&below, &nobody, &["get /healthz", "get /health"], &["get /metrics", "get pods a"]);
        check(&line(r#""user":"alice","resource":"pods","namespace":"*""#), &alice, &["get pods"], &["get x:pods"]);
        // Before there were versions.
        check(r#"{"user":"alice"}"#, &alice, &["create x:y a", "get /x"], &[]);
        check(r#"{"user":"alice","resource":"pods"}"#, &alice, &["get x:pods a"], &["get /x", "get nodes"]);
        check(r#"{"readonly":true}"#, &alice, &["get nodes"], &["create nodes"]);
        check(r#"{"readonly":true}"#, &nobody, &[], &["get nodes"]);
    }

    #[test]
    fn what_a_line_allows_is_told_as_rules() {
        let written = [
            line(r#""user":"alice","namespace":"a","resource":"pods","readonly":true"#),
            line(r#""group":"dev","namespace":"*","nonResourcePath":"/x*""#),
        ];
        let policies = policies(&written.each_ref().map(String::as_str)).expect("good");
        let alice = User::new("alice", &["dev"]);
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let paths = Rule { verbs: texts(&["*"]), non_resource_urls: texts(&["/x*"]), ..Rule::default() };
        let (api_groups, resources) = (texts(&[""]), texts(&["pods"]));
        let pods = Rule { verbs: texts(READS), api_groups, resources, ..Rule::default() };
        assert_eq!(policies.rules_of(&alice, "a"), [pods, paths.clone()]);
        assert_eq!(policies.rules_of(&alice, "b"), [paths]);
        assert_eq!(policies.rules_of(&User::new("bob", &[]), "a"), []);
    }

    #[test]
    fn a_line_that_cannot_be_read_is_named() {
        let error = policies(&[r#"{"user":"a"}"#, "{nonsense"]).err().unwrap_or_default();
        assert!(
            error.starts_with("error reading policy file FILE, line 2: {nonsense: key must be a string"),
            "{error}"
        );
        let other = policies(&[r#"{"apiVersion":"v9","kind":"Policy"}"#]).err().unwrap_or_default();
        assert!(other.contains("no kind \"Policy\" is registered for version \"v9\""), "{other}");
    }
}
