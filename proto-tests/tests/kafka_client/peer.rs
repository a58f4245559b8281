//! A scripted peer: speaks just enough of the oldest versions to be taken for a broker, and misbehaves as told. Its bytes are
//! laid out here by hand, after the protocol guide, so that no codec of forebay's has a part in them.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// APIs by their number on the wire.
pub(crate) const FETCH: i16 = 1;
pub(crate) const LIST_OFFSETS: i16 = 2;
pub(crate) const METADATA: i16 = 3;
pub(crate) const OFFSET_COMMIT: i16 = 8;
pub(crate) const OFFSET_FETCH: i16 = 9;
pub(crate) const FIND_COORDINATOR: i16 = 10;
pub(crate) const API_VERSIONS: i16 = 18;
pub(crate) const OFFSET_FOR_LEADER_EPOCH: i16 = 23;

/// One request, as far as scripts care.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// API number.
    pub(crate) api: i16,
    /// Body without header.
    pub(crate) body: Vec<u8>,
}

/// What the peer does about a request.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// Answers with this body.
    Answer(Vec<u8>),
    /// Sends so many bytes of the answer's frame, size field included, and closes the connection.
    Cut(Vec<u8>, usize),
    /// Sends these bytes as they are.
    Raw(Vec<u8>),
    /// Says nothing, ever.
    Silence,
    /// Closes the connection.
    Close,
}

/// A peer that listens until it is dropped.
pub(crate) struct Peer {
    address: SocketAddr,
    stopped: Arc<AtomicBool>,
    streams: Arc<Mutex<Vec<TcpStream>>>,
}

impl Peer {
    /// Listens on a port of its own and answers by `script`, which also gets the peer's own port. Speaks the oldest versions a
    /// client of record batches needs: none has tagged fields.
    pub(crate) fn start(script: impl Fn(&Request, u16) -> Reply + Send + Sync + 'static) -> Self {
        Self::speaking(&OLD, script)
    }

    /// The same with these (API, version) pairs, one version each.
    pub(crate) fn speaking(
        apis: &'static [(i16, i16)],
        script: impl Fn(&Request, u16) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let stopped = Arc::new(AtomicBool::new(false));
        let streams: Arc<Mutex<Vec<TcpStream>>> = Arc::default();
        let script = Arc::new(script);
        let (stop, open) = (stopped.clone(), streams.clone());
        thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let copy = stream.try_clone().expect("a second handle");
                open.lock().unwrap_or_else(PoisonError::into_inner).push(copy);
                let script = script.clone();
                // The connection ends when either side closes it; there is nobody to tell.
                thread::spawn(move || serve(stream, address.port(), apis, &*script).unwrap_or_default());
            }
        });
        Self { address, stopped, streams }
    }

    /// `host:port`.
    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        for stream in self.streams.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            stream.shutdown(Shutdown::Both).unwrap_or_default();
        }
        // Wakes the listener, which then sees that it is over.
        drop(TcpStream::connect(self.address));
    }
}

fn serve(
    mut stream: TcpStream,
    port: u16,
    apis: &[(i16, i16)],
    script: &(impl Fn(&Request, u16) -> Reply + ?Sized),
) -> std::io::Result<()> {
    loop {
        let mut size = [0; 4];
        stream.read_exact(&mut size)?;
        let mut frame = vec![0; u32::from_be_bytes(size) as usize];
        stream.read_exact(&mut frame)?;
        let short = |at: usize| i16::from_be_bytes([frame[at], frame[at + 1]]);
        let (api, version, correlation) = (short(0), short(2), frame[4..8].to_vec());
        let client_id = usize::try_from(short(8)).unwrap_or(0);
        let body = frame.get(10 + client_id..).unwrap_or_default().to_vec();
        let reply = match (api, version) {
            (API_VERSIONS, 0) => versions(0, apis),
            // As brokers older than 2.4 answer what they do not know.
            (API_VERSIONS, _) => versions(35, &[]),
            _ => script(&Request { api, body }, port),
        };
        match reply {
            Reply::Answer(body) => stream.write_all(&framed(&correlation, &body))?,
            Reply::Cut(body, bytes) => {
                stream.write_all(&framed(&correlation, &body)[..bytes])?;
                return stream.shutdown(Shutdown::Both);
            }
            Reply::Raw(bytes) => stream.write_all(&bytes)?,
            Reply::Silence => {}
            Reply::Close => return stream.shutdown(Shutdown::Both),
        }
    }
}

/// A frame: size, correlation id, body.
fn framed(correlation: &[u8], body: &[u8]) -> Vec<u8> {
    let size = u32::try_from(correlation.len() + body.len()).expect("a small frame");
    [&size.to_be_bytes()[..], correlation, body].concat()
}

/// The oldest versions a client of record batches needs.
const OLD: [(i16, i16); 7] = [
    (FETCH, 4),
    (LIST_OFFSETS, 1),
    (METADATA, 4),
    (OFFSET_COMMIT, 3),
    (OFFSET_FETCH, 2),
    (FIND_COORDINATOR, 1),
    (API_VERSIONS, 0),
];

/// The newest versions without tagged fields: sessions, leader epochs, racks and quotas.
pub(crate) const MIDDLE: [(i16, i16); 7] = [
    (FETCH, 11),
    (LIST_OFFSETS, 1),
    (METADATA, 7),
    (OFFSET_COMMIT, 3),
    (FIND_COORDINATOR, 1),
    (API_VERSIONS, 0),
    (OFFSET_FOR_LEADER_EPOCH, 3),
];

fn versions(error: i16, apis: &[(i16, i16)]) -> Reply {
    let mut out = Bytes::new().short(error).int(i32::try_from(apis.len()).expect("few"));
    for (api, version) in apis {
        // What is newer than the oldest is asked for in just that version.
        let least = if *version > 4 { *version } else { 0 };
        out = out.short(*api).short(least).short(*version);
    }
    Reply::Answer(out.0)
}

/// Appends protocol primitives.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bytes(pub(crate) Vec<u8>);

impl Bytes {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    pub(crate) fn byte(self, value: u8) -> Self {
        self.raw(&[value])
    }

    pub(crate) fn short(self, value: i16) -> Self {
        self.raw(&value.to_be_bytes())
    }

    pub(crate) fn int(self, value: i32) -> Self {
        self.raw(&value.to_be_bytes())
    }

    pub(crate) fn long(self, value: i64) -> Self {
        self.raw(&value.to_be_bytes())
    }

    pub(crate) fn text(self, text: &str) -> Self {
        self.short(i16::try_from(text.len()).expect("a short text")).raw(text.as_bytes())
    }
}

/// Metadata v4 of one topic `t` whose partitions 0, 1, … are led by `leaders`. Brokers are (node, host, port).
pub(crate) fn metadata(brokers: &[(i32, &str, u16)], leaders: &[i32]) -> Reply {
    let mut out = Bytes::new().int(0).int(i32::try_from(brokers.len()).expect("few"));
    for (node, host, port) in brokers {
        out = out.int(*node).text(host).int(i32::from(*port)).short(-1);
    }
    out = out.text("scripted").int(brokers[0].0);
    out = out.int(1).short(0).text("t").byte(0).int(i32::try_from(leaders.len()).expect("few"));
    for (partition, leader) in (0_i32..).zip(leaders) {
        out = out.short(0).int(partition).int(*leader).int(1).int(*leader).int(1).int(*leader);
    }
    Reply::Answer(out.0)
}

/// Metadata v4 of one topic `t` that has an error.
pub(crate) fn metadata_error(port: u16, code: i16) -> Reply {
    let out = Bytes::new().int(0).int(1).int(1).text("127.0.0.1").int(i32::from(port)).short(-1);
    Reply::Answer(out.text("scripted").int(1).int(1).short(code).text("t").byte(0).int(0).0)
}

/// ListOffsets v1 for partition 0 of `t`.
pub(crate) fn offset(code: i16, offset: i64) -> Vec<u8> {
    Bytes::new().int(1).text("t").int(1).int(0).short(code).long(-1).long(offset).0
}

/// Fetch v4 for one partition of `t`.
pub(crate) fn fetched(partition: i32, code: i16, high_watermark: i64, records: &[u8]) -> Vec<u8> {
    let out = Bytes::new().int(0).int(1).text("t").int(1).int(partition).short(code);
    let out = out.long(high_watermark).long(high_watermark).int(-1);
    out.int(i32::try_from(records.len()).expect("few")).raw(records).0
}

/// The first offset that a Fetch v4 for one partition asks for.
pub(crate) fn fetch_offset(body: &[u8]) -> i64 {
    // Replica, wait, least and most bytes, isolation; one topic `t`; one partition.
    let at = 4 + 4 + 4 + 4 + 1 + 4 + 3 + 4 + 4;
    i64::from_be_bytes(body[at..at + 8].try_into().expect("eight bytes"))
}

/// Metadata v7 of one topic `t` whose partitions 0, 1, … have these (leader, epoch). Brokers are (node, port) on this host.
pub(crate) fn metadata_v7(brokers: &[(i32, u16)], leaders: &[(i32, i32)]) -> Reply {
    let mut out = Bytes::new().int(0).int(i32::try_from(brokers.len()).expect("few"));
    for (node, port) in brokers {
        out = out.int(*node).text("127.0.0.1").int(i32::from(*port)).short(-1);
    }
    out = out.text("scripted").int(brokers[0].0);
    out = out.int(1).short(0).text("t").byte(0).int(i32::try_from(leaders.len()).expect("few"));
    for (partition, (leader, epoch)) in (0_i32..).zip(leaders) {
        out = out.short(0).int(partition).int(*leader).int(*epoch);
        out = out.int(1).int(*leader).int(1).int(*leader).int(0);
    }
    Reply::Answer(out.0)
}

/// What a Fetch v11 asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    /// Session id and epoch.
    pub(crate) session: (i32, i32),
    /// Partitions of `t` with leader epoch and offset.
    pub(crate) partitions: Vec<(i32, i32, i64)>,
    /// Partitions of `t` to forget.
    pub(crate) forgotten: Vec<i32>,
    pub(crate) rack: String,
}

/// Reads a Fetch v11.
pub(crate) fn fetch_asked(body: &[u8]) -> Asked {
    let mut at = 4 + 4 + 4 + 4 + 1;
    let mut take = |bytes: usize| {
        at += bytes;
        &body[at - bytes..at]
    };
    macro_rules! number {
        ($kind:ty) => {
            <$kind>::from_be_bytes(take(size_of::<$kind>()).try_into().expect("enough bytes"))
        };
    }
    let mut asked = Asked { session: (number!(i32), number!(i32)), ..Asked::default() };
    for _ in 0..number!(i32) {
        let name = usize::try_from(number!(i16)).expect("a name");
        take(name);
        for _ in 0..number!(i32) {
            let (partition, epoch, offset) = (number!(i32), number!(i32), number!(i64));
            take(8 + 4);
            asked.partitions.push((partition, epoch, offset));
        }
    }
    for _ in 0..number!(i32) {
        let name = usize::try_from(number!(i16)).expect("a name");
        take(name);
        for _ in 0..number!(i32) {
            asked.forgotten.push(number!(i32));
        }
    }
    let rack = usize::try_from(number!(i16)).expect("a rack");
    asked.rack = String::from_utf8_lossy(take(rack)).into_owned();
    asked
}

/// One partition of a Fetch v11 answer.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub(crate) partition: i32,
    pub(crate) code: i16,
    pub(crate) high_watermark: i64,
    /// A closer replica; -1 for none.
    pub(crate) replica: i32,
    pub(crate) records: Vec<u8>,
}

impl Part {
    pub(crate) fn good(partition: i32, high_watermark: i64, records: Vec<u8>) -> Self {
        Self { partition, code: 0, high_watermark, replica: -1, records }
    }

    pub(crate) fn bad(partition: i32, code: i16) -> Self {
        Self { partition, code, high_watermark: -1, replica: -1, records: vec![] }
    }
}

/// Fetch v11 for partitions of `t`.
pub(crate) fn fetched_v11(throttle_ms: i32, code: i16, session: i32, parts: &[Part]) -> Reply {
    let mut out = Bytes::new().int(throttle_ms).short(code).int(session);
    out = out.int(i32::from(!parts.is_empty()));
    if !parts.is_empty() {
        out = out.text("t").int(i32::try_from(parts.len()).expect("few"));
    }
    for part in parts {
        out = out.int(part.partition).short(part.code).long(part.high_watermark).long(part.high_watermark);
        out = out.long(0).int(-1).int(part.replica);
        out = out.int(i32::try_from(part.records.len()).expect("few")).raw(&part.records);
    }
    Reply::Answer(out.0)
}
