//! A relay on loopback that keeps what clients send, connection by connection.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// Forwards every connection to one port of 127.0.0.1. It ends with the test's process.
#[derive(Clone, Debug)]
pub(crate) struct Relay {
    port: u16,
    sent: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Relay {
    /// Listens on a free port.
    pub(crate) fn to(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let port = listener.local_addr().expect("it is bound").port();
        let relay = Self { port, sent: Arc::default() };
        let kept = relay.sent.clone();
        thread::spawn(move || {
            for client in listener.incoming() {
                let Ok(client) = client else { return };
                let Ok(broker) = TcpStream::connect(("127.0.0.1", target)) else { continue };
                let index = {
                    let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                    kept.push(Vec::new());
                    kept.len() - 1
                };
                let (from_client, from_broker) = (client.try_clone(), broker.try_clone());
                let (Ok(from_client), Ok(from_broker)) = (from_client, from_broker) else { continue };
                let kept = kept.clone();
                thread::spawn(move || {
                    copy(from_client, broker, |bytes| {
                        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                        kept[index].extend_from_slice(bytes);
                    });
                });
                thread::spawn(move || copy(from_broker, client, |_| {}));
            }
        });
        relay
    }

    /// Where it listens.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// What each client sent so far, one connection after the other.
    pub(crate) fn sent(&self) -> Vec<Vec<u8>> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn copy(mut from: TcpStream, mut to: TcpStream, mut see: impl FnMut(&[u8])) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        see(&buffer[..count]);
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    // The end of one side is the end of the other; a side that has gone already does not mind.
    drop(to.shutdown(Shutdown::Write));
}

/// The API numbers of the Kafka requests in a stream that is not encrypted.
pub(crate) fn requests(mut stream: &[u8]) -> Vec<i16> {
    let mut apis = Vec::new();
    while let Some((size, rest)) = stream.split_first_chunk::<4>() {
        let size = usize::try_from(u32::from_be_bytes(*size)).expect("it fits");
        let Some(frame) = rest.get(..size) else { break };
        apis.extend(frame.first_chunk::<2>().map(|api| i16::from_be_bytes(*api)));
        stream = &rest[size..];
    }
    apis
}

/// How many bytes of application data are in a stream of TLS records: encrypted alerts count, handshakes do not.
pub(crate) fn tls_data_bytes(mut stream: &[u8]) -> usize {
    let mut bytes = 0;
    while let [kind, _, _, high, low, rest @ ..] = stream {
        let size = usize::from(u16::from_be_bytes([*high, *low]));
        if *kind == 0x17 {
            bytes += size;
        }
        stream = rest.get(size..).unwrap_or_default();
    }
    bytes
}
