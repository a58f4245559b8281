//! The site on its address.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use super::http::Server;
use super::site::Site;

/// Where the agent listens unless it is told otherwise: nobody but this host.
pub const ADDRESS: &str = "127.0.0.1:9180";

/// A site that is served. Dropped, it is served no more.
#[derive(Debug)]
pub struct Served(Server);

impl Served {
    /// Serves `site` at `address`.
    ///
    /// # Errors
    /// As the system has them, for an address in use and the like.
    pub async fn start(site: &Arc<Site>, address: &str) -> io::Result<Self> {
        Ok(Self(Server::listen(address, Arc::clone(site)).await?))
    }

    /// Where.
    pub const fn address(&self) -> SocketAddr {
        self.0.address()
    }
}
