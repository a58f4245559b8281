//! One ZooKeeper for the brokers that need it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::process::Server;
use crate::scratch::{Scratch, package_folder};
use crate::{java, port};

/// How long a JVM may take from nothing to readiness on a busy machine; about two seconds on an idle one.
const START_LIMIT: Duration = Duration::from_secs(90);

/// A ZooKeeper server on 127.0.0.1, its data in the scratch folder it was given.
#[derive(Debug)]
pub struct Zookeeper {
    port: u16,
    _server: Server,
}

impl Zookeeper {
    /// Starts the one out of the archives `jars` and returns when it answers.
    #[must_use]
    pub fn start(jars: &str, scratch: &Scratch) -> Self {
        let port = port::free();
        let data = scratch.folder("zookeeper");
        let settings = format!(
            "dataDir={}\nclientPort={port}\nclientPortAddress=127.0.0.1\nmaxClientCnxns=0\ntickTime=2000\n\
             admin.enableServer=false\n4lw.commands.whitelist=ruok\n",
            data.display()
        );
        let file = scratch.write("zookeeper.properties", settings);
        let main = "org.apache.zookeeper.server.quorum.QuorumPeerMain";
        // ZooKeeper 3.4 wants to manage log4j 1 over JMX, which need not be there.
        let settings = [log4j(), "-Dzookeeper.jmx.log4j.disable=true".to_owned()];
        let mut command = java::server(jars, 256, &settings, main);
        command.arg(file);
        let mut server = Server::start("ZooKeeper", command, &scratch.path().join("zookeeper.log"));
        server.wait_until("readiness", START_LIMIT, |server| port::is_listening(server.id(), port) && is_ok(port));
        Self { port, _server: server }
    }

    /// `host:port`, without a chroot.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

/// The JVM setting that makes a server of the log4j 1 days log to standard output.
pub(crate) fn log4j() -> String {
    format!("-Dlog4j.configuration=file:{}", package_folder().join("java/log4j-server.properties").display())
}

/// ZooKeeper's own question: `ruok` is answered with `imok` by a server that works.
fn is_ok(port: u16) -> bool {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(b"ruok")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    ask().is_ok_and(|answer| answer == "imok")
}
