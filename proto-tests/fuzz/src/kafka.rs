//! Frames, answers, what group members say to each other, and logins.

use bytes::{BufMut, Bytes};
use forebay::kafka::msg::{
    ApiKey, AssignmentData, SubscriptionData, answer_shape, assigned_partitions, decode_answer,
    decode_cooperative_data, decode_response_header, decode_sticky_data, encode_sticky_data, shape,
};
use forebay::kafka::state::frame::FrameBuffer;
use forebay::kafka::state::sasl::{BearerToken, Credentials, Exchange};
use forebay::kafka::{Mechanism, Secret};
use forebay::wire::Reader;

use super::choose;

/// API, version, then the frame of an answer without its size field.
pub fn answers(data: &[u8]) {
    let Some((api, data)) = choose(data, ApiKey::ALL) else { return };
    let versions: Vec<i16> = (api.versions().min..=api.versions().max).collect();
    let Some((version, frame)) = choose(data, &versions) else { return };
    let mut reader = Reader::new(frame);
    if decode_response_header(&mut reader, *api, *version).is_err() {
        return;
    }
    let body = Bytes::copy_from_slice(reader.rest());
    let read = decode_answer(*api, *version, body.clone());
    assert_eq!(read, decode_answer(*api, *version, body.clone()), "{api} v{version} is read in two ways");
    if let Some(shape) = answer_shape(*api) {
        let checked = shape::check(shape, *version, &body);
        assert!(checked.is_ok() || read.is_err(), "{api} v{version}: read past its shape");
        assert!(checked.is_ok_and(|end| end <= body.len()) || checked.is_err());
    }
}

/// The size of pieces, then a stream of frames.
pub fn frames(data: &[u8]) {
    let Some((piece, mut stream)) = data.split_first() else { return };
    let (total, mut taken) = (stream.len(), 0);
    let mut buffer = FrameBuffer::new();
    while !stream.is_empty() {
        let mut room = buffer.room();
        let len = stream.len().min(usize::from(*piece).saturating_add(1)).min(room.remaining_mut());
        assert!(len > 0, "no room although a frame is not whole");
        let (now, later) = stream.split_at(len);
        room.put_slice(now);
        stream = later;
        loop {
            match buffer.take_frame() {
                Ok(Some(frame)) => taken += 4 + frame.len(),
                Ok(None) => break,
                Err(_) => return,
            }
            assert!(taken <= total, "more came out than went in");
        }
    }
    let _fault = buffer.end().to_string();
}

/// What members of a group tell each other: subscriptions, assignments and what assignors add to them.
pub fn group_blobs(data: &[u8]) {
    let blob = Bytes::copy_from_slice(data);
    if let Ok(mut subscription) = SubscriptionData::decode(&blob) {
        // Topics are written in order, and none without partitions.
        subscription.topics.sort();
        subscription.owned.retain(|_, partitions| !partitions.is_empty());
        let back = subscription.encode().map(|bytes| SubscriptionData::decode(&bytes));
        assert_eq!(back, Ok(Ok(subscription)));
    }
    if let Ok(mut assignment) = AssignmentData::decode(&blob) {
        assignment.partitions.retain(|_, partitions| !partitions.is_empty());
        let back = assignment.encode().map(|bytes| AssignmentData::decode(&bytes));
        assert_eq!(back, Ok(Ok(assignment)));
    }
    if let Ok((mut previous, Some(generation))) = decode_sticky_data(data) {
        previous.retain(|_, partitions| !partitions.is_empty());
        let back = encode_sticky_data(&previous, generation).map(|bytes| decode_sticky_data(&bytes));
        assert_eq!(back, Ok(Ok((previous, Some(generation)))));
    }
    let _generation = decode_cooperative_data(data).is_ok();
    if let Ok(topics) = assigned_partitions(data) {
        let partitions: usize = topics.values().map(Vec::len).sum();
        assert!(partitions * 4 <= data.len(), "more partitions than bytes");
    }
}

/// Mechanism, then the broker's messages, parted by bytes 0xff.
pub fn sasl(data: &[u8]) {
    let Some((mechanism, data)) = choose(data, Mechanism::ALL) else { return };
    let credentials = match mechanism {
        Mechanism::OauthBearer => Credentials::Token(BearerToken::new("abc.def.ghi")),
        _ => Credentials::Password { username: "user".into(), password: Secret::new("pencil") },
    };
    let exchange = Exchange::new(*mechanism, &credentials, "rOprNGfwEbeRWgbNEkqO");
    let mut exchange = exchange.expect("good credentials");
    let scram = matches!(mechanism, Mechanism::ScramSha256 | Mechanism::ScramSha512);
    for message in data.split(|byte| *byte == 0xff).take(4) {
        // Many rounds of hashing are allowed, and slow.
        if scram && asks_for_many_rounds(message) {
            return;
        }
        let _ours = exchange.poll_message();
        if exchange.handle_challenge(message).is_err() {
            return;
        }
        // The one signature that is right is the RFC's own example, in the seeds.
        let known = message.starts_with(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
        assert!(!scram || !exchange.is_done() || known, "done without the broker's proof");
    }
}

fn asks_for_many_rounds(message: &[u8]) -> bool {
    let text = String::from_utf8_lossy(message);
    let rounds = text.split(',').filter_map(|part| part.strip_prefix("i=")?.parse::<u64>().ok());
    rounds.max().is_some_and(|rounds| rounds > 5000)
}
