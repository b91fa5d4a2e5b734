//! Why a call failed.

use gantry_api::status::Status;

/// An error of a call to the API server.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server answered with a failure.
    #[error("{0}")]
    Api(Box<Status>),
    /// The API server could not be reached, or the call broke; a write may or may not have happened.
    #[error("the API server did not answer the call {call}")]
    Transport {
        /// The gRPC method.
        call: &'static str,
        /// Why.
        #[source]
        source: Box<tonic::Status>,
    },
    /// An answer is not what it should be.
    #[error("cannot decode {what}")]
    Decode {
        /// Which object.
        what: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// An object cannot be written as JSON.
    #[error("cannot encode {what}")]
    Encode {
        /// Which object.
        what: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// The connection's configuration is unusable.
    #[error("cannot use the server address {server:?}")]
    Address {
        /// The address.
        server: String,
        /// Why.
        #[source]
        source: tonic::transport::Error,
    },
    /// No server was named.
    #[error("no API server address was given")]
    NoServer,
    /// The kubeconfig is unusable.
    #[error("cannot use the kubeconfig")]
    Kubeconfig(#[from] gantry_common::kubeconfig::Error),
    /// The component is stopping.
    #[error("the client is shutting down")]
    Stopping,
}

impl Error {
    /// Takes a gRPC status apart: a Kubernetes Status in its details is the server's answer, anything else transport.
    pub(crate) fn from_grpc(call: &'static str, status: tonic::Status) -> Self {
        let details = gantry_proto::failure::unpack(status.details());
        match details.and_then(|json| serde_json::from_slice::<Status>(&json).ok()) {
            Some(s) if s.kind == "Status" => Self::Api(Box::new(s)),
            _ => Self::Transport { call, source: Box::new(status) },
        }
    }

    /// The server's Status, if it answered.
    #[must_use]
    pub fn status(&self) -> Option<&Status> {
        if let Self::Api(s) = self { Some(s) } else { None }
    }

    fn is(&self, reason: &str) -> bool {
        self.status().is_some_and(|s| s.reason == reason)
    }

    /// The object does not exist.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.is("NotFound")
    }

    /// The server does not serve what was asked for, or not any more. Of an object that is not there it says the name.
    #[must_use]
    pub fn is_unserved(&self) -> bool {
        let names_none = |s: &Status| s.details.as_ref().is_none_or(|details| details.name.is_empty());
        self.is_not_found() && self.status().is_some_and(names_none)
    }

    /// The object changed in between (or another write fences this one off, see [`Error::is_fenced`]).
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        self.is("Conflict")
    }

    /// Another leader has taken over.
    #[must_use]
    pub fn is_fenced(&self) -> bool {
        self.is("Fenced")
    }

    /// The object exists already.
    #[must_use]
    pub fn is_already_exists(&self) -> bool {
        self.is("AlreadyExists")
    }

    /// The resource version is no longer kept: list again.
    #[must_use]
    pub fn is_expired(&self) -> bool {
        self.is("Expired") || self.is("Gone")
    }

    /// The server has not come as far as the resource version that was asked for, and will not by itself: its store has been set back.
    #[must_use]
    pub fn is_ahead(&self) -> bool {
        self.has_cause("ResourceVersionTooLarge")
    }

    /// The caller may not do this.
    #[must_use]
    pub fn is_forbidden(&self) -> bool {
        self.is("Forbidden")
    }

    /// The namespace is on its way out, so nothing can be made in it.
    #[must_use]
    pub fn is_namespace_terminating(&self) -> bool {
        self.has_cause("NamespaceTerminating")
    }

    fn has_cause(&self, reason: &str) -> bool {
        let causes = self.status().and_then(|s| s.details.as_ref()).map_or(&[][..], |d| &d.causes);
        causes.iter().any(|c| c.reason == reason)
    }

    /// Trying the same call again later may help.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Transport { .. } => true,
            Self::Api(s) => matches!(s.code, 429 | 500 | 503 | 504),
            _ => false,
        }
    }
}
