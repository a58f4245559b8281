//! Workloads: records that anybody can make again, with totals known beforehand.

pub mod produce;

use std::fmt::Write as _;

/// `records` JSON objects of one size, the same in every run.
///
/// Record `n` (from 0) holds an event id made of `n`, a numeric member `amount`, a nested member `tag.desc` and filler that
/// a compressor can do something with, but not everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JsonRecords {
    /// How many.
    pub records: u64,
    /// Words of filler in each, of 16 characters; 7 give a record of about 220 bytes.
    pub filler_words: u64,
}

impl JsonRecords {
    /// Records of about 220 bytes.
    #[must_use]
    pub const fn small(records: u64) -> Self {
        Self { records, filler_words: 7 }
    }

    /// The record with this number, without a line break.
    #[must_use]
    pub fn record(self, number: u64) -> String {
        let noise = mixed(number);
        let mut filler = String::with_capacity(112);
        for word in 0..self.filler_words {
            // Writing to a string cannot fail.
            let _ = write!(filler, "{:016x}", mixed(noise ^ word) & 0xffff_ffff);
        }
        format!(
            "{{\"event_id\":\"e{number:010}\",\"amount\":{},\"tag\":{{\"desc\":\"device-{:04}\",\"kind\":\"{}\"}},\"payload\":\"{filler}\"}}",
            amount(number),
            noise % 10_000,
            ["read", "write", "open", "close"][usize::try_from(noise >> 62).unwrap_or(0)],
        )
    }

    /// The sum of all members `amount`.
    #[must_use]
    pub fn amount_sum(self) -> u64 {
        (0..self.records).map(amount).sum()
    }
}

/// 0 to 999,999.
fn amount(number: u64) -> u64 {
    mixed(number ^ 0x5bd1_e995) % 1_000_000
}

/// SplitMix64's finalizer: neighbouring numbers become unrelated ones. Source: Steele, Lea and Flood, "Fast splittable
/// pseudorandom number generators", 2014.
fn mixed(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_about_220_bytes_and_sum_up() {
        let workload = JsonRecords::small(1000);
        let mut sum = 0;
        for number in 0..workload.records {
            let record = workload.record(number);
            assert!((205..235).contains(&record.len()), "{} bytes: {record}", record.len());
            let amount = record.split("\"amount\":").nth(1).and_then(|rest| rest.split(',').next());
            sum += amount.and_then(|digits| digits.parse::<u64>().ok()).expect("a number");
        }
        assert_eq!(workload.amount_sum(), sum);
        assert_eq!(workload.record(7), workload.record(7));
        assert_ne!(workload.record(7), workload.record(8));
    }
}
