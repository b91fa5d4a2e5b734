//! A certificate as Go's `x509.CreateCertificate` writes it for upstream's signers (RFC 5280): subject, names and key as asked, usages and
//! time as decided, and none of the extensions that were asked for.

use std::{collections::BTreeSet, net::IpAddr};

use gantry_common::tls;
use jiff::Timestamp;
use rand::RngCore;
use rustls::SignatureScheme;
use yasna::{
    DERWriter, DERWriterSeq, Tag,
    models::ObjectIdentifier,
    tags::{TAG_GENERALIZEDTIME, TAG_UTCTIME},
};

use super::authority::Authority;
use crate::signing_request::{Asked, COMMON_NAME, Names, SERIAL_NUMBER, Subject};

/// The last second that is written with two digits of its year (RFC 5280, 4.1.2.5): 2049-12-31T23:59:59Z.
const UTC_TIME_MAX: i64 = 2_524_607_999;

const KEY_USAGE: &[u64] = &[2, 5, 29, 15];
const ALTERNATIVE_NAMES: &[u64] = &[2, 5, 29, 17];
const BASIC_CONSTRAINTS: &[u64] = &[2, 5, 29, 19];
const AUTHORITY_KEY_ID: &[u64] = &[2, 5, 29, 35];
const EXTENDED_KEY_USAGE: &[u64] = &[2, 5, 29, 37];

/// Usages by name, with their bit (RFC 5280, 4.2.1.3).
const BITS: [(&str, u16); 10] = [
    ("signing", 0),
    ("digital signature", 0),
    ("content commitment", 1),
    ("key encipherment", 2),
    ("data encipherment", 3),
    ("key agreement", 4),
    ("cert sign", 5),
    ("crl sign", 6),
    ("encipher only", 7),
    ("decipher only", 8),
];

/// Purposes by name, in the order in which Go writes them (RFC 5280, 4.2.1.12).
const PURPOSES: [(&str, &[u64]); 13] = [
    ("any", &[2, 5, 29, 37, 0]),
    ("server auth", &[1, 3, 6, 1, 5, 5, 7, 3, 1]),
    ("client auth", &[1, 3, 6, 1, 5, 5, 7, 3, 2]),
    ("code signing", &[1, 3, 6, 1, 5, 5, 7, 3, 3]),
    ("email protection", &[1, 3, 6, 1, 5, 5, 7, 3, 4]),
    ("s/mime", &[1, 3, 6, 1, 5, 5, 7, 3, 4]),
    ("ipsec end system", &[1, 3, 6, 1, 5, 5, 7, 3, 5]),
    ("ipsec tunnel", &[1, 3, 6, 1, 5, 5, 7, 3, 6]),
    ("ipsec user", &[1, 3, 6, 1, 5, 5, 7, 3, 7]),
    ("timestamping", &[1, 3, 6, 1, 5, 5, 7, 3, 8]),
    ("ocsp signing", &[1, 3, 6, 1, 5, 5, 7, 3, 9]),
    ("microsoft sgc", &[1, 3, 6, 1, 4, 1, 311, 10, 3, 3]),
    ("netscape sgc", &[2, 16, 840, 1, 113_730, 4, 1]),
];

/// What a key may be used for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Usages {
    bits: u16,
    purposes: Vec<&'static [u64]>,
}

impl Usages {
    /// The usages of these names.
    ///
    /// # Errors
    /// Which names are none.
    pub(super) fn named(names: &[String]) -> Result<Self, String> {
        let bits = |name: &str| BITS.iter().find(|(known, _)| *known == name).map(|(_, bit)| 1 << bit);
        let is_purpose = |name: &str| PURPOSES.iter().any(|(known, _)| *known == name);
        let unknown: Vec<_> = names.iter().filter(|name| bits(name).is_none() && !is_purpose(name)).collect();
        if !unknown.is_empty() {
            return Err(format!("unrecognized usage values: {unknown:?}"));
        }
        let wanted: BTreeSet<&str> = names.iter().map(String::as_str).collect();
        let mut purposes: Vec<_> =
            PURPOSES.iter().filter(|(name, _)| wanted.contains(name)).map(|(_, oid)| *oid).collect();
        purposes.dedup();
        Ok(Self { bits: wanted.iter().filter_map(|name| bits(name)).fold(0, |all, bit| all | bit), purposes })
    }
}

/// A certificate in PEM.
///
/// # Errors
/// Why it could not be signed.
pub(super) fn signed(
    authority: &Authority,
    asked: &Asked,
    usages: &Usages,
    not_before: Timestamp,
    not_after: Timestamp,
) -> Result<String, String> {
    let algorithm = algorithm(authority.scheme()?);
    let mut serial = [0; 16];
    rand::rng().fill_bytes(&mut serial);
    let subject = yasna::construct_der(|writer| subject_name(writer, &asked.subject));
    let is_nameless = subject == yasna::construct_der(|writer| subject_name(writer, &Subject::default()));
    let certificate = yasna::construct_der(|writer| {
        writer.write_sequence(|writer| {
            writer.next().write_tagged(Tag::context(0), |writer| writer.write_u8(2));
            writer.next().write_bigint_bytes(&serial, true);
            writer.next().write_der(&algorithm);
            writer.next().write_der(&authority.name);
            writer.next().write_sequence(|writer| {
                time(writer.next(), not_before);
                time(writer.next(), not_after);
            });
            writer.next().write_der(&subject);
            writer.next().write_der(&asked.key);
            writer.next().write_tagged(Tag::context(3), |writer| {
                writer.write_sequence(|writer| extensions(writer, authority, &asked.names, usages, is_nameless));
            });
        });
    });
    let signature = authority.sign(&certificate)?;
    let whole = yasna::construct_der(|writer| {
        writer.write_sequence(|writer| {
            writer.next().write_der(&certificate);
            writer.next().write_der(&algorithm);
            writer.next().write_bitvec_bytes(&signature, signature.len() * 8);
        });
    });
    Ok(tls::certificate_pem(&whole))
}

fn extensions(writer: &mut DERWriterSeq<'_>, authority: &Authority, names: &Names, usages: &Usages, is_nameless: bool) {
    if usages.bits != 0 {
        let bits = usages.bits.reverse_bits().to_be_bytes();
        // A list of named bits ends with the last one that is set (X.690, 11.2.2).
        let length = usize::try_from(u16::BITS - usages.bits.leading_zeros()).unwrap_or_default();
        extension(writer.next(), KEY_USAGE, true, |writer| {
            writer.write_bitvec_bytes(&bits[..length.div_ceil(8)], length)
        });
    }
    if !usages.purposes.is_empty() {
        extension(writer.next(), EXTENDED_KEY_USAGE, false, |writer| {
            writer.write_sequence(|writer| {
                for purpose in &usages.purposes {
                    writer.next().write_oid(&ObjectIdentifier::from_slice(purpose));
                }
            });
        });
    }
    // No authority.
    extension(writer.next(), BASIC_CONSTRAINTS, true, |writer| writer.write_sequence(|_| {}));
    if let Some(id) = &authority.key_id {
        extension(writer.next(), AUTHORITY_KEY_ID, false, |writer| {
            writer.write_sequence(|writer| {
                writer.next().write_tagged_implicit(Tag::context(0), |writer| writer.write_bytes(id));
            });
        });
    }
    if *names != Names::default() {
        extension(writer.next(), ALTERNATIVE_NAMES, is_nameless, |writer| {
            writer.write_sequence(|writer| alternative_names(writer, names));
        });
    }
}

fn extension(writer: DERWriter<'_>, oid: &[u64], is_critical: bool, value: impl FnOnce(DERWriter<'_>)) {
    writer.write_sequence(|writer| {
        writer.next().write_oid(&ObjectIdentifier::from_slice(oid));
        if is_critical {
            writer.next().write_bool(true);
        }
        writer.next().write_bytes(&yasna::construct_der(value));
    });
}

/// Domains, mail addresses, addresses and URIs (RFC 5280, 4.2.1.6).
fn alternative_names(writer: &mut DERWriterSeq<'_>, names: &Names) {
    let mut add = |tag: u64, bytes: &[u8]| {
        writer.next().write_tagged_implicit(Tag::context(tag), |writer| writer.write_bytes(bytes));
    };
    names.dns.iter().for_each(|name| add(2, name.as_bytes()));
    names.emails.iter().for_each(|name| add(1, name.as_bytes()));
    for address in &names.addresses {
        match address {
            IpAddr::V4(address) => add(7, &address.octets()),
            IpAddr::V6(address) => add(7, &address.octets()),
        }
    }
    names.uris.iter().for_each(|name| add(6, name.as_bytes()));
}

/// Attributes that are there several times are one set, as Go writes them.
fn subject_name(writer: DERWriter<'_>, subject: &Subject) {
    let attribute = |writer: DERWriter<'_>, arc: u64, value: &str| {
        writer.write_sequence(|writer| {
            writer.next().write_oid(&ObjectIdentifier::from_slice(&[2, 5, 4, arc]));
            if is_printable(value) {
                writer.next().write_printable_string(value);
            } else {
                writer.next().write_utf8_string(value);
            }
        });
    };
    let one = [(COMMON_NAME, &subject.common_name), (SERIAL_NUMBER, &subject.serial_number)];
    writer.write_sequence(|writer| {
        for (arc, values) in subject.many.iter().filter(|(_, values)| !values.is_empty()) {
            writer.next().write_set_of(|writer| values.iter().for_each(|value| attribute(writer.next(), *arc, value)));
        }
        for (arc, value) in one.into_iter().filter(|(_, value)| !value.is_empty()) {
            writer.next().write_set_of(|writer| attribute(writer.next(), arc, value));
        }
    });
}

/// Whether it fits a PrintableString (X.680, 41.4).
fn is_printable(value: &str) -> bool {
    value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b" '()+,-./:=?".contains(&byte))
}

fn time(writer: DERWriter<'_>, time: Timestamp) {
    let (tag, format) = if time.as_second() <= UTC_TIME_MAX {
        (TAG_UTCTIME, "%y%m%d%H%M%SZ")
    } else {
        (TAG_GENERALIZEDTIME, "%Y%m%d%H%M%SZ")
    };
    let text = time.strftime(format).to_string();
    writer.write_tagged_implicit(tag, |writer| writer.write_bytes(text.as_bytes()));
}

/// An AlgorithmIdentifier (RFC 5758, RFC 4055, RFC 8410).
fn algorithm(scheme: SignatureScheme) -> Vec<u8> {
    let (oid, has_null): (&[u64], _) = match scheme {
        SignatureScheme::ECDSA_NISTP256_SHA256 => (&[1, 2, 840, 10_045, 4, 3, 2], false),
        SignatureScheme::ECDSA_NISTP384_SHA384 => (&[1, 2, 840, 10_045, 4, 3, 3], false),
        SignatureScheme::ED25519 => (&[1, 3, 101, 112], false),
        _ => (&[1, 2, 840, 113_549, 1, 1, 11], true),
    };
    yasna::construct_der(|writer| {
        writer.write_sequence(|writer| {
            writer.next().write_oid(&ObjectIdentifier::from_slice(oid));
            if has_null {
                writer.next().write_null();
            }
        });
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use rcgen::{
        CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType,
        SignatureAlgorithm,
    };
    use x509_parser::{pem::parse_x509_pem, prelude::X509Certificate};

    use super::*;
    use crate::signing_request;

    fn authority(algorithm: &'static SignatureAlgorithm) -> (Authority, String, String) {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "ca");
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = KeyPair::generate_for(algorithm).expect("a key");
        let (certificate, key_pem) = (params.self_signed(&key).expect("a certificate").pem(), key.serialize_pem());
        (Authority::of(certificate.as_bytes(), key_pem.as_bytes()).expect("an authority"), certificate, key_pem)
    }

    fn asked(key: &KeyPair, build: impl FnOnce(&mut CertificateParams)) -> Asked {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        build(&mut params);
        let request = params.serialize_request(key).and_then(|request| request.pem()).expect("a request");
        signing_request::read(request.as_bytes()).expect("it can be read")
    }

    fn with<T>(pem: &str, look: impl FnOnce(&X509Certificate<'_>) -> T) -> T {
        let (_, block) = parse_x509_pem(pem.as_bytes()).expect("PEM");
        look(&block.parse_x509().expect("a certificate"))
    }

    fn usages(names: &[&str]) -> Result<Usages, String> {
        Usages::named(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
    }

    fn at(time: &str) -> Timestamp {
        time.parse().expect("a time")
    }

    #[test]
    fn what_is_signed_is_what_was_asked_for() {
        for algorithm in [&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_ED25519] {
            let (authority, ca, _) = authority(algorithm);
            let key = KeyPair::generate().expect("a key");
            let asked = asked(&key, |params| {
                params.distinguished_name.push(DnType::CommonName, "müller");
                params.distinguished_name.push(DnType::OrganizationName, "devs");
                params.distinguished_name.push(DnType::CountryName, "DE");
                params.subject_alt_names =
                    vec![SanType::DnsName("a.b".try_into().expect("ASCII")), SanType::IpAddress([10, 0, 0, 1].into())];
                params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
                params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
            });
            let usages = usages(&["client auth", "digital signature", "key encipherment"]).expect("usages");
            let pem = signed(&authority, &asked, &usages, at("2026-01-01T00:00:00Z"), at("2060-02-03T04:05:06Z"));
            let pem = pem.expect("signed");
            with(&pem, |certificate| {
                with(&ca, |ca| {
                    certificate.verify_signature(Some(ca.public_key())).expect("it is the authority's");
                    assert_eq!(certificate.issuer().as_raw(), ca.subject().as_raw());
                });
                assert_eq!(certificate.subject().to_string(), "C=DE, O=devs, CN=müller");
                assert_eq!(certificate.public_key().raw, asked.key);
                let validity = certificate.validity();
                assert_eq!(validity.not_before.timestamp(), at("2026-01-01T00:00:00Z").as_second());
                assert_eq!(validity.not_after.timestamp(), at("2060-02-03T04:05:06Z").as_second());
                assert!(!certificate.is_ca(), "whatever was asked for");
                let usage = certificate.key_usage().expect("one").expect("one").value;
                assert!(usage.digital_signature() && usage.key_encipherment() && !usage.key_cert_sign());
                let purposes = certificate.extended_key_usage().expect("one").expect("one").value;
                assert!(purposes.client_auth && !purposes.server_auth);
                let names = certificate.subject_alternative_name().expect("one").expect("one").value;
                assert_eq!(names.general_names.len(), 2);
                assert!(certificate.extensions().iter().all(|e| !e.parsed_extension().unsupported()));
            });
        }
    }

    /// rcgen writes the same extensions; where both have an order of their own they are compared by name.
    #[test]
    fn extensions_are_those_that_another_library_writes() {
        let (authority, _, key_pem) = authority(&rcgen::PKCS_ECDSA_P256_SHA256);
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.subject_alt_names = vec![
            SanType::Rfc822Name("a@b".try_into().expect("ASCII")),
            SanType::IpAddress("fd00::1".parse().expect("IPv6")),
        ];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::DecipherOnly];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::CodeSigning];
        params.is_ca = IsCa::ExplicitNoCa;
        let asked = asked(&key, |request| request.subject_alt_names.clone_from(&params.subject_alt_names));
        let issuer = Issuer::new(CertificateParams::default(), KeyPair::from_pem(&key_pem).expect("a key"));
        let theirs = params.signed_by(&key, &issuer).expect("a certificate").pem();
        let usages = usages(&["code signing", "server auth", "digital signature", "decipher only"]).expect("usages");
        let ours = signed(&authority, &asked, &usages, at("2026-01-01T00:00:00Z"), at("2027-01-01T00:00:00Z"));
        let values = |pem: &str| -> HashMap<String, (bool, Vec<u8>)> {
            with(pem, |certificate| {
                let all = certificate.extensions().iter();
                all.map(|e| (e.oid.to_string(), (e.critical, e.value.to_vec()))).collect()
            })
        };
        let (mut ours, mut theirs) = (values(&ours.expect("signed")), values(&theirs));
        assert!(ours.remove("2.5.29.35").is_some(), "whose key signed it");
        assert!(
            theirs.remove("2.5.29.14").is_some(),
            "what tells the key from others: Go writes it for authorities alone"
        );
        assert_eq!(ours, theirs);
    }

    #[test]
    fn usages_have_names() {
        let all: Vec<&str> = BITS.iter().map(|(name, _)| *name).chain(PURPOSES.iter().map(|(name, _)| *name)).collect();
        let usages_of_all = usages(&all).expect("usages");
        assert_eq!((usages_of_all.bits, usages_of_all.purposes.len()), (0x1ff, 12));
        assert_eq!(usages(&["client auth", "x"]).unwrap_err(), r#"unrecognized usage values: ["x"]"#);
    }
}
