//! A real gmond of Ganglia, as it is asked for what it has heard.

use std::io::Read;
use std::net::TcpStream;

use forebay_proto_tests::port;
use forebay_proto_tests::process::{Server, command};
use forebay_proto_tests::scratch::Scratch;

use super::agent::LIMIT;

/// A gmond that listens to others and says nothing of its own.
pub(crate) struct RealGmond {
    pub(crate) server: Server,
    pub(crate) address: String,
    xml_port: u16,
    _scratch: Scratch,
}

impl RealGmond {
    pub(crate) fn start() -> Self {
        let scratch = Scratch::new("gmond");
        let (udp, xml_port) = (port::free(), port::free());
        let configuration = scratch.write(
            "gmond.conf",
            format!(
                "globals {{ daemonize = no setuid = no mute = yes deaf = no host_dmax = 0 }}\n\
                 cluster {{ name = \"test\" }}\n\
                 udp_recv_channel {{ port = {udp} bind = 127.0.0.1 family = inet4 }}\n\
                 tcp_accept_channel {{ port = {xml_port} bind = 127.0.0.1 family = inet4 }}\n"
            ),
        );
        let mut gmond = command("/usr/sbin/gmond");
        gmond.arg("-c").arg(configuration);
        let mut server = Server::start("gmond", gmond, &scratch.path().join("gmond.log"));
        server.wait_until("its port", LIMIT, |_| TcpStream::connect(("127.0.0.1", xml_port)).is_ok());
        Self { server, address: format!("127.0.0.1:{udp}"), xml_port, _scratch: scratch }
    }

    /// The value of a metric, once it has been heard of.
    pub(crate) fn value(&self, metric: &str) -> Option<String> {
        let mut xml = Vec::new();
        let mut stream = TcpStream::connect(("127.0.0.1", self.xml_port)).ok()?;
        let _read = stream.read_to_end(&mut xml).ok()?;
        let xml = String::from_utf8_lossy(&xml);
        let (_, found) = xml.split_once(&format!("<METRIC NAME=\"{metric}\" VAL=\""))?;
        assert!(found.contains("NAME=\"GROUP\" VAL=\"forebay\""), "{found}");
        Some(found.split('"').next()?.to_owned())
    }
}
