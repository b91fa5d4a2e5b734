use super::*;
use crate::records::{Member, Port, Records};
use gantry_client::Key;

const DOMAIN: &str = "cluster.local";

fn zone() -> Zone {
    let mut zone = Zone::new(DOMAIN);
    let ip = |last: u8| IpAddr::from([10, 244, 1, last]);
    let port = Port { name: "p".to_owned(), protocol: "tcp".to_owned(), number: 80 };
    let member = |last: u8| Member { label: format!("m-{last}"), address: ip(last), ports: vec![port.clone()] };
    let many = Records::Headless { members: (1..=100).map(member).collect() };
    zone.set(&Key::new("ns", "many"), Some(many));
    zone.set(&Key::new("ns", "two"), Some(Records::Headless { members: vec![member(1), member(2)] }));
    let external = |target: &str| Some(Records::External { target: target.to_owned() });
    zone.set(&Key::new("ns", "inner"), external("two.ns.svc.cluster.local"));
    zone.set(&Key::new("ns", "outer"), external("example.org"));
    zone.set(&Key::new("ns", "loop"), external("loop.ns.svc.cluster.local"));
    zone
}

fn request(name: &str, kind: RecordType) -> Message {
    let mut request = Message::query();
    request.metadata.recursion_desired = true;
    request.add_query(Query::query(Name::from_ascii(name).expect("a name"), kind));
    request
}

fn ready(reply: Reply) -> Message {
    match reply {
        Reply::Ready(message) => *message,
        other => panic!("expected an answer, got {other:?}"),
    }
}

/// `answers` as `type data`.
fn check(name: &str, kind: RecordType, code: ResponseCode, answers: &[&str]) {
    let message = ready(respond(&request(name, kind), Some(&zone()), DOMAIN));
    let got: Vec<String> = message.answers.iter().map(|r| format!("{} {}", r.record_type(), r.data)).collect();
    assert_eq!((message.metadata.response_code, got.iter().map(String::as_str).collect()), (code, answers.to_vec()));
    assert!(message.metadata.authoritative && message.metadata.recursion_available);
    let denied = answers.is_empty() || code != ResponseCode::NoError;
    let soa = message.authorities.iter().filter(|r| r.record_type() == RecordType::SOA && r.ttl == TTL).count();
    assert_eq!(soa, usize::from(denied && code != ResponseCode::ServFail), "{name}");
}

#[test]
fn answers_and_denials() {
    check("two.ns.svc.cluster.local.", RecordType::A, ResponseCode::NoError, &["A 10.244.1.1", "A 10.244.1.2"]);
    check("TWO.ns.SVC.cluster.LOCAL.", RecordType::A, ResponseCode::NoError, &["A 10.244.1.1", "A 10.244.1.2"]);
    check("two.ns.svc.cluster.local.", RecordType::AAAA, ResponseCode::NoError, &[]);
    check("gone.ns.svc.cluster.local.", RecordType::A, ResponseCode::NXDomain, &[]);
    check(
        "_p._tcp.two.ns.svc.cluster.local.",
        RecordType::SRV,
        ResponseCode::NoError,
        &["SRV 0 50 80 m-1.two.ns.svc.cluster.local.", "SRV 0 50 80 m-2.two.ns.svc.cluster.local."],
    );
    let mut both = vec!["PTR m-2.many.ns.svc.cluster.local.", "PTR m-2.two.ns.svc.cluster.local."];
    check("2.1.244.10.in-addr.arpa.", RecordType::PTR, ResponseCode::NoError, &std::mem::take(&mut both));
    check(
        "inner.ns.svc.cluster.local.",
        RecordType::A,
        ResponseCode::NoError,
        &["CNAME two.ns.svc.cluster.local.", "A 10.244.1.1", "A 10.244.1.2"],
    );
    check(
        "inner.ns.svc.cluster.local.",
        RecordType::CNAME,
        ResponseCode::NoError,
        &["CNAME two.ns.svc.cluster.local."],
    );
}

#[test]
fn a_loop_of_aliases_ends() {
    let message = ready(respond(&request("loop.ns.svc.cluster.local.", RecordType::A), Some(&zone()), DOMAIN));
    assert_eq!(message.metadata.response_code, ResponseCode::ServFail);
}

#[test]
fn other_names_go_upstream_and_ours_fail_while_the_zone_is_unknown() {
    let forwarded = |name: &str, zone: Option<&Zone>| match respond(&request(name, RecordType::A), zone, DOMAIN) {
        Reply::Forward { question, response } => Some((plain(question.name()), response.answers.len())),
        Reply::Ready(message) => {
            assert_eq!(message.metadata.response_code, ResponseCode::ServFail);
            None
        }
        Reply::Ignore => panic!("a question is never ignored"),
    };
    assert_eq!(forwarded("example.org.", Some(&zone())), Some(("example.org".to_owned(), 0)));
    assert_eq!(forwarded("outer.ns.svc.cluster.local.", Some(&zone())), Some(("example.org".to_owned(), 1)));
    assert_eq!(forwarded("example.org.", None), Some(("example.org".to_owned(), 0)));
    assert_eq!(forwarded("two.ns.svc.cluster.local.", None), None);
    // An address that is none of ours may be known upstream.
    match respond(&request("1.2.0.192.in-addr.arpa.", RecordType::PTR), Some(&zone()), DOMAIN) {
        Reply::Forward { .. } => {}
        other => panic!("{other:?}"),
    }
}

#[test]
fn malformed_and_unusual_requests() {
    let code = |request: &Message| ready(respond(request, Some(&zone()), DOMAIN)).metadata.response_code;
    let mut none = request("a.", RecordType::A);
    none.queries.clear();
    assert_eq!(code(&none), ResponseCode::FormErr);
    let mut notify = request("a.", RecordType::A);
    notify.metadata.op_code = OpCode::Notify;
    assert_eq!(code(&notify), ResponseCode::NotImp);
    let mut chaos = request("a.", RecordType::A);
    chaos.queries[0].set_query_class(DNSClass::CH);
    assert_eq!(code(&chaos), ResponseCode::Refused);
    let mut version = request("a.", RecordType::A);
    version.set_edns(Edns::new().set_version(1).clone());
    assert_eq!(code(&version), ResponseCode::BADVERS);
    let answer = response_to(&request("a.", RecordType::A), ResponseCode::NoError);
    assert!(matches!(respond(&answer, Some(&zone()), DOMAIN), Reply::Ignore));
}

#[test]
fn what_does_not_fit_is_truncated_and_keeps_its_question() {
    let message = ready(respond(&request("many.ns.svc.cluster.local.", RecordType::A), Some(&zone()), DOMAIN));
    let whole = Message::from_vec(&encode(&message, 65535).expect("encodes")).expect("decodes");
    assert_eq!((whole.answers.len(), whole.metadata.truncation), (100, false));
    let bytes = encode(&message, 512).expect("encodes");
    assert!(bytes.len() <= 512);
    let cut = Message::from_vec(&bytes).expect("decodes");
    assert_eq!((cut.answers.len(), cut.metadata.truncation, cut.queries.len()), (0, true, 1));
}
