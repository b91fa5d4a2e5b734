//! `--tls-sni-cert-key`: certificates for names under which clients reach the server.

use std::path::PathBuf;

/// A certificate, its key, and the names that it is shown for; without names those that it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedCert {
    /// The certificate (PEM, with its chain).
    pub cert_file: PathBuf,
    /// Its key.
    pub key_file: PathBuf,
    /// `www.example.com` or `*.example.com`.
    pub names: Vec<String>,
}

impl std::str::FromStr for NamedCert {
    type Err = String;

    /// `cert,key` or `cert,key:name,name`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (files, names) = text.split_once(':').unwrap_or((text, ""));
        let Some((cert, key)) = files.split_once(',').filter(|(cert, key)| !cert.is_empty() && !key.contains(','))
        else {
            return Err("expected comma separated certificate and key file paths".to_owned());
        };
        let names: Vec<String> = names.split(',').map(|name| name.trim().to_lowercase()).collect();
        if key.is_empty() || (text.contains(':') && names.iter().any(String::is_empty)) {
            return Err("empty names are not allowed".to_owned());
        }
        let names = names.into_iter().filter(|name| !name.is_empty()).collect();
        Ok(Self { cert_file: cert.trim().into(), key_file: key.trim().into(), names })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_and_their_names() {
        let found: NamedCert = "a.crt,a.key:*.Example.com,b.org".parse().expect("good");
        assert_eq!((found.cert_file, found.key_file), ("a.crt".into(), "a.key".into()));
        assert_eq!(found.names, ["*.example.com", "b.org"]);
        assert_eq!("a.crt,a.key".parse::<NamedCert>().expect("good").names, Vec::<String>::new());
        for bad in ["a.crt", "a,b,c", ",a.key", "a.crt,:x", "a.crt,a.key:"] {
            assert!(bad.parse::<NamedCert>().is_err(), "{bad}");
        }
    }
}
