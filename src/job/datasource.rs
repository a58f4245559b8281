//! Data sources: the names a job uses for "where and as whom", and what stands behind them.

use super::secret::Secret;

/// A MaxCompute project with everything needed to call it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OdpsConnection {
    /// The project's name.
    pub project: String,
    /// The REST endpoint, with `http://` or `https://`.
    pub endpoint: String,
    /// The Tunnel endpoint; `None` = ask the service (discovery).
    pub tunnel_endpoint: Option<String>,
    /// AccessKey id.
    pub access_id: String,
    /// AccessKey secret.
    pub access_key: Secret,
    /// Token of a temporary (STS) key.
    pub security_token: Option<Secret>,
    /// Schema of a three-tier project.
    pub schema: Option<String>,
    /// Tunnel quota name.
    pub quota: Option<String>,
    /// Region, for signatures of version 4.
    pub region: Option<String>,
    /// Where all this came from, for the log; never a secret.
    pub source: String,
}
