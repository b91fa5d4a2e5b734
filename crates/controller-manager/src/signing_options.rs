//! Which files sign certificates: flags as kube-controller-manager's.

use std::{path::PathBuf, time::Duration};

use clap::Args;
use gantry_common::daemon::duration;

use crate::signing_request as request;

/// A certificate of an authority and its key, in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// The certificate.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// What signs certificates.
#[derive(Debug, Clone, Default, Args)]
pub struct SigningOptions {
    /// File with the CA certificate that signs cluster-scoped certificates; with it no flag for a single signer may be given.
    #[arg(long, value_name = "FILE")]
    pub cluster_signing_cert_file: Option<PathBuf>,
    /// File with the private key of that CA.
    #[arg(long, value_name = "FILE")]
    pub cluster_signing_key_file: Option<PathBuf>,
    /// How long signed certificates are good for at most; requests may ask for less.
    #[arg(long, default_value = "8760h", value_parser = duration, value_name = "DURATION")]
    pub cluster_signing_duration: Duration,
    /// File with the CA certificate that signs for kubernetes.io/kubelet-serving.
    #[arg(long, value_name = "FILE")]
    pub cluster_signing_kubelet_serving_cert_file: Option<PathBuf>,
    /// File with the private key of that CA.
    #[arg(long, value_name = "FILE")]
    pub cluster_signing_kubelet_serving_key_file: Option<PathBuf>,
    /// File with the CA certificate that signs for kubernetes.io/kube-apiserver-client-kubelet.
    #[arg(long, value_name = "FILE")]
    pub cluster_signing_kubelet_client_cert_file: Option<PathBuf>,
    /// File with the private key of that CA.
    #[arg(long, value_name = "FILE")]
    pub cluster_signing_kubelet_client_key_file: Option<PathBuf>,
    /// File with the CA certificate that signs for kubernetes.io/kube-apiserver-client.
    #[arg(long, value_name = "FILE")]
    pub cluster_signing_kube_apiserver_client_cert_file: Option<PathBuf>,
    /// File with the private key of that CA.
    #[arg(long, value_name = "FILE")]
    pub cluster_signing_kube_apiserver_client_key_file: Option<PathBuf>,
    /// File with the CA certificate that signs for kubernetes.io/legacy-unknown.
    #[arg(long, value_name = "FILE")]
    pub cluster_signing_legacy_unknown_cert_file: Option<PathBuf>,
    /// File with the private key of that CA.
    #[arg(long, value_name = "FILE")]
    pub cluster_signing_legacy_unknown_key_file: Option<PathBuf>,
}

type Pair<'a> = (&'a Option<PathBuf>, &'a Option<PathBuf>);

impl SigningOptions {
    fn all(&self) -> Pair<'_> {
        (&self.cluster_signing_cert_file, &self.cluster_signing_key_file)
    }

    /// Signers, the names of their flags, and the files.
    fn single(&self) -> [(&'static str, &'static str, Pair<'_>); 4] {
        [
            (
                request::KUBELET_SERVING,
                "kubelet-serving",
                (&self.cluster_signing_kubelet_serving_cert_file, &self.cluster_signing_kubelet_serving_key_file),
            ),
            (
                request::KUBELET_CLIENT,
                "kubelet-client",
                (&self.cluster_signing_kubelet_client_cert_file, &self.cluster_signing_kubelet_client_key_file),
            ),
            (
                request::API_CLIENT,
                "kube-apiserver-client",
                (
                    &self.cluster_signing_kube_apiserver_client_cert_file,
                    &self.cluster_signing_kube_apiserver_client_key_file,
                ),
            ),
            (
                request::LEGACY,
                "legacy-unknown",
                (&self.cluster_signing_legacy_unknown_cert_file, &self.cluster_signing_legacy_unknown_key_file),
            ),
        ]
    }

    /// What signs for a signer.
    #[must_use]
    pub fn files(&self, signer: &str) -> Option<Files> {
        let own = self.single().into_iter().find(|(name, ..)| *name == signer).map(|(.., pair)| pair);
        let of = |(certificate, key): Pair<'_>| Some(Files { certificate: certificate.clone()?, key: key.clone()? });
        own.and_then(of).or_else(|| of(self.all()))
    }

    /// What the flags contradict.
    ///
    /// # Errors
    /// A message that names the flags.
    pub fn check(&self) -> Result<(), String> {
        let half = |(certificate, key): Pair<'_>| certificate.is_some() != key.is_some();
        let any = |(certificate, key): Pair<'_>| certificate.is_some() || key.is_some();
        if half(self.all()) {
            return Err("--cluster-signing-cert-file and --cluster-signing-key-file need each other".to_owned());
        }
        for (_, flag, pair) in self.single() {
            if half(pair) {
                return Err(format!(
                    "--cluster-signing-{flag}-cert-file and --cluster-signing-{flag}-key-file need each other"
                ));
            }
            if any(pair) && any(self.all()) {
                return Err("cannot specify --cluster-signing-{cert,key}-file and other --cluster-signing-*-file flags at the same time".to_owned());
            }
        }
        if self.cluster_signing_duration.is_zero() {
            return Err("--cluster-signing-duration must be longer than nothing".to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(files: impl FnOnce(&mut SigningOptions)) -> SigningOptions {
        let mut options =
            SigningOptions { cluster_signing_duration: Duration::from_secs(1), ..SigningOptions::default() };
        files(&mut options);
        options
    }

    #[test]
    fn a_signer_has_files_of_its_own_or_those_of_all() {
        let files = |name: &str| Files { certificate: format!("{name}.crt").into(), key: format!("{name}.key").into() };
        let all = options(|o| {
            o.cluster_signing_cert_file = Some("ca.crt".into());
            o.cluster_signing_key_file = Some("ca.key".into());
        });
        assert_eq!((all.check(), all.files(request::LEGACY)), (Ok(()), Some(files("ca"))));
        let one = options(|o| {
            o.cluster_signing_kubelet_client_cert_file = Some("k.crt".into());
            o.cluster_signing_kubelet_client_key_file = Some("k.key".into());
        });
        assert_eq!((one.check(), one.files(request::KUBELET_CLIENT)), (Ok(()), Some(files("k"))));
        assert_eq!((one.files(request::API_CLIENT), all.files("example.com/own")), (None, Some(files("ca"))));
    }

    #[test]
    fn contradictions_are_named() {
        let check = |files: fn(&mut SigningOptions), why: &str| {
            let error = options(files).check().unwrap_err();
            assert!(error.contains(why), "{error}");
        };
        check(|o| o.cluster_signing_key_file = Some("k".into()), "--cluster-signing-key-file need each other");
        check(
            |o| o.cluster_signing_legacy_unknown_cert_file = Some("c".into()),
            "--cluster-signing-legacy-unknown-cert-file and",
        );
        check(
            |o| {
                o.cluster_signing_cert_file = Some("c".into());
                o.cluster_signing_key_file = Some("k".into());
                o.cluster_signing_kubelet_serving_cert_file = Some("c".into());
                o.cluster_signing_kubelet_serving_key_file = Some("k".into());
            },
            "at the same time",
        );
        check(|o| o.cluster_signing_duration = Duration::ZERO, "--cluster-signing-duration");
    }
}
