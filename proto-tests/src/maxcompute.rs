//! A local MaxCompute for one test, in the test's own process.
//!
//! It is forebay's own sandbox, so what forebay says of it proves nothing: tables are read back by the official SDKs
//! ([`crate::table`]).

use std::fmt;
use std::path::Path;
use std::time::{Duration, Instant};

use forebay::sandbox::maxcompute::{self, MaxComputeSandboxConfig};
use tokio::runtime::{Builder, Runtime};

const PROJECT: &str = "bigdata_doc";
const ACCESS_ID: &str = "local-id";
const ACCESS_KEY: &str = "local-key-5a1f0c";

/// A running service that checks signatures. Dropped, it is gone.
pub struct LocalMaxCompute {
    service: maxcompute::LocalMaxCompute,
    // After the service, which stops on it.
    runtime: Runtime,
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

    fn with(change: impl FnOnce(&mut MaxComputeSandboxConfig)) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.unwrap_or_else(|error| panic!("cannot start a runtime: {error}"));
        let mut config = MaxComputeSandboxConfig::default();
        config.project = PROJECT.to_owned();
        config.access_id = ACCESS_ID.to_owned();
        config.access_key = Some(ACCESS_KEY.to_owned());
        change(&mut config);
        let service = runtime.block_on(maxcompute::start(config));
        let service = service.unwrap_or_else(|error| panic!("cannot start the local MaxCompute: {error}"));
        Self { service, runtime }
    }

    /// A data source file for `--datasources` that names this service `odps_first`.
    #[must_use]
    pub fn datasources(&self) -> String {
        let (endpoint, tunnel_endpoint) = (self.service.endpoint(), self.service.tunnel_endpoint());
        format!(
            "[odps_first]\ntype = \"odps\"\nproject = \"{PROJECT}\"\nendpoint = \"{endpoint}\"\n\
             tunnel_endpoint = \"{tunnel_endpoint}\"\naccess_id = \"{ACCESS_ID}\"\naccess_key = \"{ACCESS_KEY}\"\n"
        )
    }

    /// What the readers in `python/` and `java/` take before the table's name: endpoint, tunnel endpoint, project, access
    /// id, access key.
    #[must_use]
    pub fn sdk_arguments(&self) -> [String; 5] {
        let (endpoint, tunnel_endpoint) = (self.service.endpoint(), self.service.tunnel_endpoint());
        [endpoint, tunnel_endpoint, PROJECT.to_owned(), ACCESS_ID.to_owned(), ACCESS_KEY.to_owned()]
    }

    /// The key that its one account signs with.
    #[must_use]
    pub const fn access_key(&self) -> &'static str {
        ACCESS_KEY
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

    /// Stops it and waits until the port is closed and the folder is left alone.
    pub fn stop(self) {
        let Self { service, runtime } = self;
        runtime.block_on(service.shutdown());
        // Tasks of cut connections may still be unwinding; what they do has an end.
        let begin = Instant::now();
        runtime.shutdown_timeout(Duration::from_secs(10));
        assert!(begin.elapsed() < Duration::from_secs(10), "a task of the local MaxCompute did not end");
    }
}
