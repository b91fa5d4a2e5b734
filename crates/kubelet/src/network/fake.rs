//! A network without packets, for tests.

use std::{collections::BTreeMap, net::Ipv4Addr, sync::Arc};

use ipnet::Ipv4Net;
use parking_lot::Mutex;

use super::{Error, PodNetwork};

/// Hands out addresses of 10.244.0.0/24.
#[derive(Clone, Default)]
pub struct Fake {
    addresses: Arc<Mutex<BTreeMap<String, (String, Ipv4Addr)>>>,
}

#[async_trait::async_trait]
impl PodNetwork for Fake {
    fn address(&self, uid: &str, sandbox: &str) -> Option<Ipv4Addr> {
        self.addresses.lock().get(uid).filter(|(of, _)| of == sandbox).map(|(_, ip)| *ip)
    }

    async fn connect(&self, uid: &str, sandbox: &str, _pid: u32) -> Result<Ipv4Addr, Error> {
        let mut addresses = self.addresses.lock();
        let next = u8::try_from(addresses.len() + 2).unwrap_or(254);
        let entry = addresses.entry(uid.to_owned()).or_insert_with(|| (String::new(), [10, 244, 0, next].into()));
        sandbox.clone_into(&mut entry.0);
        Ok(entry.1)
    }

    async fn disconnect(&self, uid: &str) -> Result<(), Error> {
        self.addresses.lock().remove(uid);
        Ok(())
    }

    fn holders(&self) -> Vec<String> {
        self.addresses.lock().keys().cloned().collect()
    }

    fn set_range(&self, _range: Ipv4Net) {}

    fn problem(&self) -> Option<String> {
        None
    }
}
