use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::pki_types::UnixTime;

use super::*;
use crate::tls::Authorities;

/// A certificate with its key, which may sign others.
struct Made {
    der: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

#[derive(Clone, Copy)]
struct Shape {
    name: &'static str,
    is_ca: IsCaOf,
    usages: &'static [ExtendedKeyUsagePurpose],
    signs: bool,
}

#[derive(Clone, Copy)]
enum IsCaOf {
    No,
    Any,
    Below(u8),
}

const LEAF: Shape = Shape { name: "leaf", is_ca: IsCaOf::No, usages: &[], signs: true };
const CA: Shape = Shape { name: "ca", is_ca: IsCaOf::Any, usages: &[], signs: true };

fn make(shape: Shape, by: Option<&Made>) -> Made {
    let mut params = CertificateParams::new(vec!["hook.ns.svc".to_owned()]).expect("valid");
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, shape.name);
    params.is_ca = match shape.is_ca {
        IsCaOf::No => IsCa::ExplicitNoCa,
        IsCaOf::Any => IsCa::Ca(BasicConstraints::Unconstrained),
        IsCaOf::Below(depth) => IsCa::Ca(BasicConstraints::Constrained(depth)),
    };
    params.extended_key_usages = shape.usages.to_vec();
    params.key_usages =
        vec![if shape.signs { KeyUsagePurpose::KeyCertSign } else { KeyUsagePurpose::DigitalSignature }];
    let key = KeyPair::generate().expect("a key");
    let certificate = match by {
        None => params.self_signed(&key),
        Some(by) => params.signed_by(&key, &by.issuer),
    };
    Made { der: certificate.expect("a certificate").der().clone(), issuer: Issuer::new(params, key) }
}

fn judge(leaf: &Made, shown: &[&Made], roots: &[&Made]) -> Result<(), Distrust> {
    let of = |made: &[&Made]| made.iter().map(|made| made.der.clone()).collect::<Vec<_>>();
    verify(&leaf.der, &of(shown), &of(roots), (Purpose::Server, UnixTime::now()))
}

#[test]
fn what_may_sign_may_be_a_leaf() {
    let itself = make(Shape { name: "itself", ..CA }, None);
    assert_eq!(judge(&itself, &[], &[&itself]), Ok(()), "openssl req -x509");
    let root = make(CA, None);
    let below = make(Shape { name: "below", ..CA }, Some(&root));
    assert_eq!(judge(&below, &[], &[&root]), Ok(()));
    assert_eq!(judge(&itself, &[&itself], &[&root]), Err(Distrust::UnknownAuthority));
}

#[test]
fn chains_end_at_a_root() {
    let root = make(CA, None);
    let between = make(Shape { name: "between", ..CA }, Some(&root));
    let leaf = make(LEAF, Some(&between));
    assert_eq!(judge(&leaf, &[&between], &[&root]), Ok(()));
    assert_eq!(judge(&leaf, &[], &[&root]), Err(Distrust::UnknownAuthority), "what is between is missing");
    let namesake = make(CA, None);
    assert_eq!(judge(&leaf, &[&between], &[&namesake]), Err(Distrust::UnknownAuthority), "a root of the same name");
    let forged = make(LEAF, Some(&make(Shape { name: "between", ..CA }, None)));
    assert_eq!(judge(&forged, &[&between], &[&root]), Err(Distrust::UnknownAuthority));
}

#[test]
fn only_authorities_sign() {
    let root = make(CA, None);
    let plain = make(Shape { name: "plain", ..LEAF }, Some(&root));
    assert_eq!(judge(&make(LEAF, Some(&plain)), &[&plain], &[&root]), Err(Distrust::UnknownAuthority));
    let mute = make(Shape { name: "mute", signs: false, ..CA }, Some(&root));
    assert_eq!(judge(&make(LEAF, Some(&mute)), &[&mute], &[&root]), Err(Distrust::UnknownAuthority));
    let short = make(Shape { name: "short", is_ca: IsCaOf::Below(0), ..CA }, None);
    assert_eq!(judge(&make(LEAF, Some(&short)), &[], &[&short]), Ok(()));
    let deeper = make(Shape { name: "deeper", ..CA }, Some(&short));
    assert_eq!(judge(&make(LEAF, Some(&deeper)), &[&deeper], &[&short]), Err(Distrust::UnknownAuthority));
}

#[test]
fn purposes_hold_for_the_whole_chain() {
    const SERVER: &[ExtendedKeyUsagePurpose] = &[ExtendedKeyUsagePurpose::ServerAuth];
    const CLIENT: &[ExtendedKeyUsagePurpose] = &[ExtendedKeyUsagePurpose::ClientAuth];
    let root = make(CA, None);
    assert_eq!(judge(&make(Shape { usages: SERVER, ..LEAF }, Some(&root)), &[], &[&root]), Ok(()));
    assert_eq!(judge(&make(Shape { usages: CLIENT, ..LEAF }, Some(&root)), &[], &[&root]), Err(Distrust::Usage));
    let clients = make(Shape { name: "clients", usages: CLIENT, ..CA }, Some(&root));
    let leaf = make(Shape { usages: SERVER, ..LEAF }, Some(&clients));
    assert_eq!(judge(&leaf, &[&clients], &[&root]), Err(Distrust::UnknownAuthority));
}

#[test]
fn a_chain_without_end_is_given_up() {
    let mut chain = vec![make(CA, None)];
    for _ in 0..DEPTH_MAX {
        chain.push(make(CA, chain.last()));
    }
    let (leaf, above) = chain.split_last().expect("a chain");
    let shown: Vec<&Made> = above.iter().skip(1).collect();
    assert_eq!(judge(leaf, &shown, &[&chain[0]]), Err(Distrust::UnknownAuthority));
}

/// Both were made with OpenSSL 3.0: the authority with `openssl req -x509`, the leaf with `openssl x509 -req` and no extensions.
#[test]
fn version_one_is_taken_of_clients() {
    let authorities =
        Authorities::parse(include_bytes!("testdata/authority.pem"), "the authority").expect("an authority");
    let leaf = crate::tls::certificates(include_bytes!("testdata/version1.pem"), "the leaf").expect("a leaf").remove(0);
    let clients = authorities.of_clients().expect("a verifier");
    let made = UnixTime::since_unix_epoch(std::time::Duration::from_secs(1_800_000_000));
    assert_eq!(clients.judge(&leaf, &[], made), Ok(()));
    let later = UnixTime::since_unix_epoch(std::time::Duration::from_secs(6_000_000_000));
    assert_eq!(clients.judge(&leaf, &[], later), Err(Distrust::OutOfDate));
}

/// A whole handshake of a client that trusts `ca` with a server that shows `itself`, under `name`.
async fn shake(itself: &Made, ca: &Made, name: &'static str) -> std::io::Result<()> {
    let identity = crate::tls::Identity {
        cert_pem: crate::tls::certificate_pem(&itself.der).into_bytes(),
        key_pem: itself.issuer.key().serialize_pem().into_bytes(),
    };
    let key = crate::tls::certified_key(&identity, "the server").expect("a key");
    let resolver = std::sync::Arc::new(rustls::sign::SingleCertAndKey::from(key));
    let server = crate::tls::server_config(resolver, None, &[]).expect("a server");
    let client =
        crate::tls::client_config(crate::tls::certificate_pem(&ca.der).as_bytes(), None, &[]).expect("a client");
    let (here, there) = tokio::io::duplex(1 << 16);
    let accepted = tokio_rustls::TlsAcceptor::from(std::sync::Arc::new(server)).accept(there);
    let name = name.try_into().expect("a name");
    let connected = tokio_rustls::TlsConnector::from(std::sync::Arc::new(client)).connect(name, here);
    tokio::join!(accepted, connected).1.map(drop)
}

#[tokio::test]
async fn a_server_that_signed_itself_is_believed_under_its_name() {
    let itself = make(CA, None);
    shake(&itself, &itself, "hook.ns.svc").await.expect("believed");
    assert!(shake(&itself, &itself, "other.ns.svc").await.is_err());
    assert!(shake(&itself, &make(CA, None), "hook.ns.svc").await.is_err());
}
