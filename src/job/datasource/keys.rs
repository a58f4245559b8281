//! The keys of a MaxCompute connection: gathered, laid over each other, and checked for what is missing.

use std::collections::BTreeMap;

use super::{Identity, OdpsConnection};
use crate::job::report::{JobError, Place, Report};
use crate::job::secret::Secret;
use crate::job::section::shown;

/// What one source says about a MaxCompute project; anything may be absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::job) struct OdpsKeys {
    pub(in crate::job) project: Option<String>,
    pub(in crate::job) endpoint: Option<String>,
    pub(in crate::job) tunnel_endpoint: Option<String>,
    pub(in crate::job) access_id: Option<String>,
    pub(in crate::job) access_key: Option<Secret>,
    pub(in crate::job) security_token: Option<Secret>,
    pub(in crate::job) identity: Identity,
    pub(in crate::job) schema: Option<String>,
    pub(in crate::job) quota: Option<String>,
    pub(in crate::job) region: Option<String>,
}

impl OdpsKeys {
    /// These keys with those of `other` where they are silent. Id, key and token belong together and come from one side.
    pub(in crate::job) fn over(self, other: Self) -> Self {
        let own = self.access_id.is_some() || self.access_key.is_some() || self.identity != Identity::AccessKey;
        let (access_id, access_key, security_token, identity) = if own {
            (self.access_id, self.access_key, self.security_token, self.identity)
        } else {
            (other.access_id, other.access_key, self.security_token.or(other.security_token), other.identity)
        };
        Self {
            project: self.project.or(other.project),
            endpoint: self.endpoint.or(other.endpoint),
            tunnel_endpoint: self.tunnel_endpoint.or(other.tunnel_endpoint),
            access_id,
            access_key,
            security_token,
            identity,
            schema: self.schema.or(other.schema),
            quota: self.quota.or(other.quota),
            region: self.region.or(other.region),
        }
    }

    /// Whether nothing that a connection needs is missing.
    pub(in crate::job) fn is_complete(&self) -> bool {
        let known = self.identity != Identity::AccessKey || (self.access_id.is_some() && self.access_key.is_some());
        self.project.is_some() && self.endpoint.is_some() && known
    }
}

/// Where keys came from: a label for the log, and what the keys are called there.
#[derive(Clone, Debug)]
pub(in crate::job) struct Origin {
    /// Such as `data source odps_first of ds.toml`.
    pub(in crate::job) label: String,
    /// Names of project, endpoint, access id and access key.
    pub(in crate::job) names: [&'static str; 4],
}

/// A connection of keys that must be complete by now; what is missing or malformed is reported.
pub(in crate::job) fn complete(
    keys: OdpsKeys,
    origin: &Origin,
    report: &Report,
    key: &str,
    place: &Place,
) -> Option<OdpsConnection> {
    let keyless = keys.identity != Identity::AccessKey;
    let present = [
        keys.project.is_some(),
        keys.endpoint.is_some(),
        keyless || keys.access_id.is_some(),
        keyless || keys.access_key.is_some(),
    ];
    let missing: Vec<&str> =
        origin.names.iter().zip(present).filter(|(_, there)| !there).map(|(name, _)| *name).collect();
    if !missing.is_empty() {
        let message = format!("{} does not give {}", origin.label, missing.join(", "));
        report.error(
            JobError::new(place.clone(), key, message).advise("add what is missing there, or name another data source"),
        );
    }
    let addresses = [("an endpoint", keys.endpoint.as_deref()), ("a tunnel endpoint", keys.tunnel_endpoint.as_deref())];
    let mut addresses_fit = true;
    for (what, address) in addresses {
        let Some(address) = address else { continue };
        if let Some(why) = address_fault(address) {
            addresses_fit = false;
            // What stands before an @ may be a password.
            let shown = if address.contains('@') { String::new() } else { format!(", {},", shown(address)) };
            report.error(JobError::new(place.clone(), key, format!("{} gives {what}{shown} that {why}", origin.label)));
        }
    }
    if !addresses_fit {
        return None;
    }
    Some(OdpsConnection {
        project: keys.project?,
        endpoint: keys.endpoint?,
        tunnel_endpoint: keys.tunnel_endpoint,
        access_id: if keyless { keys.access_id.unwrap_or_default() } else { keys.access_id? },
        access_key: if keyless { keys.access_key.unwrap_or_else(|| Secret::new("")) } else { keys.access_key? },
        identity: keys.identity,
        security_token: keys.security_token,
        schema: keys.schema,
        quota: keys.quota,
        region: keys.region,
        source: origin.label.clone(),
    })
}

/// What the environment says; credentials come from one family of names only.
pub(super) fn env_keys(env: &BTreeMap<String, String>) -> OdpsKeys {
    let first = |names: &[&str]| {
        let set = |name: &&str| env.get(*name).map(|value| value.trim()).filter(|value| !value.is_empty());
        names.iter().find_map(set).map(str::to_owned)
    };
    // Id, key and token of one family: a key of another would only give a confusing refusal.
    let family = CREDENTIAL_NAMES.iter().find(|[id, ..]| first(&[id]).is_some());
    let credential = |index: usize| family.and_then(|names| names.get(index)).and_then(|name| first(&[name]));
    OdpsKeys {
        project: first(&["ODPS_PROJECT_NAME", "ODPS_CFG_PROJECTNAME"]),
        endpoint: first(&["ODPS_ENDPOINT", "ODPS_CFG_ENDPOINT"]),
        tunnel_endpoint: first(&["ODPS_TUNNEL_ENDPOINT"]),
        access_id: credential(0),
        access_key: credential(1).map(Secret::from),
        security_token: credential(2).map(Secret::from),
        identity: match first(&["ODPS_BEARER_TOKEN"]).filter(|_| family.is_none()) {
            Some(token) => Identity::Bearer(Secret::from(token)),
            None => Identity::AccessKey,
        },
        schema: None,
        quota: first(&["QUOTA_NAME"]),
        region: first(&["ODPS_REGION_NAME"]),
    }
}

/// Families of credential variables: the Alibaba Cloud libraries', PyODPS's for temporary keys, odpscmd's.
const CREDENTIAL_NAMES: [[&str; 3]; 3] = [
    ["ALIBABA_CLOUD_ACCESS_KEY_ID", "ALIBABA_CLOUD_ACCESS_KEY_SECRET", "ALIBABA_CLOUD_SECURITY_TOKEN"],
    ["ODPS_STS_ACCESS_KEY_ID", "ODPS_STS_ACCESS_KEY_SECRET", "ODPS_STS_TOKEN"],
    ["ACCESS_KEY_ID", "ACCESS_KEY_SECRET", "SECURITY_TOKEN"],
];

/// What is wrong with an endpoint, if anything.
fn address_fault(address: &str) -> Option<&'static str> {
    let rest = ["http://", "https://"].iter().find_map(|scheme| address.strip_prefix(scheme));
    let Some(rest) = rest else { return Some("does not begin with http:// or https://") };
    let host = rest.split('/').next().unwrap_or_default();
    if host.contains('@') {
        return Some("carries a user name; credentials have their own keys");
    }
    if host.is_empty() || rest.contains(|c: char| c.is_whitespace() || c.is_control() || matches!(c, '?' | '#')) {
        return Some("is not an address such as https://host/api");
    }
    None
}
