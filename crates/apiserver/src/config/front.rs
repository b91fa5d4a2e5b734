//! The flags of proxies in front of the server, and of the server as a proxy in front of others.

use std::path::PathBuf;

use clap::Args;

use crate::auth::request_header;

/// `--requestheader-*`: proxies that authenticate users and name them in headers.
#[derive(Debug, Clone, Default, Args)]
pub struct RequestHeader {
    /// The CA of the certificates that such proxies show. Without it their headers mean nothing.
    // Fields of flattened structs share one name space: without an id of its own this would be --client-ca-file.
    #[arg(id = "requestheader_client_ca_file", long = "requestheader-client-ca-file")]
    pub client_ca_file: Option<PathBuf>,
    /// Common names of their certificates; any that the CA has signed if there are none.
    #[arg(long = "requestheader-allowed-names", value_delimiter = ',')]
    pub allowed_names: Vec<String>,
    /// Headers that hold the user's name; X-Remote-User is usual.
    #[arg(long = "requestheader-username-headers", value_delimiter = ',', default_value = "X-Remote-User")]
    pub username_headers: Vec<String>,
    /// Headers that hold the user's uid; X-Remote-Uid is usual.
    #[arg(long = "requestheader-uid-headers", value_delimiter = ',')]
    pub uid_headers: Vec<String>,
    /// Headers that hold groups; X-Remote-Group is usual.
    #[arg(long = "requestheader-group-headers", value_delimiter = ',', default_value = "X-Remote-Group")]
    pub group_headers: Vec<String>,
    /// What headers begin with that hold more about the user; X-Remote-Extra- is usual.
    #[arg(long = "requestheader-extra-headers-prefix", value_delimiter = ',', default_value = "X-Remote-Extra-")]
    pub extra_headers_prefix: Vec<String>,
}

impl RequestHeader {
    /// What the authenticator believes; nothing without a CA.
    pub(crate) fn believed(&self) -> Option<request_header::RequestHeader> {
        self.client_ca_file.as_ref().map(|_| request_header::RequestHeader {
            allowed_names: self.allowed_names.clone(),
            username_headers: self.username_headers.clone(),
            uid_headers: self.uid_headers.clone(),
            group_headers: self.group_headers.clone(),
            extra_prefixes: self.extra_headers_prefix.clone(),
        })
    }
}
