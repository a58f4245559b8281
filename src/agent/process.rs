//! What the kernel says about this process; nothing where it has no `/proc`.

use std::fs;

use serde::Serialize;

/// Clock ticks a second in `/proc`: 100 on every Linux that forebay is built for.
const TICKS: u64 = 100;
/// Bytes of a page of memory as `/proc` counts them there.
const PAGE_BYTES: u64 = 4096;

/// This process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ProcessView {
    /// Memory in RAM.
    pub rss_bytes: Option<u64>,
    /// The most that it has been.
    pub rss_peak_bytes: Option<u64>,
    /// Address space.
    pub virtual_bytes: Option<u64>,
    /// The limit of its control group, where there is one.
    pub limit_bytes: Option<u64>,
    /// Processor time, in milliseconds.
    pub cpu_ms: Option<u64>,
    /// Open files.
    pub open_files: Option<u64>,
    /// How many it may have open.
    pub open_files_max: Option<u64>,
    /// Threads.
    pub threads: Option<u64>,
}

impl ProcessView {
    /// As of now.
    pub fn read() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
        let group = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let open_files = fs::read_dir("/proc/self/fd").ok().and_then(|files| u64::try_from(files.count()).ok());
        Self {
            rss_bytes: kilobytes(&status, "VmRSS:").or_else(|| resident(&stat)),
            rss_peak_bytes: kilobytes(&status, "VmHWM:"),
            virtual_bytes: kilobytes(&status, "VmSize:"),
            limit_bytes: group_limit(&group),
            cpu_ms: cpu_ms(&stat),
            open_files,
            open_files_max: open_files_max(&limits),
            threads: number(&status, "Threads:"),
        }
    }
}

fn number(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

fn kilobytes(text: &str, name: &str) -> Option<u64> {
    number(text, name)?.checked_mul(1024)
}

/// The fields of `/proc/self/stat` after the name, which may hold anything.
fn field(stat: &str, at: usize) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(at.checked_sub(3)?)?.parse().ok()
}

fn cpu_ms(stat: &str) -> Option<u64> {
    field(stat, 14)?.checked_add(field(stat, 15)?)?.checked_mul(1000 / TICKS)
}

fn resident(stat: &str) -> Option<u64> {
    field(stat, 24)?.checked_mul(PAGE_BYTES)
}

fn open_files_max(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// The limit of the control group, of version 2 or 1; "max" and what is no number are none.
fn group_limit(group: &str) -> Option<u64> {
    let path = group.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or_default();
    let files = [
        format!("/sys/fs/cgroup{path}/memory.max"),
        "/sys/fs/cgroup/memory.max".to_owned(),
        "/sys/fs/cgroup/memory/memory.limit_in_bytes".to_owned(),
    ];
    let limit = files.iter().find_map(|file| fs::read_to_string(file).ok())?.trim().parse().ok()?;
    // Version 1 writes "no limit" as nearly 2^63.
    (limit < 1 << 60).then_some(limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_words_are_read() {
        let stat = "4242 (a (b) c) S 1 1 1 0 -1 0 5 0 0 0 150 50 0 0 20 0 4 0 100 9000000 777 0";
        assert_eq!((cpu_ms(stat), resident(stat)), (Some(2_000), Some(777 * 4096)));
        assert_eq!(kilobytes("Name:\tx\nVmRSS:\t    2048 kB\n", "VmRSS:"), Some(2_097_152));
        assert_eq!(
            open_files_max("Max open files            1024                 4096                 files\n"),
            Some(1024)
        );
        assert_eq!((cpu_ms(""), number("", "Threads:"), open_files_max("")), (None, None, None));
    }
}
