//! A script into statements.

/// One piece of a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Statement {
    /// `set key=value`: for the client, not for the service.
    Set(String, String),
    /// Anything else, without its `;`.
    Query(String),
}

/// Parts `text` at each `;` that stands outside quotes (`'`, `"`, back-quotes, with `\` escaping inside the first two) and
/// comments (`--` and `/* */`). Pieces that hold only spaces and comments are dropped.
///
/// # Errors
/// What is not closed, and the line where it begins.
pub(super) fn statements(text: &str) -> Result<Vec<Statement>, String> {
    let mut found = Vec::new();
    let mut piece = String::new();
    // Outside of comments: decides whether the piece says anything.
    let mut says = String::new();
    let mut chars = text.chars().peekable();
    let mut line = 1_usize;
    while let Some(c) = chars.next() {
        let next = chars.peek().copied();
        match c {
            ';' => push(&mut found, &mut piece, &mut says),
            '-' if next == Some('-') => {
                piece.push(c);
                while let Some(c) = chars.next_if(|c| *c != '\n') {
                    piece.push(c);
                }
            }
            '/' if next == Some('*') => {
                let start = line;
                let mut before = ' ';
                piece.push(c);
                piece.extend(chars.next());
                loop {
                    let c = chars.next().ok_or_else(|| format!("line {start}: no end of the comment"))?;
                    line = line.saturating_add(usize::from(c == '\n'));
                    piece.push(c);
                    if before == '*' && c == '/' {
                        break;
                    }
                    before = c;
                }
                says.push(' ');
            }
            '\'' | '"' | '`' => {
                let start = line;
                piece.push(c);
                says.push(c);
                loop {
                    let inner = chars.next().ok_or_else(|| format!("line {start}: no closing {c}"))?;
                    line = line.saturating_add(usize::from(inner == '\n'));
                    piece.push(inner);
                    says.push(inner);
                    if inner == '\\' && c != '`' {
                        let escaped = chars.next();
                        piece.extend(escaped);
                        says.extend(escaped);
                    } else if inner == c {
                        break;
                    }
                }
            }
            c => {
                line = line.saturating_add(usize::from(c == '\n'));
                piece.push(c);
                says.push(c);
            }
        }
    }
    push(&mut found, &mut piece, &mut says);
    Ok(found)
}

fn push(found: &mut Vec<Statement>, piece: &mut String, says: &mut String) {
    let words = says.trim();
    if !words.is_empty() {
        found.push(setting(words).unwrap_or_else(|| Statement::Query(piece.trim().to_owned())));
    }
    piece.clear();
    says.clear();
}

/// Reads `set key = value`; other statements that begin with SET are the service's.
fn setting(words: &str) -> Option<Statement> {
    let (set, rest) = words.split_once(char::is_whitespace)?;
    let (key, value) = rest.split_once('=')?;
    let key = key.trim();
    let is_key = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
    (set.eq_ignore_ascii_case("set") && is_key).then(|| Statement::Set(key.to_owned(), value.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn queries(text: &str) -> Vec<String> {
        let query = |statement| match statement {
            Statement::Query(query) => query,
            Statement::Set(key, value) => format!("SET {key}={value}"),
        };
        statements(text).unwrap().into_iter().map(query).collect()
    }

    #[test]
    fn semicolons_part_statements() {
        assert_eq!(queries("select 1; select 2 ;\n"), ["select 1", "select 2"]);
        assert_eq!(queries(" ;; -- nothing\n; /* nor ; here */ ;"), [""; 0]);
    }

    #[test]
    fn quotes_and_comments_hide_them() {
        for text in [
            "select ';', \";\", `;`",
            r"select 'it\'s;'",
            "select 1 -- a; b\n+ 1",
            "select /* ; ' */ 1",
            "select '\\\\'",
        ] {
            assert_eq!(queries(text), [text], "{text}");
        }
        assert_eq!(queries(r"select '\\'; select 2"), [r"select '\\'", "select 2"]);
        assert_eq!(queries("select `\\`; select 2"), ["select `\\`", "select 2"]);
    }

    #[test]
    fn settings_are_for_the_client() {
        assert_eq!(
            queries("set odps.sql.type.system.odps2=true; -- why\nSET a.b = c d;select 1; set x; settle a=b"),
            ["SET odps.sql.type.system.odps2=true", "SET a.b=c d", "select 1", "set x", "settle a=b"]
        );
    }

    #[test]
    fn what_is_open_is_named_with_its_line() {
        assert_eq!(statements("select 1;\nselect 'x\n\n").unwrap_err(), "line 2: no closing '");
        assert_eq!(statements("/* \n").unwrap_err(), "line 1: no end of the comment");
        assert_eq!(statements("a\n\n/*/").unwrap_err(), "line 3: no end of the comment");
    }
}
