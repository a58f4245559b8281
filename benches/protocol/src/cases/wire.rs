//! The numbers that requests, answers, records and rows are made of, and a whole fetch.

use bytes::Bytes;

use super::{Case, Run};
use crate::kafka::msg::{
    ApiKey, Call, FetchCall, FetchPartition, FetchSessionRef, FetchTopic, Isolation, RequestHeader, encode_request,
};
use crate::wire::{Reader, Writer, put_uvarint, zigzag64};

const VARINTS: u64 = 4096;
const PARTITIONS: u64 = 1000;
/// The first version of Fetch with compact lengths and tagged fields.
const VERSION: i16 = 12;
/// A record set of each partition of the answer, which is not looked into here.
const RECORDS: [u8; 100] = [7; 100];

pub(super) fn cases() -> Vec<Case> {
    let bytes = varints().len() as u64;
    vec![
        Case { name: "wire/varint-read", items: VARINTS, bytes, prepare: read },
        Case { name: "wire/varint-write", items: VARINTS, bytes, prepare: write },
        Case { name: "wire/fetch-write", items: PARTITIONS, bytes: request().len() as u64, prepare: write_fetch },
        Case { name: "wire/fetch-read", items: PARTITIONS, bytes: answer().len() as u64, prepare: read_fetch },
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

/// A fetch that tells a new session all its partitions.
fn fetch() -> FetchCall {
    let partition = |partition: u64| FetchPartition {
        partition: partition as i32,
        offset: partition as i64 * 1_000_003,
        leader_epoch: Some(3),
        last_epoch: None,
        bytes_max: 1 << 20,
    };
    FetchCall {
        session: FetchSessionRef::default(),
        wait_ms_max: 500,
        bytes_min: 1,
        bytes_max: 50 << 20,
        isolation: Isolation::ReadUncommitted,
        topics: vec![FetchTopic {
            name: "orders".into(),
            id: None,
            partitions: (0..PARTITIONS).map(partition).collect(),
        }],
        forgotten: Vec::new(),
        rack: "".into(),
        by_id: false,
    }
}

fn frame(call: &FetchCall) -> Vec<u8> {
    let header = RequestHeader { api: ApiKey::Fetch, version: VERSION, correlation_id: 1, client_id: "forebay" };
    encode_request(header, call).expect("a fetch can be written")
}

fn request() -> Vec<u8> {
    frame(&fetch())
}

fn write_fetch() -> Run {
    let (call, wanted) = (fetch(), request().len());
    Box::new(move || assert_eq!(frame(&call).len(), wanted))
}

/// The body of an answer in which every partition has records.
fn answer() -> Bytes {
    let mut out = Writer::new();
    out.i32_be(0);
    out.i16_be(0);
    out.i32_be(77);
    out.uvarint(2);
    out.uvarint(7);
    out.bytes(b"orders");
    out.uvarint(PARTITIONS + 1);
    for partition in 0..PARTITIONS {
        out.i32_be(partition as i32);
        out.i16_be(0);
        for offset in [1_000_000, 1_000_000, 0] {
            out.i64_be(offset);
        }
        // No aborted transactions, no other replica, records, no tags.
        out.uvarint(0);
        out.i32_be(-1);
        out.uvarint(RECORDS.len() as u64 + 1);
        out.bytes(&RECORDS);
        out.uvarint(0);
    }
    out.uvarint(0);
    out.uvarint(0);
    out.into_vec().into()
}

fn read_fetch() -> Run {
    let body = answer();
    Box::new(move || {
        let answer = FetchCall::decode(VERSION, body.clone()).expect("a whole answer");
        assert_eq!((answer.session_id, answer.partitions.len() as u64), (77, PARTITIONS));
    })
}
