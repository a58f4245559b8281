//! The numbers that requests, answers, records and rows are made of.

use super::{Case, Run};
use crate::wire::{Reader, put_uvarint, zigzag64};

const VARINTS: u64 = 4096;

pub(super) fn cases() -> Vec<Case> {
    let bytes = varints().len() as u64;
    vec![
        Case { name: "wire/varint-read", items: VARINTS, bytes, prepare: read },
        Case { name: "wire/varint-write", items: VARINTS, bytes, prepare: write },
    ]
}

/// Numbers as records hold them: mostly of one and two bytes.
fn numbers() -> Vec<i64> {
    (0..VARINTS as i64).map(|n| if n % 16 == 0 { n * 100_003 } else { n % 100 }).collect()
}

fn varints() -> Vec<u8> {
    let mut out = Vec::new();
    for number in numbers() {
        put_uvarint(&mut out, zigzag64(number));
    }
    out
}

fn read() -> Run {
    let (bytes, wanted) = (varints(), numbers().iter().sum::<i64>());
    Box::new(move || {
        let mut reader = Reader::new(&bytes);
        let mut sum = 0;
        while !reader.is_empty() {
            sum += reader.varint64("number").expect("a whole number");
        }
        assert_eq!(sum, wanted);
    })
}

fn write() -> Run {
    let (numbers, wanted) = (numbers(), varints().len());
    let mut out = Vec::new();
    Box::new(move || {
        out.clear();
        for number in &numbers {
            put_uvarint(&mut out, zigzag64(*number));
        }
        assert_eq!(out.len(), wanted);
    })
}
