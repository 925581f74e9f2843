//! The name look-up of both clients. What it returns is what is dialled, so a name cannot lead elsewhere between check
//! and connection. An address is checked each time it is returned, also if it was looked up earlier.

use std::net::SocketAddr;
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::SsrfPolicy;
use crate::error::Service;
use crate::remote::http::names::Names;

/// An address that must not be dialled; found again in the causes of a connection's error.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(in crate::remote::http) struct AddressRefused(pub(in crate::remote::http) String);

/// Looks a name up and refuses it if the policy does not allow each of its addresses.
#[derive(Clone, Debug)]
pub(in crate::remote::http) struct Resolver<L = Names> {
    pub(super) policy: Arc<SsrfPolicy>,
    pub(super) service: Service,
    pub(super) lookup: L,
}

impl Resolver {
    /// For the client that talks to `service`.
    pub(in crate::remote::http) const fn new(
        policy: Arc<SsrfPolicy>,
        service: Service,
        lookup: Names,
    ) -> Self {
        Self { policy, service, lookup }
    }
}

/// A name service.
pub(in crate::remote::http) trait Lookup: Clone + Send + Sync + 'static {
    /// All addresses of a host.
    fn addresses(&self, host: &str) -> impl Future<Output = std::io::Result<Vec<SocketAddr>>> + Send;
}

impl Lookup for Names {
    async fn addresses(&self, host: &str) -> std::io::Result<Vec<SocketAddr>> {
        Ok(self.addresses(host).await?.to_vec())
    }
}

impl<L: Lookup> Resolve for Resolver<L> {
    fn resolve(&self, name: Name) -> Resolving {
        let this = self.clone();
        Box::pin(async move {
            let host = name.as_str();
            let found = this.lookup.addresses(host).await?;
            // one bad address refuses the name: reqwest dials the next address if the first does not answer
            for address in &found {
                this.policy.check_resolved(host, address.ip(), this.service).map_err(AddressRefused)?;
            }
            let addresses: Addrs = Box::new(found.into_iter());
            Ok(addresses)
        })
    }
}
