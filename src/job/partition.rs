//! The writer's `partition` text, brought into one form.

/// Normalises `pt='20150101' / type=1` to `pt=20150101,type=1`; `""` stays `""`.
///
/// Blanks around names, values and separators go, `/` is `,`, and quotes are dropped, as in odpswriter and the Java SDK.
///
/// # Errors
/// What is wrong with a piece.
pub(super) fn normalise(text: &str) -> Result<String, String> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(String::new());
    }
    let mut pieces: Vec<(String, String)> = Vec::new();
    for piece in text.split([',', '/']) {
        let plain: String = piece.chars().filter(|c| !matches!(c, '\'' | '"')).collect();
        let (name, value) = match plain.split_once('=') {
            Some((name, value)) if !value.contains('=') => (name.trim().to_owned(), value.trim().to_owned()),
            _ => return Err(format!("{:?} is not of the form name=value", plain.trim())),
        };
        if name.is_empty() || value.is_empty() {
            return Err(format!("{:?} lacks a name or a value", plain.trim()));
        }
        if pieces.iter().any(|(earlier, _)| earlier.eq_ignore_ascii_case(&name)) {
            return Err(format!("{name:?} is given twice"));
        }
        pieces.push((name, value));
    }
    let texts: Vec<String> = pieces.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    Ok(texts.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_partition_are_one_text() {
        for text in
            ["pt=20150101/type=1", "pt='20150101',type='1'", " pt = 20150101 / type = \"1\" ", "pt=20150101,type=1"]
        {
            assert_eq!(normalise(text).as_deref(), Ok("pt=20150101,type=1"), "{text}");
        }
        assert_eq!(normalise("  ").as_deref(), Ok(""));
        assert_eq!(normalise("ds=2024 01").as_deref(), Ok("ds=2024 01"));
    }

    #[test]
    fn malformed_pieces_are_refused() {
        for text in ["pt", "pt=1=2", "pt=1,", "=1", "pt=", "pt=''", "pt=1/PT=2", "20240101"] {
            assert!(normalise(text).is_err(), "{text}");
        }
    }
}
