//! Metrics to Ganglia's gmond over UDP, where a cluster has Ganglia and no Prometheus.
//!
//! The packets are those of Ganglia 3.1 and later: for each metric one that describes it and one with its value, in XDR (RFC 4506).

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use super::site::Site;

/// How often everything is told; gmond forgets what it has not heard of for [`FORGET_S`].
const TELL_EVERY: Duration = Duration::from_secs(15);
/// Seconds after which gmond may show a gap.
const GAP_S: u32 = 60;
/// Seconds after which gmond forgets a metric.
const FORGET_S: u32 = 600;

/// Kinds of packets (`gm_protocol.x`).
const DESCRIPTION: u32 = 128;
const VALUE: u32 = 133;
/// How a value may change: only upwards, or both ways.
const SLOPE_UP: u32 = 1;
const SLOPE_BOTH: u32 = 3;

/// One number of one job.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Gauge {
    pub(super) job: String,
    pub(super) name: &'static str,
    pub(super) value: f64,
    pub(super) units: &'static str,
    /// It only grows.
    pub(super) is_counter: bool,
}

impl Gauge {
    /// The metric's name, which becomes the name of a file.
    fn metric(&self) -> String {
        let safe = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' };
        format!("forebay_{}_{}", self.job.chars().map(safe).collect::<String>(), self.name)
    }

    /// What gmond is told of it: what it is, and its value.
    fn packets(&self, host: &str) -> [Vec<u8>; 2] {
        let metric = self.metric();
        let mut description = Vec::new();
        number(&mut description, DESCRIPTION);
        text(&mut description, host);
        text(&mut description, &metric);
        number(&mut description, 0);
        text(&mut description, "double");
        text(&mut description, &metric);
        text(&mut description, self.units);
        for value in [if self.is_counter { SLOPE_UP } else { SLOPE_BOTH }, GAP_S, FORGET_S, 1] {
            number(&mut description, value);
        }
        text(&mut description, "GROUP");
        text(&mut description, "forebay");
        let mut value = Vec::new();
        number(&mut value, VALUE);
        text(&mut value, host);
        text(&mut value, &metric);
        number(&mut value, 0);
        text(&mut value, "%s");
        text(&mut value, &self.value.to_string());
        [description, value]
    }
}

fn number(packet: &mut Vec<u8>, value: u32) {
    packet.extend_from_slice(&value.to_be_bytes());
}

fn text(packet: &mut Vec<u8>, value: &str) {
    number(packet, u32::try_from(value.len()).unwrap_or(0));
    packet.extend_from_slice(value.as_bytes());
    while !packet.len().is_multiple_of(4) {
        packet.push(0);
    }
}

/// The task that tells gmond. Dropped, it tells no more.
#[derive(Debug)]
pub struct Gmond(JoinHandle<()>);

impl Drop for Gmond {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Gmond {
    /// Tells the gmond at `address` from now on.
    ///
    /// # Errors
    /// As the system has them, for a name that cannot be resolved and the like. Whether anybody listens there cannot be known.
    pub async fn start(site: &Arc<Site>, address: &str) -> io::Result<Self> {
        let mut socket = None;
        let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for candidate in tokio::net::lookup_host(address).await? {
            let local = if candidate.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
            let bound = UdpSocket::bind(local).await?;
            match bound.connect(candidate).await {
                Ok(()) => {
                    socket = Some(bound);
                    break;
                }
                Err(error) => failure = error,
            }
        }
        let socket = socket.ok_or(failure)?;
        Ok(Self(tokio::spawn(tell(socket, Arc::clone(site)))))
    }
}

async fn tell(socket: UdpSocket, site: Arc<Site>) {
    let mut turn = tokio::time::interval(TELL_EVERY);
    turn.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        turn.tick().await;
        for gauge in site.gauges() {
            for packet in gauge.packets(site.host()) {
                // Nobody may listen at this moment; the next turn tells it all again.
                if let Err(error) = socket.send(&packet).await {
                    log::debug!("gmond: {error}");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_xdr() {
        let gauge = Gauge { job: "a/b".to_owned(), name: "lag", value: 1.5, units: "records", is_counter: false };
        let [description, value] = gauge.packets("host1");
        assert_eq!(
            value,
            b"\0\0\0\x85\0\0\0\x05host1\0\0\0\0\0\0\x0fforebay_a_b_lag\0\0\0\0\0\0\0\0\x02%s\0\0\0\0\0\x031.5\0"
        );
        assert!(
            description
                .starts_with(b"\0\0\0\x80\0\0\0\x05host1\0\0\0\0\0\0\x0fforebay_a_b_lag\0\0\0\0\0\0\0\0\x06double\0\0")
        );
        assert!(
            description
                .ends_with(b"\0\0\0\x03\0\0\0\x3c\0\0\x02\x58\0\0\0\x01\0\0\0\x05GROUP\0\0\0\0\0\0\x07forebay\0")
        );
        assert!(description.len().is_multiple_of(4) && value.len().is_multiple_of(4));
    }
}
