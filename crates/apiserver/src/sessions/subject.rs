//! What a session is about: which object, on which node, and what a caller needs to be allowed.

use gantry_api::kinds::Kinds;
use gantry_api::status::Status;
use gantry_api::{Value, value};
use gantry_proto::v1::open_session::Kind;
use serde_json::json;

use super::container::{self, Words};
use super::pod::Pod;
use crate::app::App;
use crate::calls;
use crate::pipeline::current;
use crate::rbac::authorizer;
use crate::rbac::rule::Attributes;
use crate::request::Target;
use crate::rest::log;

/// The object of a session.
#[derive(Debug, Clone)]
pub(crate) struct Subject {
    /// As metrics call it.
    pub(crate) name: &'static str,
    pub(crate) resource: &'static str,
    pub(crate) subresource: &'static str,
    pub(crate) namespace: String,
    pub(crate) object: String,
    /// What the caller must be allowed.
    pub(crate) needed: Vec<Attributes>,
    target: Target,
}

/// Where a session goes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Place {
    /// Empty for a pod that has no node yet.
    pub(crate) node: String,
    pub(crate) uid: String,
    /// The revision of the object that says so.
    pub(crate) revision: u64,
}

/// The parts of a request that names a pod.
struct PodPart<'k> {
    namespace: &'k str,
    pod: &'k str,
    container: Option<&'k mut String>,
    uid: &'k mut String,
}

fn pod_part(kind: &mut Kind) -> Option<PodPart<'_>> {
    let (namespace, pod, container, uid) = match kind {
        Kind::Log(r) => (&r.namespace, &r.pod, Some(&mut r.container), &mut r.pod_uid),
        Kind::Exec(r) => (&r.namespace, &r.pod, Some(&mut r.container), &mut r.pod_uid),
        Kind::Attach(r) => (&r.namespace, &r.pod, Some(&mut r.container), &mut r.pod_uid),
        Kind::PortForward(r) => (&r.namespace, &r.pod, None, &mut r.pod_uid),
        Kind::Stats(_) | Kind::Dial(_) | Kind::Kubelet(_) => return None,
    };
    Some(PodPart { namespace, pod, container, uid })
}

impl Subject {
    /// Reads a request. `by_get`: it is a GET that asks for an upgrade, for which upstream wants both `get` and `create`.
    ///
    /// # Errors
    /// 400 for sessions that are not for clients, 404 for names that cannot be.
    pub(crate) fn of(kind: &mut Kind, by_get: bool) -> Result<Self, Status> {
        let (name, subresource) = match kind {
            Kind::Log(_) => ("log", "log"),
            Kind::Exec(_) => ("exec", "exec"),
            Kind::Attach(_) => ("attach", "attach"),
            Kind::PortForward(_) => ("port_forward", "portforward"),
            Kind::Stats(_) => ("stats", "stats"),
            Kind::Dial(_) | Kind::Kubelet(_) => {
                return Err(Status::bad_request("sessions of this kind are opened by the API server alone"));
            }
        };
        let (target, resource) = if let Kind::Stats(request) = kind {
            (calls::target(&Kinds::builtin(), ("", "v1", "nodes"), "", &request.node, "")?, "nodes")
        } else {
            let part = pod_part(kind).ok_or_else(Status::no_such_resource)?;
            (calls::target(&Kinds::builtin(), ("", "v1", "pods"), part.namespace, part.pod, "")?, "pods")
        };
        if target.name.is_empty() {
            return Err(Status::bad_request("the session names no object"));
        }
        let verbs: &[&str] = match (subresource, by_get) {
            ("log" | "stats", _) => &["get"],
            (_, true) => &["get", "create"],
            (_, false) => &["create"],
        };
        let need = |verb: &&str| authorizer::on(&target.kind, verb, &target.namespace, &target.name, subresource);
        let needed = verbs.iter().map(need).collect();
        let (namespace, object) = (target.namespace.clone(), target.name.clone());
        Ok(Self { name, resource, subresource, namespace, object, needed, target })
    }

    /// The pod at that place.
    pub(super) fn pod(&self, place: &Place) -> Pod {
        Pod { target: self.target.clone(), uid: place.uid.clone(), revision: place.revision }
    }

    /// The connection as admission is asked about it, with its options; logs and statistics are only read.
    pub(crate) fn connects(&self, kind: &Kind) -> Option<(Target, Value)> {
        let streams = |name: &str, [stdin, stdout, stderr, tty]: [bool; 4], container: &str| {
            let mut options = json!({"kind": name, "apiVersion": "v1"});
            let all = [("stdin", stdin), ("stdout", stdout), ("stderr", stderr), ("tty", tty)];
            for (key, _) in all.iter().filter(|(_, on)| *on) {
                options[*key] = true.into();
            }
            if !container.is_empty() {
                options["container"] = container.into();
            }
            options
        };
        let options = match kind {
            Kind::Exec(r) => {
                let mut options = streams("PodExecOptions", [r.stdin, r.stdout, r.stderr, r.tty], &r.container);
                options["command"] = json!(r.command);
                options
            }
            Kind::Attach(r) => streams("PodAttachOptions", [r.stdin, r.stdout, r.stderr, r.tty], &r.container),
            Kind::PortForward(r) => {
                let mut options = json!({"kind": "PodPortForwardOptions", "apiVersion": "v1"});
                if r.port > 0 {
                    options["ports"] = json!([r.port]);
                }
                options
            }
            _ => return None,
        };
        Some((Target { subresource: self.subresource, ..self.target.clone() }, options))
    }

    /// Finds the node, and completes the request: the container that is meant, the pod's UID.
    ///
    /// # Errors
    /// 404, and 400 in upstream's words for what cannot be done with this pod.
    pub(crate) async fn locate(&self, app: &App, kind: &mut Kind) -> Result<Place, Status> {
        // Before anything is looked up, as upstream does it.
        if let Kind::Log(request) = kind {
            log::check(request)?;
        }
        let found = current::load(app, &self.target).await?.ok_or_else(|| self.target.not_found())?;
        let (found, revision) = (found.value, found.revision);
        let uid = value::str_at(&found, "metadata.uid").unwrap_or_default().to_owned();
        if let Kind::Stats(request) = kind {
            return Ok(Place { node: request.node.clone(), uid, revision });
        }
        let words = if matches!(kind, Kind::Log(_)) { Words::Log } else { Words::Exec };
        if let Some(part) = pod_part(kind) {
            if let Some(container) = part.container {
                *container = container::choose(&found, container, words)?;
            }
            // Who names a UID means no other pod of that name.
            if !part.uid.is_empty() && *part.uid != uid {
                return Err(self.target.not_found());
            }
            part.uid.clone_from(&uid);
        }
        let node = value::str_at(&found, "spec.nodeName").unwrap_or_default().to_owned();
        self.check_pod(&found, &node)?;
        check_streams(kind)?;
        Ok(Place { node, uid, revision })
    }

    fn check_pod(&self, pod: &Value, node: &str) -> Result<(), Status> {
        if self.subresource == "log" {
            return Ok(());
        }
        if node.is_empty() {
            return Err(no_host(&self.object));
        }
        let phase = value::str_at(pod, "status.phase").unwrap_or_default();
        if phase != "Succeeded" && phase != "Failed" {
            return Ok(());
        }
        let what = match self.subresource {
            "exec" => "cannot exec into a container in a completed pod; current phase is",
            "attach" => "cannot attach a container in a completed pod; current phase is",
            _ => "unable to forward port because pod is not running. Current status =",
        };
        Err(Status::bad_request(format!("{what} {phase}")))
    }
}

/// 400 for a pod that has no node.
pub(crate) fn no_host(pod: &str) -> Status {
    Status::bad_request(format!("pod {pod} does not have a host assigned"))
}

/// Which streams are wanted. With a terminal there is one output, as upstream has it: standard error is left out.
fn check_streams(kind: &mut Kind) -> Result<(), Status> {
    let any = match kind {
        Kind::Exec(r) => {
            if r.command.is_empty() {
                return Err(Status::bad_request("you must specify at least one command for the container"));
            }
            r.stderr &= !r.tty;
            r.stdin || r.stdout || r.stderr
        }
        Kind::Attach(r) => {
            r.stderr &= !r.tty;
            r.stdin || r.stdout || r.stderr
        }
        _ => true,
    };
    if any { Ok(()) } else { Err(Status::bad_request("you must specify at least 1 of stdin, stdout, stderr")) }
}

#[cfg(test)]
mod tests {
    use gantry_proto::v1::{AttachRequest, DialRequest, ExecRequest, KubeletRequest, LogRequest, StatsRequest};

    use super::*;

    fn exec(pod: &str) -> ExecRequest {
        ExecRequest { namespace: "a".to_owned(), pod: pod.to_owned(), ..ExecRequest::default() }
    }

    #[test]
    fn each_kind_needs_its_own_rights() {
        let check = |mut kind: Kind, by_get: bool, expected: Result<&str, u16>| {
            let got = Subject::of(&mut kind, by_get);
            let text =
                |a: &Attributes| format!("{} {}/{} {}/{}", a.verb, a.resource, a.subresource, a.namespace, a.name);
            let got = got.map(|s| s.needed.iter().map(text).collect::<Vec<_>>().join(", ")).map_err(|s| s.code);
            assert_eq!(got.as_deref().map_err(|c| *c), expected);
        };
        check(Kind::Exec(exec("p")), false, Ok("create pods/exec a/p"));
        check(Kind::Exec(exec("p")), true, Ok("get pods/exec a/p, create pods/exec a/p"));
        let log = LogRequest { namespace: "a".to_owned(), pod: "p".to_owned(), ..LogRequest::default() };
        check(Kind::Log(log), false, Ok("get pods/log a/p"));
        check(Kind::Stats(StatsRequest { node: "n".to_owned() }), false, Ok("get nodes/stats /n"));
        check(Kind::Dial(DialRequest::default()), false, Err(400));
        check(Kind::Kubelet(KubeletRequest::default()), false, Err(400));
        check(Kind::Exec(exec("")), false, Err(400));
        check(Kind::Exec(exec("../../secrets/x")), false, Err(400));
    }

    #[test]
    fn a_terminal_has_one_output() {
        let check = |kind: &mut Kind, expected: Result<bool, &str>| {
            let got = check_streams(kind).map_err(|s| s.message);
            let stderr = matches!(kind, Kind::Exec(r) if r.stderr) || matches!(kind, Kind::Attach(r) if r.stderr);
            assert_eq!(got.as_ref().map(|()| stderr).map_err(String::as_str), expected);
        };
        let none = "you must specify at least 1 of stdin, stdout, stderr";
        let command = vec!["sh".to_owned()];
        let wanted = ExecRequest { command, stdout: true, stderr: true, ..exec("p") };
        check(&mut Kind::Exec(wanted.clone()), Ok(true));
        check(&mut Kind::Exec(ExecRequest { tty: true, ..wanted.clone() }), Ok(false));
        check(&mut Kind::Exec(ExecRequest { tty: true, stdout: false, ..wanted.clone() }), Err(none));
        let no_command = "you must specify at least one command for the container";
        check(&mut Kind::Exec(ExecRequest { command: Vec::new(), ..wanted }), Err(no_command));
        check(&mut Kind::Attach(AttachRequest::default()), Err(none));
    }
}
