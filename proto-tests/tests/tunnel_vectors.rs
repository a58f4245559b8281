//! The row stream and the request signatures against vectors that the official SDKs produced.

#![allow(clippy::unwrap_used)]

use forebay::tunnel::encode::Inflater;
use forebay::tunnel::sign::{self, Target};
use forebay::tunnel::{Column, ColumnType, RowDecoder, RowEncoder, TableSchema, Value};
use serde_json::Value as Json;

const RECORDS: &str = include_str!("../vectors/tunnel/tunnel_records.json");
const RECORDS_PYODPS: &str = include_str!("../vectors/tunnel/tunnel_records_pyodps.json");
const SIGNATURES: &str = include_str!("../vectors/tunnel/signatures.json");
const CLIENT_REQUESTS: &str = include_str!("../vectors/tunnel/client_requests.json");

fn cases(text: &str) -> Vec<Json> {
    let file: Json = serde_json::from_str(text).unwrap();
    let cases = file["cases"].as_array().unwrap().clone();
    assert!(!cases.is_empty());
    cases
}

fn text(json: &Json) -> &str {
    json.as_str().unwrap()
}

fn unhex(json: &Json) -> Vec<u8> {
    let digits = text(json).as_bytes().chunks(2);
    digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn schema_of(case: &Json) -> TableSchema {
    let columns = |key: &str| {
        let list = case[key].as_array().unwrap().iter();
        list.map(|column| Column::new(text(&column["name"]), ColumnType::parse(text(&column["type"])).unwrap()))
            .collect()
    };
    TableSchema { columns: columns("schema"), partition_keys: columns("partitions") }
}

/// A value in the vectors' own notation, read by the type of its column.
fn value_of(type_: &ColumnType, json: &Json) -> Value {
    use ColumnType as T;
    if json.is_null() {
        return Value::Null;
    }
    let bits = || u64::from_str_radix(text(&json["bits"]), 16).unwrap();
    let timestamp = || Value::Timestamp {
        seconds: json["seconds"].as_i64().unwrap(),
        nanos: i32::try_from(json["nanos"].as_i64().unwrap()).unwrap(),
    };
    match type_ {
        T::TinyInt | T::SmallInt | T::Int | T::BigInt => Value::BigInt(json.as_i64().unwrap()),
        T::Boolean => Value::Boolean(json.as_bool().unwrap()),
        T::Double => Value::Double(f64::from_bits(bits())),
        T::Float => Value::Float(f32::from_bits(u32::try_from(bits()).unwrap())),
        T::String | T::Char(_) | T::Varchar(_) => Value::text(text(json)),
        T::Json => Value::text(text(&json["json_text"])),
        T::Binary => Value::Bytes(unhex(&json["bytes_hex"])),
        T::Decimal(_) => Value::Decimal(text(&json["decimal"]).to_owned()),
        T::Date => Value::Date(json["epoch_days"].as_i64().unwrap()),
        T::Datetime => Value::Datetime(json["epoch_millis"].as_i64().unwrap()),
        T::Timestamp | T::TimestampNtz => timestamp(),
        T::Array(element) => {
            Value::Array(json.as_array().unwrap().iter().map(|item| value_of(element, item)).collect())
        }
        T::Map(key, value) => {
            let pairs = json["map"].as_array().unwrap().iter();
            Value::Map(pairs.map(|pair| (value_of(key, &pair[0]), value_of(value, &pair[1]))).collect())
        }
        T::Struct(fields) => {
            let pairs = json["struct"].as_array().unwrap();
            assert_eq!(pairs.len(), fields.len());
            let values = pairs.iter().zip(fields).map(|(pair, field)| {
                assert_eq!(text(&pair[0]), field.name);
                value_of(&field.type_, &pair[1])
            });
            Value::Struct(values.collect())
        }
        other => panic!("no vector has the type {other}"),
    }
}

fn rows_of(case: &Json, schema: &TableSchema) -> Vec<Vec<Value>> {
    let rows = case["rows"].as_array().unwrap().iter();
    rows.map(|row| {
        let values = row.as_array().unwrap();
        assert_eq!(values.len(), schema.columns.len());
        schema.columns.iter().zip(values).map(|(column, json)| value_of(&column.type_, json)).collect()
    })
    .collect()
}

/// Rows as bits: -0.0 is not 0.0, and a NaN equals itself.
fn bits_of(rows: &[Vec<Value>]) -> Vec<Vec<String>> {
    let shown = |value: &Value| match value {
        Value::Double(x) => format!("{:x}", x.to_bits()),
        Value::Float(x) => format!("{:x}", x.to_bits()),
        other => format!("{other:?}"),
    };
    rows.iter().map(|row| row.iter().map(shown).collect()).collect()
}

fn encode(schema: &TableSchema, rows: &[Vec<Value>]) -> Vec<u8> {
    let mut encoder = RowEncoder::new();
    for row in rows {
        for (i, (column, value)) in schema.columns.iter().zip(row).enumerate() {
            encoder.value(i, &column.type_, value).unwrap();
        }
        encoder.end_row();
    }
    encoder.finish().to_vec()
}

fn decode(schema: &TableSchema, body: &[u8]) -> Option<Vec<Vec<Value>>> {
    let mut decoder = RowDecoder::new(schema);
    decoder.push(body);
    let mut rows = Vec::new();
    while let Some(row) = decoder.next_row().ok()? {
        rows.push(row);
    }
    decoder.finish().ok().map(|_| rows)
}

#[test]
fn rows_encode_to_the_canonical_bytes() {
    for case in cases(RECORDS) {
        let schema = schema_of(&case);
        let rows = rows_of(&case, &schema);
        let body = encode(&schema, &rows);
        assert_eq!(hex(&body), text(&case["body_hex"]), "{}", case["name"]);
        assert_eq!(body.len() as u64, case["body_len"].as_u64().unwrap());
        // Row by row as well, so that a wrong row is named.
        let mut encoder = RowEncoder::new();
        for (row, record) in rows.iter().zip(case["records"].as_array().unwrap()) {
            for (i, (column, value)) in schema.columns.iter().zip(row).enumerate() {
                encoder.value(i, &column.type_, value).unwrap();
            }
            encoder.end_row();
            assert_eq!(hex(&encoder.take()), text(&record["hex"]), "{}", case["name"]);
        }
        assert_eq!(hex(&encoder.finish()), text(&case["trailer_hex"]), "{}", case["name"]);
    }
}

/// The setters that do not go through `Value` are what the engine calls for every row.
#[test]
fn typed_setters_encode_the_same_bytes() {
    for case in cases(RECORDS) {
        let schema = schema_of(&case);
        let mut encoder = RowEncoder::new();
        for row in rows_of(&case, &schema) {
            for (i, (column, value)) in schema.columns.iter().zip(&row).enumerate() {
                match value {
                    Value::Null => {}
                    Value::BigInt(n) => encoder.bigint(i, *n),
                    Value::Boolean(b) => encoder.boolean(i, *b),
                    Value::Float(x) => encoder.float(i, *x),
                    Value::Double(x) => encoder.double(i, *x),
                    Value::Bytes(bytes) => encoder.string(i, bytes),
                    Value::Decimal(digits) => encoder.string(i, digits.as_bytes()),
                    Value::Date(days) => encoder.date_days(i, *days),
                    Value::Datetime(millis) => encoder.datetime_ms(i, *millis),
                    Value::Timestamp { seconds, nanos } => encoder.timestamp(i, *seconds, *nanos),
                    nested => encoder.value(i, &column.type_, nested).unwrap(),
                }
            }
            encoder.end_row();
        }
        assert_eq!(hex(&encoder.finish()), text(&case["body_hex"]), "{}", case["name"]);
    }
}

#[test]
fn bodies_of_both_writers_decode_to_the_rows() {
    for file in [RECORDS, RECORDS_PYODPS] {
        for case in cases(file) {
            let schema = schema_of(&case);
            let rows = decode(&schema, &unhex(&case["body_hex"])).unwrap_or_else(|| panic!("{}", case["name"]));
            assert_eq!(bits_of(&rows), bits_of(&rows_of(&case, &schema)), "{}", case["name"]);
        }
    }
}

#[test]
fn every_proper_prefix_is_refused() {
    for file in [RECORDS, RECORDS_PYODPS] {
        for case in cases(file) {
            let (schema, body) = (schema_of(&case), unhex(&case["body_hex"]));
            for end in 0..body.len() {
                assert!(decode(&schema, &body[..end]).is_none(), "{} cut at {end}", case["name"]);
            }
        }
    }
}

#[test]
fn a_flipped_bit_is_refused_or_changes_nothing() {
    let mut harmless = 0;
    for file in [RECORDS, RECORDS_PYODPS] {
        for case in cases(file) {
            let (schema, body) = (schema_of(&case), unhex(&case["body_hex"]));
            let rows = bits_of(&rows_of(&case, &schema));
            for bit in 0..body.len() * 8 {
                let mut damaged = body.clone();
                damaged[bit / 8] ^= 1 << (bit % 8);
                if let Some(found) = decode(&schema, &damaged) {
                    harmless += 1;
                    assert_eq!(bits_of(&found), rows, "{} bit {bit}", case["name"]);
                }
            }
        }
    }
    // Bits beyond 32 in the ten-byte checksums of the second file do not count; so some flips are harmless.
    assert!(harmless > 0);
}

#[test]
fn packed_bodies_inflate_to_the_plain_ones() {
    for file in [RECORDS, RECORDS_PYODPS] {
        for case in cases(file) {
            let (packed, body) = (unhex(&case["body_zlib_level1_hex"]), unhex(&case["body_hex"]));
            assert_eq!(Inflater::new(&packed[..], body.len()).read_all().unwrap(), body, "{}", case["name"]);
        }
    }
}

fn headers_of(json: &Json) -> Vec<(&str, &str)> {
    json.as_object().unwrap().iter().map(|(name, value)| (name.as_str(), text(value))).collect()
}

#[test]
fn signatures_are_those_of_the_sdks() {
    let mut v4 = 0;
    for case in cases(SIGNATURES) {
        let name = text(&case["name"]);
        let target = text(&case["url"]).strip_prefix(text(&case["endpoint"])).unwrap();
        let canonical = Target::parse(target, "").canonical_string(text(&case["method"]), headers_of(&case["headers"]));
        assert_eq!(canonical, text(&case["canonical_string"]), "{name}");
        let (id, secret) = (text(&case["access_id"]), text(&case["access_secret"]));
        let authorization = match text(&case["scheme"]) {
            "legacy" => sign::authorize_legacy(id, secret, &canonical),
            "v4" => {
                v4 += 1;
                sign::authorize_v4(id, secret, text(&case["v4_date"]), text(&case["region"]), &canonical)
            }
            other => panic!("{other}"),
        };
        assert_eq!(authorization, text(&case["authorization"]), "{name}");
        if let Some(app_id) = case["app_access_id"].as_str() {
            let application = sign::authenticate_application(app_id, text(&case["app_access_secret"]), &authorization);
            assert_eq!(application, text(&case["application_authentication"]), "{name}");
        }
    }
    assert!(v4 > 0);
}

#[test]
fn requests_of_the_sdks_sign_to_what_they_sent() {
    let file: Json = serde_json::from_str(CLIENT_REQUESTS).unwrap();
    let clients = file["clients"].as_array().unwrap();
    assert_eq!(clients.len(), 2);
    for client in clients {
        let (id, secret) = (text(&client["access_id"]), text(&client["access_secret"]));
        for request in client["requests"].as_array().unwrap() {
            let name = format!("{} {} {}", client["client"], request["method"], request["target"]);
            let endpoint_path = if request["host"] == "odps" { text(&client["endpoint_path"]) } else { "" };
            let target = Target::parse(text(&request["target"]), endpoint_path);
            let canonical = target.canonical_string(text(&request["method"]), headers_of(&request["headers"]));
            assert_eq!(canonical, text(&request["canonical_string"]), "{name}");
            assert_eq!(sign::authorize_legacy(id, secret, &canonical), text(&request["authorization"]), "{name}");
            // The rows these clients sent are rows to us, too.
            let is_block = target.query.iter().any(|(key, _)| key == "blockid" || key == "slotid");
            if is_block && request["method"] == "PUT" {
                let columns = [("id", "bigint"), ("v", "string")];
                let columns = columns.map(|(name, type_)| Column::new(name, ColumnType::parse(type_).unwrap()));
                let schema = TableSchema { columns: columns.to_vec(), partition_keys: vec![] };
                let mut body = unhex(&request["body_hex"]);
                if request["headers"]["Content-Encoding"] == "deflate" {
                    body = Inflater::new(&body[..], 1000).read_all().unwrap();
                }
                let rows = decode(&schema, &body).unwrap_or_else(|| panic!("{name}"));
                assert_eq!(rows, [[Value::BigInt(1), Value::text("a")]], "{name}");
            }
        }
    }
}
