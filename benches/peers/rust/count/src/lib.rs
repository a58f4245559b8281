//! What the programs of all clients have in common: their arguments, the count, and the line that they print.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Fetch sizes and wait, the same for every client: Kafka's own defaults.
pub const FETCH_BYTES: i32 = 50 << 20;
pub const PARTITION_BYTES: i32 = 1 << 20;
pub const WAIT_MS: i32 = 500;

/// `PROGRAM --bootstrap-server HOST:PORT --topic TOPIC --partitions N (--records N | --idle SECONDS)`
pub struct Task {
    pub server: String,
    pub topic: String,
    pub partitions: i32,
    records: u64,
    idle: Option<Duration>,
    started: Instant,
    first: Option<Duration>,
    read: u64,
    bytes: u64,
}

impl Task {
    pub fn from_arguments() -> Self {
        let started = Instant::now();
        let words: Vec<String> = std::env::args().skip(1).collect();
        let value = |name: &str| words.iter().position(|word| word == name).and_then(|at| words.get(at + 1)).cloned();
        let number = |name: &str| value(name).map(|text| text.parse::<u64>().expect("a number"));
        Self {
            server: value("--bootstrap-server").expect("--bootstrap-server"),
            topic: value("--topic").expect("--topic"),
            partitions: number("--partitions").unwrap_or(1) as i32,
            records: number("--records").unwrap_or(u64::MAX),
            idle: number("--idle").map(Duration::from_secs),
            started,
            first: None,
            read: 0,
            bytes: 0,
        }
    }

    /// What Java's consumer and those after its model are told, the same for each.
    pub fn properties(&self, client: &str) -> HashMap<String, String> {
        let (fetch, partition, wait) = (FETCH_BYTES.to_string(), PARTITION_BYTES.to_string(), WAIT_MS.to_string());
        let properties = [
            ("bootstrap.servers", self.server.as_str()),
            ("client.id", client),
            ("check.crcs", "true"),
            ("enable.auto.commit", "false"),
            ("auto.offset.reset", "earliest"),
            ("fetch.max.bytes", &fetch),
            ("max.partition.fetch.bytes", &partition),
            ("fetch.max.wait.ms", &wait),
            ("fetch.min.bytes", "1"),
            ("max.poll.records", "20000"),
        ];
        properties.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    }

    /// Whether it begins at the end of the topic and waits there.
    pub fn is_idle(&self) -> bool {
        self.idle.is_some()
    }

    /// One record: its key and value are looked at for their length.
    #[inline]
    pub fn record(&mut self, key: Option<&[u8]>, value: Option<&[u8]>) {
        if self.read == 0 {
            self.first = Some(self.started.elapsed());
        }
        self.read += 1;
        self.bytes += (key.map_or(0, <[u8]>::len) + value.map_or(0, <[u8]>::len)) as u64;
    }

    /// Whether all records were read, or the time of idling is over.
    pub fn is_done(&self) -> bool {
        self.idle.map_or(self.read >= self.records, |limit| self.started.elapsed() >= limit)
    }

    /// Prints the result and ends the process: what a client does after its last record is not measured.
    pub fn finish(self) -> ! {
        let first = self.first.unwrap_or_default().as_secs_f64();
        println!("{{\"records\": {}, \"bytes\": {}, \"first_record_seconds\": {first:.6}}}", self.read, self.bytes);
        std::process::exit(0)
    }
}
