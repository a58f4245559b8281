//! Ports: free ones to give to a server, and the question whose listener answers on one.

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::process;
use std::sync::{Mutex, PoisonError};

/// Ports are given out from below the range from which the kernel takes those of outgoing connections: a port out of that
/// range could be taken between our test of it and the server's start.
const FIRST: u16 = 15_000;
const COUNT: u32 = 16_000;

/// A port of 127.0.0.1 that nothing listens on and that this process has not given out before.
#[must_use]
pub fn free() -> u16 {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    // Test processes that run side by side begin their search at different places.
    let start = process::id().wrapping_mul(97) % COUNT;
    for step in 0..COUNT {
        let port = FIRST + u16::try_from((start + step) % COUNT).expect("below 16,000");
        if !given.contains(&port) && TcpListener::bind(("127.0.0.1", port)).is_ok() {
            given.insert(port);
            return port;
        }
    }
    panic!("no free port between {FIRST} and {}", u32::from(FIRST) + COUNT);
}

/// Whether process `pid` itself listens on `port`: a leftover server on the same port must not pass for it.
#[must_use]
pub fn is_listening(pid: u32, port: u16) -> bool {
    let listeners = listening_inodes(port);
    let Ok(files) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    files.flatten().filter_map(|file| fs::read_link(file.path()).ok()).any(|link| {
        let link = link.to_string_lossy();
        link.strip_prefix("socket:[")
            .and_then(|rest| rest.strip_suffix(']'))
            .is_some_and(|inode| listeners.contains(inode))
    })
}

/// The inodes of the sockets that listen on `port`, from the kernel's tables (columns: slot, local address, remote
/// address, state, ..., inode as the tenth; state 0A is LISTEN).
fn listening_inodes(port: u16) -> BTreeSet<String> {
    let mut inodes = BTreeSet::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        let Ok(text) = fs::read_to_string(table) else { continue };
        for line in text.lines().skip(1) {
            let columns: Vec<&str> = line.split_whitespace().collect();
            let (Some(local), Some(state), Some(inode)) = (columns.get(1), columns.get(3), columns.get(9)) else {
                continue;
            };
            if *state == "0A" && local.ends_with(&format!(":{port:04X}")) {
                inodes.insert((*inode).to_owned());
            }
        }
    }
    inodes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_free_and_different() {
        let ports: BTreeSet<u16> = (0..20).map(|_| free()).collect();
        assert_eq!(ports.len(), 20);
        for port in ports {
            drop(TcpListener::bind(("127.0.0.1", port)).expect("the port is free"));
        }
    }

    #[test]
    fn a_listener_is_told_from_somebody_else_s() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("some port is free");
        let port = listener.local_addr().expect("it is bound").port();
        assert!(is_listening(process::id(), port));
        assert!(!is_listening(1, port) || process::id() == 1);
        drop(listener);
        assert!(!is_listening(process::id(), port));
    }
}
