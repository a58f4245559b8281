//! Builds that lack a codec: an error that says so, and everything else as ever.

use super::super::BuildError;
use super::*;
use crate::wire::{DecodeFault, crc32c};

#[test]
fn a_codec_this_build_lacks_is_an_error() {
    let missing: Vec<_> = Codec::ALL.into_iter().filter(|codec| !codec.is_available()).collect();
    assert!(!missing.is_empty());
    for codec in missing {
        let mut builder = BatchBuilder::new(BatchOptions { codec, ..BatchOptions::default() });
        builder.push(1, None, Some(b"v"), &[]);
        assert_eq!(builder.finish(0), Err(BuildError::CodecMissing(codec)));

        let mut builder = BatchBuilder::new(BatchOptions::default());
        builder.push(1, None, Some(b"v"), &[]);
        let good = builder.finish(0).unwrap();
        let mut bytes = good.clone();
        bytes[22] |= codec.id();
        let crc = crc32c(&bytes[21..]);
        bytes[17..21].copy_from_slice(&crc.to_be_bytes());
        let mut batches = walk([bytes, good].concat());
        let batch = batches.next().unwrap().unwrap();
        assert_eq!(batch.codec(), codec);
        let error = batch.decode(&mut Decompressor::default()).unwrap_err();
        assert_eq!((error.fault, error.field), (DecodeFault::CodecMissing, codec.name()));
        // Its header is enough to step over it.
        assert_eq!(decoded(&batches.next().unwrap().unwrap()).len(), 1);
    }
}
