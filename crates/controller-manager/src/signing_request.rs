//! Requests for certificates: what is in them, where they stand, and which are a kubelet's.

use std::collections::BTreeSet;
use std::net::IpAddr;

use gantry_common::tls;
use k8s_openapi::api::certificates::v1::{
    CertificateSigningRequest, CertificateSigningRequestCondition, CertificateSigningRequestStatus,
};
use x509_parser::{
    extensions::{GeneralName, ParsedExtension},
    prelude::{FromDer, X509CertificationRequest},
    x509::X509Name,
};

/// Of clients of the API server.
pub const API_CLIENT: &str = "kubernetes.io/kube-apiserver-client";
/// Of kubelets as clients of the API server.
pub const KUBELET_CLIENT: &str = "kubernetes.io/kube-apiserver-client-kubelet";
/// Of kubelets as servers.
pub const KUBELET_SERVING: &str = "kubernetes.io/kubelet-serving";
/// Of whatever the cluster's CA signed before signers had names.
pub const LEGACY: &str = "kubernetes.io/legacy-unknown";

/// What a PKCS#10 request asks for (RFC 2986), as far as upstream looks at it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Whose certificate it is to be.
    pub subject: Subject,
    /// What else it is to be known by.
    pub names: Names,
    /// The public key with its algorithm, in DER.
    pub key: Vec<u8>,
}

/// A distinguished name, as Go's `pkix.Name` holds it: other attributes do not count.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Subject {
    /// Attributes that may be there several times, in the order in which Go writes them: their last arc below 2.5.4, and values.
    pub many: [(u64, Vec<String>); 7],
    /// CN; the last one counts.
    pub common_name: String,
    /// serialNumber; the last one counts.
    pub serial_number: String,
}

/// C, O, OU, L, ST, street, postalCode.
const MANY: [u64; 7] = [6, 10, 11, 7, 8, 9, 17];
const ORGANIZATION: usize = 1;
/// The arc of a common name below 2.5.4.
pub const COMMON_NAME: u64 = 3;
/// The arc of a serial number below 2.5.4.
pub const SERIAL_NUMBER: u64 = 5;

/// Alternative names of a subject.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// Domains.
    pub dns: Vec<String>,
    /// Mail addresses.
    pub emails: Vec<String>,
    /// Addresses.
    pub addresses: Vec<IpAddr>,
    /// URIs.
    pub uris: Vec<String>,
}

impl Subject {
    fn read(name: &X509Name<'_>) -> Self {
        let mut subject = Self { many: MANY.map(|arc| (arc, Vec::new())), ..Self::default() };
        for attribute in name.iter_attributes() {
            let arcs: Vec<u64> = attribute.attr_type().iter().map(Iterator::collect).unwrap_or_default();
            let (&[2, 5, 4, arc], Ok(value)) = (arcs.as_slice(), attribute.as_str()) else { continue };
            match arc {
                COMMON_NAME => value.clone_into(&mut subject.common_name),
                SERIAL_NUMBER => value.clone_into(&mut subject.serial_number),
                arc => {
                    if let Some((_, values)) = subject.many.iter_mut().find(|(known, _)| *known == arc) {
                        values.push(value.to_owned());
                    }
                }
            }
        }
        subject
    }

    /// The organizations, which are the groups of a client.
    #[must_use]
    pub fn organizations(&self) -> &[String] {
        &self.many[ORGANIZATION].1
    }
}

impl Names {
    fn read(request: &X509CertificationRequest<'_>) -> Result<Self, String> {
        let mut names = Self::default();
        for extension in request.requested_extensions().into_iter().flatten() {
            let ParsedExtension::SubjectAlternativeName(alternative) = extension else { continue };
            for name in &alternative.general_names {
                match name {
                    GeneralName::DNSName(name) => names.dns.push((*name).to_owned()),
                    GeneralName::RFC822Name(name) => names.emails.push((*name).to_owned()),
                    GeneralName::URI(name) => names.uris.push((*name).to_owned()),
                    GeneralName::IPAddress(bytes) => names.addresses.push(address(bytes)?),
                    _ => {}
                }
            }
        }
        Ok(names)
    }
}

fn address(bytes: &[u8]) -> Result<IpAddr, String> {
    let four = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    let address = four.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from));
    address.map_err(|_| format!("x509: cannot parse IP address of length {}", bytes.len()))
}

/// Reads the request in PEM. Its signature is the API server's to look at, which takes no request without a good one.
///
/// # Errors
/// Why it cannot be read.
pub fn read(pem: &[u8]) -> Result<Asked, String> {
    let der = tls::signing_request_der(pem)?;
    let (_, request) = X509CertificationRequest::from_der(&der).map_err(|error| error.to_string())?;
    let info = &request.certification_request_info;
    Ok(Asked {
        subject: Subject::read(&info.subject),
        names: Names::read(&request)?,
        key: info.subject_pki.raw.to_vec(),
    })
}

/// Whether a kubelet may ask for this as a client; upstream's words for what is wrong.
///
/// # Errors
/// The first thing that is wrong.
pub fn kubelet_client(asked: &Asked, usages: &[String]) -> Result<(), String> {
    let names = &asked.names;
    is_of_nodes(asked)?;
    for (is_there, what) in [
        (!names.dns.is_empty(), "DNS"),
        (!names.emails.is_empty(), "Email"),
        (!names.addresses.is_empty(), "IP"),
        (!names.uris.is_empty(), "URI"),
    ] {
        if is_there {
            return Err(format!("{what} subjectAltNames are not allowed"));
        }
    }
    is_named_as_node(asked)?;
    are_exactly(usages, "client auth")
}

/// Whether a kubelet may ask for this as a server; upstream's words for what is wrong.
///
/// # Errors
/// The first thing that is wrong.
pub fn kubelet_serving(asked: &Asked, usages: &[String]) -> Result<(), String> {
    let names = &asked.names;
    is_of_nodes(asked)?;
    if names.dns.is_empty() && names.addresses.is_empty() {
        return Err("DNS or IP subjectAltName is required".to_owned());
    }
    for (is_there, what) in [(!names.emails.is_empty(), "Email"), (!names.uris.is_empty(), "URI")] {
        if is_there {
            return Err(format!("{what} subjectAltNames are not allowed"));
        }
    }
    are_exactly(usages, "server auth")?;
    is_named_as_node(asked)
}

/// Whether these are the usages of a client; upstream's words for what is wrong.
///
/// # Errors
/// The first thing that is wrong.
pub fn api_client(usages: &[String]) -> Result<(), String> {
    let others = ["digital signature", "key encipherment", "client auth"];
    if let Some(other) = usages.iter().find(|usage| !others.contains(&usage.as_str())) {
        return Err(format!("invalid usage for client certificate: {other}"));
    }
    let is_there = usages.iter().any(|usage| usage == "client auth");
    is_there.then_some(()).ok_or_else(|| "missing required usage for client certificate: client auth".to_owned())
}

fn is_of_nodes(asked: &Asked) -> Result<(), String> {
    let is = asked.subject.organizations() == ["system:nodes"];
    is.then_some(()).ok_or_else(|| "subject organization is not system:nodes".to_owned())
}

fn is_named_as_node(asked: &Asked) -> Result<(), String> {
    let is = asked.subject.common_name.starts_with("system:node:");
    is.then_some(()).ok_or_else(|| "subject common name does not begin with system:node:".to_owned())
}

/// With or without the usage that only RSA keys have.
fn are_exactly(usages: &[String], purpose: &str) -> Result<(), String> {
    let given: BTreeSet<&str> = usages.iter().map(String::as_str).collect();
    let mut wanted = BTreeSet::from([purpose, "digital signature"]);
    if given == wanted {
        return Ok(());
    }
    wanted.insert("key encipherment");
    let listed = || wanted.iter().copied().collect::<Vec<_>>().join(" ");
    (given == wanted).then_some(()).ok_or_else(|| format!("usages did not match [{}]", listed()))
}

/// Whether the request has a condition of this type, whatever its status.
#[must_use]
pub fn has(request: &CertificateSigningRequest, kind: &str) -> bool {
    conditions(request).iter().any(|condition| condition.type_ == kind)
}

/// Whether a condition of this type is true.
#[must_use]
pub fn is(request: &CertificateSigningRequest, kind: &str) -> bool {
    conditions(request).iter().any(|condition| condition.type_ == kind && condition.status == "True")
}

/// Whether it may be signed: approved, and not denied.
#[must_use]
pub fn is_approved(request: &CertificateSigningRequest) -> bool {
    has(request, "Approved") && !has(request, "Denied")
}

/// The certificate in PEM, empty as long as there is none.
#[must_use]
pub fn certificate(request: &CertificateSigningRequest) -> &[u8] {
    request.status.as_ref().and_then(|status| status.certificate.as_ref()).map_or(&[], |bytes| &bytes.0)
}

/// The conditions of a request.
#[must_use]
pub fn conditions(request: &CertificateSigningRequest) -> &[CertificateSigningRequestCondition] {
    request.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default()
}

/// The request with one true condition more.
#[must_use]
pub fn with(request: &CertificateSigningRequest, kind: &str, reason: &str, message: &str) -> CertificateSigningRequest {
    let mut request = request.clone();
    let status = request.status.get_or_insert_with(CertificateSigningRequestStatus::default);
    status.conditions.get_or_insert_default().push(CertificateSigningRequestCondition {
        type_: kind.to_owned(),
        status: "True".to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        ..CertificateSigningRequestCondition::default()
    });
    request
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SanType};

    use super::*;

    fn asked(common_name: &str, organizations: &[&str], names: &[SanType]) -> Asked {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        for organization in organizations {
            params.distinguished_name.push(DnType::OrganizationName, *organization);
        }
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.subject_alt_names = names.to_vec();
        let key = KeyPair::generate().expect("a key");
        let request = params.serialize_request(&key).and_then(|request| request.pem()).expect("a request");
        read(request.as_bytes()).expect("it can be read")
    }

    fn usages(usages: &[&str]) -> Vec<String> {
        usages.iter().map(|usage| (*usage).to_owned()).collect()
    }

    #[test]
    fn requests_are_read() {
        let dns = SanType::DnsName("node-1".try_into().expect("ASCII"));
        let names =
            [dns, SanType::IpAddress([10, 0, 0, 1].into()), SanType::IpAddress("fd00::1".parse().expect("IPv6"))];
        let asked = asked("system:node:a", &["system:nodes"], &names);
        assert_eq!(
            (asked.subject.common_name.as_str(), asked.subject.organizations()),
            ("system:node:a", &usages(&["system:nodes"])[..])
        );
        assert_eq!(asked.names.dns, ["node-1"]);
        assert_eq!(asked.names.addresses, ["10.0.0.1", "fd00::1"].map(|a| a.parse::<IpAddr>().expect("an address")));
        assert!(read(b"none").unwrap_err().contains("PEM block type must be CERTIFICATE REQUEST"));
    }

    #[test]
    fn kubelets_ask_for_what_kubelets_are() {
        let client = ["client auth", "digital signature"];
        let serving = ["server auth", "digital signature", "key encipherment"];
        let dns = || SanType::DnsName("n".try_into().expect("ASCII"));
        let node = asked("system:node:a", &["system:nodes"], &[]);
        assert_eq!(kubelet_client(&node, &usages(&client)), Ok(()));
        assert_eq!(kubelet_client(&node, &usages(&["key encipherment", client[0], client[1]])), Ok(()));
        let refused = |asked: &Asked, list: &[&str], why: &str| {
            assert_eq!(kubelet_client(asked, &usages(list)), Err(why.to_owned()));
        };
        refused(&node, &serving, "usages did not match [client auth digital signature key encipherment]");
        refused(&asked("system:node:a", &["system:masters"], &[]), &client, "subject organization is not system:nodes");
        let both = asked("system:node:a", &["system:nodes", "system:masters"], &[]);
        refused(&both, &client, "subject organization is not system:nodes");
        refused(&asked("a", &["system:nodes"], &[]), &client, "subject common name does not begin with system:node:");
        let named = asked("system:node:a", &["system:nodes"], &[dns()]);
        refused(&named, &client, "DNS subjectAltNames are not allowed");
        assert_eq!(kubelet_serving(&named, &usages(&serving)), Ok(()));
        let why = kubelet_serving(&node, &usages(&serving)).unwrap_err();
        assert_eq!(why, "DNS or IP subjectAltName is required");
    }

    #[test]
    fn clients_ask_for_the_usages_of_clients() {
        assert_eq!(api_client(&usages(&["client auth", "key encipherment"])), Ok(()));
        let why = api_client(&usages(&["client auth", "server auth"])).unwrap_err();
        assert_eq!(why, "invalid usage for client certificate: server auth");
        let why = api_client(&usages(&["digital signature"])).unwrap_err();
        assert_eq!(why, "missing required usage for client certificate: client auth");
    }
}
