//! A local MaxCompute for one test, in the test's own process.
//!
//! It is forebay's own sandbox, so what forebay says of it proves nothing: tables are read back by the official SDKs
//! ([`crate::table`]).

use std::fmt;
use std::path::Path;

use forebay::sandbox::maxcompute::{self, MaxComputeSandboxConfig};
use tokio::runtime::{Builder, Runtime};

const PROJECT: &str = "bigdata_doc";
const ACCESS_ID: &str = "local-id";
const ACCESS_KEY: &str = "local-key-5a1f0c";

/// How to reach a service, and as whom.
#[derive(Clone, Debug)]
pub struct Account {
    /// The ODPS endpoint.
    pub endpoint: String,
    /// The tunnel endpoint.
    pub tunnel_endpoint: String,
    /// The project.
    pub project: String,
    /// The account's id.
    pub access_id: String,
    /// The key it signs with.
    pub access_key: String,
}

impl Account {
    /// A data source file for `--datasources` that names this service `odps_first`.
    #[must_use]
    pub fn datasources(&self) -> String {
        let Self { endpoint, tunnel_endpoint, project, access_id, access_key } = self;
        format!(
            "[odps_first]\ntype = \"odps\"\nproject = \"{project}\"\nendpoint = \"{endpoint}\"\n\
             tunnel_endpoint = \"{tunnel_endpoint}\"\naccess_id = \"{access_id}\"\naccess_key = \"{access_key}\"\n"
        )
    }

    /// The common options of the programs in `python/` and `java/`.
    #[must_use]
    pub fn sdk_options(&self) -> Vec<&str> {
        let Self { endpoint, tunnel_endpoint, project, access_id, access_key } = self;
        [
            ["--endpoint", endpoint],
            ["--tunnel-endpoint", tunnel_endpoint],
            ["--project", project],
            ["--access-id", access_id],
            ["--access-key", access_key],
        ]
        .concat()
    }
}

/// A running service that checks signatures. Dropped, it is gone.
pub struct LocalMaxCompute {
    service: maxcompute::LocalMaxCompute,
    account: Account,
    // After the service, which stops on it.
    _runtime: Runtime,
}

impl fmt::Debug for LocalMaxCompute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.service.fmt(f)
    }
}

impl LocalMaxCompute {
    /// Starts one on a free port, everything in memory.
    #[must_use]
    pub fn start() -> Self {
        Self::with(|_| ())
    }

    /// Starts one that keeps its data in `folder`.
    #[must_use]
    pub fn start_in(folder: &Path) -> Self {
        Self::with(|config| config.data_dir = Some(folder.to_owned()))
    }

    /// Starts one that checks no signatures, so that its clock can be moved by more than signatures allow.
    #[must_use]
    pub fn start_unsigned() -> Self {
        Self::with(|config| config.access_key = None)
    }

    fn with(change: impl FnOnce(&mut MaxComputeSandboxConfig)) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.unwrap_or_else(|error| panic!("cannot start a runtime: {error}"));
        let mut config = MaxComputeSandboxConfig::default();
        PROJECT.clone_into(&mut config.project);
        ACCESS_ID.clone_into(&mut config.access_id);
        config.access_key = Some(ACCESS_KEY.to_owned());
        change(&mut config);
        let service = runtime.block_on(maxcompute::start(config));
        let service = service.unwrap_or_else(|error| panic!("cannot start the local MaxCompute: {error}"));
        let account = Account {
            endpoint: service.endpoint(),
            tunnel_endpoint: service.tunnel_endpoint(),
            project: PROJECT.to_owned(),
            access_id: ACCESS_ID.to_owned(),
            access_key: ACCESS_KEY.to_owned(),
        };
        Self { service, account, _runtime: runtime }
    }

    /// How to reach it.
    #[must_use]
    pub const fn account(&self) -> &Account {
        &self.account
    }

    /// The service itself: faults, clock, request log.
    #[must_use]
    pub const fn service(&self) -> &maxcompute::LocalMaxCompute {
        &self.service
    }

    /// How many requests of this kind have come, by the name that the service's faults use.
    #[must_use]
    pub fn requests(&self, operation: &str) -> usize {
        self.service.requests().iter().filter(|request| request.operation == operation).count()
    }
}
