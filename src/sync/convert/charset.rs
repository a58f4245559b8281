//! Bytes to text in the charsets a job may name. Malformed bytes become U+FFFD and are reported.

use std::borrow::Cow;

use crate::job::Charset;

/// Decodes `bytes`; the flag says whether anything in them was malformed.
pub(super) fn decode(charset: Charset, bytes: &[u8]) -> (Cow<'_, str>, bool) {
    match charset {
        Charset::Utf8 => match std::str::from_utf8(bytes) {
            Ok(text) => (Cow::Borrowed(text), false),
            Err(_) => (String::from_utf8_lossy(bytes), true),
        },
        Charset::Gbk => encoding_rs::GBK.decode_without_bom_handling(bytes),
        Charset::Gb18030 => encoding_rs::GB18030.decode_without_bom_handling(bytes),
        Charset::Iso8859_1 => (encoding_rs::mem::decode_latin1(bytes), false),
        Charset::UsAscii => match std::str::from_utf8(bytes) {
            Ok(text) if text.is_ascii() => (Cow::Borrowed(text), false),
            _ => {
                let ascii = |byte: &u8| if byte.is_ascii() { char::from(*byte) } else { char::REPLACEMENT_CHARACTER };
                (Cow::Owned(bytes.iter().map(ascii).collect()), true)
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_charset_and_its_malformed_bytes() {
        assert_eq!(decode(Charset::Utf8, "é".as_bytes()), ("é".into(), false));
        assert_eq!(decode(Charset::Utf8, b"a\xff"), ("a\u{fffd}".into(), true));
        assert_eq!(decode(Charset::Gbk, b"\xc4\xe3"), ("你".into(), false));
        assert!(decode(Charset::Gbk, b"\xc4").1);
        assert_eq!(decode(Charset::Iso8859_1, b"\x80\xe9"), ("\u{80}é".into(), false));
        assert_eq!(decode(Charset::UsAscii, b"a\xe9"), ("a\u{fffd}".into(), true));
    }
}
