//! `sasl.jaas.config`: what Java's clients are given a user name and password in.
//!
//! One entry of Java's login configuration without its name:
//! `org.apache.kafka.common.security.plain.PlainLoginModule required username="alice" password="...";`. Words are parted by
//! white space, quoted texts keep it, and a backslash takes the next character as it is. Messages never repeat a value.

/// One login module and its options.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Jaas {
    /// The module's class, without its package.
    pub(super) module: String,
    /// Options in their order.
    pub(super) options: Vec<(String, String)>,
}

impl Jaas {
    /// The value of an option.
    pub(super) fn option(&self, name: &str) -> Option<&str> {
        self.options.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// Reads the text.
///
/// # Errors
/// A sentence that says what is missing, and repeats no value.
pub(super) fn parse(text: &str) -> Result<Jaas, &'static str> {
    let mut tokens = tokens(text)?.into_iter();
    let module = match tokens.next() {
        Some(Token::Word(class)) => class.rsplit('.').next().unwrap_or_default().to_owned(),
        _ => return Err("it does not begin with the class of a login module"),
    };
    match tokens.next() {
        Some(Token::Word(flag)) if FLAGS.iter().any(|known| known.eq_ignore_ascii_case(&flag)) => {}
        _ => return Err("`required` is expected after the login module"),
    }
    let mut options = Vec::new();
    loop {
        match (tokens.next(), tokens.next(), tokens.next()) {
            (Some(Token::End), None, None) => return Ok(Jaas { module, options }),
            (Some(Token::End), ..) => return Err("only one login module is expected, and nothing after its semicolon"),
            (None, ..) => return Err("the semicolon at its end is missing"),
            (Some(Token::Word(name)), Some(Token::Equals), Some(Token::Word(value))) => options.push((name, value)),
            _ => return Err("name=\"value\" is expected for each option"),
        }
    }
}

/// What may stand after the class.
const FLAGS: [&str; 4] = ["required", "requisite", "sufficient", "optional"];

#[derive(PartialEq, Eq)]
enum Token {
    Word(String),
    Equals,
    End,
}

fn tokens(text: &str) -> Result<Vec<Token>, &'static str> {
    let mut tokens = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            c if c.is_whitespace() => {}
            '=' => tokens.push(Token::Equals),
            ';' => tokens.push(Token::End),
            quote @ ('"' | '\'') => {
                let mut word = String::new();
                loop {
                    match chars.next() {
                        None => return Err("a quote is not closed"),
                        Some(c) if c == quote => break,
                        Some('\\') => word.extend(chars.next()),
                        Some(c) => word.push(c),
                    }
                }
                tokens.push(Token::Word(word));
            }
            first => {
                let mut word = String::from(first);
                while let Some(c) = chars.next_if(|c| !c.is_whitespace() && !matches!(c, '=' | ';' | '"' | '\'')) {
                    word.push(c);
                }
                tokens.push(Token::Word(word));
            }
        }
    }
    Ok(tokens)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    type Parts = (String, Vec<(String, String)>);

    fn read(text: &str) -> Result<Parts, &'static str> {
        parse(text).map(|jaas| (jaas.module, jaas.options))
    }

    #[test]
    fn the_usual_text_is_read() {
        let text = "org.apache.kafka.common.security.scram.ScramLoginModule required\n \
                    username=\"alice\" password='a \"quoted\" = ; one';";
        let jaas = parse(text).unwrap();
        assert_eq!(jaas.module, "ScramLoginModule");
        assert_eq!(jaas.option("username"), Some("alice"));
        assert_eq!(jaas.option("password"), Some("a \"quoted\" = ; one"));
        assert_eq!(jaas.option("other"), None);
    }

    #[test]
    fn a_backslash_takes_the_next_character_as_it_is() {
        let jaas = parse(r#"PlainLoginModule required username=alice password="a\"b\\c";"#).unwrap();
        assert_eq!(jaas.option("password"), Some("a\"b\\c"));
    }

    #[test]
    fn a_module_without_options_is_read() {
        assert_eq!(read("x.OAuthBearerLoginModule required ;"), Ok(("OAuthBearerLoginModule".into(), vec![])));
    }

    #[test]
    fn what_is_wrong_is_said_without_the_values() {
        for text in [
            "",
            ";",
            "PlainLoginModule",
            "PlainLoginModule username=\"canary\";",
            "PlainLoginModule required username=\"alice\" password=\"canary\"",
            "PlainLoginModule required password=\"canary;",
            "PlainLoginModule required password \"canary\";",
            "PlainLoginModule required password=;",
            "PlainLoginModule required; OtherModule required;",
        ] {
            let why = read(text).unwrap_err();
            assert!(!why.contains("canary"), "{why}");
        }
    }
}
