//! A way to a broker that loses, keeps and delays what goes through it, as ordered. It understands no more of Kafka than frames,
//! API numbers and correlation ids.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::port;

/// Which writes of offsets an order is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetWrite {
    /// Those that carry an intent.
    Seal,
    /// Those that carry none.
    Advance,
}

/// What becomes of the first such write.
#[derive(Clone, Copy, Debug)]
pub enum Fate {
    /// It takes effect, and the connection ends before its answer.
    LoseAnswer,
    /// It takes effect, and its answer never comes.
    KeepAnswer,
    /// It goes on only after this time, whether or not its sender still lives.
    Delay(Duration),
}

#[derive(Debug)]
struct Order {
    group: String,
    write: OffsetWrite,
    fate: Fate,
    /// Set when the write has met its fate: with [`Fate::Delay`] when the waiting begins.
    met: Arc<AtomicBool>,
}

/// The gate before one broker; it ends with the test's process.
#[derive(Clone, Debug)]
pub struct Gate {
    port: u16,
    orders: Arc<Mutex<Vec<Order>>>,
}

const OFFSET_COMMIT: [u8; 2] = [0, 8];

impl Gate {
    /// Listens on a port of its own and leads to `target`.
    #[must_use]
    pub fn to(target: u16) -> Self {
        let port = port::free();
        let listener = TcpListener::bind(("127.0.0.1", port)).expect("the port was free");
        let gate = Self { port, orders: Arc::default() };
        let orders = gate.orders.clone();
        thread::spawn(move || {
            for client in listener.incoming() {
                let Ok(client) = client else { return };
                let Ok(broker) = TcpStream::connect(("127.0.0.1", target)) else { continue };
                let (from_client, from_broker) = (client.try_clone(), broker.try_clone());
                let (Ok(from_client), Ok(from_broker)) = (from_client, from_broker) else { continue };
                let kept: Arc<Mutex<Vec<Kept>>> = Arc::default();
                let (orders, waited) = (orders.clone(), kept.clone());
                thread::spawn(move || requests(from_client, broker, &orders, &waited));
                thread::spawn(move || answers(from_broker, client, &kept));
            }
        });
        gate
    }

    /// Where it listens.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Orders a fate for the next such write of `group`; what is given back turns true when it is met.
    #[must_use]
    pub fn order(&self, group: &str, write: OffsetWrite, fate: Fate) -> Arc<AtomicBool> {
        let met = Arc::new(AtomicBool::new(false));
        let order = Order { group: group.to_owned(), write, fate, met: met.clone() };
        self.orders.lock().unwrap_or_else(PoisonError::into_inner).push(order);
        met
    }

    /// Forgets what was ordered for `group` and has not been met.
    pub fn forget(&self, group: &str) {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner).retain(|order| order.group != group);
    }
}

/// An answer that is not to arrive.
struct Kept {
    correlation: [u8; 4],
    closes: bool,
    met: Arc<AtomicBool>,
}

fn holds(frame: &[u8], text: &str) -> bool {
    frame.windows(text.len()).any(|window| window == text.as_bytes())
}

fn requests(mut from: TcpStream, mut to: TcpStream, orders: &Mutex<Vec<Order>>, kept: &Mutex<Vec<Kept>>) {
    while let Some(frame) = read_frame(&mut from) {
        let body = &frame[4..];
        if body.starts_with(&OFFSET_COMMIT)
            && let Some(correlation) = body.get(4..8).and_then(|bytes| bytes.try_into().ok())
        {
            let write = if holds(body, "fb1;") { OffsetWrite::Seal } else { OffsetWrite::Advance };
            let order = {
                let mut orders = orders.lock().unwrap_or_else(PoisonError::into_inner);
                let at = orders.iter().position(|order| order.write == write && holds(body, &order.group));
                at.map(|at| orders.remove(at))
            };
            if let Some(Order { fate, met, .. }) = order {
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                match fate {
                    Fate::LoseAnswer => kept.push(Kept { correlation, closes: true, met }),
                    Fate::KeepAnswer => kept.push(Kept { correlation, closes: false, met }),
                    Fate::Delay(time) => {
                        drop(kept);
                        met.store(true, Ordering::SeqCst);
                        thread::sleep(time);
                    }
                }
            }
        }
        if to.write_all(&frame).is_err() {
            break;
        }
    }
    drop(to.shutdown(Shutdown::Write));
}

fn answers(mut from: TcpStream, mut to: TcpStream, kept: &Mutex<Vec<Kept>>) {
    let mut silenced = BTreeSet::new();
    while let Some(frame) = read_frame(&mut from) {
        let correlation: Option<[u8; 4]> = frame.get(4..8).and_then(|bytes| bytes.try_into().ok());
        let found = correlation.and_then(|correlation| {
            let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
            let at = kept.iter().position(|kept| kept.correlation == correlation)?;
            Some(kept.remove(at))
        });
        if let Some(found) = found {
            found.met.store(true, Ordering::SeqCst);
            if found.closes {
                break;
            }
            // What comes after it on this connection would be read as its answer.
            silenced.insert(found.correlation);
        }
        if silenced.is_empty() && to.write_all(&frame).is_err() {
            break;
        }
    }
    drop(to.shutdown(Shutdown::Both));
    drop(from.shutdown(Shutdown::Both));
}

/// One frame with its size field.
fn read_frame(from: &mut TcpStream) -> Option<Vec<u8>> {
    let mut size = [0; 4];
    from.read_exact(&mut size).ok()?;
    let length = usize::try_from(u32::from_be_bytes(size)).ok()?;
    let mut frame = vec![0; length.checked_add(4)?];
    frame[..4].copy_from_slice(&size);
    from.read_exact(&mut frame[4..]).ok()?;
    Some(frame)
}
