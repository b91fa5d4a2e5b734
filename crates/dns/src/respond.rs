//! From a question to a response: what the zone knows, in the wire's terms. Pure.

use std::net::IpAddr;

use hickory_proto::op::{Edns, Message, MessageType, Metadata, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, NS, PTR, SOA, SRV, TXT};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};

use crate::zone::{Answer, Data, Kind, Zone};

/// How long clients may keep an answer or its absence, in seconds: endpoints come and go.
pub const TTL: u32 = 5;
/// What we take over UDP, and the most we send over it; larger datagrams would be fragmented.
pub const UDP_BYTES_MAX: u16 = 1232;
/// How many aliases are followed within one answer.
pub const MAX_ALIASES: usize = 8;

/// What becomes of a request.
#[derive(Debug)]
pub enum Reply {
    /// This is the answer.
    Ready(Box<Message>),
    /// Ask upstream for the question; put the result after the answers that are there already.
    Forward {
        /// The response so far: header, question and, after an alias of ours, that alias.
        response: Box<Message>,
        /// What to ask.
        question: Query,
    },
    /// Not worth an answer.
    Ignore,
}

/// The beginning of a response to `request`: same id, question, and an EDNS record if it had one.
#[must_use]
pub fn response_to(request: &Message, code: ResponseCode) -> Message {
    let mut response = Message::response(request.metadata.id, request.metadata.op_code);
    response.metadata = Metadata::response_from_request(&request.metadata);
    response.metadata.recursion_available = true;
    response.metadata.response_code = code;
    response.add_queries(request.queries.iter().cloned());
    if request.edns.is_some() {
        let mut edns = Edns::new();
        edns.set_max_payload(UDP_BYTES_MAX);
        response.set_edns(edns);
    }
    response
}

/// Answers from `zone`; `None` stands for a zone that is not known yet.
#[must_use]
pub fn respond(request: &Message, zone: Option<&Zone>, domain: &str) -> Reply {
    let failure = |code| Reply::Ready(Box::new(response_to(request, code)));
    if request.metadata.message_type != MessageType::Query {
        return Reply::Ignore;
    }
    if request.metadata.op_code != OpCode::Query {
        return failure(ResponseCode::NotImp);
    }
    if request.edns.as_ref().is_some_and(|e| e.version() > 0) {
        return failure(ResponseCode::BADVERS);
    }
    let [question] = request.queries.as_slice() else { return failure(ResponseCode::FormErr) };
    if question.query_class() != DNSClass::IN {
        return failure(ResponseCode::Refused);
    }
    let mut response = response_to(request, ResponseCode::NoError);
    let name = plain(question.name());
    match zone {
        Some(zone) => answer(response, question, zone),
        None if is_below(&name, domain) => failure(ResponseCode::ServFail),
        None => {
            response.metadata.authoritative = false;
            Reply::Forward { response: Box::new(response), question: question.clone() }
        }
    }
}

fn answer(mut response: Message, question: &Query, zone: &Zone) -> Reply {
    let kind = kind(question.query_type());
    let mut owner = question.name().clone();
    for _ in 0..=MAX_ALIASES {
        let name = plain(&owner);
        let answer = match reverse(&owner, kind, zone) {
            Some(names) => Answer::Found(names),
            None => zone.answer(&name, kind),
        };
        match answer {
            Answer::Found(found) => {
                response.metadata.authoritative = true;
                let share = u16::try_from(100 / found.len().max(1)).unwrap_or(1).max(1);
                let alias = match found.as_slice() {
                    [Data::Alias(target)] if kind != Kind::Cname => absolute(target),
                    _ => None,
                };
                let records = found.iter().filter_map(|d| rdata(d, share, zone));
                response.add_answers(records.map(|data| Record::from_rdata(owner.clone(), TTL, data)));
                match alias {
                    Some(target) => owner = target,
                    None => return Reply::Ready(Box::new(response)),
                }
            }
            Answer::NoData => return Reply::Ready(Box::new(denied(response, ResponseCode::NoError, zone))),
            Answer::NoName => return Reply::Ready(Box::new(denied(response, ResponseCode::NXDomain, zone))),
            Answer::NotOurs => {
                let mut question = question.clone();
                question.set_name(owner);
                return Reply::Forward { response: Box::new(response), question };
            }
        }
    }
    response.metadata.response_code = ResponseCode::ServFail;
    Reply::Ready(Box::new(response))
}

fn denied(mut response: Message, code: ResponseCode, zone: &Zone) -> Message {
    response.metadata.authoritative = true;
    response.metadata.response_code = code;
    if let (Some(owner), Some(soa)) = (absolute(zone.domain()), soa(zone)) {
        response.add_authority(Record::from_rdata(owner, TTL, soa));
    }
    response
}

fn reverse(name: &Name, kind: Kind, zone: &Zone) -> Option<Vec<Data>> {
    if kind != Kind::Ptr {
        return None;
    }
    let net = name.parse_arpa_name().ok()?;
    let whole = net.prefix_len() == net.max_prefix_len();
    whole.then(|| zone.names_of(net.addr())).flatten()
}

fn kind(record_type: RecordType) -> Kind {
    match record_type {
        RecordType::A => Kind::A,
        RecordType::AAAA => Kind::Aaaa,
        RecordType::SRV => Kind::Srv,
        RecordType::PTR => Kind::Ptr,
        RecordType::TXT => Kind::Txt,
        RecordType::NS => Kind::Ns,
        RecordType::SOA => Kind::Soa,
        RecordType::CNAME => Kind::Cname,
        _ => Kind::Other,
    }
}

fn rdata(data: &Data, share: u16, zone: &Zone) -> Option<RData> {
    Some(match data {
        Data::Address(IpAddr::V4(ip)) => RData::A(A(*ip)),
        Data::Address(IpAddr::V6(ip)) => RData::AAAA(AAAA(*ip)),
        Data::Location(port, target) => RData::SRV(SRV::new(0, share, *port, absolute(target)?)),
        Data::Name(name) => RData::PTR(PTR(absolute(name)?)),
        Data::Text(text) => RData::TXT(TXT::new(vec![text.clone()])),
        Data::NameServer(name) => RData::NS(NS(absolute(name)?)),
        Data::Alias(name) => RData::CNAME(CNAME(absolute(name)?)),
        Data::Authority => soa(zone)?,
    })
}

fn soa(zone: &Zone) -> Option<RData> {
    let server = absolute(&format!("ns.dns.{}", zone.domain()))?;
    let mailbox = absolute(&format!("hostmaster.{}", zone.domain()))?;
    Some(RData::SOA(SOA::new(server, mailbox, zone.serial(), 7200, 1800, 86400, TTL)))
}

fn absolute(name: &str) -> Option<Name> {
    let mut name = Name::from_ascii(name).ok()?;
    name.set_fqdn(true);
    Some(name)
}

/// Lower case, without the final dot.
pub(crate) fn plain(name: &Name) -> String {
    let mut text = name.to_ascii();
    text.make_ascii_lowercase();
    if text.ends_with('.') {
        text.pop();
    }
    text
}

fn is_below(name: &str, domain: &str) -> bool {
    name.strip_suffix(domain).is_some_and(|head| head.is_empty() || head.ends_with('.'))
}

/// The response's bytes, within `limit`; one that does not fit is sent without records and marked as truncated, so that
/// the client asks again over TCP.
#[must_use]
pub fn encode(response: &Message, limit: usize) -> Option<Vec<u8>> {
    let bytes = response.to_vec().ok()?;
    if bytes.len() <= limit {
        return Some(bytes);
    }
    response.truncate().to_vec().ok()
}

#[cfg(test)]
mod tests;
