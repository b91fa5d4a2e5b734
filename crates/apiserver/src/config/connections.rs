//! Bounds of connections.

use std::time::Duration;

/// How many connections there may be, and how long they may do nothing. No flags: upstream has none for them.
#[derive(Debug, Clone)]
pub struct Connections {
    /// Open at once.
    pub max: usize,
    /// Open at once from one address (of IPv6 from one network of 64 bits): others find room whatever one peer does.
    pub max_per_address: usize,
    /// How long one may be open on which nobody has said who he is.
    pub unknown: Duration,
    /// How long one of HTTP/2 may have nothing to do. Upstream gives 90 s, and clients must not find one closed that they were
    /// about to use. Those of HTTP/1.1 are timed with their heads.
    pub idle: Duration,
    /// How long a connection that is told to end may take for it, where nobody has said who he is.
    pub last: Duration,
}

impl Default for Connections {
    fn default() -> Self {
        Self {
            max: 16_384,
            max_per_address: 12_288,
            unknown: Duration::from_secs(60),
            idle: Duration::from_secs(95),
            last: Duration::from_secs(10),
        }
    }
}
